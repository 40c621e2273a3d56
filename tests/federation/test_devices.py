"""Devices, keys and messages to devices between servers, on a network that loses, repeats and parts.

spec: Matrix server-server-api device-management, end-to-end-encryption, send-to-device-messaging
"""

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.federation.fleet import Sea, Ship, launch
from tests.federation.islands import bring_in, make_room
from tests.federation.phones import ALGORITHM, Follower, Phone
from tests.federation.test_intake import put
from tests.federation.test_transactions import sailing, shared
from tripoint.core.ids import ServerName, UserId
from tripoint.matrix.federation.client import RemoteRefused
from tripoint.rooms.commands import Leave


def asked(sea: Sea, source: str, part: str) -> int:
    return sum(1 for a, _, _, path in sea.requests if a == source and part in path)


async def two_phones(ships: list[Ship], users: list[UserId]) -> tuple[Phone, Phone]:
    return await Phone.open(ships[0], users[0]), await Phone.open(ships[1], users[1])


def edu(kind: str, **content: Any) -> Any:
    return {"edu_type": kind, "content": content}


# -- messages to devices


def test_a_message_arrives_at_once_and_everybodys_devices_are_meant_by_a_star() -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        _, users = await shared(ships)
        alice, bob = await two_phones(ships, users)
        tablet = await Phone.open(ships[1], users[1], "TABLET")
        await launch(ships)
        await alice.tell("1", (users[1], "PHONE"), (users[1], "NONE"))
        await alice.tell("2", (users[1], "*"), (users[0], "*"))
        await asyncio.sleep(1)
        assert await bob.sync() == ["1", "2"] and await tablet.sync() == ["2"]
        assert await alice.sync() == ["2"]
        assert await ships[0].party.middle.store.load_outgoing_servers() == []

    sailing("a.org", "b.org")(test)


@pytest.mark.parametrize("seed", range(6))
def test_each_message_arrives_once_and_in_order_in_bad_weather(seed: int) -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        _, users = await shared(ships)
        alice, bob = await two_phones(ships, users)
        await launch(ships)
        sea.weather.loss, sea.weather.twice, sea.weather.answer_loss, sea.weather.delay_s = 0.2, 0.3, 0.2, 2.0
        for n in range(150):
            await alice.tell(str(n), (users[1], "*"))
            if n % 10 == 0:
                await asyncio.sleep(sea.rng.random() * 20)
                await bob.sync()
        sea.heal()
        await asyncio.sleep(3600)
        await bob.sync()
        assert bob.got == [str(n) for n in range(150)]
        assert await ships[0].party.middle.store.load_outgoing_servers() == []

    sailing("a.org", "b.org", seed=seed)(test)


@pytest.mark.parametrize("how", ["stop", "kill"])
@pytest.mark.parametrize("which", [0, 1])
def test_messages_wait_for_a_server_that_is_away_over_restarts(tmp_path: Path, how: str, which: int) -> None:
    """More than one transaction holds; nothing comes twice, although what was sent is not remembered by a server that
    was killed."""

    async def test(sea: Sea, ships: list[Ship]) -> None:
        _, users = await shared(ships)
        alice, bob = await two_phones(ships, users)
        await launch(ships)
        await alice.tell("before", (users[1], "*"))
        await asyncio.sleep(1)
        sea.part("a.org", "b.org")
        for n in range(230):
            await alice.tell(str(n), (users[1], "*"))
        await asyncio.sleep(100)
        ship = ships[which]
        await (ship.kill() if how == "kill" else ship.stop())
        await ship.build()
        await ship.launch()
        await asyncio.sleep(100)
        assert await bob.sync() == ["before"]
        sea.heal()
        await asyncio.sleep(1000)
        await bob.sync()
        assert bob.got == ["before", *(str(n) for n in range(230))]

    sailing("a.org", "b.org", folder=tmp_path)(test)


def test_a_sender_that_is_killed_right_after_the_answer_sends_later(tmp_path: Path) -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        _, users = await shared(ships)
        alice, bob = await two_phones(ships, users)
        await launch(ships)
        for n in range(5):
            await alice.tell(str(n), (users[1], "*"))
            await ships[0].kill()
            await ships[0].build()
            await ships[0].launch()
        await asyncio.sleep(60)
        await bob.sync()
        assert bob.got == [str(n) for n in range(5)]

    sailing("a.org", "b.org", folder=tmp_path)(test)


