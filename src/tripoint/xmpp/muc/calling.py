"""Who may mention whom in a room: shown to everybody who may ask for the room, set by its owners.

How many people a message mentions is a number of this project's own state; who calls everybody is the level for that
notification, which Matrix has (docs/mapping.md 2.11). Who mentions single people, and those who look after the room, is
for anybody who may speak, and is no setting.
spec: XEP-0513 3.6
"""

from typing import Final

from tripoint.core.canonical_json import JsonObject
from tripoint.core.json_view import object_at
from tripoint.rooms.commands import SendState
from tripoint.rooms.ports import RoomView
from tripoint.rooms.settings import MENTIONS, forwards_mentions, mentions_content, most_mentions
from tripoint.xmpp.forms import single, submitted
from tripoint.xmpp.jid import Jid
from tripoint.xmpp.muc.explicit import MAX_MENTIONS
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At, iq
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import DATA_FORMS_NS, MENTIONS_NS
from tripoint.xmpp.wire import Element

_COUNT: Final = "mentions#count"
_INDIVIDUAL: Final = "mentions#individual"
_CHANNEL: Final = "mentions#channel"
_ASSOCIATIONS: Final = "mentions#associations"
_PARTICIPANTS: Final = "participants"
_MODERATORS: Final = "moderators"
_LABELS: Final = {_PARTICIPANTS: "Everybody who may speak", _MODERATORS: "Moderators alone"}


def mentions_allowed(room: RoomView) -> int:
    """How many people one message may mention."""
    return min(most_mentions(room.state) or MAX_MENTIONS, MAX_MENTIONS)


def calling_fields(room: RoomView) -> list[tuple[str, str]]:
    """What holds, by the fields of the form. They stand in muc#roominfo too."""
    everybody = room.power.notification("room") <= room.power.users_default
    return [
        (_COUNT, str(mentions_allowed(room))),
        (_INDIVIDUAL, _PARTICIPANTS),
        (_CHANNEL, _PARTICIPANTS if everybody else _MODERATORS),
        (_ASSOCIATIONS, _PARTICIPANTS),
    ]


@iq("get", MENTIONS_NS, at=(At.ROOM,), spec="XEP-0513 3.6")
async def permissions(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """The form, with what holds."""
    room = await session.muc.room_for(session, jid)
    values = dict(calling_fields(room))
    fields = (
        _number(values[_COUNT])
        + _choice(_INDIVIDUAL, "Who mentions single people", values[_INDIVIDUAL], (_PARTICIPANTS,))
        + _choice(_CHANNEL, "Who calls everybody", values[_CHANNEL], (_PARTICIPANTS, _MODERATORS))
        + _choice(_ASSOCIATIONS, "Who calls moderators, admins and owners", values[_ASSOCIATIONS], (_PARTICIPANTS,))
    )
    return (
        f"<query xmlns='{MENTIONS_NS}'><x xmlns='{DATA_FORMS_NS}' type='form'><title>Who may mention whom</title>"
        f"<field type='hidden' var='FORM_TYPE'><value>{MENTIONS_NS}</value></field>{fields}</x></query>"
    )


@iq("set", MENTIONS_NS, at=(At.ROOM,), spec="XEP-0513 3.6")
async def set_permissions(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """What an owner has filled in. What is left out stays."""
    room = await session.muc.room_for(session, jid)
    if room.rank(session.user_id).value != "owner" or room.membership(session.user_id) != "join":
        raise Problem("forbidden", "Only owners configure a room")
    query = stanza.first()
    assert query is not None  # the router has looked
    wishes = submitted(query.child("x", DATA_FORMS_NS), MENTIONS_NS)
    count, channel = _wished_count(single(wishes, _COUNT)), single(wishes, _CHANNEL)
    for var in (_INDIVIDUAL, _ASSOCIATIONS):
        if single(wishes, var) not in (None, _PARTICIPANTS):
            raise Problem("not-acceptable", f"{var} is for everybody who may speak here")
    if channel not in (None, _PARTICIPANTS, _MODERATORS):
        raise Problem("not-acceptable", f"{_CHANNEL} is {_PARTICIPANTS} or {_MODERATORS}")
    if count is not None and count != mentions_allowed(room):
        await _send(session, room, MENTIONS, mentions_content(forwards_mentions(room.state), count))
    if channel is not None and (_CHANNEL, channel) not in calling_fields(room):
        level = room.power.users_default if channel == _PARTICIPANTS else max(room.power.kick, 1)
        content = dict(room.power.content)
        content["notifications"] = {**object_at(content, "notifications"), "room": level}
        await _send(session, room, "m.room.power_levels", content)
    return ""


async def _send(session: XmppSession, room: RoomView, type_: str, content: JsonObject) -> None:
    await session.doors.rooms.do(
        SendState(actor=session.user_id, room_id=room.room_id, type=type_, state_key="", content=content)
    )


def _wished_count(text: str | None) -> int | None:
    if text is None:
        return None
    text = text.strip()
    if not (text.isascii() and text.isdecimal() and len(text) < 4 and 0 < int(text) <= MAX_MENTIONS):
        raise Problem("not-acceptable", f"{_COUNT} is a whole number from 1 to {MAX_MENTIONS}")
    return int(text)


def _number(value: str) -> str:
    label = "How many people a message mentions at most"
    return f"<field var='{_COUNT}' type='text-single' label='{label}'><required/><value>{value}</value></field>"


def _choice(var: str, label: str, value: str, options: tuple[str, ...]) -> str:
    listed = "".join([f"<option label='{_LABELS[one]}'><value>{one}</value></option>" for one in options])
    return f"<field var='{var}' type='list-single' label='{label}'><required/><value>{value}</value>{listed}</field>"
