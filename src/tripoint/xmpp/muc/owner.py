"""muc#owner: configuring a room, and opening one that was just made.

spec: XEP-0045 10.1, 10.2, 16.5.3; docs/mapping.md 4.3, 8. Fields that are fixed here are shown as they are and
ignored when they come back.
"""

from collections.abc import Mapping

from tripoint.core.canonical_json import JsonObject
from tripoint.core.json_view import object_at
from tripoint.core.power import anybody_sets_topic, moderated
from tripoint.rooms.commands import (
    CloseRoom,
    Command,
    Leave,
    Secret,
    SendState,
    SetListed,
    SetPassword,
    SetTopic,
    UnlockRoom,
    UpgradeRoom,
)
from tripoint.rooms.ports import RoomView
from tripoint.rooms.settings import (
    LIMITS,
    MAX_LIMIT,
    MAX_SLOW_S,
    SLOW,
    asks_password,
    federated,
    limit_content,
    member_limit,
    slow_content,
    slow_mode_s,
)
from tripoint.xmpp.forms import form_fields
from tripoint.xmpp.jid import InvalidJid, Jid, parse_jid
from tripoint.xmpp.projection import is_public
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At, iq
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import (
    DATA_FORMS_NS,
    DATA_VALIDATE_NS,
    FEDERATE_VAR,
    HISTORY_VISIBILITY_VAR,
    MUC_OWNER_NS,
    MUC_ROOMCONFIG,
)
from tripoint.xmpp.wire import Element, escape_attribute, escape_text

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
_VISIBILITIES = {
    "world_readable": "Anyone, members or not",
    "shared": "Members, from the beginning",
    "invited": "Members, from their invitation on",
    "joined": "Members, from when they entered",
}


