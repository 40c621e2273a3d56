"""Mentions that say whom they mean: read from stanzas, and written for clients that highlight by them.

spec: XEP-0513 3.1, 3.2.1.1, 3.2.2, 3.3, 3.5; XEP-0372 3.1 (read alone); docs/mapping.md 2.10, 2.11. Names in the text
without these are mentions.py's.
"""

import re
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import UserId
from tripoint.core.json_view import object_at
from tripoint.core.message import Mentions
from tripoint.xmpp.tables import MENTIONS_NS, REFERENCE_NS
from tripoint.xmpp.wire import Element, escape_attribute

CHANNEL: Final = f"{MENTIONS_NS}#channel"
ASSOCIATIONS: Final = f"{MENTIONS_NS}#associations"
# spec: XEP-0513 3.2.2, table 2: by role, by affiliation
ROLE_GROUPS: Final = {"moderators": "moderator", "participants": "participant", "visitors": "visitor"}
AFFILIATION_GROUPS: Final = frozenset({"owner", "admin", "member", "none"})
# Groups that anybody may call; the others are most of a room.
STAFF_GROUPS: Final = frozenset({"moderators", "owner", "admin"})
_GROUPS: Final = {f"{MENTIONS_NS}#{name}": name for name in (*ROLE_GROUPS, *AFFILIATION_GROUPS)}
# So many are read of one stanza, and written into one.
MAX_MENTIONS: Final = 50


class Called(NamedTuple):
    """Whom the mentions of a stanza name: occupant ids, addresses, whether everybody in the room, and groups by role or
    affiliation ("channel": everybody who is active). `quiet` are occupant ids and addresses that the text may name and
    nobody is to be called by; `active`: of the groups, those alone who are active."""

    occupant_ids: tuple[str, ...]
    jids: tuple[str, ...]
    everybody: bool
    groups: frozenset[str] = frozenset()
    quiet: tuple[str, ...] = ()
    active: bool = False


NOBODY: Final = Called((), (), False)


def called_in(stanza: Element) -> Called:
    """Mentions of other rooms and of groups that are not there here are left alone."""
    ids: dict[str, None] = {}
    jids: dict[str, None] = {}
    everybody = False
    groups: set[str] = set()
    quiet: list[str] = []
    active = False
    for child in list(stanza.elements()):
        if child.name == "mention" and child.namespace == MENTIONS_NS:
            kind = child.get("mentions")
            if child.child("noping", MENTIONS_NS) is not None:
                quiet += filter(None, [child.get("occupantid"), child.get("jid")])
                continue
            if child.child("active", MENTIONS_NS) is not None and kind == CHANNEL and not child.get("uri"):
                groups.add("channel")
                active = True
                continue
            if kind is None:
                ids.update(dict.fromkeys(filter(None, [child.get("occupantid")])))
                jids.update(dict.fromkeys(filter(None, [child.get("jid")])))
            everybody = everybody or (kind == CHANNEL and not child.get("uri"))
            if kind in _GROUPS and not child.get("uri"):
                groups.add(_GROUPS[kind])
                active = active or child.child("active", MENTIONS_NS) is not None
        elif child.name == "reference" and child.namespace == REFERENCE_NS and child.get("type") == "mention":
            uri = child.get("uri") or ""
            if uri.startswith("xmpp:"):
                jids[uri.removeprefix("xmpp:").partition("?")[0]] = None
    named, at, silent = (tuple(one)[:MAX_MENTIONS] for one in (ids, jids, quiet))
    return Called(named, at, everybody, frozenset(groups), silent, active)


def add_called(
    content: JsonObject, users: Iterable[UserId], *, everybody: bool, quiet: Iterable[UserId] = ()
) -> None:
    """Say in m.mentions who else is meant than the text names, and that those in `quiet` are not."""
    mentions = object_at(content, "m.mentions")
    known = mentions.get("user_ids")
    silent = set(quiet)
    before = known if isinstance(known, list) else []
    named = [one for one in dict.fromkeys([*before, *users]) if one not in silent]
    if named:
        mentions = {**mentions, "user_ids": named}
    elif before:
        mentions = {key: value for key, value in mentions.items() if key != "user_ids"}
    if everybody:
        mentions = {**mentions, "room": True}
    content["m.mentions"] = mentions


# (nick, occupant id) of who is in the room.
Who = Callable[[UserId], tuple[str, str] | None]


def mentions_xml(mentions: Mentions, text: str, who: Who) -> str:
    """<mention/> for everybody who is meant and in the room; where in `text` he is named, if he is."""
    xml = f"<mention xmlns='{MENTIONS_NS}' mentions='{CHANNEL}'/>" if mentions.room else ""
    for user_id in mentions.user_ids[:MAX_MENTIONS]:
        found = who(user_id)
        if found is None:
            continue
        nick, occupant_id = found
        at = re.search(rf"(?<!\w){re.escape(nick)}(?!\w)", text)
        place = "" if at is None else f" begin='{at.start()}' end='{at.end()}'"
        xml += f"<mention xmlns='{MENTIONS_NS}'{place} occupantid='{escape_attribute(occupant_id)}'/>"
    return xml