def test_a_message_to_many_devices_is_cut_into_parts() -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        _, users = await shared(ships)
        alice, _ = await two_phones(ships, users)
        phones = [await Phone.open(ships[1], users[1], f"D{n}") for n in range(30)]
        await launch(ships)
        sizes: list[int] = []
        sender = ships[0].traffic.sender
        send = sender._send

        async def measured(server: ServerName, txn_id: str, body: bytes) -> None:
            sizes.extend(len(orjson.dumps(one)) for one in orjson.loads(body)["edus"])
            await send(server, txn_id, body)

        sender._send = measured
        await alice.tell("1", *((users[1], phone.device_id) for phone in phones), n="x" * 20_000)
        await asyncio.sleep(5)
        assert [await phone.sync() for phone in phones] == [["x" * 20_000]] * 30
        assert len(sizes) == 10 and max(sizes) < 70_000

    sailing("a.org", "b.org")(test)


def test_a_message_that_is_never_taken_holds_up_no_others() -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        _, users = await shared(ships)
        alice, bob = await two_phones(ships, users)
        await launch(ships)
        sender = ships[0].traffic.sender
        send = sender._send

        async def picky(server: ServerName, txn_id: str, body: bytes) -> None:
            if b'"n":"poison"' in body:
                raise RemoteRefused(server, 413, "M_TOO_LARGE", "no")
            await send(server, txn_id, body)

        sender._send = picky
        sea.part("a.org", "b.org")
        for n in ("1", "2", "poison", "3", "4"):
            await alice.tell(n, (users[1], "*"))
        sea.heal()
        await asyncio.sleep(3600)
        await bob.sync()
        assert bob.got == ["1", "2", "3", "4"]
        assert await ships[0].party.middle.store.load_outgoing_servers() == []

    sailing("a.org", "b.org")(test)


def test_what_a_server_may_not_say_is_left_out() -> None:
    """spec: m.direct_to_device: `sender` is a user of the server that sends; others' users are not its to reach."""

    async def test(sea: Sea, ships: list[Ship]) -> None:
        _, users = await shared(ships)
        alice, bob = await two_phones(ships, users)
        await launch(ships)
        good = {"sender": users[0], "type": "m.test", "message_id": "m1", "messages": {users[1]: {"*": {"n": 1}}}}
        for wrong in (
            {"sender": users[1]},
            {"sender": "@x:c.org"},
            {"sender": 7},
            {"type": ""},
            {"type": None},
            {"message_id": 5},
            {"message_id": "x" * 300},
            {"messages": []},
            {"messages": {users[1]: {"*": "text"}}},
            {"messages": {"bob": {}}},
            {"messages": {users[0]: {"*": {"n": 2}}}},
            {"messages": {users[1]: {"*": {"n": "x" * 70_000}}}},
        ):
            bad = edu("m.direct_to_device", **{**good, **wrong})
            await put(ships[0], ships[1], f"t{len(sea.requests)}", edus=[bad])
        assert await bob.sync() == []
        for txn in ("a", "b"):
            await put(ships[0], ships[1], txn, edus=[edu("m.direct_to_device", **good)] * 2)
        assert await bob.sync() == [1]
        assert await alice.sync() == []

    sailing("a.org", "b.org")(test)


# -- lists of devices