@iq("get", MUC_OWNER_NS, at=(At.ROOM,), spec="XEP-0045 10.1.3, 10.2")
async def configuration(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """The form with the room as it is."""
    room = await _owned(session, jid)
    return f"<query xmlns='{MUC_OWNER_NS}'>{_form(room)}</query>"


@iq("set", MUC_OWNER_NS, at=(At.ROOM,), spec="XEP-0045 10.1.2, 10.1.3, 10.2, 10.9")
async def configure(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """Submit or cancel. An empty form opens a new room with its defaults (an instant room)."""
    query = stanza.first()
    assert query is not None  # the router has looked
    destroy = query.child("destroy", MUC_OWNER_NS)
    if destroy is not None:
        await _destroy(session, await _owned(session, jid, "Only an owner closes a room"), destroy)
        return ""
    room = await _owned(session, jid)
    form = query.child("x", DATA_FORMS_NS)
    if form is None or form.get("type") not in ("submit", "cancel"):
        raise Problem("bad-request", "A form of type submit or cancel is expected")
    if form.get("type") == "cancel":
        # spec: XEP-0045 10.1.3: who cancels the first configuration does not want the room
        if room.locked:
            await session.doors.rooms.do(Leave(actor=session.user_id, room_id=room.room_id))
        return ""
    wishes = {var: values[0] for var, values in form_fields(form).items() if values}
    federates = _wish(wishes, FEDERATE_VAR)
    if federates is not None and federates is not federated(room):
        _commands(session, room, wishes)  # a form that cannot be makes nothing
        room = await _made_anew(session, room, federates)
    commands = _commands(session, room, wishes)
    if room.locked:
        # The room opens with the rule that the form asks for: it is never public in between.
        rules = [c for c in commands if isinstance(c, SendState) and c.type == "m.room.join_rules"]
        rule = rules[0].content.get("join_rule") if rules else None
        if any(isinstance(c, SetPassword) and c.password is not None for c in commands):
            rule = "invite"
        commands = [c for c in commands if c not in rules]
        opening = UnlockRoom(
            actor=session.user_id, room_id=room.room_id, join_rule=rule if isinstance(rule, str) else None
        )
        await session.doors.rooms.do(opening)
    for command in commands:
        await session.doors.rooms.do(command)
    return ""


async def _made_anew(session: XmppSession, room: RoomView, federates: bool) -> RoomView:
    """The room with other servers let in, or not: its first event says so, so a new one takes its place unopened.

    docs/mapping.md 8.15. The one that nobody was let into goes with its last member. Raises Problem for an open room.
    """
    if not room.locked:
        raise Problem("not-acceptable", "Whether other servers may take part is said when a room is made, and stays")
    actor = session.user_id
    done = await session.doors.rooms.do(UpgradeRoom(actor=actor, room_id=room.room_id, federate=federates))
    assert done.room_id is not None  # UpgradeRoom always names the room
    await session.doors.rooms.do(Leave(actor=actor, room_id=room.room_id))
    return await session.doors.reader.room(done.room_id)


async def _destroy(session: XmppSession, room: RoomView, destroy: Element) -> None:
    """spec: XEP-0045 10.9; docs/mapping.md 4.9. What the occupants are told comes with the change."""
    reason, venue = destroy.child_text("reason", MUC_OWNER_NS) or None, destroy.get("jid")
    replacement = None
    if venue:
        try:
            jid = parse_jid(venue)
        except InvalidJid:
            raise Problem("jid-malformed", "The address of the other room is not valid") from None
        replacement = await session.muc.find(session, jid) if jid.domain == session.doors.domains.rooms else None
        if replacement is None or replacement == room.room_id:
            raise Problem("item-not-found", "There is no such room to take the place of this one")
    await session.doors.rooms.do(
        CloseRoom(actor=session.user_id, room_id=room.room_id, reason=reason, replacement=replacement)
    )


async def _owned(session: XmppSession, jid: Jid, otherwise: str = "Only owners configure a room") -> RoomView:
    room = await session.muc.room_for(session, jid)
    if room.rank(session.user_id).value != "owner" or room.membership(session.user_id) != "join":
        # spec: XEP-0045 10.2
        raise Problem("forbidden", otherwise)
    return room


# -- the form


def _form(room: RoomView) -> str:
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
            "".join([f"<option label='{one}'><value>{one}</value></option>" for one in _user_limits(room)]),
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
        # docs/mapping.md 4.8, 8.13, 8.14: these are as they are
        _field("muc#roomconfig_persistentroom", "boolean", "Stays when everybody has left (always)", "1"),
        _field("muc#roomconfig_enablelogging", "boolean", "History is kept (always)", "1"),
        _field(
            "muc#roomconfig_whois",
            "list-single",
            "Who sees addresses (always everybody)",
            "anyone",
            "<option label='Everybody'><value>anyone</value></option>",
        ),
    ]
    return (
        f"<x xmlns='{DATA_FORMS_NS}' type='form'><title>Configuration of the room</title>"
        f"<field type='hidden' var='FORM_TYPE'><value>{MUC_ROOMCONFIG}</value></field>{''.join(fields)}</x>"
    )


def _field(var: str, kind: str, label: str, value: str, options: str = "") -> str:
    return (
        f"<field var='{var}' type='{kind}' label='{escape_attribute(label)}'>"
        f"<value>{escape_text(value)}</value>{options}</field>"
    )


def _bool(value: bool) -> str:
    return "1" if value else "0"


# -- what a form changes


def _commands(session: XmppSession, room: RoomView, wishes: Mapping[str, str]) -> list[Command]:
    """Only what differs from the room as it is. Raises Problem for a value that cannot be."""
    actor, room_id = session.user_id, room.room_id
    commands: list[Command] = []

    def state(type_: str, content: JsonObject) -> None:
        commands.append(SendState(actor=actor, room_id=room_id, type=type_, state_key="", content=content))

    members_only = _wish(wishes, _MEMBERS_ONLY)
    # A room that is being opened gets the join rule of its template, unless the form says otherwise.
    if members_only is not None and members_only is not (not is_public(room) and not room.locked):
        state("m.room.join_rules", {"join_rule": "invite" if members_only else "public"})
    commands += _access(session, room, wishes, members_only)
    if _NAME in wishes and wishes[_NAME] != (room.name or ""):
        state("m.room.name", {"name": wishes[_NAME]} if wishes[_NAME] else {})
    if _DESCRIPTION in wishes and wishes[_DESCRIPTION] != (room.topic or ""):
        commands.append(SetTopic(actor=actor, room_id=room_id, topic=wishes[_DESCRIPTION]))
    visibility = wishes.get(HISTORY_VISIBILITY_VAR)
    if visibility is not None and visibility != room.history_visibility:
        if visibility not in _VISIBILITIES:
            raise Problem("not-acceptable", "There is no such visibility of history")
        state("m.room.history_visibility", {"history_visibility": visibility})
    levels = _levels(room, wishes)
    if levels is not None:
        state("m.room.power_levels", levels)
    listed = _wish(wishes, _PUBLIC)
    if listed is not None and listed is not room.listed:
        commands.append(SetListed(actor=actor, room_id=room_id, listed=listed))
    return commands


def _access(
    session: XmppSession, room: RoomView, wishes: Mapping[str, str], members_only: bool | None
) -> list[Command]:
    """Password, limit, slow mode. docs/mapping.md 8.5, 8.6, 8.18"""
    actor, room_id = session.user_id, room.room_id
    commands: list[Command] = []
    with_password, secret = _wish(wishes, _WITH_PASSWORD), wishes.get(_SECRET) or None
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
    if _MAX_USERS in wishes:
        limit = None if wishes[_MAX_USERS] in ("none", "0", "") else _whole(wishes, _MAX_USERS, MAX_LIMIT)
        if limit != member_limit(room):
            content = limit_content(limit)
            commands.append(SendState(actor=actor, room_id=room_id, type=LIMITS, state_key="", content=content))
    if _SLOW in wishes and (seconds := _whole(wishes, _SLOW, MAX_SLOW_S)) != slow_mode_s(room):
        content = slow_content(seconds)
        commands.append(SendState(actor=actor, room_id=room_id, type=SLOW, state_key="", content=content))
    return commands


def _whole(wishes: Mapping[str, str], var: str, most: int) -> int:
    text = wishes[var].strip()
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) <= most):
        raise Problem("not-acceptable", f"{var} is a whole number up to {most}")
    return int(text)


