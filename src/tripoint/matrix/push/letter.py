"""What a letter about unread messages says: by rooms, the newest messages of each, no words of what is encrypted. Pure.

spec: Matrix client-server POST /pushers/set, kind email ("a pusher that emails the user with unread notifications")
"""

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from tripoint.core.email_address import EmailAddress
from tripoint.core.event import Event
from tripoint.core.ids import RoomId, split_user_id
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


def letter_about(alerts: Sequence[Alert], to: EmailAddress, server: str, leave_url: str) -> Letter:
    """One letter about all of these, which are in order of position."""
    rooms: dict[RoomId, list[Alert]] = {}
    for alert in alerts:
        rooms.setdefault(alert.place.room_id, []).append(alert)
    lines: list[Line] = []
    for told in list(rooms.values())[:MAX_ROOMS]:
        lines += _about_room(told)
    if len(rooms) > MAX_ROOMS:
        lines.append(Text(f"There is more in {_count(len(rooms) - MAX_ROOMS, 'other room')}."))
    lines.append(Text(f"You get letters like this because a client of yours at {server} asked for them."))
    lines.append(Link("No more letters like this", leave_url))
    return Letter(to, _subject(list(rooms.values()), server), tuple(lines), leave_url)


def _about_room(told: Sequence[Alert]) -> list[Line]:
    shown, left = told[-MAX_MESSAGES:], max(0, len(told) - MAX_MESSAGES)
    lines: list[Line] = [Heading(_room(told[-1]))]
    if left:
        lines.append(Text(f"{_count(left, 'earlier message')} not shown here."))
    lines += [Quote(_sender(alert), _said(alert)) for alert in shown]
    lines.append(Link("Open the room", f"https://matrix.to/#/{quote(told[-1].place.room_id, safe='!:')}"))
    return lines


def _subject(rooms: Sequence[Sequence[Alert]], server: str) -> str:
    names = [_room(told[-1]) for told in rooms[:2]]
    if len(rooms) == 1:
        told = rooms[0]
        if told[-1].about_reader:
            return f"{_sender(told[-1])} invites you to {names[0]} ({server})"
        if len(told) == 1:
            return f"A message from {_sender(told[0])} in {names[0]} ({server})"
        return f"{len(told)} messages in {names[0]} ({server})"
    more = "" if len(rooms) == 2 else f" and {_count(len(rooms) - 2, 'other room')}"
    return f"Messages in {' and '.join(names) if not more else ', '.join(names)}{more} ({server})"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _room(alert: Alert) -> str:
    return shortened(alert.room_name or alert.room_alias or f"a conversation with {_sender(alert)}", MAX_NAME)


def _sender(alert: Alert) -> str:
    return shortened(alert.sender_name or split_user_id(alert.event.sender)[0], MAX_NAME)


def _said(alert: Alert) -> str:
    """What an event comes to in words; of what is encrypted, and of what has none, that it is there."""
    event = alert.event
    if alert.about_reader:
        return "invites you"
    if event.type == ENCRYPTED or is_sealed(event.type, event.content):
        return "(an encrypted message)"
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