def test_a_list_is_asked_for_once_and_followed_from_then_on() -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        _, users = await shared(ships)
        alice, bob = await two_phones(ships, users)
        await launch(ships)
        follower = Follower(ships[1])
        await alice.upload("A")
        await asyncio.sleep(2)

        async def known() -> dict[str, Any]:
            found = await bob.query(users[0])
            assert found["failures"] == {}
            return {name: json["keys"] for name, json in found["device_keys"][users[0]].items()}

        assert set(await known()) == {"PHONE"}
        assert asked(sea, "b.org", "/user/devices/") == 1
        await follower.news(users[1])
        # A new device, another name, cross-signing, a log-out: each is told and applied without asking.
        tablet = await Phone.open(ships[0], users[0], "TABLET")
        await tablet.upload()
        await asyncio.sleep(2)
        assert await follower.news(users[1]) == ([users[0]], [])
        assert set(await known()) == {"PHONE", "TABLET"}
        await ships[0].party.middle.accounts.rename_device(users[0], "TABLET", "Kitchen")
        await asyncio.sleep(2)
        assert await follower.news(users[1]) == ([users[0]], [])
        found = (await bob.query(users[0]))["device_keys"][users[0]]["TABLET"]
        assert found["unsigned"] == {"device_display_name": "Kitchen"}
        tree = await alice.cross_sign()
        await asyncio.sleep(2)
        assert await follower.news(users[1]) == ([users[0]], [])
        found = await bob.query(users[0])
        assert found["master_keys"] == {users[0]: tree.body()["master_key"]}
        assert found["self_signing_keys"] == {users[0]: tree.body()["self_signing_key"]}
        assert found["user_signing_keys"] == {}
        signed = {users[0]: {"TABLET": tree.self_signing.sign(tablet.keys(), users[0])}}
        await ships[0].party.middle.encryption.signing.sign(users[0], signed, lambda user_id: True)
        await asyncio.sleep(2)
        assert await follower.news(users[1]) == ([users[0]], [])
        found = (await bob.query(users[0]))["device_keys"][users[0]]["TABLET"]
        assert f"ed25519:{tree.self_signing.public}" in found["signatures"][users[0]]
        await ships[0].party.middle.accounts.log_out(users[0], ["TABLET"])
        await asyncio.sleep(2)
        assert await follower.news(users[1]) == ([users[0]], [])
        assert set(await known()) == {"PHONE"}
        assert asked(sea, "b.org", "/user/devices/") == 1

    sailing("a.org", "b.org")(test)


@pytest.mark.parametrize("restart", [False, True])
def test_a_server_that_was_away_hears_of_each_device_as_it_is_now(restart: bool) -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        _, users = await shared(ships)
        alice, bob = await two_phones(ships, users)
        await launch(ships)
        await alice.upload()
        assert set((await bob.query(users[0]))["device_keys"][users[0]]) == {"PHONE"}
        sea.part("a.org", "b.org")
        for n in range(5):
            await alice.upload(version=n)
        tablet = await Phone.open(ships[0], users[0], "TABLET")
        await tablet.upload()
        await alice.cross_sign()
        await asyncio.sleep(100)
        if restart:
            await ships[0].stop()
            await ships[0].build()
            await ships[0].launch()
        await ships[0].party.middle.accounts.log_out(users[0], ["TABLET"])
        follower = Follower(ships[1])
        before = len(sea.requests)
        sea.heal()
        await asyncio.sleep(1000)
        sent = [path for a, b, _, path in sea.requests[before:] if (a, b) == ("a.org", "b.org") and "/send/" in path]
        assert 1 <= len(sent) <= 3
        assert await follower.news(users[1]) == ([users[0]], [])
        found = await bob.query(users[0])
        assert found["device_keys"][users[0]].keys() == {"PHONE"}
        assert found["device_keys"][users[0]]["PHONE"]["version"] == 4
        assert users[0] in found["master_keys"]
        assert await ships[0].party.middle.store.load_missed_rooms() == []

    sailing("a.org", "b.org")(test)


@pytest.mark.parametrize("seed", range(4))
def test_lists_agree_after_bad_weather_and_power_cuts(tmp_path: Path, seed: int) -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        _, users = await shared(ships)
        alice, bob = await two_phones(ships, users)
        await launch(ships)
        await alice.upload()
        follower = Follower(ships[1])
        known: dict[str, Any] = {}

        async def look() -> None:
            """What a client does: it asks when it is told to."""
            changed, _ = await follower.news(users[1])
            if users[0] in changed or not known:
                found = await bob.query(users[0], timeout_s=30)
                if not found["failures"]:
                    known.clear()
                    known.update(found["device_keys"][users[0]])
                else:
                    follower._at = 0

        await look()
        sea.weather.loss, sea.weather.twice, sea.weather.answer_loss, sea.weather.delay_s = 0.15, 0.3, 0.15, 2.0
        phones = {"PHONE": alice}
        for n in range(25):
            what = sea.rng.randrange(5)
            if what == 0:
                phones[f"D{n}"] = await Phone.open(ships[0], users[0], f"D{n}")
                await phones[f"D{n}"].upload()
            elif what == 1 and len(phones) > 1:
                gone = sea.rng.choice([name for name in phones if name != "PHONE"])
                del phones[gone]
                await ships[0].party.middle.accounts.log_out(users[0], [gone])
            elif what == 2:
                await alice.upload(version=n)
            elif what == 3:
                await ships[0].kill()
                await ships[0].build()
                await ships[0].launch()
            await asyncio.sleep(sea.rng.random() * 10)
            await look()
        sea.heal()
        await asyncio.sleep(4000)
        await look()
        own = await ships[0].party.middle.encryption.keys.query(users[0], None)
        assert known == own

    sailing("a.org", "b.org", folder=tmp_path, seed=seed)(test)


