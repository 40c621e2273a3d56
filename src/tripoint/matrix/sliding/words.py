"""A room's part of an answer of sliding sync, in its words. spec: MSC4186 RoomResult, Hero"""

from collections.abc import Callable, Sequence

import orjson
from msgspec import Struct

from tripoint.core.event import Event
from tripoint.core.ids import EventId, UserId
from tripoint.matrix.render import Own, Renderer
from tripoint.matrix.sliding.connections import Told
from tripoint.matrix.sliding.places import Marks
from tripoint.matrix.sync.rooms import RoomChunks, Timeline
from tripoint.matrix.sync.tokens import page_token
from tripoint.rooms.ports import RoomView
from tripoint.rooms.unread import Count


class Ask(Struct, frozen=True, kw_only=True):
    """Who asks for what. `upto`: the position that the answer comes to; `live_from`: that of the answer before, if
    there was one. `session` is the device among the sessions of all protocols."""

    user_id: UserId
    session: str
    upto: int
    live_from: int | None
    stable: bool
    marks: Marks


class Result(Struct, frozen=True):
    """`body` None: there is nothing new. `told`: what the client knows with it. `events` are those of the timeline,
    None where there is none."""

    body: bytes | None
    told: Told
    events: frozenset[EventId] | None = None


class Words:
    """Members of a RoomResult, appended to `parts`. `own` finds by what an event is known to the session that sent
    it."""

    def __init__(
        self, chunks: RoomChunks, renderer: Renderer, own: Callable[[Event, str], Own | None]
    ) -> None:
        self._chunks = chunks
        self._renderer = renderer
        self._own = own

    def common(self, ask: Ask, membership: str, lists: Sequence[str]) -> list[bytes]:
        """What every result begins with; the earlier form has none of it."""
        if not ask.stable:
            return []
        parts = [b'"membership":' + orjson.dumps(membership)]
        if lists:
            parts.append(b'"lists":' + orjson.dumps(lists))
        return parts

    def timeline(self, ask: Ask, timeline: Timeline, parts: list[bytes]) -> None:
        """`num_live` are the events since the answer before."""
        render, bundles = self._renderer.timeline, timeline.bundles
        events = [
            render(
                item, self._own(item.event, ask.session), bundles.get(item.event.event_id), timeline.membership
            )
            for item in timeline.items
        ]
        live_from = ask.upto if ask.live_from is None else ask.live_from
        live = sum(item.position > live_from for item in timeline.items)
        parts.append(b'"timeline":[' + b",".join(events) + b"]")
        parts.append(b'"num_live":%d,"prev_batch":"%s"' % (live, page_token(timeline.start).encode()))
        parts.append(b'"limited":true' if timeline.limited else b'"limited":false')

    def state(self, state: Sequence[Event], parts: list[bytes]) -> None:
        """Nothing where there is none."""
        if state:
            parts.append(b'"required_state":[' + b",".join(self._renderer.state(event) for event in state) + b"]")

    def heroes(self, room: RoomView, user_id: UserId) -> bytes:
        """Who stands for the name of a room that has none."""
        heroes = []
        for hero in self._chunks.heroes(room, user_id):
            member = room.member(hero)
            said: dict[str, str] = {"user_id": hero}
            if member is not None and member.displayname:
                said["displayname"] = member.displayname
            if member is not None and member.avatar_url:
                said["avatar_url"] = member.avatar_url
            heroes.append(said)
        return orjson.dumps(heroes)


def counts(unread: Count | None) -> list[bytes]:
    """The counts of the earlier form; none where they are not told."""
    if unread is None:
        return []
    return [b'"notification_count":%d,"highlight_count":%d' % (unread.notifications, unread.highlights)]


def as_object(parts: Sequence[bytes]) -> bytes:
    """The members in braces."""
    return b"{" + b",".join(parts) + b"}"
