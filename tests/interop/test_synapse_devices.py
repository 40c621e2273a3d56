"""Devices, keys and messages to devices between a matrix-synapse and a tripoint, both ways.

spec: Matrix server-server-api device-management, end-to-end-encryption, send-to-device-messaging
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from tests.interop.matrix_person import Person
from tests.interop.peer import PASSWORD
from tests.interop.two_servers import SIDES, World, two_servers
from tests.matrix.crypto import Key, Tree

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

ALGORITHM = "signed_curve25519"
PATIENCE_S = 60.0


class Phone:
    """A device of somebody: what its client would upload, send and be told."""

    def __init__(self, person: Person, device_id: str) -> None:
        self.person = person
        self.user_id, self.device_id = person.user_id, device_id
        self.key = Key(f"{self.user_id} {device_id}")
        self.got: list[Any] = []
        self.changed: set[str] = set()
        self.left: set[str] = set()
        self.since = ""
        self._txn = 0

    @classmethod
    async def of(cls, person: Person) -> "Phone":
        return cls(person, (await person.call("GET", "/account/whoami"))["device_id"])

    async def upload(self, *names: str, fallback: str = "") -> None:
        keys = self.key.sign(
            {
                "user_id": self.user_id,
                "device_id": self.device_id,
                "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
                "keys": {
                    f"curve25519:{self.device_id}": self.key.public,
                    f"ed25519:{self.device_id}": self.key.public,
                },
            },
            self.user_id,
            self.device_id,
        )
        body: dict[str, Any] = {"device_keys": keys}
        body["one_time_keys"] = {f"{ALGORITHM}:{name}": self._one_time(name) for name in names}
        if fallback:
            body["fallback_keys"] = {f"{ALGORITHM}:{fallback}": self._one_time(fallback)}
        await self.person.call("POST", "/keys/upload", body)

    def _one_time(self, name: str) -> dict[str, Any]:
        return self.key.sign({"key": name}, self.user_id, self.device_id)

    async def sync(self) -> Any:
        query = {"timeout": "500", **({"since": self.since} if self.since else {})}
        answer = await self.person.call("GET", "/sync", **query)
        self.since = answer["next_batch"]
        self.got += [event["content"]["n"] for event in answer.get("to_device", {}).get("events", [])]
        lists = answer.get("device_lists", {})
        self.changed |= set(lists.get("changed", ()))
        self.left |= set(lists.get("left", ()))
        return answer

    async def tell(self, user_id: str, device_id: str, n: Any) -> None:
        self._txn += 1
        body = {"messages": {user_id: {device_id: {"n": n}}}}
        await self.person.call("PUT", f"/sendToDevice/m.test/{self._txn}", body)

    async def query(self, user_id: str) -> Any:
        return await self.person.call("POST", "/keys/query", {"device_keys": {user_id: []}, "timeout": 10_000})

    async def devices(self, user_id: str) -> dict[str, str | None]:
        """The devices of somebody, and what they are called."""
        found = (await self.query(user_id))["device_keys"].get(user_id, {})
        return {name: json.get("unsigned", {}).get("device_display_name") for name, json in found.items()}

    async def claim(self, user_id: str, device_id: str) -> list[str]:
        body = {"one_time_keys": {user_id: {device_id: ALGORITHM}}, "timeout": 10_000}
        answer = await self.person.call("POST", "/keys/claim", body)
        return list(answer["one_time_keys"].get(user_id, {}).get(device_id, {}))

    async def hears_of(self, user_id: str) -> None:
        """Until it is told that somebody's devices changed."""
        await becomes(lambda: self._heard(user_id), True)
        self.changed.discard(user_id)

    async def _heard(self, user_id: str) -> bool:
        await self.sync()
        return user_id in self.changed


async def becomes(ask: Callable[[], Awaitable[Any]], wanted: Any) -> None:
    end = asyncio.get_running_loop().time() + PATIENCE_S
    while (found := await ask()) != wanted:
        assert asyncio.get_running_loop().time() < end, f"{found} is not {wanted}"
        await asyncio.sleep(0.3)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with two_servers(tmp_path_factory.mktemp("devices")) as world:
        yield world