def test_who_comes_into_a_room_is_announced_to_the_servers_there() -> None:
    """spec: "when that user joins a room which contains servers which are not already receiving updates for that
    user's device list" """

    async def test(sea: Sea, ships: list[Ship]) -> None:
        first, users = await shared(ships[:2])
        alice, _ = await two_phones(ships, users)
        carol_id = UserId("@carol:c.org")
        room_id = await make_room(ships[2].island, carol_id, "12")
        carol = await Phone.open(ships[2], carol_id)
        await launch(ships)
        await alice.upload()
        await asyncio.sleep(2)
        # Somebody who asks without sharing a room keeps nothing.
        assert set((await carol.query(users[0]))["device_keys"][users[0]]) == {"PHONE"}
        assert asked(sea, "c.org", "/user/devices/") == 0 and asked(sea, "c.org", "/user/keys/query") == 1
        taken: list[Any] = []
        lists = ships[2].traffic.devices.lists

        async def watched(origin: ServerName, contents: Any) -> None:
            taken.extend(contents)
            await lists(origin, contents)

        kinds: Any = ships[2].traffic.edus._kinds
        kinds["m.device_list_update"] = watched
        follower = Follower(ships[2])
        await bring_in(ships[2].island, ships[0].island, users[0], room_id)
        await asyncio.sleep(5)
        assert [(one["user_id"], one["device_id"]) for one in taken] == [(users[0], "PHONE")]
        assert await follower.news(carol_id) == ([], [])  # the room is not encrypted
        assert set((await carol.query(users[0]))["device_keys"][users[0]]) == {"PHONE"}
        assert asked(sea, "c.org", "/user/devices/") == 1
        # When the last shared room is left, what is known is asked for anew.
        await ships[0].party.do(Leave(actor=users[0], room_id=room_id))
        await asyncio.sleep(5)
        store = ships[2].party.middle.store
        row = await store.load_remote_device_list(users[0])
        assert row is not None and row.stale
        assert first is not None

    sailing("a.org", "b.org", "c.org")(test)


def test_who_shares_a_room_is_known_of_rooms_on_disk() -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        room_id, users = await shared(ships)
        await launch(ships)
        await ships[1].stop()
        await ships[1].build()
        await ships[1].launch()
        reader = ships[1].party.middle.reader
        assert await reader.sharing(users[1], [users[0], UserId("@nobody:a.org")]) == {users[0]}
        assert await reader.sharing(users[1], [users[0]], encrypted=True) == frozenset()
        await ships[0].party.do(Leave(actor=users[0], room_id=room_id))
        await asyncio.sleep(5)
        assert await reader.sharing(users[1], [users[0]]) == frozenset()

    sailing("a.org", "b.org")(test)


def test_updates_that_do_not_follow_are_asked_for() -> None:
    """spec: "If a server receives an EDU which refers to a prev_id it does not recognise, it must resynchronise" """

    async def test(sea: Sea, ships: list[Ship]) -> None:
        _, users = await shared(ships)
        alice, bob = await two_phones(ships, users)
        await alice.upload()
        await launch(ships)
        await bob.query(users[0])
        store = ships[1].party.middle.store
        row = await store.load_remote_device_list(users[0])
        assert row is not None and row.stream_id is not None
        at = row.stream_id
        keys = await Phone.open(ships[0], users[0], "EVIL")

        async def say(txn: str, **changes: Any) -> None:
            content = {
                "user_id": users[0], "device_id": "EVIL", "stream_id": at + 1, "prev_id": [at], "keys": keys.keys(),
                **changes,
            }  # fmt: skip
            await put(ships[0], ships[1], txn, edus=[edu("m.device_list_update", **content)])

        async def stale() -> bool:
            row = await store.load_remote_device_list(users[0])
            assert row is not None
            return row.stale

        for n, wrong in enumerate(
            (
                {"user_id": users[1]},
                {"user_id": "@x:c.org"},
                {"device_id": ""},
                {"device_id": 7},
                {"stream_id": "7"},
                {"stream_id": -1},
                {"stream_id": 2**63},
                {"stream_id": True},
                # What came already.
                {"stream_id": at, "prev_id": []},
            )
        ):
            await say(f"wrong{n}", **wrong)
        assert not await stale() and set((await bob.query(users[0]))["device_keys"][users[0]]) == {"PHONE"}
        await say("good")
        assert set((await bob.query(users[0]))["device_keys"][users[0]]) == {"PHONE", "EVIL"}
        assert asked(sea, "b.org", "/user/devices/") == 1
        await say("gap", stream_id=at + 9, prev_id=[at + 5])
        assert await stale()
        # Asked again, it is as that server has it.
        assert set((await bob.query(users[0]))["device_keys"][users[0]]) == {"PHONE"}
        assert asked(sea, "b.org", "/user/devices/") == 2 and not await stale()

    sailing("a.org", "b.org")(test)


