"""What a letter about unread messages says: by rooms, the newest messages of each, no words of what is encrypted. Pure.

Its own sentences are core/letter_words.py's.

spec: Matrix client-server POST /pushers/set, kind email ("a pusher that emails the user with unread notifications")
"""

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from tripoint.core.email_address import EmailAddress
from tripoint.core.event import Event
from tripoint.core.ids import RoomId, split_user_id
from tripoint.core.letter_words import Say
from tripoint.core.letters import Heading, Letter, Line, Link, Quote, Text, shortened
from tripoint.core.message import MessageKind, view_message
from tripoint.core.richtext import to_plain
from tripoint.core.sealed import ENCRYPTED, is_sealed
from tripoint.rooms.pushing import Alert

# What a letter shows; the rest is counted.
MAX_ROOMS: Final = 10
MAX_MESSAGES: Final = 5
MAX_TEXT: Final = 500
MAX_NAME: Final = 80


def letter_about(alerts: Sequence[Alert], to: EmailAddress, server: str, leave_url: str, say: Say) -> Letter:
    """One letter about all of these, which are in order of position. `say`: the sentences of the reader's language."""
    rooms: dict[RoomId, list[Alert]] = {}
    for alert in alerts:
        rooms.setdefault(alert.place.room_id, []).append(alert)
    lines: list[Line] = []
    for told in list(rooms.values())[:MAX_ROOMS]:
        lines += _about_room(told, say)
    if len(rooms) > MAX_ROOMS:
        lines.append(Text(_counted(say, "unread_one_more_room", "unread_more_rooms", len(rooms) - MAX_ROOMS)))
    lines.append(Text(say("unread_why", server=server)))
    lines.append(Link(say("unread_leave"), leave_url))
    return Letter(to, _subject(list(rooms.values()), server, say), tuple(lines), leave_url)


def _about_room(told: Sequence[Alert], say: Say) -> list[Line]:
    shown, left = told[-MAX_MESSAGES:], max(0, len(told) - MAX_MESSAGES)
    lines: list[Line] = [Heading(_room(told[-1], say))]
    if left:
        lines.append(Text(_counted(say, "unread_one_earlier", "unread_earlier", left)))
    lines += [Quote(_sender(alert), _said(alert, say)) for alert in shown]
    lines.append(Link(say("unread_open"), f"https://matrix.to/#/{quote(told[-1].place.room_id, safe='!:')}"))
    return lines


def _subject(rooms: Sequence[Sequence[Alert]], server: str, say: Say) -> str:
    told = rooms[0]
    room, sender = _room(told[-1], say), _sender(told[-1])
    if len(rooms) == 1:
        if told[-1].about_reader:
            return say("unread_subject_invitation", sender=sender, room=room, server=server)
        if len(told) == 1:
            return say("unread_subject_message", sender=sender, room=room, server=server)
        return say("unread_subject_messages", number=str(len(told)), room=room, server=server)
    other = _room(rooms[1][-1], say)
    if len(rooms) == 2:
        return say("unread_subject_two_rooms", room=room, other=other, server=server)
    names = {"room": room, "other": other, "server": server}
    return _counted(say, "unread_subject_three_rooms", "unread_subject_rooms", len(rooms) - 2, **names)


def _counted(say: Say, one: str, many: str, number: int, **values: str) -> str:
    return say(one, **values) if number == 1 else say(many, number=str(number), **values)


def _room(alert: Alert, say: Say) -> str:
    name = alert.room_name or alert.room_alias or say("unread_conversation", sender=_sender(alert))
    return shortened(name, MAX_NAME)


def _sender(alert: Alert) -> str:
    return shortened(alert.sender_name or split_user_id(alert.event.sender)[0], MAX_NAME)


def _said(alert: Alert, say: Say) -> str:
    """What an event comes to in words; of what is encrypted, and of what has none, that it is there."""
    event = alert.event
    if alert.about_reader:
        return say("unread_invites")
    if event.type == ENCRYPTED or is_sealed(event.type, event.content):
        return say("unread_encrypted")
    text = _words(event)
    return shortened(text, MAX_TEXT) if text else f"({event.type})"


def _words(event: Event) -> str | None:
    if event.type != "m.room.message":
        return None
    view = view_message(event.content)
    if view is None:
        return None
    if view.kind is MessageKind.OTHER:
        return f"({view.msgtype.removeprefix('m.') or 'something'}) {view.body}"
    said = to_plain(view.text)
    return f"* {said}" if view.kind is MessageKind.EMOTE else said
