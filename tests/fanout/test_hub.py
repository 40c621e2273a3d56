"""Who hears of a change: all of them, or all but messages."""

from tests.core.graph_builder import KEY
from tripoint.core.event import Event, EventDraft, build_event
from tripoint.core.ids import EventId, RoomId, ServerName, UserId
from tripoint.core.room_version import get_room_version
from tripoint.fanout.hub import Hub
from tripoint.rooms.changes import EventCommitted, RoomChange, StateReset, TypingChanged

ROOM = RoomId("!tea:one.example")
BOB = UserId("@bob:one.example")


def event(type_: str, state_key: str | None = None) -> Event:
    return build_event(
        EventDraft(type_, BOB, {}, state_key=state_key),
        get_room_version("10"),
        room_id=ROOM,
        prev_events=[EventId("$p")],
        auth_events=[],
        depth=2,
        origin_server_ts=1,
        server=ServerName("one.example"),
        key=KEY,
    )


def committed(type_: str, state_key: str | None = None, only_for: UserId | None = None) -> EventCommitted:
    return EventCommitted(1, ROOM, event(type_, state_key), only_for=only_for)


def test_who_does_not_want_messages_hears_of_all_else() -> None:
    everything: list[RoomChange] = []
    quiet: list[RoomChange] = []
    here: list[RoomChange] = []
    hub = Hub(lambda where, error: None)
    hub.watch_all_rooms(everything.append)
    hub.watch_all_rooms(quiet.append, messages=False)
    hub.watch_room(ROOM, here.append)
    said = [committed("m.room.message"), committed("m.reaction")]
    told: list[RoomChange] = [
        committed("m.room.redaction"),
        committed("m.room.topic", ""),
        committed("m.room.member", BOB),
        StateReset(2, ROOM, ()),
        TypingChanged(ROOM, frozenset({BOB}), frozenset()),
    ]
    alone = committed("m.room.message", only_for=BOB)
    for change in (*said, *told, alone):
        hub.room_changed(change)
    assert everything == [*said, *told]
    assert quiet == told
    assert here == [*said, *told, alone]


def test_one_that_raises_is_reported_and_the_next_hears_all_the_same() -> None:
    reported: list[tuple[str, BaseException]] = []
    heard: list[RoomChange] = []
    hub = Hub(lambda where, error: reported.append((where, error)))

    def broken(change: RoomChange) -> None:
        raise RuntimeError("a bug")

    hub.watch_all_rooms(broken)
    hub.watch_all_rooms(heard.append)
    change = committed("m.room.message")
    hub.room_changed(change)
    assert heard == [change]
    assert [(where, str(error)) for where, error in reported] == [("fanout.room_watcher", "a bug")]