def _user_limits(room: RoomView) -> list[str]:
    """spec: XEP-0045 10.1.3, example: a list, with what is set now in it"""
    present = member_limit(room)
    usual = {10, 20, 50, 100, 500, 1000} | ({present} if present is not None else set())
    return ["none", *(str(one) for one in sorted(usual))]


def _levels(room: RoomView, wishes: Mapping[str, str]) -> JsonObject | None:
    """New power levels for +m and +t, both in one event. docs/mapping.md 8.2, 8.3"""
    event = room.state.get(("m.room.power_levels", ""))
    content: JsonObject = {} if event is None else dict(event.content)
    events = dict(object_at(content, "events"))
    changed = False
    moderate = _wish(wishes, _MODERATED)
    if moderate is not None and moderate is not moderated(room.power):
        content["events_default"] = 1 if moderate else 0
        if "m.room.message" in events:
            events["m.room.message"] = 1 if moderate else 0
        changed = True
    anybody = _wish(wishes, _CHANGE_SUBJECT)
    if anybody is not None and anybody is not anybody_sets_topic(room.power):
        events["m.room.topic"] = room.power.users_default if anybody else max(50, room.power.state_default)
        changed = True
    if not changed:
        return None
    content["events"] = events
    return content


def _wish(wishes: Mapping[str, str], var: str) -> bool | None:
    """spec: XEP-0004 3.3: boolean is 0, 1, false or true"""
    value = wishes.get(var)
    if value is None:
        return None
    if value not in ("0", "1", "false", "true"):
        raise Problem("not-acceptable", f"{var} is true or false")
    return value in ("1", "true")
