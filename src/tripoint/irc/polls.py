"""ChanServ VOTE: voting in a poll, which Matrix clients show with buttons and others as numbered lines.

spec: docs/mapping.md 10.11; MSC3381.  What a poll says: core/in_words.py.
"""

from __future__ import annotations

from tripoint.core.ids import EventId, RoomId
from tripoint.core.in_words import POLL_ENDS, POLL_STARTS, Poll, poll_in, vote_content
from tripoint.core.json_view import object_at, text_at
from tripoint.irc.services import Request, service_command
from tripoint.irc.session import IrcSession
from tripoint.rooms.commands import SendEvent
from tripoint.rooms.history import ByEvent, Direction, HistoryItem, HistoryQuery
from tripoint.rooms.refusals import Refusal, Refused

# Polls that may have ended since: so many ends are looked at.
_ENDS = 100


@service_command("ChanServ", "VOTE", "<channel> <number> [<msgid>]: vote in the newest poll, or that one", min_words=2)
async def vote(request: Request) -> None:
    """VOTE <channel> <number> [<msgid>]. A second vote takes the place of the first."""
    session = request.session
    channel = await session.channel_named(request.word(0))
    found = await _poll(session, channel.room_id, request.word(2))
    if found is None:
        request.say("There is no such poll here" if request.word(2) else "There is no poll here")
        return
    item, poll = found
    number = request.word(1)
    if not number.isascii() or not number.isdecimal() or not 1 <= int(number) <= len(poll.answers):
        request.say(f"The answers of that poll are numbered 1 to {len(poll.answers)}")
        return
    if await _has_ended(session, channel.room_id, item):
        request.say("That poll has ended")
        return
    answer_id, words = poll.answers[int(number) - 1]
    kind, content = vote_content(poll, item.event.event_id, answer_id)
    await session.do(
        SendEvent(
            actor=session.user_id, room_id=channel.room_id, type=kind, content=content, origin=session.origin()
        )
    )
    request.say(f"You have voted for: {words}")


async def _poll(session: IrcSession, room_id: RoomId, msgid: str) -> tuple[HistoryItem, Poll] | None:
    if msgid:
        try:
            item = await session.reader.event(room_id, EventId(msgid), session.user_id)
        except Refused as refused:
            if refused.refusal is not Refusal.NO_SUCH_EVENT:
                raise
            return None
    else:
        query = HistoryQuery(
            room_id=room_id,
            viewer=session.user_id,
            direction=Direction.BACKWARD,
            types=POLL_STARTS,
            limit=1,
            only_here=True,
        )
        page = await session.reader.history(query)
        if not page.items:
            return None
        item = page.items[0]
    poll = poll_in(item.event.content) if item.event.type in POLL_STARTS else None
    return None if poll is None else (item, poll)


async def _has_ended(session: IrcSession, room_id: RoomId, start: HistoryItem) -> bool:
    query = HistoryQuery(
        room_id=room_id,
        viewer=session.user_id,
        direction=Direction.FORWARD,
        anchor=ByEvent(start.event.event_id),
        types=POLL_ENDS,
        limit=_ENDS,
    )
    ends = (await session.reader.history(query)).items
    return any(
        text_at(object_at(end.event.content, "m.relates_to"), "event_id") == start.event.event_id for end in ends
    )
