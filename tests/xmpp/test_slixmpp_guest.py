"""A guest that nobody here wrote: slixmpp logs in by ANONYMOUS over STARTTLS and is in a room."""

import asyncio
import ssl
from dataclasses import replace

import pytest

from tests.xmpp.server import OPTIONS, SERVER, serve
from tests.xmpp.test_guests import ROOM, open_room
from tripoint.net.tls import ClientTls

slixmpp = pytest.importorskip("slixmpp")
pytestmark = [
    pytest.mark.interop,
    # slixmpp asks for the loop where none runs, and keeps coroutines of a connection that is gone.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]
PATIENCE_S = 10


class Guest(slixmpp.ClientXMPP):
    """A client with the address of the server and nothing else."""

    def __init__(self, port: int) -> None:
        super().__init__(SERVER, "")
        self.ssl_context.check_hostname = False
        self.ssl_context.verify_mode = ssl.CERT_NONE
        for plugin in ("xep_0030", "xep_0045", "xep_0199"):
            self.register_plugin(plugin)
        self.started = asyncio.Event()
        self.heard: asyncio.Queue[slixmpp.Message] = asyncio.Queue()
        self.add_event_handler("session_start", lambda _: self.started.set())
        self.add_event_handler("groupchat_message", self.heard.put_nowait)
        self.connect("127.0.0.1", port)


def test_a_guest(tls: ClientTls) -> None:
    """spec: XEP-0175 4"""

    async def main() -> None:
        async with serve(tls=tls, options=replace(OPTIONS, guests=True)) as server:
            alice = await open_room(server)
            guest = Guest(server.port)
            try:
                await asyncio.wait_for(guest.started.wait(), PATIENCE_S)
                assert guest.boundjid.bare == f"guest-1@{SERVER}"
                guest.send_presence()
                await guest["xep_0045"].join_muc_wait(ROOM, "Visitor", timeout=PATIENCE_S)
                await alice.expect(f"<presence from='{ROOM}/Visitor'…")
                guest.send_message(mto=ROOM, mbody="Hello", mtype="groupchat")
                await alice.expect(f"<message from='{ROOM}/Visitor'…<body>Hello</body>…")
                heard = await asyncio.wait_for(guest.heard.get(), PATIENCE_S)
                assert heard["body"] == "Hello"
            finally:
                await guest.disconnect(wait=1)
                guest.abort()
            await alice.expect(f"<presence from='{ROOM}/Visitor'…type='unavailable'…")

    asyncio.run(asyncio.wait_for(main(), 60))
