"""Bridges that nobody here wrote: Heisenbridge, which takes Matrix people to IRC, and a service made with mautrix.

Heisenbridge is connected to the IRC of the server that it is a service of: what somebody says in its room comes out in
a channel that others are in by IRC and XMPP, and back. docs/operate/bridges.md; spec: Matrix application-service-api
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from mautrix.appservice import AppService
from mautrix.appservice.state_store import ASStateStore
from mautrix.client.state_store import MemoryStateStore
from mautrix.types import EventType, MessageType, RoomCreatePreset
from tests.interop.irc_peer import IrcPeer
from tests.interop.matrix_person import Person
from tests.interop.peer import PASSWORD, until
from tests.interop.slix_peer import SlixPeer
from tests.support.app_service import registered
from tests.support.ports import free_port
from tests.support.server import Server, running_server

pytestmark = pytest.mark.interop
STOP_S = 20.0
# mautrix takes an empty answer of its handlers for "there is none".
MADE = {"made": "so"}


@contextmanager
def _process(*command: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A program of this environment, ended by its pid."""
    with (folder / "bridge.log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-m", *command], cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


# -- Heisenbridge


@pytest.fixture
def heisenbridge(tmp_path: Path) -> Iterator[Server]:
    """A server with Heisenbridge beside it, made as its manual says: it writes its registration by itself."""
    registration = ("-c", "heisenbridge.yaml", "-l", "127.0.0.1", "-p", str(free_port()))
    subprocess.run(
        [sys.executable, "-m", "heisenbridge", *registration, "--generate"],
        cwd=tmp_path,
        check=True,
        timeout=60,
        stdout=subprocess.DEVNULL,
    )
    services = f'[matrix]\napp_services = ["{tmp_path / "heisenbridge.yaml"}"]\n'
    with running_server(tmp_path, more=services) as server:
        owner = f"@alice:{server.name}"
        with _process("heisenbridge", *registration, "-v", "-o", owner, server.http, folder=tmp_path):
            yield server


def test_heisenbridge_takes_somebody_to_irc(heisenbridge: Server) -> None:
    async def work() -> None:
        server = heisenbridge
        alice = await Person(server, "alice").register()
        other, jabberer = IrcPeer("irene"), SlixPeer("xenia")
        try:
            await asyncio.gather(other.start(server), jabberer.start(server))
            await other.join()
            await jabberer.join()
            channel = await _channel_room(server, alice)
            # There and back, under the name that the bridge's own user has for whom it stands.
            await alice.send(channel, "says-alice-1")
            for peer in (other, jabberer):
                await until(lambda peer=peer: "says-alice-1" in [one.text for one in peer.seen()], lambda: "no line")
            assert {one.sender for one in other.seen() if one.text == "says-alice-1"} == {"bridged"}
            await other.say("says-irene-2")
            await jabberer.say("says-xenia-3")
            await alice.until(lambda: {"says-irene-2", "says-xenia-3"} <= set(alice.said(channel)))
            senders = {e["content"]["body"]: e["sender"] for e in alice.timeline[channel] if "body" in e["content"]}
            assert senders["says-irene-2"] == f"@irc_home_irene:{server.name}"
            assert senders["says-xenia-3"] == f"@irc_home_xenia:{server.name}"
        finally:
            await asyncio.gather(other.stop(), jabberer.stop())

    asyncio.run(work())


async def _channel_room(server: Server, alice: Person) -> str:
    """The room in which the bridge shows alice the channel #tea, by the commands of its manual."""
    direct = await alice.create(preset="private_chat", invite=[f"@heisenbridge:{server.name}"], is_direct=True)
    await alice.until(lambda: any("Howdy" in text for text in alice.said(direct)))
    for command, answer in (
        ("addnetwork home", "Network added"),
        (f"addserver home 127.0.0.1 {server.ports['irc']}", "Server added"),
        ("open home", "invited to home"),
    ):
        await alice.send(direct, command)
        await alice.until(lambda answer=answer: any(answer in text for text in alice.said(direct)))
    network = await _invitation(alice, direct)
    # By an account of its own there: guests may not enter every channel.
    server.register("bridged", PASSWORD)
    for command, answer in (
        ("nick bridged", "Nickname set"),
        (f"password bridged:{PASSWORD}", "Password set"),
        ("connect", "Message of the day"),
    ):
        await alice.send(network, command)
        await alice.until(lambda answer=answer: any(answer in text for text in alice.said(network)))
    await alice.send(network, "join #tea")
    return await _invitation(alice, direct, network)


