"""Every store keeps the promises of store/interface.py: the same tests for each implementation."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from msgspec.structs import replace

from tests.support.middle import run
from tripoint.core.ids import EventId, RoomAlias, RoomId, ServerName, UserId
from tripoint.core.listings import (
    ACCOUNT_ORDERS,
    MEDIA_ORDERS,
    ROOM_ORDERS,
    AccountQuery,
    MediaQuery,
    MediaUse,
    MediaUseQuery,
    OldMediaQuery,
    Page,
    RoomQuery,
)
from tripoint.store.admin_store import AccountRow
from tripoint.store.interface import MEDIA_BLOCK, Store, StoreError
from tripoint.store.memory import MemoryStore
from tripoint.store.oauth_writes import (
    DropBrowserSessions,
    PutBrowserSession,
    PutIdentity,
    PutOAuthClient,
    PutOAuthGrant,
    TrimOAuth,
)
from tripoint.store.sqlite import SqliteStore
from tripoint.store.stream import Stream
from tripoint.store.writes import (
    AddEvent,
    AddReport,
    AddStateGroup,
    CompleteStates,
    DropAccount,
    DropEvents,
    DropRegistrationToken,
    DropReport,
    DropRoom,
    ForgetSticky,
    ForgetWordsGone,
    PlaceEvent,
    PutAccount,
    PutAccountData,
    PutAlias,
    PutCertificate,
    PutClosedRoom,
    PutCredential,
    PutDelayed,
    PutDestination,
    PutDevice,
    PutFastToken,
    PutFilter,
    PutMedia,
    PutMediaLink,
    PutMembership,
    PutMeta,
    PutMissedRoom,
    PutMissingPast,
    PutName,
    PutNode,
    PutNodeItem,
    PutNodeSubscription,
    PutPartialRoom,
    PutProfile,
    PutPusher,
    PutReceipt,
    PutRegistrationToken,
    PutRoom,
    PutRoomPassword,
    PutRosterItem,
    PutServerBan,
    PutServerKey,
    PutStagedPdu,
    PutSticky,
    PutStrippedState,
    PutToken,
    PutUnanswered,
    PutVhost,
    PutWaitingRedaction,
    ReplaceEventJson,
    Write,
)

ALICE, BOB = UserId("@alice:example.org"), UserId("@bob:example.org")
Test = Callable[[Store], Awaitable[None]]


def room(key: int, **changes: object) -> PutRoom:
    fields: dict[str, object] = {
        "room_key": key,
        "room_id": RoomId(f"!room{key}:example.org"),
        "version": "12",
        "head_group": 0,
        "extremities": ((EventId("$a"), 3, 1), (EventId("$b"), 4, 2)),
        "created_ts_ms": 1000 + key,
        "listed": False,
        "temporary": False,
        "locked_until_ms": None,
        "unlock_join_rule": None,
        "direct_pair": None,
        **changes,
    }
    return PutRoom(**fields)  # type: ignore[arg-type]


def event(key: int, room_key: int = 1, **changes: object) -> AddEvent:
    fields: dict[str, object] = {
        "event_key": key,
        "position": key,
        "room_key": room_key,
        "event_id": EventId(f"$event{key}"),
        "state_group": 1,
        "ts_ms": key * 10,
        "flags": 0,
        "type": None,
        "state_key": None,
        "token": None,
        "json": b'{"n":%d}' % key,
        **changes,
    }
    return AddEvent(**fields)  # type: ignore[arg-type]


@pytest.fixture(params=["memory", "sqlite"])
def on_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Test], None]:
    """Run a test on a fresh store of each kind."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Store]:
        store: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "test.db")
        try:
            yield store
        finally:
            await store.close()

    def runner(test: Test) -> None:
        async def work() -> None:
            async with opened() as store:
                await test(store)

        run(work)

    return runner


async def write(store: Store, *writes: Write) -> None:
    await Stream(store, 0).commit(writes)


OnStore = Callable[[Test], None]