def test_many_who_ask_at_once_ask_once_and_a_server_that_is_away_is_named() -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        _, users = await shared(ships)
        alice, bob = await two_phones(ships, users)
        await alice.upload("A", "B")
        await launch(ships)
        sea.weather.delay_s = 1.0
        await asyncio.gather(*(bob.query(users[0]) for _ in range(10)))
        assert asked(sea, "b.org", "/user/devices/") == 1
        sea.weather.delay_s = 0.0
        claimed = await asyncio.gather(*(bob.claim(users[0], "PHONE") for _ in range(3)))
        keys = [next(iter(one["one_time_keys"].get(users[0], {"": {}}).values())) for one in claimed]
        assert sorted(name for key in keys for name in key) == [f"{ALGORITHM}:A", f"{ALGORITHM}:B"]
        sea.part("a.org", "b.org")
        await ships[1].party.middle.encryption.remote.doubt(users[0])
        found = await bob.query(users[0], users[1])
        assert set(found["failures"]) == {"a.org"} and set(found["device_keys"]) == {users[1]}
        claimed_there = await bob.claim(users[0], "PHONE")
        assert set(claimed_there["failures"]) == {"a.org"} and claimed_there["one_time_keys"] == {}

    sailing("a.org", "b.org")(test)


def test_answers_of_a_liar_do_not_get_through() -> None:
    async def test(sea: Sea, ships: list[Ship]) -> None:
        _, users = await shared(ships)
        alice, bob = await two_phones(ships, users)
        await alice.upload("A")
        await launch(ships)
        client: Any = ships[1].questions._client
        other = alice.keys()

        class Liar:
            answer: Any = {}

            async def request(self, *args: Any, **more: Any) -> Any:
                return self.answer

        liar = Liar()
        ships[1].questions._client = liar
        device = {"device_id": "PHONE", "keys": other}
        liar.answer = {
            "user_id": users[0],
            "stream_id": 2**70,
            "devices": [
                device,
                7,
                {"device_id": "OTHER", "keys": other},
                {"device_id": "X" * 300, "keys": other},
                {"device_id": "BARE"},
                {"device_id": "BAD", "keys": {"user_id": users[0], "device_id": "BAD"}},
            ],
            "master_key": {"user_id": users[1], "usage": ["master"], "keys": {"ed25519:a": "a"}},
            "self_signing_key": "text",
        }
        found = await bob.query(users[0])
        assert set(found["device_keys"][users[0]]) == {"PHONE"} and found["master_keys"] == {}
        liar.answer = {"one_time_keys": {users[0]: {"PHONE": {"other:A": {"key": "x", "signatures": {}}}}}}
        assert (await bob.claim(users[0], "PHONE"))["one_time_keys"] == {}
        liar.answer = {"one_time_keys": {users[0]: {"PHONE": {f"{ALGORITHM}:A": "text"}, "OTHER": {}}}}
        assert (await bob.claim(users[0], "PHONE"))["one_time_keys"] == {}
        liar.answer = {"one_time_keys": [], "device_keys": 1}
        assert (await bob.claim(users[0], "PHONE"))["one_time_keys"] == {}
        found = await bob.query(UserId("@stranger:a.org"))
        assert found["device_keys"] == {} and found["failures"] == {}
        ships[1].questions._client = client
        assert orjson.dumps(found)

    sailing("a.org", "b.org")(test)