async def _invitation(alice: Person, *known: str) -> str:
    """The room that the bridge has invited to, entered. It makes one for its own records beside it."""

    def rooms() -> list[str]:
        return [room for room, membership in alice.membership.items() if membership == "invite" and room not in known]

    async def named(room: str) -> str | None:
        await alice.join(room)
        await alice.until(lambda: alice.membership[room] == "join" and alice.timeline[room])
        return next((e["content"]["name"] for e in alice.timeline[room] if e["type"] == "m.room.name"), None)

    while True:
        await alice.until(rooms)
        for room in rooms():
            if await named(room) is not None:
                return room


# -- mautrix


class Store(ASStateStore, MemoryStateStore):
    """In memory: a test ends."""

    def __init__(self) -> None:
        ASStateStore.__init__(self)
        MemoryStateStore.__init__(self)


class Echo:
    """A bridge to nowhere: its users say again what they hear, and it makes rooms and users that it is asked for."""

    def __init__(self, server: Server, port: int) -> None:
        self.name = server.name
        self.port = port
        self.typing: list[list[str]] = []
        self.service = AppService(
            server=server.http,
            domain=server.name,
            as_token="the-token-of-the-service",
            hs_token="the-token-of-the-server",
            bot_localpart="echobot",
            id="echo",
            query_user=self.query_user,
            query_alias=self.query_alias,
            state_store=Store(),
            ephemeral_events=True,
            default_http_retry_count=0,
        )
        self.service.matrix_event_handler(self.heard)

    async def query_user(self, user_id: str) -> dict[str, str]:
        intent = self.service.intent.user(user_id)
        await intent.ensure_registered()
        await intent.set_displayname(f"Echo of {user_id[len('@echo_'):].partition(':')[0]}")
        return MADE

    async def query_alias(self, alias: str) -> dict[str, str]:
        local = alias[1:].partition(":")[0]
        room = await self.service.intent.create_room(alias_localpart=local, preset=RoomCreatePreset.PUBLIC)
        walls = self.service.intent.user(f"@echo_walls:{self.name}")
        await walls.ensure_registered()
        await walls.join_room_by_id(room)
        return MADE

    async def heard(self, event: Any) -> None:
        kind, sender = event.type, getattr(event, "sender", "")
        if kind == EventType.TYPING:
            self.typing.append(event.content.user_ids)
        elif kind == EventType.ROOM_MESSAGE and not sender.startswith("@echo"):
            walls = self.service.intent.user(f"@echo_walls:{self.name}")
            words = f"again {event.content.body}"
            await walls.send_text(event.room_id, words, msgtype=MessageType.TEXT)


def test_a_service_made_with_mautrix(tmp_path: Path) -> None:
    port = free_port()
    users, aliases = ([{"regex": f"{sigil}echo_.*", "exclusive": True}] for sigil in "@#")
    registered(
        tmp_path,
        id="echo",
        url=f"http://127.0.0.1:{port}",
        sender_localpart="echobot",
        receive_ephemeral=True,
        namespaces={"users": users, "aliases": aliases},
    )
    services = f'[matrix]\napp_services = ["{tmp_path / "service0.yaml"}"]\n'
    with running_server(tmp_path, more=services) as server:
        asyncio.run(_with_mautrix(server, port))


async def _with_mautrix(server: Server, port: int) -> None:
    echo = Echo(server, port)
    await echo.service.start(port=port)
    irene = IrcPeer("irene", channel="#echo_cave")
    try:
        assert await echo.service.ping_self("meow") >= 0
        carol = await Person(server, "carol").register()
        # A room and a user that the service makes when they are wanted.
        await irene.start(server)
        await irene.join()
        cave = await carol.join(f"#echo_cave:{server.name}")
        nymph = await carol.call("GET", f"/profile/{quote('@echo_nymph:' + server.name)}")
        assert nymph["displayname"] == "Echo of nymph"
        await carol.send(cave, "says-carol-1")
        await irene.say("says-irene-2")
        said = ("again says-carol-1", "again says-irene-2")
        await carol.until(lambda: set(said) <= set(carol.said(cave)))
        walls = f"@echo_walls:{server.name}"
        assert {e["sender"] for e in carol.timeline[cave] if e["content"].get("body") in said} == {walls}
        await until(lambda: [one.sender for one in irene.seen()].count("echo_walls") == 2, lambda: str(irene.seen()))
        path = f"/rooms/{quote(cave)}/typing/{quote(carol.user_id)}"
        await carol.call("PUT", path, {"typing": True, "timeout": 5000})
        await until(lambda: [carol.user_id] in echo.typing, lambda: str(echo.typing))
    finally:
        await irene.stop()
        await echo.service.stop()
