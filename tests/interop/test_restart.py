"""A server that is stopped, and one that is killed, under real clients: they come back and miss nothing.

matrix-nio goes on from the token that it had; slixmpp enters anew and reads history; the irc library logs in and is put
back into its channel. Every message that was acknowledged is there once, under its id, whatever happened in between.
"""

import asyncio
import signal
from pathlib import Path

import pytest
from tests.interop.irc_peer import IrcPeer
from tests.interop.nio_peer import NioPeer
from tests.interop.peer import Seen, until
from tests.interop.slix_peer import SlixPeer
from tests.support.server import Server, start_server

pytestmark = pytest.mark.interop


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_clients_come_back_and_miss_nothing(tmp_path: Path, ending: signal.Signals) -> None:
    servers = [start_server(tmp_path)]
    with asyncio.Runner() as runner:
        try:
            runner.run(_story(servers, tmp_path, ending))
        finally:
            if servers[-1].process.poll() is None:
                assert servers[-1].stop() == 0
    output = "".join(line for server in servers for line in server.output)
    assert "Traceback" not in output


async def _story(servers: list[Server], folder: Path, ending: signal.Signals) -> None:
    nio, slix, irc = NioPeer("nina"), SlixPeer("sam"), IrcPeer("ivan")
    try:
        for peer in (nio, slix, irc):
            await peer.start(servers[0])
        await nio.create()
        await slix.join()
        await irc.join()
        for number, peer in enumerate((nio, slix, irc), 1):
            await peer.say(f"says-{peer.account}-{number}")
        await _all(nio, 3)
        await nio.pause()
        servers[0].process.send_signal(ending)
        status = await asyncio.to_thread(servers[0].process.wait, 20)
        assert status == (0 if ending is signal.SIGTERM else -ending)
        await asyncio.gather(slix.stop(), irc.stop(), return_exceptions=True)

        servers.append(await asyncio.to_thread(start_server, folder))
        back = IrcPeer("ivan", registers=False)
        await back.start(servers[1])
        # docs/mapping.md 4.2: an account's rooms are joined for it.
        await until(back.in_room, lambda: "not put back into the channel:\n" + "\n".join(back.lines))
        await back.say("says-ivan-4")
        nio.go_on(servers[1])
        await _all(nio, 4)
        returned = SlixPeer("sam", registers=False)
        await returned.start(servers[1])
        await returned.join(history=20)
        await _all(returned, 4)
        assert _plain(returned.seen()) == _plain(nio.seen())
        texts = [text for text, _ in _plain(nio.seen())]
        assert sorted(texts) == ["says-ivan-3", "says-ivan-4", "says-nina-1", "says-sam-2"]
        assert texts[-1] == "says-ivan-4"
        await asyncio.gather(returned.stop(), back.stop(), return_exceptions=True)
    finally:
        await asyncio.gather(nio.stop(), slix.stop(), irc.stop(), return_exceptions=True)


async def _all(peer: NioPeer | SlixPeer, count: int) -> None:
    await until(lambda: len(peer.seen()) >= count, lambda: f"{peer.account} has {peer.seen()}")


def _plain(seen: list[Seen]) -> list[tuple[str, str | None]]:
    return [(one.text, one.msgid) for one in seen]
