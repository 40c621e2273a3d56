"""Seven clients that nobody here wrote, in one room of a server with the defaults of `make run`.

matrix-nio, matrix-js-sdk, slixmpp, the Python irc library, weechat, irssi, profanity: each sees every message of
each once, in the same order, and under the same id where it shows ids; topic, nicks, a kick, leaving. One server and
one room for the whole file: its tests are one story and run in their order.
"""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from tests.interop.irc_peer import IrcPeer
from tests.interop.js_peer import JsPeer
from tests.interop.nio_peer import NioPeer
from tests.interop.peer import Peer, all_see, becomes, is_here, until
from tests.interop.screen_peers import IrssiPeer, ProfanityPeer, ScreenPeer, WeechatPeer
from tests.interop.slix_peer import SlixPeer
from tests.support.server import Server, running_server

pytestmark = pytest.mark.interop

OPTIONAL = {"js": JsPeer, "weechat": WeechatPeer, "irssi": IrssiPeer, "profanity": ProfanityPeer}
ROUNDS = 4


@dataclass
class World:
    """The server and everybody in the room. `run` drives the loop all clients live on."""

    server: Server
    runner: asyncio.Runner
    nio: NioPeer
    slix: SlixPeer
    irc: IrcPeer
    js: JsPeer | None
    screens: list[ScreenPeer]

    @property
    def peers(self) -> list[Peer]:
        return [self.nio, self.slix, self.irc, *([self.js] if self.js else []), *self.screens]  # type: ignore[list-item]


@pytest.mark.parametrize("client", OPTIONAL)
def test_the_client_is_installed(client: str) -> None:
    OPTIONAL[client].check()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("one-room")
    with ExitStack() as stack:
        (folder / "server").mkdir()
        server = stack.enter_context(running_server(folder / "server"))
        runner = stack.enter_context(asyncio.Runner())
        screens: list[ScreenPeer] = [
            kind(name, folder / name)
            for name, kind in OPTIONAL.items()
            if issubclass(kind, ScreenPeer) and is_here(kind.check)
        ]
        js = JsPeer("jess") if is_here(JsPeer.check) else None
        here = World(server, runner, NioPeer("nina"), SlixPeer("sam"), IrcPeer("ivan"), js, screens)
        stack.callback(lambda: runner.run(_stop(here.peers)))
        runner.run(_enter(here))
        yield here


async def _enter(world: World) -> None:
    async with asyncio.TaskGroup() as group:
        for peer in world.peers:
            group.create_task(peer.start(world.server))
    await world.nio.create()
    for peer in world.peers:
        await peer.join()


async def _stop(peers: list[Peer]) -> None:
    await asyncio.gather(*(peer.stop() for peer in peers), return_exceptions=True)


def test_all_are_in_the_room(world: World) -> None:
    accounts = {peer.account for peer in world.peers}

    async def check() -> None:
        for peer in world.peers:
            await becomes(peer, lambda peer: peer.people() in (None, accounts), f"all of {accounts}")

    world.runner.run(check())


def test_each_sees_every_message_once_in_one_order_under_one_id(world: World) -> None:
    texts = []

    async def talk() -> None:
        for number in range(1, ROUNDS + 1):
            # Everybody at once: whoever is committed first is first, for all alike.
            async with asyncio.TaskGroup() as group:
                for peer in world.peers:
                    texts.append(f"says-{peer.account}-{number}")
                    group.create_task(peer.say(texts[-1]))
            await all_see(world.peers, texts)

    world.runner.run(talk())
    order = [seen.text for seen in world.nio.seen()]
    ids = {seen.text: seen.msgid for seen in world.nio.seen()}
    assert sorted(order) == sorted(texts)
    for peer in world.peers:
        seen = peer.seen()
        if peer.shows_own_at_once:
            # Their own lines stand where they were typed; everything else is in the room's order.
            own = f"says-{peer.account}-"
            assert sorted(one.text for one in seen) == sorted(order), peer.account
            assert [one.text for one in seen if own not in one.text] == [text for text in order if own not in text]
        else:
            assert [one.text for one in seen] == order, peer.account
        for one in seen:
            assert one.text.split("-")[1] in one.sender, f"{peer.account}: {one}"
            if peer.shows_ids:
                assert one.msgid == ids[one.text], peer.account


