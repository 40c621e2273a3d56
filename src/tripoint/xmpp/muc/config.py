"""The configuration of a room as a form, and what a form that comes back changes.

Every field of the registry is there. What is the same in all rooms here is shown as it is, says so in its label, and is
ignored when it comes back.
spec: XEP-0045 10.1.3, 10.2, 16.5.3; XEP-0004 3.2; docs/mapping.md 4.8, 7, 8.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import UserId
from tripoint.core.json_view import object_at
from tripoint.core.power import Rank, anybody_sets_topic, moderated
from tripoint.rooms.commands import Command, Secret, SendState, SetListed, SetPassword, SetTopic
from tripoint.rooms.foreigners import lets_foreigners_in
from tripoint.rooms.ports import RoomView
from tripoint.rooms.settings import (
    FOREIGN,
    LIMITS,
    MAX_LIMIT,
    MAX_SLOW_S,
    MENTIONS,
    SLOW,
    asks_password,
    federated,
    foreign_content,
    forwards_mentions,
    limit_content,
    member_limit,
    mentions_content,
    most_mentions,
    slow_content,
    slow_mode_s,
)
from tripoint.xmpp.forms import boolean, single
from tripoint.xmpp.jid import InvalidJid, parse_any_user_jid, parse_jid
from tripoint.xmpp.muc.enter import MAX_HISTORY
from tripoint.xmpp.muc.plan import Plan, Wish, add_wish, check_exists, check_wish, with_ranks
from tripoint.xmpp.projection import is_public
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import (
    DATA_FORMS_NS,
    DATA_VALIDATE_NS,
    FEDERATE_VAR,
    FOREIGN_VAR,
    HISTORY_VISIBILITY_VAR,
    MUC_ROOMCONFIG,
)
from tripoint.xmpp.wire import escape_attribute, escape_text

_NAME = "muc#roomconfig_roomname"
_DESCRIPTION = "muc#roomconfig_roomdesc"
_PUBLIC = "muc#roomconfig_publicroom"
_MEMBERS_ONLY = "muc#roomconfig_membersonly"
_MODERATED = "muc#roomconfig_moderatedroom"
_CHANGE_SUBJECT = "muc#roomconfig_changesubject"
_WITH_PASSWORD = "muc#roomconfig_passwordprotectedroom"
_SECRET = "muc#roomconfig_roomsecret"
_MAX_USERS = "muc#roomconfig_maxusers"
_SLOW = "muc#roomconfig_slow_mode_duration"
_MENTIONS = "muc#roomconfig_forwardmentions"
_ALLOW_INVITES = "muc#roomconfig_allowinvites"
_ADMINS = "muc#roomconfig_roomadmins"
_OWNERS = "muc#roomconfig_roomowners"
_MAX_PEOPLE = 100
Fields = Mapping[str, list[str]]
_VISIBILITIES = {
    "world_readable": "Anyone, members or not",
    "shared": "Members, from the beginning",
    "invited": "Members, from their invitation on",
    "joined": "Members, from when they entered",
}


# -- the form


def configuration_form(session: XmppSession, room: RoomView) -> str:
    """The form with the room as it is."""
    fields = [
        _field(_NAME, "text-single", "Name", room.name or ""),
        _field(_DESCRIPTION, "text-single", "Topic", room.topic or ""),
        _field(_PUBLIC, "boolean", "Listed in the directory", _bool(room.listed)),
        _field(
            _MEMBERS_ONLY, "boolean", "Only invited people may enter", _bool(not is_public(room) and not room.locked)
        ),
        _field(_MODERATED, "boolean", "Only those with voice may speak", _bool(moderated(room.power))),
        _field(_CHANGE_SUBJECT, "boolean", "Everybody may change the topic", _bool(anybody_sets_topic(room.power))),
        _field(_WITH_PASSWORD, "boolean", "A password gives entry", _bool(asks_password(room.state))),
        # docs/mapping.md 8.5: it is written and never read back
        _field(_SECRET, "text-private", "The password, to set another one", ""),
        _field(
            _MAX_USERS,
            "list-single",
            "How many may be in",
            str(member_limit(room) or "none"),
            "".join([f"<option label='{one}'><value>{one}</value></option>" for one in _user_limits(room)])
            # spec: XEP-0122 3.2.2: another number will do
            + f"<validate xmlns='{DATA_VALIDATE_NS}' datatype='xs:string'><open/></validate>",
        ),
        f"<field var='{_SLOW}' type='text-single' label='Seconds between two messages of one person (0: any)'>"
        f"<validate xmlns='{DATA_VALIDATE_NS}' datatype='xs:integer'><range min='0' max='{MAX_SLOW_S}'/></validate>"
        f"<value>{slow_mode_s(room)}</value></field>",
        _field(
            HISTORY_VISIBILITY_VAR,
            "list-single",
            "Who may read the history",
            room.history_visibility,
            "".join(
                [
                    f"<option label='{escape_attribute(label)}'><value>{value}</value></option>"
                    for value, label in _VISIBILITIES.items()
                ]
            ),
        ),
        _field(
            FEDERATE_VAR,
            "boolean",
            "People of other servers may enter" + ("" if room.locked else " (stays as it is)"),
            _bool(federated(room)),
        ),
        _field(
            FOREIGN_VAR,
            "boolean",
            "People of other XMPP servers may enter",
            _bool(lets_foreigners_in(room, session.doors.domains.server)),
        ),
        _field(
            _MENTIONS,
            "boolean",
            "Members who are named while away get the message",
            _bool(forwards_mentions(room.state)),
        ),
        _field(_ALLOW_INVITES, "boolean", "Everybody who is in may invite", _bool(_anybody_invites(room))),
        _people(session, room, _ADMINS, "Admins", Rank.ADMIN, Rank.OP),
        _people(session, room, _OWNERS, "Owners", Rank.OWNER),
        *_FIXED,
    ]
    return (
        f"<x xmlns='{DATA_FORMS_NS}' type='form'><title>Configuration of the room</title>"
        f"<field type='hidden' var='FORM_TYPE'><value>{MUC_ROOMCONFIG}</value></field>{''.join(fields)}</x>"
    )


def _anybody_invites(room: RoomView) -> bool:
    return room.power.invite <= room.power.users_default


def _people(session: XmppSession, room: RoomView, var: str, label: str, *ranks: Rank) -> str:
    values = "".join(
        [f"<value>{escape_text(session.users.jid_of(one))}</value>" for one in sorted(with_ranks(room, *ranks))]
    )
    return f"<field var='{var}' type='jid-multi' label='{label}'>{values}</field>"


def _field(var: str, kind: str, label: str, value: str, options: str = "") -> str:
    return (
        f"<field var='{var}' type='{kind}' label='{escape_attribute(label)}'>"
        f"<value>{escape_text(value)}</value>{options}</field>"
    )


def _bool(value: bool) -> str:
    return "1" if value else "0"


def _fixed(var: str, kind: str, label: str, values: Mapping[str, str]) -> str:
    """A field that cannot be changed: its values, with what they are called."""
    inside = "".join([f"<value>{value}</value>" for value in values])
    if kind.startswith("list"):
        inside += "".join(
            [f"<option label='{shown}'><value>{value}</value></option>" for value, shown in values.items()]
        )
    return f"<field var='{var}' type='{kind}' label='{label}'>{inside}</field>"


_EVERYBODY = {"anyone": "Everybody"}
_ROLES = {"moderator": "Moderators", "participant": "Participants", "visitor": "Visitors"}
# docs/mapping.md 4.7, 4.8, 5.2, 8.13, 8.14, 15.6: these are as they are
_FIXED = (
    _fixed("muc#roomconfig_persistentroom", "boolean", "Stays when everybody has left (always)", {"1": ""}),
    _fixed("muc#roomconfig_enablelogging", "boolean", "History is kept (always)", {"1": ""}),
    _fixed("muc#roomconfig_whois", "list-single", "Who sees addresses (always everybody)", _EVERYBODY),
    _fixed("muc#roomconfig_allowpm", "list-single", "Who writes to one person (always everybody)", _EVERYBODY),
    _fixed("muc#roomconfig_presencebroadcast", "list-multi", "Whose presence is shown (always everybody)", _ROLES),
    _fixed("muc#roomconfig_getmemberlist", "list-multi", "Who sees the members (always everybody inside)", _ROLES),
    _fixed("muc#maxhistoryfetch", "text-single", "Messages shown on entry, at most (always)", {str(MAX_HISTORY): ""}),
    "<field type='fixed'><value>A language, and a publish-subscribe node, are not kept of rooms here "
    "(muc#roomconfig_lang, muc#roomconfig_pubsub).</value></field>",
)


# -- what a form changes


@dataclass(slots=True)
class Changes:
    """What a form changes: commands in their order, and after them ranks. `federates` None: no change of that."""

    commands: list[Command]
    ranks: Plan
    federates: bool | None


async def changes_of(session: XmppSession, room: RoomView, fields: Fields) -> Changes:
    """Only what differs from the room as it is. Raises Problem for a value that cannot be."""
    federates = boolean(fields, FEDERATE_VAR)
    if federates is federated(room):
        federates = None
    elif federates is not None and not room.locked:
        raise Problem("not-acceptable", "Whether other servers may take part is said when a room is made, and stays")
    return Changes(_commands(session, room, fields), await _ranks(session, room, fields), federates)


async def _ranks(session: XmppSession, room: RoomView, fields: Fields) -> Plan:
    """The lists of admins and owners are whole ones: who is not on them is none any more. spec: XEP-0045 10.2"""
    members_only = boolean(fields, _MEMBERS_ONLY)
    public = is_public(room) or room.locked if members_only is None else not members_only
    plan = Plan(session.user_id, room.room_id, public=public)
    wished: dict[UserId, str] = {}
    for var, affiliation, ranks in (
        (_ADMINS, "admin", (Rank.ADMIN, Rank.OP)),
        (_OWNERS, "owner", (Rank.OWNER,)),
    ):
        if var not in fields:
            continue
        named = {_user(session, room, value) for value in fields[var] if value.strip()}
        present = with_ranks(room, *ranks)
        for user_id in present - named:
            wished.setdefault(user_id, "none" if public else "member")
        wished.update(dict.fromkeys(named - present, affiliation))
    if len(wished) > _MAX_PEOPLE:
        raise Problem("not-acceptable", f"A form changes up to {_MAX_PEOPLE} people")
    for user_id, affiliation in wished.items():
        wish = Wish(user_id, affiliation, None)
        check_wish(room, session.user_id, wish)
        await check_exists(session, user_id)
        add_wish(room, wish, plan)
    return plan


def _user(session: XmppSession, room: RoomView, address: str) -> UserId:
    try:
        user_id = parse_any_user_jid(parse_jid(address.strip()).bare, session.doors.domains)
    except InvalidJid:
        raise Problem("not-acceptable", "One of the addresses is not valid") from None
    if user_id is None:
        # docs/mapping.md 1.5: an address that cannot be read back is looked up among the members
        user_id = next((one for one in room.members() if session.users.jid_of(one) == address.strip()), None)
    if user_id is None:
        raise Problem("not-acceptable", f"There is no such user: {address.strip()}")
    return user_id


def _commands(session: XmppSession, room: RoomView, wishes: Fields) -> list[Command]:
    actor, room_id = session.user_id, room.room_id
    commands: list[Command] = []

    def state(type_: str, content: JsonObject) -> None:
        commands.append(SendState(actor=actor, room_id=room_id, type=type_, state_key="", content=content))

    members_only = boolean(wishes, _MEMBERS_ONLY)
    # A room that is being opened gets the join rule of its template, unless the form says otherwise.
    if members_only is not None and members_only is not (not is_public(room) and not room.locked):
        state("m.room.join_rules", {"join_rule": "invite" if members_only else "public"})
    commands += _access(session, room, wishes, members_only)
    name, topic = single(wishes, _NAME), single(wishes, _DESCRIPTION)
    if name is not None and name != (room.name or ""):
        state("m.room.name", {"name": name} if name else {})
    if topic is not None and topic != (room.topic or ""):
        commands.append(SetTopic(actor=actor, room_id=room_id, topic=topic))
    visibility = single(wishes, HISTORY_VISIBILITY_VAR)
    if visibility is not None and visibility != room.history_visibility:
        if visibility not in _VISIBILITIES:
            raise Problem("not-acceptable", "There is no such visibility of history")
        state("m.room.history_visibility", {"history_visibility": visibility})
    levels = _levels(room, wishes)
    if levels is not None:
        state("m.room.power_levels", levels)
    listed = boolean(wishes, _PUBLIC)
    if listed is not None and listed is not room.listed:
        commands.append(SetListed(actor=actor, room_id=room_id, listed=listed))
    return commands


def _access(
    session: XmppSession, room: RoomView, wishes: Fields, members_only: bool | None
) -> list[Command]:
    """Password, limit, slow mode, people of other XMPP servers. docs/mapping.md 8.5, 8.6, 8.18, 23.1"""
    actor, room_id = session.user_id, room.room_id
    commands: list[Command] = []
    with_password, secret = boolean(wishes, _WITH_PASSWORD), single(wishes, _SECRET) or None
    has_one = asks_password(room.state)
    if with_password and members_only:
        text = "A room asks for a password or for an invitation; who is invited needs no password"
        raise Problem("not-acceptable", text)
    if with_password and secret is not None:
        commands.append(SetPassword(actor=actor, room_id=room_id, password=Secret(secret)))
    elif with_password and not has_one:
        raise Problem("not-acceptable", "A password is needed")
    elif with_password is False and has_one and not members_only:
        commands.append(SetPassword(actor=actor, room_id=room_id, password=None))
    most = single(wishes, _MAX_USERS)
    if most is not None:
        limit = None if most.strip() in ("none", "0", "") else _whole(_MAX_USERS, most, MAX_LIMIT)
        if limit != member_limit(room):
            content = limit_content(limit)
            commands.append(SendState(actor=actor, room_id=room_id, type=LIMITS, state_key="", content=content))
    slow = single(wishes, _SLOW)
    if slow is not None and (seconds := _whole(_SLOW, slow, MAX_SLOW_S)) != slow_mode_s(room):
        content = slow_content(seconds)
        commands.append(SendState(actor=actor, room_id=room_id, type=SLOW, state_key="", content=content))
    forward = boolean(wishes, _MENTIONS)
    if forward is not None and forward is not forwards_mentions(room.state):
        content = mentions_content(forward, most_mentions(room.state))
        commands.append(SendState(actor=actor, room_id=room_id, type=MENTIONS, state_key="", content=content))
    foreign = boolean(wishes, FOREIGN_VAR)
    if foreign is not None and foreign is not lets_foreigners_in(room, session.doors.domains.server):
        content = foreign_content(foreign)
        commands.append(SendState(actor=actor, room_id=room_id, type=FOREIGN, state_key="", content=content))
    return commands


def _whole(var: str, text: str, most: int) -> int:
    text = text.strip()
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) <= most):
        raise Problem("not-acceptable", f"{var} is a whole number up to {most}")
    return int(text)


def _user_limits(room: RoomView) -> list[str]:
    """spec: XEP-0045 10.1.3, example: a list, with what is set now in it"""
    present = member_limit(room)
    usual = {10, 20, 50, 100, 500, 1000} | ({present} if present is not None else set())
    return ["none", *(str(one) for one in sorted(usual))]


def _levels(room: RoomView, wishes: Fields) -> JsonObject | None:
    """New power levels for +m, +t and who invites, all in one event. docs/mapping.md 8.2, 8.3"""
    event = room.state.get(("m.room.power_levels", ""))
    content: JsonObject = {} if event is None else dict(event.content)
    events = dict(object_at(content, "events"))
    changed = False
    moderate = boolean(wishes, _MODERATED)
    if moderate is not None and moderate is not moderated(room.power):
        content["events_default"] = 1 if moderate else 0
        if "m.room.message" in events:
            events["m.room.message"] = 1 if moderate else 0
        changed = True
    anybody = boolean(wishes, _CHANGE_SUBJECT)
    if anybody is not None and anybody is not anybody_sets_topic(room.power):
        events["m.room.topic"] = room.power.users_default if anybody else max(50, room.power.state_default)
        changed = True
    invites = boolean(wishes, _ALLOW_INVITES)
    if invites is not None and invites is not _anybody_invites(room):
        content["invite"] = room.power.users_default if invites else max(50, room.power.users_default + 1)
        changed = True
    if not changed:
        return None
    content["events"] = events
    return content