async def meet(world: World, home: str) -> tuple[Phone, Phone, str]:
    """Two people in an encrypted room of one of the servers, with their devices."""
    host, guest = await world.pair(home)
    encryption = {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
    room = await host.create(initial_state=[encryption])
    phones = [await Phone.of(person) for person in (host, guest)]
    for phone in phones:
        await phone.upload("A", "B", fallback="F")
        await phone.sync()
    await guest.join(room, via=host.server.name)
    for one, other in (phones, phones[::-1]):
        await one.hears_of(other.user_id)
    return phones[0], phones[1], room


@pytest.mark.parametrize("home", SIDES)
def test_keys_lists_and_messages(world: World, home: str) -> None:
    async def story() -> None:
        one, other, _ = await meet(world, home)
        for me, you in ((one, other), (other, one)):
            assert set(await me.devices(you.user_id)) == {you.device_id}
            claimed = [name for _ in range(3) for name in await me.claim(you.user_id, you.device_id)]
            assert sorted(claimed) == [f"{ALGORITHM}:{name}" for name in "ABF"] and claimed[2].endswith("F")
            # Another name, cross-signing, a signature: each is heard of, and is then as it was made there.
            await you.person.call("PUT", f"/devices/{you.device_id}", {"display_name": "Kitchen"})
            await becomes(lambda me=me, you=you: me.devices(you.user_id), {you.device_id: "Kitchen"})
            await me.hears_of(you.user_id)
            tree = Tree(you.user_id)
            await you.person.call("POST", "/keys/device_signing/upload", tree.body())
            await me.hears_of(you.user_id)

            async def keys(me: Phone = me, you: Phone = you) -> Any:
                found = await me.query(you.user_id)
                return [
                    (found.get(f"{usage}_keys") or {}).get(you.user_id, {}).get("keys")
                    for usage in ("master", "self_signing", "user_signing")
                ]

            body = tree.body()
            await becomes(keys, [body["master_key"]["keys"], body["self_signing_key"]["keys"], None])
            found = (await you.query(you.user_id))["device_keys"][you.user_id][you.device_id]
            bare = {name: value for name, value in found.items() if name not in ("unsigned", "signatures")}
            signed = {you.user_id: {you.device_id: tree.self_signing.sign(bare, you.user_id)}}
            answer = await you.person.call("POST", "/keys/signatures/upload", signed)
            assert answer.get("failures", {}) == {}

            async def signers(me: Phone = me, you: Phone = you) -> Any:
                device = (await me.query(you.user_id))["device_keys"][you.user_id][you.device_id]
                return set(device["signatures"][you.user_id])

            await becomes(signers, {f"ed25519:{you.device_id}", f"ed25519:{tree.self_signing.public}"})
            # Messages: in order, once.
            for n in range(30):
                await me.tell(you.user_id, "*" if n % 2 else you.device_id, n)
            for _ in range(40):
                if len(you.got) >= 30:
                    break
                await you.sync()
            await you.sync()
            assert you.got == list(range(30))

    world.run(story())


@pytest.mark.parametrize("home", SIDES)
def test_devices_that_come_and_go(world: World, home: str) -> None:
    async def story() -> None:
        one, other, room = await meet(world, home)
        for me, you in ((one, other), (other, one)):
            await me.devices(you.user_id)
            login = {
                "type": "m.login.password",
                "identifier": {"type": "m.id.user", "user": you.user_id},
                "password": PASSWORD,
            }
            second = Person(you.person.server, you.user_id.split(":")[0][1:])
            second.token = (await second.call("POST", "/login", login))["access_token"]
            tablet = await Phone.of(second)
            await tablet.upload()
            await me.hears_of(you.user_id)
            await becomes(lambda me=me, you=you: names(me, you.user_id), {you.device_id, tablet.device_id})
            await second.call("POST", "/logout", {})
            await me.hears_of(you.user_id)
            await becomes(lambda me=me, you=you: names(me, you.user_id), {you.device_id})
        one.left.clear()
        await other.person.leave(room)

        async def has_left() -> bool:
            await one.sync()
            return other.user_id in one.left

        await becomes(has_left, True)

    world.run(story())


async def names(me: Phone, user_id: str) -> set[str]:
    return set(await me.devices(user_id))


def test_nothing_is_lost_while_the_servers_do_not_reach_each_other(world: World) -> None:
    async def story() -> None:
        one, other, _ = await meet(world, "tripoint")
        for me, you in ((one, other), (other, one)):
            await me.devices(you.user_id)
        world.cut()
        try:
            for me, you in ((one, other), (other, one)):
                for n in range(120):
                    await me.tell(you.user_id, you.device_id, n)
                await me.person.call("PUT", f"/devices/{me.device_id}", {"display_name": "Changed"})
        finally:
            world.restore()
        # Whoever speaks shows that the way is open again.
        for me in (one, other):
            await me.person.create()
        for me, you in ((one, other), (other, one)):

            async def got(me: Phone = me) -> Any:
                await me.sync()
                return me.got

            await becomes(got, list(range(120)))
            await becomes(lambda me=me, you=you: me.devices(you.user_id), {you.device_id: "Changed"})

    world.run(story())