def test_a_topic_from_each_protocol_reaches_all(world: World) -> None:
    for by, topic in ((world.nio, "Kettle on"), (world.irc, "Leaves in"), (world.slix, "Poured at last")):
        if by is not world.nio:
            world.runner.run(_grant(world, by.account))

        async def check(by: Peer = by, topic: str = topic) -> None:
            await by.set_topic(topic)  # type: ignore[attr-defined]
            for peer in world.peers:
                await becomes(peer, lambda peer: topic in peer.topic(), f"the topic {topic!r} of {by.account}")

        world.runner.run(check())


async def _grant(world: World, account: str) -> None:
    """Let somebody set the topic, from Matrix."""
    room_id, client = world.nio.room_id, world.nio.client
    levels = (await client.room_get_state_event(room_id, "m.room.power_levels")).content
    levels.setdefault("users", {})[f"@{account}:{world.server.name}"] = 50
    answer = await client.room_put_state(room_id, "m.room.power_levels", levels)
    assert hasattr(answer, "event_id"), answer


def test_a_nick_changed_on_xmpp_is_a_display_name_on_matrix(world: World) -> None:
    async def check() -> None:
        await world.slix.rename("Sam the Brewer")
        await until(
            lambda: world.nio.names()["sam"] == "Sam the Brewer", lambda: f"nio has {world.nio.names()}"
        )
        # IRC knows people by their accounts: the nick stays (docs/mapping.md 2.1, 2.5).
        assert "sam" in (world.irc.people() or ())
        await world.slix.rename("sam")
        await until(lambda: world.nio.names()["sam"] in ("sam", ""), lambda: f"nio has {world.nio.names()}")

    world.runner.run(check())


def test_a_display_name_changed_on_matrix_is_a_nick_on_xmpp(world: World) -> None:
    async def check() -> None:
        await world.nio.rename("Nina N")
        await until(
            lambda: "Nina N" in (world.slix.people() or ()), lambda: f"slixmpp has {world.slix.people()}"
        )
        assert "nina" in (world.irc.people() or ())
        await world.nio.rename("nina")
        await until(lambda: "nina" in (world.slix.people() or ()), lambda: f"slixmpp has {world.slix.people()}")

    world.runner.run(check())


def test_who_is_kicked_on_matrix_is_out_on_irc_and_can_come_back(world: World) -> None:
    async def check() -> None:
        await world.nio.kick(f"@ivan:{world.server.name}", "no kettles here")
        await until(lambda: not world.irc.in_room(), lambda: "\n".join(world.irc.lines[-20:]))
        assert world.irc.kicked_by == "nina"
        for peer in (world.nio, world.slix):
            await becomes(peer, lambda peer: "ivan" not in (peer.people() or ()), "without ivan")
        assert {"307"} <= set().union(*world.slix.statuses)
        for screen in world.screens:
            await becomes(screen, lambda screen: "no kettles here" in screen.topic(), "the kick on the screen")
        await world.irc.join()
        await until(lambda: "ivan" in (world.slix.people() or ()), lambda: f"{world.slix.people()}")

    world.runner.run(check())


def test_who_leaves_on_one_is_gone_on_all(world: World) -> None:
    async def check() -> None:
        left: set[str] = set()
        for peer in [*world.screens, world.irc, *([world.js] if world.js else []), world.slix]:
            await peer.leave()
            # Profanity's /leave is an unavailable presence: it detaches, the membership stays (mapping 4.4).
            if not isinstance(peer, ProfanityPeer):
                left.add(peer.account)
            await until(
                lambda: not left & (world.nio.people() or set()),
                lambda: f"{left & (world.nio.people() or set())} left, and is still there",
            )

    world.runner.run(check())


def test_nothing_went_wrong_inside(world: World) -> None:
    bad = [line for line in world.server.output if "Traceback" in line or "[error" in line]
    assert bad == [], "".join(world.server.output[-80:])


def test_what_the_server_keeps_is_for_its_owner_alone(world: World) -> None:
    for path in world.server.data.iterdir():
        if path.suffix != ".crt":
            assert path.stat().st_mode & 0o077 == 0, f"{path.name} can be read by others"
