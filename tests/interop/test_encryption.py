"""Two people with two devices each in an encrypted room, with clients that nobody here wrote.

matrix-js-sdk with matrix-sdk-crypto: cross-signing, secret storage, key backup and its restoring, verification by emoji
and by QR codes, between own devices and between people, files that the server cannot read, a device that is taken away,
one that was dehydrated. matrix-nio joins in. One server and one story; the tests run in their order.
"""

import asyncio
import base64
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from nio import AsyncClient, AsyncClientConfig, JoinResponse, KeysUploadResponse, RegisterResponse, RoomMessageText
from nio.responses import RoomSendResponse
from nio.rooms import MatrixRoom
from tests.interop.crypto_peer import CryptoPeer, verify, verify_by_code
from tests.interop.peer import PASSWORD, until
from tests.support.server import Server, running_server

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]


@dataclass
class World:
    server: Server
    runner: asyncio.Runner
    alice: CryptoPeer
    bob: CryptoPeer
    room: str = ""
    alice_key: str = ""
    started: list[CryptoPeer] = field(default_factory=list)

    async def open(self, peer: CryptoPeer, how: str) -> CryptoPeer:
        self.started.append(peer)
        await peer.start(self.server, how)
        return peer

    async def close(self, peer: CryptoPeer) -> None:
        """It takes no part in what follows."""
        self.started.remove(peer)
        await peer.stop()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    CryptoPeer.check()
    folder = tmp_path_factory.mktemp("encryption")
    with running_server(folder) as server, asyncio.Runner() as runner:
        here = World(server, runner, CryptoPeer("alice", "ALICE1"), CryptoPeer("bob", "BOB1"))

        async def enter() -> None:
            await here.open(here.alice, "register")
            await here.open(here.bob, "register")

        async def stop() -> None:
            await asyncio.gather(*(peer.stop() for peer in here.started), return_exceptions=True)

        try:
            runner.run(enter())
            yield here
        finally:
            runner.run(stop())


def test_cross_signing_begins_without_the_password_and_needs_it_to_be_replaced(world: World) -> None:
    async def story() -> None:
        for peer in (world.alice, world.bob):
            first = await peer.ask("bootstrap")
            assert first["asked"] is False
            if peer is world.alice:
                world.alice_key = first["key"]
            await peer.becomes("device", {"verified": True, "signed": True}, user=peer.user, device=peer.device)
        assert (await world.bob.ask("reset"))["asked"] is True
        await world.bob.becomes("device", {"verified": True}, user=world.bob.user, device="BOB1")

    world.runner.run(story())


def test_what_is_said_can_be_read_by_those_who_are_there(world: World) -> None:
    async def story() -> None:
        alice, bob = world.alice, world.bob
        world.room = (await alice.ask("create", invite=[bob.user]))["room"]
        await bob.ask("join", room=world.room)
        await alice.becomes("user", {"identity": True}, user=bob.user)
        await alice.ask("say", room=world.room, text="one")
        await bob.ask("say", room=world.room, text="two")
        for peer in (alice, bob):
            await peer.reads("one", "two")

    world.runner.run(story())


def test_a_second_device_comes_by_the_recovery_key_and_reads_what_was_before_it(world: World) -> None:
    async def story() -> None:
        alice, bob = world.alice, world.bob
        # The keys of what was said are in the backup after a moment.
        await alice.becomes("backup", {"count": 2})
        second = await world.open(CryptoPeer("alice", "ALICE2"), "login")
        # Everybody who shares a room sees the new device, unsigned yet.
        await bob.becomes("devices", {"devices": ["ALICE1", "ALICE2"]}, user=alice.user)
        await bob.becomes("device", {"signed": False}, user=alice.user, device="ALICE2")
        restored = await second.ask("recover", key=world.alice_key)
        assert restored["imported"] == 2
        await second.reads("one", "two")
        await bob.becomes("device", {"signed": True}, user=alice.user, device="ALICE2")
        await bob.ask("say", room=world.room, text="three")
        await second.ask("say", room=world.room, text="four")
        for peer in (alice, bob, second):
            await peer.reads("three", "four")

    world.runner.run(story())


def test_a_second_device_is_verified_by_emoji(world: World) -> None:
    async def story() -> None:
        bob = world.bob
        second = await world.open(CryptoPeer("bob", "BOB2"), "login")
        await bob.becomes("devices", {"devices": ["BOB1", "BOB2"]}, user=bob.user)
        await second.becomes("devices", {"devices": ["BOB1", "BOB2"]}, user=bob.user)
        await verify(second, bob)
        for peer in (bob, second):
            await peer.becomes("device", {"verified": True, "signed": True}, user=bob.user, device="BOB2")
        await world.alice.becomes("device", {"signed": True}, user=bob.user, device="BOB2")
        await world.alice.ask("say", room=world.room, text="five")
        await second.reads("five")
        await second.ask("say", room=world.room, text="six")
        await world.alice.reads("six")

    world.runner.run(story())


