"""A client that nobody here wrote: slixmpp logs in with SCRAM over STARTTLS, uses rooms, roster and messages."""

import asyncio
import ssl
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.xmpp.server import OPTIONS, SERVER, serve
from tripoint.net.tls import ServerTls, make_self_signed

slixmpp = pytest.importorskip("slixmpp")
pytestmark = [
    pytest.mark.interop,
    # slixmpp asks for the loop where none runs, and keeps coroutines of a connection that is gone.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]
ROOM = f"tea@rooms.{SERVER}"
PATIENCE_S = 10


class Client(slixmpp.ClientXMPP):
    """Collects what it hears; `wait` gives the next event of a kind."""

    def __init__(self, name: str, port: int) -> None:
        super().__init__(f"{name}@{SERVER}/slixmpp", "correct horse")
        self.heard: dict[str, asyncio.Queue] = {}
        for plugin in ("xep_0030", "xep_0045", "xep_0092", "xep_0199", "xep_0249", "xep_0313"):
            self.register_plugin(plugin)
        self.ssl_context.check_hostname = False
        self.ssl_context.verify_mode = ssl.CERT_NONE
        self.mechanism = None
        for event in (
            "session_start",
            "failed_auth",
            "groupchat_message",
            "message",
            "groupchat_subject",
            "groupchat_invite",
        ):
            self.heard[event] = asyncio.Queue()
            self.add_event_handler(event, self.heard[event].put_nowait)
        self.connect("127.0.0.1", port)

    async def wait(self, event: str):
        return await asyncio.wait_for(self.heard[event].get(), PATIENCE_S)


@asynccontextmanager
async def clients(tmp_path, *names):
    make_self_signed([SERVER], tmp_path / "cert.pem", tmp_path / "key.pem")
    tls = ServerTls(tmp_path / "cert.pem", tmp_path / "key.pem")
    async with serve(tls=tls, options=replace(OPTIONS, plaintext_passwords=False)) as server:
        made = []
        for name in names:
            await server.make_account(name)
            made.append(Client(name, server.port))
        try:
            for client in made:
                await client.wait("session_start")
                client.send_presence()
            yield (server, *made)
        finally:
            for client in made:
                client.disconnect(wait=0)
                client.abort()


def test_two_clients_in_a_room(tmp_path):
    async def main() -> None:
        async with clients(tmp_path, "alice", "bob") as (_, alice, bob):
            muc = alice["xep_0045"]
            entered = await muc.join_muc_wait(ROOM, "alice", timeout=PATIENCE_S)
            assert "201" in str(entered) or entered is not None
            form = await muc.get_room_config(ROOM)
            form["type"] = "submit"
            await muc.set_room_config(ROOM, form)
            await bob["xep_0045"].join_muc_wait(ROOM, "bob", timeout=PATIENCE_S)
            assert set(bob["xep_0045"].get_roster(ROOM)) == {"alice", "bob"}
            assert bob["xep_0045"].get_jid_property(ROOM, "alice", "affiliation") == "owner"
            ids = []
            for number in range(20):
                sender = (alice, bob)[number % 2]
                sender.send_message(mto=ROOM, mbody=f"message {number}", mtype="groupchat")
                for client in (alice, bob):
                    heard = await client.wait("groupchat_message")
                    assert heard["body"] == f"message {number}"
                    assert heard["from"].resource == ("alice", "bob")[number % 2]
                    ids.append(heard.xml.find("{urn:xmpp:sid:0}stanza-id").get("id"))
            assert ids[::2] == ids[1::2] and len(set(ids)) == 20
            muc.set_subject(ROOM, "Kettle on")
            while (await bob.wait("groupchat_subject"))["subject"] != "Kettle on":
                pass
            bob["xep_0045"].leave_muc(ROOM, "bob")
            await alice["xep_0199"].ping(f"{ROOM}/alice", timeout=PATIENCE_S)

    asyncio.run(main())


def test_the_archive_of_a_room(tmp_path):
    """spec: XEP-0313: pages forwards and backwards, a time, a writer, metadata, the form."""

    async def main() -> None:
        async with clients(tmp_path, "alice", "bob") as (_, alice, bob):
            muc, mam = alice["xep_0045"], alice["xep_0313"]
            await muc.join_muc_wait(ROOM, "alice", timeout=PATIENCE_S)
            form = await muc.get_room_config(ROOM)
            form["type"] = "submit"
            await muc.set_room_config(ROOM, form)
            await bob["xep_0045"].join_muc_wait(ROOM, "bob", timeout=PATIENCE_S)
            ids = []
            for number in range(25):
                sender = (alice, bob)[number % 2]
                sender.send_message(mto=ROOM, mbody=str(number), mtype="groupchat")
                heard = await alice.wait("groupchat_message")
                ids.append(heard.xml.find("{urn:xmpp:sid:0}stanza-id").get("id"))

            async def read(**how):
                read = [result["mam_result"] async for result in mam.iterate(jid=ROOM, **how)]
                return [(result["id"], int(result["forwarded"]["stanza"]["body"])) for result in read]

            everything = list(zip(ids, range(25), strict=True))
            assert await read(rsm={"max": 10}) == everything
            assert await read(rsm={"max": 7}, reverse=True) == everything[::-1]
            assert await read(with_jid=bob.boundjid.bare) == everything[1::2]
            now = datetime.now(UTC)
            assert await read(start=now + timedelta(hours=1)) == []
            assert await read(start=now - timedelta(hours=1), end=now + timedelta(hours=1)) == everything
            metadata = (await mam.get_archive_metadata(ROOM, timeout=PATIENCE_S))["mam_metadata"]
            assert [metadata["start"]["id"], metadata["end"]["id"]] == [ids[0], ids[-1]]
            fields = (await mam.get_fields(ROOM, timeout=PATIENCE_S)).get_fields()
            assert {"with", "start", "end", "before-id", "after-id", "ids"} <= set(fields)
            info = await alice["xep_0030"].get_info(ROOM, timeout=PATIENCE_S)
            assert {"urn:xmpp:mam:2", "urn:xmpp:mam:2#extended"} <= set(info["disco_info"]["features"])

    asyncio.run(main())


def test_a_join_that_fails_fails_at_once(tmp_path):
    """slixmpp finds the refused join by the muc element in the error."""

    async def main() -> None:
        async with clients(tmp_path, "alice", "bob") as (_, alice, bob):
            await alice["xep_0045"].join_muc_wait(ROOM, "alice", timeout=PATIENCE_S)
            with pytest.raises(slixmpp.exceptions.PresenceError) as refused:
                await bob["xep_0045"].join_muc_wait(ROOM, "bob", timeout=PATIENCE_S)
            assert refused.value.condition == "item-not-found"

    asyncio.run(main())


def test_roster_presence_and_messages(tmp_path):
    async def main() -> None:
        async with clients(tmp_path, "alice", "bob") as (_, alice, bob):
            online = asyncio.Event()
            alice.add_event_handler("got_online", lambda p: p["from"].bare == bob.boundjid.bare and online.set())
            await alice.get_roster()
            await bob.get_roster()
            alice.send_presence_subscription(bob.boundjid.bare)
            await asyncio.wait_for(online.wait(), PATIENCE_S)
            alice.send_message(mto=bob.boundjid.bare, mbody="hello", mtype="chat")
            heard = await bob.wait("message")
            assert (heard["body"], heard["from"].full) == ("hello", alice.boundjid.full)
            heard.reply("hi").send()
            assert (await alice.wait("message"))["body"] == "hi"
            items = await alice["xep_0030"].get_items(SERVER, timeout=PATIENCE_S)
            assert (f"rooms.{SERVER}", None, "Rooms") in items["disco_items"]["items"]
            version = await alice["xep_0092"].get_version(SERVER, timeout=PATIENCE_S)
            assert version["software_version"]["name"] == "tripoint"

    asyncio.run(main())


def test_a_wrong_password_is_told(tmp_path):
    async def main() -> None:
        async with clients(tmp_path) as (server,):
            await server.make_account("alice", "another password")
            alice = Client("alice", server.port)
            try:
                await alice.wait("failed_auth")
            finally:
                alice.disconnect(wait=0)
                alice.abort()

    asyncio.run(main())