def test_rooms_come_back_as_they_were_put(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        one = room(1, listed=True, direct_pair="a b", locked_until_ms=5, unlock_join_rule="public")
        two = room(2, temporary=True, direct_pair="a b", created_ts_ms=7)
        await write(store, one, two)
        assert await store.load_room(one.room_id) == one
        assert await store.load_room_by_key(2) == two
        assert await store.load_room(RoomId("!other:example.org")) is None
        assert await store.load_listed_rooms() == [one]
        assert await store.load_locked_rooms() == [one]
        assert await store.load_direct_rooms("a b") == [two, one]
        newer = room(1, head_group=9, extremities=((EventId("$c"), 5, 9),))
        await write(store, room(1), newer)
        assert await store.load_room(one.room_id) == newer
        assert await store.load_listed_rooms() == []

    on_store(test)


def test_events_are_found_by_id_position_time_and_token(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        events = [event(n, room_key=1 + n % 2, token="t" if n in (3, 7) else None) for n in range(1, 11)]
        await write(store, room(1), room(2), *events)
        found = await store.load_event(EventId("$event4"))
        assert found is not None
        assert (found.position, found.room_key, found.json, found.redacted_by) == (4, 1, b'{"n":4}', None)
        assert await store.load_event(EventId("$nothing")) is None
        assert sorted(await store.load_events([2, 3, 99])) == [2, 3]
        assert await store.load_last_position(1) == 10
        assert await store.load_last_position(3) == 0
        # Room 2 holds 1, 3, 5, 7, 9 at times 10, 30, ...
        assert await store.load_position_at(2, 50) == 3
        assert await store.load_position_at(2, 51) == 5
        assert await store.load_position_at(2, 10) == 0
        assert [e.position for e in await store.load_event_by_token(2, "t")] == [7, 3]
        assert await store.load_event_by_token(1, "t") == []

    on_store(test)


@pytest.mark.parametrize(
    ("after", "upto", "limit", "backward", "positions"),
    [
        (0, 100, 100, False, [1, 2, 3, 4, 5]),
        (0, 100, 2, False, [1, 2]),
        (0, 100, 2, True, [5, 4]),
        (2, 4, 9, False, [3, 4]),
        (2, 4, 9, True, [4, 3]),
        (4, 4, 9, True, []),
    ],
)
def test_a_timeline_is_bounded_on_both_sides(
    on_store: OnStore, after: int, upto: int, limit: int, backward: bool, positions: list[int]
) -> None:
    async def test(store: Store) -> None:
        await write(store, room(1), room(2), *(event(n) for n in range(1, 6)), event(6, room_key=2))
        found = await store.load_timeline(1, after=after, upto=upto, limit=limit, backward=backward)
        assert [e.position for e in found] == positions

    on_store(test)


def test_state_history_is_kept_per_key(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        await write(
            store,
            room(1),
            event(1, type="m.room.topic", state_key=""),
            event(2, type="m.room.member", state_key=ALICE),
            event(3),
            event(4, type="m.room.topic", state_key=""),
        )
        history = await store.load_state_history(1, "m.room.topic", "")
        assert [e.position for e in history] == [1, 4]
        before = await store.load_state_before(1, "m.room.topic", "", 4)
        assert before is not None and before.position == 1
        assert await store.load_state_before(1, "m.room.topic", "", 1) is None
        for after, upto, wanted in ((0, 9, [1, 4]), (1, 4, [1, 4]), (2, 3, [1]), (4, 9, [4]), (5, 4, [4]), (0, 0, [])):
            changes = await store.load_state_changes(1, "m.room.topic", "", after=after, upto=upto)
            assert [e.position for e in changes] == wanted

    on_store(test)


def test_a_redacted_event_keeps_its_place(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        await write(store, room(1), event(1, token="kept"))
        await write(store, ReplaceEventJson(1, 8, b"{}", EventId("$because")))
        found = await store.load_event(EventId("$event1"))
        assert found is not None
        assert (found.json, found.flags, found.redacted_by, found.token) == (b"{}", 8, "$because", "kept")

    on_store(test)


def test_outliers_are_in_no_timeline_until_they_get_a_place(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        topic = {"type": "m.room.topic", "state_key": ""}
        await write(
            store,
            room(1),
            event(1, **topic),
            event(2, position=None, flags=1, **topic),
            event(3, position=-5, **topic),
            event(4),
        )
        timeline = await store.load_timeline(1, after=-100, upto=100, limit=10, backward=False)
        assert [e.event_key for e in timeline] == [3, 1, 4]
        assert [e.event_key for e in await store.load_state_history(1, "m.room.topic", "")] == [3, 1]
        assert await store.load_last_position(1) == 4
        outlier = await store.load_event(EventId("$event2"))
        assert outlier is not None and (outlier.position, outlier.flags) == (None, 1)
        found = await store.load_events_by_id([EventId("$event2"), EventId("$event4"), EventId("$nothing")])
        assert {event_id: e.event_key for event_id, e in found.items()} == {"$event2": 2, "$event4": 4}
        await write(store, PlaceEvent(2, 9, 7, 0))
        timeline = await store.load_timeline(1, after=0, upto=100, limit=10, backward=False)
        assert [(e.event_key, e.place, e.state_group) for e in timeline] == [(1, 1, 1), (4, 4, 1), (2, 9, 7)]
        assert (await store.load_maxima())[0] == 9

    on_store(test)


def test_state_groups_are_deltas_on_a_whole_state(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        await write(
            store,
            AddStateGroup(1, 1, None, (("a", "", 1), ("b", "x", 2))),
            AddStateGroup(2, 1, 1, (("a", "", 3),)),
            AddStateGroup(3, 1, 2, (("c", "", 4), ("b", "x", 5))),
            AddStateGroup(4, 1, 1, (("fork", "", 6),)),
        )
        assert await store.load_state(1) == {("a", ""): 1, ("b", "x"): 2}
        assert await store.load_state(3) == {("a", ""): 3, ("b", "x"): 5, ("c", ""): 4}
        assert await store.load_state(4) == {("a", ""): 1, ("b", "x"): 2, ("fork", ""): 6}
        assert await store.load_state(99) == {}
        assert await store.load_state_chain(1) == (0, 2)
        assert await store.load_state_chain(3) == (3, 2)

    on_store(test)


def test_memberships_aliases_receipts_names(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        tea, cha = RoomAlias("#tea:example.org"), RoomAlias("#cha:example.org")
        await write(
            store,
            room(1),
            room(2),
            PutMembership(ALICE, 1, "join", 5),
            PutMembership(ALICE, 2, "invite", 6),
            PutMembership(ALICE, 1, "leave", 7),
            PutAlias(tea, 1, ALICE),
            PutAlias(cha, 1, BOB),
            PutReceipt(1, ALICE, "m.read", "", EventId("$1"), 1, 8),
            PutReceipt(1, ALICE, "m.read", "", EventId("$2"), 2, 9),
            PutReceipt(1, BOB, "m.read", "$thread", EventId("$1"), 3, 10),
            PutName("muc_nick", "!room", ALICE, "Al"),
            PutName("muc_nick", "!room", ALICE, "Ally"),
            PutName("muc_nick", "!room", BOB, "Bo"),
            PutName("muc_nick", "!room", BOB, None),
            PutMeta("key", "one"),
            PutMeta("key", "two"),
        )
        rows = {row.room_key: row for row in await store.load_memberships(ALICE)}
        assert (rows[1].membership, rows[1].position, rows[1].room_id) == ("leave", 7, "!room1:example.org")
        assert rows[2].membership == "invite"
        assert await store.load_alias(tea) == "!room1:example.org"
        assert await store.load_alias_creator(cha) == BOB
        assert await store.load_aliases(1) == [cha, tea]
        assert [(r.user_id, r.event_id) for r in await store.load_receipts(1)] == [(ALICE, "$2"), (BOB, "$1")]
        assert await store.load_names("muc_nick", "!room") == {ALICE: "Ally"}
        assert await store.load_names("muc_nick", "!other") == {}
        assert await store.load_meta("key") == "two"
        assert await store.load_meta("nothing") is None
        await write(store, PutMembership(ALICE, 2, None, 0), PutAlias(tea, None, ALICE))
        assert [row.room_key for row in await store.load_memberships(ALICE)] == [1]
        assert await store.load_alias(tea) is None
        # Put, delete, put in one unit: the last one counts.
        await write(store, PutAlias(tea, 2, ALICE), PutAlias(tea, None, ALICE), PutAlias(tea, 1, ALICE))
        assert await store.load_alias(tea) == "!room1:example.org"

    on_store(test)


def test_accounts_and_what_they_own(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        alice = PutAccount(ALICE, "alice", False, True, False, False, 5)
        guest = PutAccount(BOB, "guest-1", True, False, False, False, 6)
        await write(
            store,
            alice,
            guest,
            PutCredential(ALICE, "scram-sha-256", b"\0\1"),
            PutDevice(ALICE, "PHONE", "matrix", "Phone", 1),
            PutDevice(ALICE, "LAPTOP", "irc", None, 2),
            PutToken(b"hash", ALICE, "PHONE", False, 99),
            PutToken(b"other", ALICE, "PHONE", True, None),
            PutProfile(ALICE, "displayname", "Alice"),
            PutAccountData(ALICE, "", "m.direct", b"{}", 3),
            PutAccountData(ALICE, "!r", "m.tag", b'{"a":1}', 4),
            PutFilter(ALICE, "f", b"{}"),
            PutRosterItem(ALICE, "b@example.org", b"b"),
            PutRosterItem(ALICE, "a@example.org", b"a"),
            PutRegistrationToken("come-in", 2, None),
            PutRegistrationToken("for-juliet", 1, 99, "juliet"),
        )
        assert await store.load_account(ALICE) == alice
        assert sorted(await store.load_account_names()) == ["alice", "guest-1"]
        assert await store.load_guests() == [guest]
        assert await store.load_users_like("alic", 5) == [(ALICE, "Alice", None)]
        assert await store.load_users_like("guest", 5) == []
        assert await store.load_credential(ALICE, "scram-sha-256") == b"\0\1"
        assert [d.device_id for d in await store.load_devices(ALICE)] == ["LAPTOP", "PHONE"]
        assert await store.load_token(b"hash") == PutToken(b"hash", ALICE, "PHONE", False, 99)
        assert len(await store.load_tokens(ALICE)) == 2
        assert await store.load_profile(ALICE) == {"displayname": "Alice"}
        assert [d.type for d in await store.load_account_data(ALICE, 0)] == ["m.direct", "m.tag"]
        assert [d.type for d in await store.load_account_data(ALICE, 3)] == ["m.tag"]
        assert await store.load_filter(ALICE, "f") == b"{}"
        assert await store.load_roster(ALICE) == [b"a", b"b"]
        assert await store.load_registration_token("come-in") == PutRegistrationToken("come-in", 2, None)
        await write(store, PutRegistrationToken("ahead", None, 7))
        assert [one.token for one in await store.load_registration_tokens()] == [
            "ahead",
            "come-in",
            "for-juliet",
        ]
        await write(store, DropRegistrationToken("ahead"))
        assert await store.load_registration_token("ahead") is None
        reserving = PutRegistrationToken("for-juliet", 1, 99, "juliet")
        assert await store.load_registration_token("for-juliet") == reserving
        await write(
            store,
            PutCredential(ALICE, "scram-sha-256", None),
            PutDevice(ALICE, "PHONE", None, None, 0),
            PutToken(b"hash", ALICE, None, False, None),
            PutProfile(ALICE, "displayname", None),
            PutRosterItem(ALICE, "a@example.org", None),
        )
        assert await store.load_credential(ALICE, "scram-sha-256") is None
        assert [d.device_id for d in await store.load_devices(ALICE)] == ["LAPTOP"]
        assert await store.load_token(b"hash") is None
        assert await store.load_profile(ALICE) == {}
        assert await store.load_roster(ALICE) == [b"b"]

    on_store(test)


def test_what_is_dropped_leaves_nothing(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        tea = RoomAlias("#tea:example.org")
        await write(
            store,
            PutAccount(BOB, "guest-1", True, False, False, False, 6),
            PutDevice(BOB, "X", "irc", None, 0),
            PutProfile(BOB, "displayname", "b"),
            PutMembership(BOB, 1, "join", 1),
            room(1),
            event(1),
            AddStateGroup(1, 1, None, (("a", "", 1),)),
            PutAlias(tea, 1, BOB),
            PutReceipt(1, BOB, "m.read", "", EventId("$1"), 1, 8),
        )
        # In one unit with a write that comes before: order is kept.
        await write(store, PutMembership(BOB, 1, "leave", 2), DropRoom(1), DropAccount(BOB))
        assert await store.load_room_by_key(1) is None
        assert await store.load_event(EventId("$event1")) is None
        assert await store.load_state(1) == {}
        assert await store.load_alias(tea) is None
        assert await store.load_receipts(1) == []
        assert await store.load_memberships(BOB) == []
        assert await store.load_account(BOB) is None
        assert await store.load_devices(BOB) == []
        assert await store.load_profile(BOB) == {}

    on_store(test)


def test_keys_of_servers_are_replaced_and_forgotten_one_by_one(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        server = ServerName("remote.example")
        first = PutServerKey(server, "ed25519:b", "AAA", False, 5000, 1000, b'{"n":1}')
        old = PutServerKey(server, "ed25519:a", "BBB", True, 900, 1000, b'{"n":1}')
        other = PutServerKey(ServerName("Remote.example"), "ed25519:b", "CCC", False, 1, 1, b"{}")
        assert await store.load_server_keys(server) == []
        await write(store, first, old, other)
        assert await store.load_server_keys(server) == [old, first]
        # Names of servers are told apart by case.
        assert await store.load_server_keys(other.server) == [other]
        again = PutServerKey(server, "ed25519:b", "AAA", False, 9000, 2000, b'{"n":2}')
        gone = PutServerKey(server, "ed25519:a", None, True, 0, 0, b"")
        await write(store, again, gone)
        assert await store.load_server_keys(server) == [again]
        # In one unit: order is kept.
        await write(store, old, gone)
        assert await store.load_server_keys(server) == [again]

    on_store(test)


def test_maxima_count_everything_with_a_position(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        assert await store.load_maxima() == (0, 0, 0)
        await write(store, room(3), event(5, room_key=3), AddStateGroup(7, 3, None, ()))
        assert await store.load_maxima() == (5, 7, 3)
        await write(store, PutReceipt(3, ALICE, "m.read", "", EventId("$1"), 1, 8))
        assert (await store.load_maxima())[0] == 8
        await write(store, PutAccountData(ALICE, "", "t", b"{}", 11))
        assert (await store.load_maxima())[0] == 11

    on_store(test)


def test_units_are_reported_in_order_of_submission(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        await write(store, room(1))
        done: list[int] = []
        last = asyncio.get_running_loop().create_future()

        def report(number: int) -> Callable[[StoreError | None], None]:
            def told(error: StoreError | None) -> None:
                assert error is None
                done.append(number)
                if number == 200:
                    last.set_result(None)

            return told

        for number in range(1, 201):
            store.submit([event(number)], report(number))
        await last
        assert done == list(range(1, 201))
        assert await store.load_last_position(1) == 200

    on_store(test)


async def _outcomes(store: Store, units: Sequence[Sequence[Write]]) -> list[StoreError | None]:
    """Submit units at once and wait for all of them."""
    outcomes: list[StoreError | None] = []
    finished = asyncio.get_running_loop().create_future()

    def done(error: StoreError | None) -> None:
        outcomes.append(error)
        if len(outcomes) == len(units):
            finished.set_result(None)

    for unit in units:
        store.submit(unit, done)
    await finished
    return outcomes


def test_a_unit_that_fails_takes_those_behind_it_along(tmp_path: Path) -> None:
    """A later event may build on an earlier one, so nothing behind a failure may be stored."""

    async def work() -> None:
        store = SqliteStore(tmp_path / "test.db")
        await write(store, room(1), event(1))
        outcomes = await _outcomes(store, [[event(2)], [event(1)], [event(3)]])
        assert all(isinstance(outcome, StoreError) for outcome in outcomes)
        assert await store.load_last_position(1) == 1
        # Afterwards the store goes on.
        assert await _outcomes(store, [[event(4)]]) == [None]
        assert await store.load_last_position(1) == 4
        await store.close()

    run(work)


def test_a_full_disk_is_told_and_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """SQLite's own page limit gives the error of a full disk: SQLITE_FULL, at the same place."""

    async def work() -> None:
        store = SqliteStore(tmp_path / "test.db")
        await write(store, room(1))
        pages = store._write.execute("PRAGMA page_count").fetchone()[0]
        store._write.execute(f"PRAGMA max_page_count = {pages + 5}")
        stored, position = [], 0
        while True:
            position += 1
            outcome = (await _outcomes(store, [[event(position, json=b"x" * 2000)]]))[0]
            if outcome is not None:
                break
            stored.append(position)
        assert "full" in str(outcome)
        assert stored
        store._write.execute("PRAGMA max_page_count = 100000")
        assert await _outcomes(store, [[event(position + 1)]]) == [None]
        found = await store.load_timeline(1, after=0, upto=10**6, limit=10**6, backward=False)
        assert [e.position for e in found] == [*stored, position + 1]
        await store.close()

    run(work)


def test_close_writes_what_is_queued(tmp_path: Path) -> None:
    async def work() -> None:
        store = SqliteStore(tmp_path / "test.db")
        acknowledged: list[StoreError | None] = []
        store.submit([room(1)], acknowledged.append)
        store.submit([event(1)], acknowledged.append)
        await store.close()
        assert acknowledged == [None, None]
        again = SqliteStore(tmp_path / "test.db")
        assert await again.load_last_position(1) == 1
        await again.close()
        # A closed store refuses, and says so.
        assert [type(o) for o in await _outcomes(again, [[event(2)]])] == [StoreError]

    run(work)


def test_what_is_known_of_rooms_from_outside(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        assert await store.load_stripped_state(1) is None
        await write(store, PutStrippedState(1, b"[1]"), PutStrippedState(2, b"[2]"))
        await write(store, PutStrippedState(1, b"[3]"))
        assert (await store.load_stripped_state(1), await store.load_stripped_state(2)) == (b"[3]", b"[2]")
        await write(store, PutStrippedState(1, None), DropRoom(2))
        assert (await store.load_stripped_state(1), await store.load_stripped_state(2)) == (None, None)

    on_store(test)


def test_account_data_of_one_type_is_read_of_everybody(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        global_, other = PutAccountData(BOB, "", "t", b"{}", 1), PutAccountData(ALICE, "", "t", b'{"a":1}', 3)
        await write(store, global_, PutAccountData(BOB, "!r", "t", b"{}", 2), PutAccountData(BOB, "", "u", b"{}", 4))
        await write(store, other)
        assert list(await store.load_account_data_of_type("t")) == [other, global_]
        assert list(await store.load_account_data_of_type("v")) == []

    on_store(test)


def test_a_closed_room_stays_closed(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        assert await store.load_closed_rooms() == {}
        a, b = RoomId("!a:x"), RoomId("!b:x")
        await write(store, PutClosedRoom(b, ALICE), PutClosedRoom(a, ALICE), PutClosedRoom(b, BOB))
        await write(store, DropRoom(1))
        assert await store.load_closed_rooms() == {a: ALICE, b: ALICE}
        await write(store, PutClosedRoom(a, None))
        assert await store.load_closed_rooms() == {b: ALICE}

    on_store(test)


def test_room_passwords_last_as_long_as_the_room(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        assert await store.load_room_password(1) is None
        await write(store, PutRoomPassword(1, b"v1", b"{}"), PutRoomPassword(2, b"v2", b"{}"))
        await write(store, PutRoomPassword(1, b"v3", b'{"join_rule":"public"}'))
        assert await store.load_room_password(1) == PutRoomPassword(1, b"v3", b'{"join_rule":"public"}')
        await write(store, PutRoomPassword(1, None, b""), DropRoom(2))
        assert (await store.load_room_password(1), await store.load_room_password(2)) == (None, None)

    on_store(test)


FAR, NEAR = ServerName("far.example"), ServerName("near.example")


def test_the_log_of_all_rooms_is_read_by_position(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        outlier = event(3, position=None, flags=1)
        await write(store, event(1), event(2, room_key=2), outlier, event(4), event(5, room_key=2))
        assert [row.event_key for row in await store.load_log(0, 10)] == [1, 2, 4, 5]
        assert [row.event_key for row in await store.load_log(1, 2)] == [2, 4]
        assert await store.load_log(5, 10) == []
        # What was here before it had its place comes when it is placed; what is fetched of the past when it is stored.
        await write(store, PlaceEvent(3, 6, 0, 0), event(7, position=-7), event(8))
        assert [(row.event_key, row.logged) for row in await store.load_log(4, 10)] == [(5, 5), (3, 6), (7, 7), (8, 8)]
        assert [row.event_key for row in await store.load_log(5, 2)] == [3, 7]
        assert [row.event_key for row in await store.load_log(6, 2)] == [7, 8]

    on_store(test)


def test_an_event_at_position_0_is_on_no_page_and_still_history(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        state = {"type": "m.room.history_visibility", "state_key": ""}
        await write(store, event(1, position=0, flags=1, **state), event(2), event(3, position=-5))
        page = await store.load_timeline(1, after=-10, upto=10, limit=10, backward=False)
        assert [found.event_key for found in page] == [3, 2]
        past = await store.load_state_history(1, "m.room.history_visibility", "")
        assert [found.position for found in past] == [0]
def test_receipts_of_all_rooms_are_read_by_position(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        one = PutReceipt(1, ALICE, "m.read", "", EventId("$a"), 1, 7)
        two = PutReceipt(2, BOB, "m.read", "main", EventId("$b"), 2, 9)
        moved = PutReceipt(1, ALICE, "m.read", "", EventId("$c"), 3, 11)
        await write(store, one, two, moved)
        assert await store.load_receipts_after(7) == [two, moved]
        assert await store.load_receipts_after(11) == []

    on_store(test)


def test_destinations_and_what_they_missed(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        near, far = PutDestination(NEAR, 5, 0, 0, 0), PutDestination(FAR, 3, 100, 200, 50)
        await write(store, near, far, PutMissedRoom(FAR, 2, 4), PutMissedRoom(FAR, 1, 9), PutMissedRoom(NEAR, 1, 8))
        assert await store.load_destinations() == [far, near]
        await write(store, PutDestination(NEAR, 6, 0, 0, 0), PutMissedRoom(FAR, 1, 7))
        assert await store.load_destinations() == [far, PutDestination(NEAR, 6, 0, 0, 0)]
        assert await store.load_missed_rooms() == [
            PutMissedRoom(FAR, 1, 7), PutMissedRoom(FAR, 2, 4), PutMissedRoom(NEAR, 1, 8)
        ]  # fmt: skip
        await write(store, PutMissedRoom(FAR, 2, None), PutDestination(NEAR, None, 0, 0, 0), DropRoom(1))
        assert await store.load_missed_rooms() == []
        assert await store.load_destinations() == [far]

    on_store(test)


def test_the_transaction_that_a_server_did_not_answer(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        await write(store, PutUnanswered(NEAR, "x-1", b"one"), PutUnanswered(FAR, "x-2", b"two"))
        await write(store, PutUnanswered(NEAR, "x-3", b"three"))
        assert await store.load_unanswered_ids() == [(FAR, "x-2"), (NEAR, "x-3")]
        assert await store.load_unanswered(NEAR) == b"three"
        await write(store, PutUnanswered(NEAR, None, b""))
        assert await store.load_unanswered_ids() == [(FAR, "x-2")]
        assert await store.load_unanswered(NEAR) is None

    on_store(test)


def test_pdus_wait_in_the_order_in_which_they_came(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        first = PutStagedPdu(EventId("$z"), 1, FAR, b"{}")
        second = PutStagedPdu(EventId("$a"), 1, NEAR, b"[]")
        other = PutStagedPdu(EventId("$o"), 2, FAR, b"1")
        await write(store, first, second, other, PutStagedPdu(EventId("$z"), 1, NEAR, b"changed"))
        assert await store.load_staged_rooms() == [1, 2]
        assert await store.load_staged_pdus(1) == [first, second]
        await write(store, PutStagedPdu(EventId("$z"), None, FAR, b""), DropRoom(2))
        assert await store.load_staged_pdus(1) == [second]
        assert await store.load_staged_rooms() == [1]

    on_store(test)


def test_redactions_wait_for_what_they_redact(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        target, one, two = EventId("$t"), EventId("$one"), EventId("$two")
        assert await store.load_waiting_redactions(target) == []
        await write(store, PutWaitingRedaction(target, two), PutWaitingRedaction(target, one))
        await write(store, PutWaitingRedaction(target, one))
        assert sorted(await store.load_waiting_redactions(target)) == [one, two]
        await write(store, event(1, event_id=target, flags=8, redacted_by=one))
        found = await store.load_event(target)
        assert found is not None and found.redacted_by == one

    on_store(test)


def test_where_the_past_goes_on(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        one, two = EventId("$one"), EventId("$two")
        assert await store.load_missing_past(1) == [] and await store.load_first_position(1) == 0
        await write(store, PutMissingPast(1, two, 0), PutMissingPast(1, one, -3), PutMissingPast(2, one, 5))
        assert sorted(await store.load_missing_past(1)) == [one, two]
        await write(store, PutMissingPast(1, two, None), event(7), event(8, position=-4), DropRoom(2))
        assert await store.load_missing_past(1) == [one] and await store.load_missing_past(2) == []
        assert await store.load_first_position(1) == -4

    on_store(test)


def test_states_that_were_not_whole_are_completed(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        join, server = EventId("$join"), ServerName("far.example")
        await write(
            store,
            AddStateGroup(1, 1, None, (("m.room.create", "", 1),)),
            AddStateGroup(2, 1, 1, (("m.room.member", "@a:x", 2),)),
            AddStateGroup(3, 1, None, (("m.room.create", "", 1), ("m.room.member", "@a:x", 2))),
            AddStateGroup(4, 2, None, (("m.room.create", "", 9),)),
            PutPartialRoom(1, join, (server,)),
            PutPartialRoom(2, join, ()),
        )
        assert await store.load_partial_room(1) == PutPartialRoom(1, join, (server,))
        assert [found.room_key for found in await store.load_partial_rooms()] == [1, 2]
        more = (("m.room.member", "@a:x", 7), ("m.room.member", "@b:x", 8))
        await write(store, CompleteStates(1, more), PutPartialRoom(1, None, ()), DropRoom(2))
        assert await store.load_partial_rooms() == [] and await store.load_partial_room(1) is None
        create, a, b = ("m.room.create", ""), ("m.room.member", "@a:x"), ("m.room.member", "@b:x")
        assert await store.load_state(1) == {create: 1, a: 7, b: 8}
        assert await store.load_state(2) == await store.load_state(3) == {create: 1, a: 2, b: 8}
        assert await store.load_state_chain(2) == (1, 3)

    on_store(test)


def test_events_near_a_time(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        await write(
            store, event(1), event(2), event(3, ts_ms=20), event(4, position=-7, ts_ms=5), event(5, position=None)
        )
        await write(store, event(6, position=0, flags=1, ts_ms=20), event(7, room_key=2, ts_ms=20))

        async def near(ts_ms: int, *, forward: bool, limit: int = 10) -> list[int]:
            found = await store.load_events_at(1, ts_ms, forward=forward, limit=limit)
            return [row.event_key for row in found]

        assert await near(20, forward=True) == [2, 3] and await near(20, forward=False) == [3, 2, 1, 4]
        assert await near(6, forward=True, limit=1) == [1] and await near(6, forward=False) == [4]
        assert await near(21, forward=True) == await near(4, forward=False) == []

    on_store(test)


HERE, THERE = ServerName("example.org"), ServerName("there.example")


def media(media_id: str, **changes: object) -> PutMedia:
    fields: dict[str, object] = {
        "server": HERE,
        "media_id": media_id,
        "content": f"hash-of-{media_id}",
        "type": "image/png",
        "filename": "tea.png",
        "size": 100,
        "uploader": ALICE,
        "created_ts_ms": 1000,
        "used_ts_ms": 1000,
        **changes,
    }
    return PutMedia(**fields)  # type: ignore[arg-type]


def test_media_rows(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        rows = [
            media("a"),
            media("b", content="hash-of-a", filename=None, size=50, quarantined=True),
            media("c", content=None, size=7, expires_ts_ms=5000, created_ts_ms=3),
            media("d", content=None, size=0, expires_ts_ms=6000, created_ts_ms=2),
            media("e", uploader=BOB, size=1),
        ]
        await write(store, *rows)
        for row in rows:
            assert await store.load_media(HERE, row.media_id) == row
        assert await store.load_media(HERE, "x") is None
        assert await store.load_media(THERE, "a") is None
        assert await store.load_uploaded_bytes(ALICE) == 4 * MEDIA_BLOCK
        await write(store, media("large", size=MEDIA_BLOCK + 1))
        assert await store.load_uploaded_bytes(ALICE) == 5 * MEDIA_BLOCK + 1
        assert await store.load_uploaded_bytes(UserId("@nobody:example.org")) == 0
        assert list(await store.load_pending_media(ALICE)) == [rows[3], rows[2]]
        assert list(await store.load_lapsed_media(4999)) == []
        assert list(await store.load_lapsed_media(5000)) == [rows[2]]
        assert await store.is_content_kept("hash-of-a")
        # Written again, it is another state of the same file; with no type it is gone.
        await write(store, media("c", size=9), media("a", type=None))
        assert await store.load_media(HERE, "c") == media("c", size=9)
        assert await store.load_media(HERE, "a") is None
        assert list(await store.load_pending_media(ALICE)) == [rows[3]]
        assert await store.is_content_kept("hash-of-a"), "b has the same bytes"
        await write(store, media("b", type=None))
        assert not await store.is_content_kept("hash-of-a")

    on_store(test)


def test_contents_each_once_page_by_page(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        twice = [media("a", content="c1"), media("b", content="c1"), media("c", server=FAR, content="c3")]
        await write(store, *twice, media("d", content="c2"), media("e", content=None, type="image/png"))
        assert list(await store.load_contents("", 2)) == ["c1", "c2"]
        assert list(await store.load_contents("c2", 2)) == ["c3"]
        assert list(await store.load_contents("c3", 2)) == []

    on_store(test)


def test_media_of_other_servers(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        far = [media(name, server=THERE, uploader=None, used_ts_ms=used) for name, used in (("a", 30), ("b", 10))]
        bad = media("c", server=THERE, uploader=None, used_ts_ms=1, quarantined=True)
        await write(store, media("a"), *far, bad)
        assert list(await store.load_cached_media(HERE, 10)) == far[::-1]
        assert list(await store.load_cached_media(HERE, 1)) == [far[1]]
        assert await store.load_cached_bytes(HERE) == 200
        assert await store.load_cached_bytes(THERE) == 0

    on_store(test)


def test_media_links(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        one = PutMediaLink("l1", HERE, "a", "$event", "tea.png")
        upload = PutMediaLink("l2", HERE, "a", "", "tea.png")
        other = PutMediaLink("l3", HERE, "b", "$event", "b.png")
        await write(store, one, upload, other)
        assert await store.load_media_link("l1") == one
        assert await store.load_media_link("none") is None
        assert list(await store.load_media_links(HERE, "a")) == [upload, one]
        # A link leads where it led when it was first given out.
        await write(store, PutMediaLink("l1", HERE, "b", "$other", "x.png"))
        assert await store.load_media_link("l1") == one
        await write(store, PutMediaLink("l1", None, "a", "$event", ""))
        assert await store.load_media_link("l1") is None

    on_store(test)


def test_whether_a_local_user_is_in_a_room(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        assert not await store.has_local_member(1)
        await write(store, room(1), PutMembership(ALICE, 1, "invite", 1), PutMembership(BOB, 1, "join", 2))
        assert await store.has_local_member(1)
        await write(store, PutMembership(BOB, 1, "leave", 3))
        assert not await store.has_local_member(1)
def test_what_is_published(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        def item(item_id: str, position: int, payload: bytes | None = b"<x/>", node: str = "tune") -> PutNodeItem:
            return PutNodeItem(ALICE, node, item_id, position, "alice@example.org/r", 5, payload)

        assert await store.load_nodes(ALICE) == [] and await store.load_node(ALICE, "tune") is None
        assert await store.load_published_bytes(ALICE) == 0
        tune, mood = PutNode(ALICE, "tune", b"{}"), PutNode(ALICE, "mood", b"{}")
        await write(store, tune, mood, PutNode(BOB, "tune", b"[]"), item("a", 1), item("b", 2), item("c", 3))
        await write(store, item("a", 4, b"<a/>"), item("z", 5, b"<long/>", "mood"))
        assert await store.load_nodes(ALICE) == [mood, tune]
        sub = PutNodeSubscription(ALICE, "tune", "bob@example.org", BOB)
        other = PutNodeSubscription(ALICE, "mood", "bob@example.org/r", BOB)
        await write(store, sub, other, PutNodeSubscription(BOB, "tune", "a", ALICE))
        assert await store.load_node_subscriptions(ALICE) == [other, sub]
        await write(store, PutNodeSubscription(ALICE, "mood", "bob@example.org/r", None))
        assert await store.load_node_subscriptions(ALICE) == [sub]
        assert await store.load_node_owners("tune") == [ALICE, BOB] and await store.load_node_owners("x") == []
        assert await store.load_node(BOB, "tune") == PutNode(BOB, "tune", b"[]")
        assert await store.load_node_items(ALICE, "tune", 2) == [item("a", 4, b"<a/>"), item("c", 3)]
        assert await store.load_node_item(ALICE, "tune", "b") == item("b", 2)
        assert await store.load_node_item(BOB, "tune", "b") is None
        assert await store.load_published_bytes(ALICE) == 3 * 4 + 7
        assert (await store.load_maxima())[0] == 5
        await write(store, item("a", 4, None), PutNode(ALICE, "mood", None))
        assert [row.item_id for row in await store.load_node_items(ALICE, "tune", 10)] == ["c", "b"]
        assert await store.load_nodes(ALICE) == [tune]
        await write(store, DropAccount(ALICE))
        assert await store.load_nodes(ALICE) == [] and await store.load_node_items(ALICE, "tune", 10) == []
        assert await store.load_node_subscriptions(ALICE) == []
        assert await store.load_nodes(BOB) == [PutNode(BOB, "tune", b"[]")]

    on_store(test)


def test_fast_tokens(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        def token(user_id: UserId, its: str, slot: str, salt: bytes | None = b"s", count: int = 0) -> PutFastToken:
            return PutFastToken(user_id, its, slot, "DEVICE", "HT-SHA-256-NONE", salt, 5, count)

        assert await store.load_fast_tokens(ALICE) == []
        new, current, other = token(ALICE, "1", "new"), token(ALICE, "1", "current"), token(ALICE, "2", "new")
        await write(store, other, new, current, token(BOB, "1", "new"))
        assert await store.load_fast_tokens(ALICE) == [current, new, other]
        moved = token(ALICE, "1", "current", b"other", 7)
        await write(store, moved, token(ALICE, "1", "new", None))
        assert await store.load_fast_tokens(ALICE) == [moved, other]
        await write(store, DropAccount(ALICE))
        assert await store.load_fast_tokens(ALICE) == []
        assert await store.load_fast_tokens(BOB) == [token(BOB, "1", "new")]

    on_store(test)


def test_pushers(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        def pusher(user_id: UserId, key: str, settings: bytes | None = b"{}", position: int = 0) -> PutPusher:
            return PutPusher(user_id, "app", key, "DEVICE", settings, 5, position)

        assert await store.load_pushers() == []
        one, two, other = pusher(ALICE, "1"), pusher(ALICE, "2"), pusher(BOB, "1")
        await write(store, other, two, one)
        assert await store.load_pushers() == [one, two, other]
        moved = pusher(ALICE, "1", b"[]", 7)
        await write(store, moved, pusher(ALICE, "2", None))
        assert await store.load_pushers() == [moved, other]
        await write(store, DropAccount(ALICE))
        assert await store.load_pushers() == [other]

    on_store(test)


def test_delayed_events(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        def event(user_id: UserId, delay_id: str, **changes: object) -> PutDelayed:
            whole: dict[str, object] = {"content": b"{}", "since_ms": 7, "outcome": None, "state_key": None, **changes}
            return PutDelayed(
                delay_id=delay_id, user_id=user_id, room_id=RoomId("!r"), type="m", delay_ms=5, **whole  # type: ignore[arg-type]
            )

        assert await store.load_delayed() == []
        one, two, other = event(ALICE, "1"), event(ALICE, "2", state_key=""), event(BOB, "3", outcome=b"[]")
        await write(store, other, two, one)
        assert await store.load_delayed() == [one, two, other]
        later = event(ALICE, "1", since_ms=9, outcome=b"[1]")
        await write(store, later, event(ALICE, "2", content=None))
        assert await store.load_delayed() == [later, other]
        await write(store, DropAccount(ALICE))
        assert await store.load_delayed() == [other]

    on_store(test)


def test_server_bans_and_vhosts(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        assert list(await store.load_server_bans()) == []
        ban = PutServerBan("k", "eve@*", "spam", BOB, 5, None)
        other = PutServerBan("d", "192.0.2.0/24", "", BOB, 6, 9)
        await write(store, ban, other, PutServerBan("k", "gone@*", "", BOB, 7, None))
        changed = PutServerBan("k", "eve@*", "more spam", ALICE, 8, 20)
        await write(store, changed, PutServerBan("k", "gone@*", "", None, 0, None))
        assert list(await store.load_server_bans()) == [other, changed]
        asked = PutVhost(ALICE, "tea.users.example.org", "asked")
        await write(store, asked, PutVhost(BOB, "b.users.example.org", "on"))
        await write(store, PutVhost(BOB, None, "off"))
        assert list(await store.load_vhosts()) == [asked]

    on_store(test)


def test_certificates(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        first, second = PutCertificate("1" * 64, ALICE, 5), PutCertificate("f" * 64, ALICE, 5)
        other = PutCertificate("2" * 64, BOB, 5)
        assert await store.load_certificate(first.fingerprint) is None
        await write(store, second, first, other)
        assert list(await store.load_certificates(ALICE)) == [first, second]
        assert await store.load_certificate(other.fingerprint) == other
        # A certificate is one account's: who takes it over has it alone.
        taken = PutCertificate(second.fingerprint, BOB, 6)
        await write(store, taken, PutCertificate(first.fingerprint, None, 0))
        assert list(await store.load_certificates(ALICE)) == []
        assert list(await store.load_certificates(BOB)) == [other, taken]
        assert await store.load_certificate(first.fingerprint) is None

    on_store(test)


def test_words_that_a_full_text_index_has_to_lose(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        named = event(3, type="m.room.name", state_key="")
        member = event(4, type="m.room.member", state_key=ALICE)
        outlier = event(5, position=None)
        await write(store, room(1), event(1), event(2), named, member, outlier, room(2), event(6, 2))
        assert await store.load_words_gone(10) == []
        redacted = [ReplaceEventJson(key, 8, b"{}", EventId("$r")) for key in (1, 3, 4, 5)]
        await write(store, *redacted)
        gone = await store.load_words_gone(10)
        assert [(one.event_key, one.room_key, one.json) for one in gone] == [(1, 1, event(1).json), (3, 1, named.json)]
        assert [one.position for one in gone] == [event(1).position, named.position]
        assert await store.load_words_gone(1) == gone[:1]
        await write(store, ForgetWordsGone(gone[0].number))
        assert await store.load_words_gone(10) == gone[1:]
        await write(store, ForgetWordsGone(gone[1].number), DropRoom(2))
        assert [one.event_key for one in await store.load_words_gone(10)] == [6]

    on_store(test)


def test_reports_wait_until_somebody_has_dealt_with_them(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        assert await store.load_reports(10) == []
        first = AddReport(5, ALICE, BOB, RoomId("!r:example.org"), EventId("$e"), "spam", "much")
        await write(store, first, AddReport(6, BOB, None, RoomId("!r:example.org"), None, "", ""))
        one, two = await store.load_reports(10)
        assert (one.ts_ms, one.reporter, one.user_id, one.event_id) == (5, ALICE, BOB, "$e")
        assert (one.kind, one.reason) == ("spam", "much")
        assert (two.reporter, two.user_id, two.room_id, two.event_id) == (BOB, None, "!r:example.org", None)
        assert await store.load_reports(1) == [one]
        await write(store, DropReport(one.number))
        assert await store.load_reports(10) == [two]

    on_store(test)


def relating(key: int, target: str, rel_type: str, sender: UserId = ALICE, **changes: object) -> AddEvent:
    """A message about another."""
    content = {"m.relates_to": {"rel_type": rel_type, "event_id": target}}
    json = orjson.dumps({"type": "m.room.message", "sender": sender, "content": content})
    return event(key, json=json, **changes)


def test_events_that_are_about_others(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        root = EventId("$1")
        await write(store, room(1), room(2), event(1))
        await write(store, relating(2, "$1", "m.thread"), relating(3, "$1", "m.thread", BOB))
        await write(store, relating(4, "$1", "m.replace"), relating(5, "$2", "m.annotation", BOB), event(6))
        outlier = relating(7, "$1", "m.thread", position=None)
        state = relating(8, "$1", "m.thread", type="m.room.topic", state_key="")
        elsewhere = relating(9, "$1", "m.thread", room_key=2)
        await write(store, outlier, state, elsewhere)

        async def keys(*targets: str, upto: int = 100, limit: int = 10, **more: object) -> list[int]:
            found = await store.load_relations(
                1, [EventId(one) for one in targets], after=0, upto=upto, limit=limit, **{"backward": True, **more}
            )  # type: ignore[misc]  # the rest has the names of the parameters
            return [row.event_key for row in found]

        assert await keys("$1") == [4, 3, 2]
        assert await keys("$1", backward=False, limit=2) == [2, 3]
        assert await keys("$1", "$2") == [5, 4, 3, 2]
        assert await keys("$1", rel_type="m.thread", upto=2) == [2]
        assert await keys("$6") == []
        (row,) = await store.load_relations(1, [EventId("$2")], after=0, upto=9, limit=1, backward=True)
        assert (row.target, row.rel_type, row.type, row.sender) == ("$2", "m.annotation", "m.room.message", BOB)
        counts = {(c.rel_type, c.count, c.latest_key) for c in await store.load_relation_counts(1, [root], [])}
        assert counts == {("m.thread", 2, 3), ("m.replace", 1, 4)}
        counts = {(c.rel_type, c.count, c.latest_key) for c in await store.load_relation_counts(1, [root], [BOB])}
        assert counts == {("m.thread", 1, 2), ("m.replace", 1, 4)}
        assert await store.load_related_by(1, [root, EventId("$2")], "m.thread", BOB) == {root}
        assert [r.event_key for r in await store.load_room_relations(1, "m.thread", upto=100, limit=5)] == [3, 2]
        # Over the rooms that somebody is joined to.
        await write(store, PutMembership(BOB, 1, "join", 1), PutMembership(BOB, 2, "join", 1))
        await write(store, PutMembership(ALICE, 1, "leave", 1))

        async def rooms(user: UserId, after: int = 0, upto: int = 100) -> set[tuple[RoomId, int]]:
            return set(await store.load_related_rooms(user, "m.thread", after=after, upto=upto))

        one, other = RoomId("!room1:example.org"), RoomId("!room2:example.org")
        assert await rooms(BOB) == {(one, 3), (other, 9)}
        assert await rooms(BOB, after=3) == {(other, 9)}
        assert await rooms(BOB, after=2, upto=8) == {(one, 3)}
        assert await rooms(ALICE) == set()
        # An outlier counts from when it has its place on, what is redacted no more, and a room takes its own along.
        await write(store, PlaceEvent(7, 7, 0, 0), ReplaceEventJson(3, 8, b"{}", EventId("$r")))
        assert await keys("$1", rel_type="m.thread") == [7, 2]
        await write(store, DropRoom(1))
        assert await keys("$1") == []
        (left,) = await store.load_room_relations(2, "m.thread", upto=100, limit=5)
        assert left.event_key == 9

    on_store(test)


def test_sticky_events(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        await write(store, room(1), room(2), event(1), event(2, position=None), event(3), event(4, room_key=2))
        sticky = [PutSticky(1, 1, ALICE, 100, False), PutSticky(2, 1, BOB, 200, True), PutSticky(3, 1, BOB, 300, False)]
        await write(store, *sticky, PutSticky(4, 2, ALICE, 300, False))

        async def keys(now_ms: int) -> list[tuple[str, int | None, int]]:
            return [(row.event_id, row.position, row.until_ms) for row in await store.load_sticky(now_ms)]

        assert await keys(0) == [("$event2", None, 200), ("$event1", 1, 100), ("$event3", 3, 300), ("$event4", 4, 300)]
        assert await keys(100) == [("$event2", None, 200), ("$event3", 3, 300), ("$event4", 4, 300)]
        (failed, *_) = await store.load_sticky(100)
        assert (failed.room_id, failed.sender) == ("!room1:example.org", BOB)
        # What failed is shown after all; a room takes its own along, and so does an event.
        await write(store, PlaceEvent(2, 9, 0, 0), PutSticky(2, 1, BOB, 200, False), DropRoom(2), DropEvents((1,)))
        assert await keys(0) == [("$event3", 3, 300), ("$event2", 9, 200)]
        await write(store, ForgetSticky(200))
        assert await keys(0) == [("$event3", 3, 300)]

    on_store(test)


def test_oauth_clients_codes_and_tokens(on_store: OnStore) -> None:
    async def work(store: Store) -> None:
        assert await store.load_oauth_client("app") is None
        await write(store, PutOAuthClient("app", b"{}", 5), PutOAuthClient("idle", b"[]", 5))
        assert await store.load_oauth_client("app") == PutOAuthClient("app", b"{}", 5)
        assert await store.count_oauth_clients() == 2
        one = PutOAuthGrant(b"one", "BCDF", b"first", 10)
        await write(store, one, PutOAuthGrant(b"two", None, b"second", 30))
        assert await store.load_oauth_grant(b"one") == await store.load_oauth_grant_of("BCDF") == one
        assert await store.load_oauth_grant_of("GHJK") is None
        token = PutToken(b"t", ALICE, "D", True, 99, "app", b"before", True)
        await write(store, token, PutOAuthGrant(b"one", "BCDF", b"changed", 10))
        assert await store.load_token(b"t") == token
        assert await store.load_oauth_grant(b"one") == PutOAuthGrant(b"one", "BCDF", b"changed", 10)
        # What is over goes; a client with a token stays however long ago it was used.
        await write(store, TrimOAuth(10, 6))
        assert await store.load_oauth_grant(b"one") is None
        assert await store.load_oauth_grant(b"two") is not None
        assert await store.load_oauth_client("idle") is None
        assert await store.load_oauth_client("app") is not None
        gone = PutToken(b"t", ALICE, None, True, None)
        await write(store, PutOAuthGrant(b"two", None, None, 0), gone, TrimOAuth(0, 6))
        assert await store.load_oauth_grant(b"two") is None
        assert await store.count_oauth_clients() == 0

    on_store(work)


def test_sessions_of_browsers_and_identities(on_store: OnStore) -> None:
    async def work(store: Store) -> None:
        assert await store.load_browser_session(b"one") is None
        one, two = PutBrowserSession(b"one", ALICE, 1, 50), PutBrowserSession(b"two", ALICE, 2, 60)
        other = PutBrowserSession(b"other", BOB, 3, 70)
        await write(store, one, two, other)
        assert await store.load_browser_session(b"one") == one
        await write(store, DropBrowserSessions(ALICE, b"two"))
        assert await store.load_browser_session(b"one") is None
        assert await store.load_browser_session(b"two") == two
        await write(store, DropBrowserSessions(ALICE, None), TrimOAuth(69, 0))
        assert await store.load_browser_session(b"two") is None
        assert await store.load_browser_session(b"other") == other
        await write(store, PutBrowserSession(b"other", None, 0, 0))
        assert await store.load_browser_session(b"other") is None
        home, work_ = PutIdentity("home", "7", ALICE), PutIdentity("work", "7", ALICE)
        await write(store, work_, home, PutIdentity("home", "8", BOB))
        assert await store.load_identity("home", "7") == home
        assert await store.load_identity("home", "9") is None
        assert await store.load_identities(ALICE) == [home, work_]
        await write(store, PutIdentity("work", "7", None))
        assert await store.load_identities(ALICE) == [home]
        await write(store, PutBrowserSession(b"three", ALICE, 1, 99), DropAccount(ALICE))
        assert await store.load_identities(ALICE) == []
        assert await store.load_browser_session(b"three") is None
        assert await store.load_identity("home", "8") == PutIdentity("home", "8", BOB)

    on_store(work)


def test_accounts_in_a_list(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        ada, bob, eve = UserId("@ada:x"), UserId("@Bob:x"), UserId("@guest-1:x")
        rows = [
            PutAccount(ada, "ada", False, True, False, False, 30),
            PutAccount(bob, "bob", False, False, False, True, 20, shadow_banned=True),
            PutAccount(eve, "guest-1", True, False, True, False, 10, erased=True),
        ]
        await write(store, *rows, PutProfile(ada, "displayname", "Élodie"), PutProfile(bob, "avatar_url", "mxc://x/b"))
        await write(store, PutDevice(ada, "A", "irc", None, 5), PutDevice(ada, "B", "matrix", None, 7))

        async def names(**query: Any) -> list[str]:
            page = query.pop("page", Page(0, 10))
            found, total = await store.list_accounts(AccountQuery(page=page, **query))
            assert total >= len(found)
            return [row.account.name for row in found]

        found, total = await store.list_accounts(AccountQuery(Page(0, 10)))
        assert total == 3 and [row.account for row in found] == [rows[1], rows[0], rows[2]]
        assert found[1] == AccountRow(rows[0], "Élodie", None, 7) and found[0].avatar_url == "mxc://x/b"
        assert await names(page=Page(1, 1)) == ["ada"]
        assert await names(name="ÉLO") == ["ada"] and await names(name="BO") == ["bob"]
        assert await names(user_id="guest") == ["guest-1"]
        assert await names(guests=False) == ["bob", "ada"] and await names(locked=False) == ["ada", "guest-1"]
        assert await names(deactivated=True) == ["guest-1"] and await names(deactivated=False) == ["bob", "ada"]
        assert await names(admins=True) == ["ada"] and await names(admins=False) == ["bob", "guest-1"]
        assert await names(order="creation_ts") == ["guest-1", "bob", "ada"]
        assert await names(order="creation_ts", backward=True) == ["ada", "bob", "guest-1"]
        assert await names(order="last_seen_ts", backward=True) == ["ada", "bob", "guest-1"]
        for order in ACCOUNT_ORDERS:
            assert len(await names(order=order)) == 3

    on_store(test)


def test_rooms_in_a_list(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        def state(key: int, room: int, type_: str, content: object, state_key: str = "") -> AddEvent:
            json = orjson.dumps({"sender": "@ada:x", "type": type_, "content": content})
            return AddEvent(key, key, room, EventId(f"${key}"), 1, key, 0, type_, state_key, None, json)

        def room(key: int, name: str, *, listed: bool = False, known: bool = True) -> PutRoom:
            ends = ((EventId(f"${key}"), 1, 1),) if known else ()
            return PutRoom(key, RoomId(name), "12", 1, ends, 5, listed, False, None, None, None)

        await write(store, room(1, "!tea", listed=True), room(2, "!milk"), room(3, "!told", known=False))
        await write(
            store,
            state(1, 1, "m.room.create", {"m.federate": False}),
            state(2, 1, "m.room.name", {"name": "Old"}),
            state(3, 1, "m.room.name", {"name": "Tea for Two"}),
            state(4, 1, "m.room.member", {"membership": "join"}, "@ada:x"),
            state(5, 1, "m.room.member", {"membership": "join"}, "@bob:y"),
            state(6, 1, "m.room.member", {"membership": "leave"}, "@bob:y"),
            state(7, 2, "m.room.create", {}),
            state(8, 2, "m.room.member", {"membership": "join"}, "@ada:x"),
            state(9, 2, "m.room.member", {"membership": "join"}, "@bob:y"),
            PutMembership(UserId("@ada:x"), 1, "join", 4),
            PutAlias(RoomAlias("#cow:x"), 2, UserId("@ada:x")),
        )

        async def names(**query: Any) -> list[str]:
            page = query.pop("page", Page(0, 10))
            found, total = await store.list_rooms(RoomQuery(page=page, **query))
            assert total >= len(found)
            return [*found]

        assert await names() == ["!milk", "!tea"] and await names(page=Page(1, 5)) == ["!tea"]
        assert await names(text="TEA F") == ["!tea"] and await names(text="cow") == ["!milk"]
        assert await names(text="!milk") == ["!milk"] and await names(text="!mil") == []
        assert await names(text="old") == []
        assert await names(public=True) == ["!tea"] and await names(empty=True) == ["!milk"]
        assert await names(order="joined_members") == ["!milk", "!tea"]
        assert await names(order="joined_members", backward=True) == ["!tea", "!milk"]
        assert await names(order="state_events") == ["!tea", "!milk"]
        assert await names(order="federatable") == ["!milk", "!tea"]
        assert list(await store.list_rooms_of(UserId("@bob:y"))) == ["!milk"]
        assert list(await store.list_rooms_of(UserId("@ada:x"))) == ["!milk", "!tea"]
        for order in ROOM_ORDERS:
            assert len(await names(order=order)) == 2

    on_store(test)


def test_files_and_servers_in_lists(on_store: OnStore) -> None:
    async def test(store: Store) -> None:
        ada, bob, here, away = UserId("@ada:x"), UserId("@bob:x"), ServerName("x"), ServerName("y.z:8448")

        def file(name: str, at: int, *, size: int = 10, uploader: UserId | None = ada) -> PutMedia:
            server = here if uploader is not None else away
            return PutMedia(server, name, "c" * 64, "image/png", f"{name}.png", size, uploader, at, at)

        await write(
            store,
            file("a", 1),
            file("b", 2, size=30),
            file("c", 3, uploader=bob),
            file("d", 4, uploader=None),
            replace(file("e", 5), protected=True),
            replace(file("f", 6), quarantined=True, quarantined_by=bob),
            replace(file("g", 7), content=None),
            PutProfile(bob, "displayname", "Bob"),
            PutProfile(bob, "avatar_url", "mxc://x/c"),
        )
        kept = await store.load_media(here, "f")
        assert kept is not None and kept.quarantined_by == bob and not kept.protected

        async def own(**query: Any) -> list[str]:
            found, total = await store.list_media(MediaQuery(Page(0, 10), ada, **query))
            assert total == 4
            return [row.media_id for row in found]

        assert await own() == ["f", "e", "b", "a"] and await own(order="media_length", backward=False) == list("aefb")
        for order in MEDIA_ORDERS:
            assert sorted(await own(order=order)) == list("abef")

        async def old(**query: Any) -> list[str]:
            found = await store.list_old_media(OldMediaQuery(here, **query))
            return [row.media_id for row in found]

        assert await old(local=True, before_ms=9) == ["a", "b"] and await old(local=False, before_ms=9) == ["d"]
        assert await old(local=True, before_ms=2) == ["a"]
        assert await old(local=True, before_ms=9, larger_than=11) == ["b"]
        assert await old(local=True, before_ms=9, pictures=True) == ["a", "b", "c"]
        assert await old(local=True, before_ms=9, pictures=True, limit=1) == ["a"]
        query = MediaUseQuery(Page(0, 10), order="media_length")
        assert await store.list_media_use(query) == ([MediaUse(bob, "Bob", 1, 10), MediaUse(ada, None, 4, 60)], 2)
        query = MediaUseQuery(Page(0, 10), from_ms=2, until_ms=5, name="AD")
        assert await store.list_media_use(query) == ([MediaUse(ada, None, 2, 40)], 1)

        def member(key: int, room: int, who: str, membership: str) -> AddEvent:
            json = orjson.dumps({"content": {"membership": membership}})
            return AddEvent(key, key, room, EventId(f"${key}"), 1, key, 0, "m.room.member", who, None, json)

        for key, name in ((1, "!a"), (2, "!b")):
            ends = ((EventId("$1"), 1, 1),)
            await write(store, PutRoom(key, RoomId(name), "12", 1, ends, 5, False, False, None, None, None))
        await write(store, member(1, 1, "@p:y.z:8448", "join"), member(2, 2, "@p:y.z:8448", "join"))
        await write(store, member(3, 2, "@p:y.z:8448", "leave"), member(4, 2, "@ada:x", "join"))
        assert list(await store.list_servers()) == ["x", "y.z:8448"]
        assert list(await store.list_rooms_of_server(away)) == ["!a"]
        await write(store, DropEvents((1, 4)))
        assert await store.load_event(EventId("$1")) is None and await store.load_event(EventId("$2")) is not None

    on_store(test)