def test_two_people_verify_each_other(world: World) -> None:
    async def story() -> None:
        alice, bob = world.alice, world.bob
        await alice.becomes("devices", {"devices": ["BOB1", "BOB2"]}, user=bob.user)
        await bob.becomes("devices", {"devices": ["ALICE1", "ALICE2"]}, user=alice.user)
        await verify(alice, bob)
        await alice.becomes("user", {"verified": True}, user=bob.user)
        await bob.becomes("user", {"verified": True}, user=alice.user)
        # What one has signed of another is one's own devices' to know.
        (second,) = [peer for peer in world.started if peer.device == "ALICE2"]
        await second.becomes("user", {"verified": True}, user=bob.user)

    world.runner.run(story())


def test_codes_are_shown_and_scanned(world: World) -> None:
    """A third device of Bob's shows one to the first; then somebody new and Alice verify each other so."""

    async def story() -> None:
        alice, bob = world.alice, world.bob
        third = await world.open(CryptoPeer("bob", "BOB3"), "login")
        for peer in (bob, third):
            await peer.becomes("devices", {"devices": ["BOB1", "BOB2", "BOB3"]}, user=bob.user)
        await verify_by_code(third, bob)
        for peer in (bob, third):
            await peer.becomes("device", {"verified": True, "signed": True}, user=bob.user, device="BOB3")
        await third.ask("logout")
        await world.close(third)
        carol = await world.open(CryptoPeer("carol", "CAROL1"), "register")
        await carol.ask("bootstrap")
        room = (await alice.ask("create", invite=[carol.user]))["room"]
        await carol.ask("join", room=room)
        await carol.becomes("devices", {"devices": ["ALICE1", "ALICE2"]}, user=alice.user)
        await alice.becomes("devices", {"devices": ["CAROL1"]}, user=carol.user)
        await verify_by_code(carol, alice)
        await alice.becomes("user", {"verified": True}, user=carol.user)
        await carol.becomes("user", {"verified": True}, user=alice.user)
        await world.close(carol)

    world.runner.run(story())


def test_files_are_read_by_those_who_are_there_alone(world: World) -> None:
    async def story() -> None:
        text = "the recipe of the house"
        sent = await world.alice.ask("attach", room=world.room, name="recipe.txt", text=text)
        for peer in (world.alice, world.bob):
            await peer.becomes("fetch", {"text": text}, room=world.room, id=sent["id"])
        stored = base64.b64decode((await world.bob.ask("fetch", room=world.room, id=sent["id"]))["stored"])
        assert len(stored) == len(text) and text.encode() not in stored
        # What lies on the disk is what was sent up, and nothing else.
        kept = [path.read_bytes() for path in (world.server.data / "media" / "content").rglob("*") if path.is_file()]
        assert kept == [stored]

    world.runner.run(story())


def test_a_library_without_cross_signing_takes_part(world: World, tmp_path: Path) -> None:
    """matrix-nio: keys, claims and messages to devices of all five."""

    async def story() -> None:
        config = AsyncClientConfig(encryption_enabled=True, store_sync_tokens=True, request_timeout=30)
        client = AsyncClient(world.server.http, "nina", device_id="", store_path=str(tmp_path), config=config)
        answer = await client.register("nina", PASSWORD, "nio")
        assert isinstance(answer, RegisterResponse), answer
        heard: list[str] = []

        async def message(room: MatrixRoom, event: RoomMessageText) -> None:
            if event.decrypted:
                heard.append(event.body)

        client.add_event_callback(message, RoomMessageText)
        await client.sync(timeout=0, full_state=True)
        if client.should_upload_keys:
            uploaded = await client.keys_upload()
            assert isinstance(uploaded, KeysUploadResponse), uploaded
        await world.alice.ask("invite", room=world.room, user=client.user_id)
        joined = await client.join(world.room)
        assert isinstance(joined, JoinResponse), joined
        task = asyncio.create_task(client.sync_forever(timeout=5_000, full_state=True))
        try:
            await world.alice.becomes("devices", {"devices": [client.device_id]}, user=client.user_id)
            await world.alice.ask("say", room=world.room, text="for nina")
            await until(lambda: "for nina" in heard, lambda: f"nio reads {heard}")
            sent = await client.room_send(
                world.room,
                "m.room.message",
                {"msgtype": "m.text", "body": "from nina"},
                ignore_unverified_devices=True,
            )
            assert isinstance(sent, RoomSendResponse), sent
            for peer in world.started:
                await peer.reads("from nina")
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await client.close()

    world.runner.run(story())


def test_a_device_that_is_logged_out_is_gone_for_everybody(world: World) -> None:
    async def story() -> None:
        (second,) = [peer for peer in world.started if peer.device == "BOB2"]
        await second.ask("logout")
        await world.alice.becomes("devices", {"devices": ["BOB1"]}, user=world.bob.user)

    world.runner.run(story())


def test_a_dehydrated_device_collects_what_nobody_was_there_to_get(world: World) -> None:
    async def story() -> None:
        alice = world.alice
        assert (await alice.ask("dehydrate"))["supported"] is True
        for peer in world.started:
            if peer.account == "alice":
                await peer.ask("logout")
        await asyncio.sleep(0.5)
        await world.bob.ask("say", room=world.room, text="in the dark")
        third = await world.open(CryptoPeer("alice", "ALICE3"), "login")
        await third.ask("recover", key=world.alice_key)
        rehydrated = await third.ask("rehydrate")
        assert rehydrated["keys"] >= 1
        await third.reads("in the dark", "one", "two")

    world.runner.run(story())
