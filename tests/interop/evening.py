"""Who spends the evening of test_evening.py together, and how a story with all of them is told.

Three people at terminals, two with Matrix libraries, one with an XMPP library that reads the archive, one in a browser.
Who has a client that is not on this machine stays away.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.interop.converse_peer import ConversePeer
from tests.interop.js_peer import JsPeer
from tests.interop.nio_peer import NioPeer
from tests.interop.peer import PATIENCE_S, Peer, becomes, is_here
from tests.interop.screen_peers import IrssiPeer, ProfanityPeer, ScreenPeer, WeechatPeer
from tests.interop.slix_peer import SlixPeer
from tests.support.server import Server, running_server

# Long enough for a line that nobody asked for to come; weechat asks for a channel's modes two seconds after its join.
QUIET_S = 2.5
# So many new lines that they are looked at otherwise.
ANY = -1


@dataclass
class Evening:
    """The server and everybody in its room #tea. `runner` has the loop on which all clients live."""

    server: Server
    runner: asyncio.Runner
    nina: NioPeer
    sam: SlixPeer
    jess: JsPeer | None
    wendy: WeechatPeer | None
    iris: IrssiPeer | None
    petra: ProfanityPeer | None
    cora: ConversePeer | None

    @property
    def screens(self) -> list[ScreenPeer]:
        return [screen for screen in (self.wendy, self.iris, self.petra) if screen is not None]

    @property
    def on_irc(self) -> list[ScreenPeer]:
        return [screen for screen in (self.wendy, self.iris) if screen is not None]

    @property
    def everybody(self) -> list[Peer]:
        peers: list[Peer] = [self.nina, self.sam]
        peers += [self.jess] if self.jess else []
        peers += [self.cora] if self.cora else []
        return peers + list(self.screens)

    def user_id(self, peer: Peer) -> str:
        return f"@{peer.account}:{self.server.name}"

    def msgid(self, text: str) -> str:
        """The id of a line that has been said."""
        (msgid,) = (one.msgid for one in self.nina.seen() if one.text == text)
        assert msgid is not None
        return msgid

    async def still(self) -> None:
        """Until nothing more comes onto the screens."""
        loop = asyncio.get_running_loop()
        seen, since = self._lines(), loop.time()
        end = since + PATIENCE_S
        while loop.time() < since + QUIET_S:
            assert loop.time() < end, "\n\n".join(screen.terminal.shown() for screen in self.screens)
            await asyncio.sleep(0.2)
            if (now := self._lines()) != seen:
                seen, since = now, loop.time()

    def _lines(self) -> dict[str, Counter[str]]:
        return {screen.account: Counter(screen.lines()) for screen in self.screens}

    @asynccontextmanager
    async def only(self, **counts: int) -> AsyncIterator[None]:
        """What happens meanwhile shows so many new lines on each screen, and not one more; not named: none."""
        before = self._lines()
        yield
        for screen in self.screens:
            count, had = counts.get(screen.account, 0), before[screen.account]
            await becomes(screen, partial(_has_more, count, had), f"{count} lines more")
        await self.still()
        for screen in self.screens:
            new = list((Counter(screen.lines()) - before[screen.account]).elements())
            shown = f"{screen.account}: {new}\n{screen.terminal.shown()}"
            assert counts.get(screen.account, 0) in (len(new), ANY), shown


def _has_more(count: int, had: Counter[str], screen: ScreenPeer) -> bool:
    return (Counter(screen.lines()) - had).total() >= count


@contextmanager
def an_evening(folder: Path) -> Iterator[Evening]:
    """A server with the defaults of `make run`, and everybody connected to it; the room is not made yet."""
    with ExitStack() as stack:
        (folder / "server").mkdir()
        server = stack.enter_context(running_server(folder / "server"))
        runner = stack.enter_context(asyncio.Runner())
        evening = Evening(
            server,
            runner,
            NioPeer("nina"),
            SlixPeer("sam"),
            JsPeer("jess") if is_here(JsPeer.check) else None,
            WeechatPeer("wendy", folder / "wendy") if is_here(WeechatPeer.check) else None,
            IrssiPeer("iris", folder / "iris") if is_here(IrssiPeer.check) else None,
            ProfanityPeer("petra", folder / "petra") if is_here(ProfanityPeer.check) else None,
            ConversePeer("cora", folder / "cora") if is_here(ConversePeer.check) else None,
        )
        stack.callback(lambda: runner.run(_stop(evening)))
        runner.run(_start(evening))
        yield evening


async def _start(evening: Evening) -> None:
    async with asyncio.TaskGroup() as group:
        for peer in evening.everybody:
            group.create_task(peer.start(evening.server))


async def _stop(evening: Evening) -> None:
    await asyncio.gather(*(peer.stop() for peer in evening.everybody), return_exceptions=True)
