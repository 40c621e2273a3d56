"""Which conversations are in the archive that an account has on XMPP.

What two people say to each other is kept in their room, for both and on every protocol, whatever one of them prefers
here; so a preference chooses what the account's archive gives, for what was said before it was set, too. Kept in the
account's data. Nothing can be chosen for rooms, and nothing by resource: who wrote is kept, from which client is not.
spec: XEP-0441 2; docs/mapping.md 14.6.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from tripoint.accounts.ports import RosterItem
from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import UserId
from tripoint.core.vendor import V
from tripoint.xmpp.jid import Domains, InvalidJid, Jid, parse_any_user_jid, parse_jid, user_jid
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At, iq
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import MAM_NS
from tripoint.xmpp.wire import Element, escape_text

ARCHIVE: Final = f"{V}.archive"
_DEFAULTS: Final = ("always", "never", "roster")
# Of each list: more than anybody picks by hand, and it is written as one piece of account data.
MAX_LISTED: Final = 1000


@dataclass(frozen=True, slots=True)
class Preferences:
    """Bare addresses, in the order in which they were set."""

    default: str = "always"
    always: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    # By whom they are known here: one person may have several addresses.
    _always: frozenset[UserId] = field(default=frozenset(), compare=False)
    _never: frozenset[UserId] = field(default=frozenset(), compare=False)

    @classmethod
    def of(cls, default: str, always: Iterable[str], never: Iterable[str], domains: Domains) -> "Preferences":
        """From addresses that were looked at."""
        kept, left_out = tuple(dict.fromkeys(always)), tuple(dict.fromkeys(never))
        return cls(default, kept, left_out, _people(kept, domains), _people(left_out, domains))

    def holds(self, peer: UserId, roster: Mapping[str, RosterItem], domains: Domains) -> bool:
        """Whether what was said with somebody is in the archive. Who is in both lists is never. spec: XEP-0441 2.3"""
        address = user_jid(peer, domains)
        if peer in self._never or address in self.never:
            return False
        if peer in self._always or address in self.always:
            return True
        if self.default == "roster":
            item = roster.get(address)
            return item is not None and item.shown
        return self.default == "always"

    def xml(self) -> str:
        """<prefs/>, with both lists even if they are empty. spec: XEP-0441 2.1"""
        lists = f"<always>{_listed(self.always)}</always><never>{_listed(self.never)}</never>"
        return f"<prefs xmlns='{MAM_NS}' default='{self.default}'>{lists}</prefs>"


def _listed(addresses: Iterable[str]) -> str:
    return "".join(f"<jid>{escape_text(one)}</jid>" for one in addresses)


def _people(addresses: Iterable[str], domains: Domains) -> frozenset[UserId]:
    found = (parse_any_user_jid(parse_jid(address), domains) for address in addresses)
    return frozenset(user_id for user_id in found if user_id is not None)


async def preferences_of(session: XmppSession) -> Preferences:
    """Those of the session's account. What somebody wrote there that is none is not there."""
    kept = await session.doors.accounts.account_data(session.user_id, None, ARCHIVE) or {}
    default = kept.get("default")
    return Preferences.of(
        default if isinstance(default, str) and default in _DEFAULTS else "always",
        _addresses(kept, "always"),
        _addresses(kept, "never"),
        session.doors.domains,
    )


def _addresses(kept: JsonObject, key: str) -> list[str]:
    listed = kept.get(key)
    found = []
    for one in listed[:MAX_LISTED] if isinstance(listed, list) else ():
        try:
            found.append(str(parse_jid(one).bare) if isinstance(one, str) else "")
        except InvalidJid:
            continue
    return [one for one in found if one]


@iq("get", MAM_NS, "prefs", at=(At.ACCOUNT,), spec="XEP-0441 2.1")
async def get_preferences(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """What is archived now."""
    return (await preferences_of(session)).xml()


@iq("set", MAM_NS, "prefs", at=(At.ACCOUNT,), spec="XEP-0441 2.1")
async def set_preferences(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """All of them at once; the answer is what holds now."""
    prefs = stanza.first()
    assert prefs is not None  # the registry has found it
    default = prefs.get("default")
    if default not in _DEFAULTS:
        raise Problem("bad-request", "The default is one of always, never and roster")
    lists = {key: _wished(prefs.child(key, MAM_NS)) for key in ("always", "never")}
    chosen = Preferences.of(default, lists["always"], lists["never"], session.doors.domains)
    content: JsonObject = {"default": default, "always": [*chosen.always], "never": [*chosen.never]}
    await session.doors.accounts.set_account_data(session.user_id, None, ARCHIVE, content)
    return chosen.xml()


def _wished(listed: Element | None) -> list[str]:
    """The bare addresses of a list; none where it is missing. Raises Problem. spec: XEP-0441 2.1.2, 2.1.3"""
    wished = []
    for one in () if listed is None else listed.elements():
        if (one.namespace, one.name) != (MAM_NS, "jid"):
            raise Problem("bad-request", "A list holds addresses")
        try:
            address = parse_jid(one.text.strip())
        except InvalidJid:
            raise Problem("jid-malformed", f"{one.text.strip()[:200]} is no address") from None
        if address.resource:
            raise Problem(
                "feature-not-implemented", "From which client somebody wrote is not kept: name people, not resources"
            )
        wished.append(str(address))
    if len(wished) > MAX_LISTED:
        raise Problem("resource-constraint", f"A list holds at most {MAX_LISTED} addresses")
    return wished
