"""A client that nobody here wrote: slixmpp logs in with SCRAM over STARTTLS, uses rooms, roster and messages."""

import asyncio
import hashlib
import io
import ssl
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from PIL import Image

from tests.xmpp.server import OPTIONS, SERVER, serve
from tripoint.net.tls import ClientTls, ServerTls, make_self_signed

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

    def __init__(self, name: str, port: int, plugins: tuple[str, ...] = (), events: tuple[str, ...] = ()) -> None:
        super().__init__(f"{name}@{SERVER}/slixmpp", "correct horse")
        self.heard: dict[str, asyncio.Queue] = {}
        for plugin in ("xep_0030", "xep_0045", "xep_0092", "xep_0199", "xep_0249", "xep_0313", *plugins):
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
            *events,
        ):
            self.heard[event] = asyncio.Queue()
            self.add_event_handler(event, self.heard[event].put_nowait)
        self.connect("127.0.0.1", port)

    async def wait(self, event: str):
        return await asyncio.wait_for(self.heard[event].get(), PATIENCE_S)


@asynccontextmanager
async def clients(tmp_path, *names, plugins=(), events=()):
    make_self_signed([SERVER], tmp_path / "cert.pem", tmp_path / "key.pem")
    tls = ClientTls(ServerTls(tmp_path / "cert.pem", tmp_path / "key.pem"))
    async with serve(tls=tls, options=replace(OPTIONS, plaintext_passwords=False)) as server:
        made = []
        for name in names:
            await server.make_account(name)
            made.append(Client(name, server.port, plugins, events))
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
            entered, *_ = await muc.join_muc_wait(ROOM, "alice", timeout=PATIENCE_S)
            assert 201 in entered["muc"]["status_codes"]
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


PEP = ("xep_0048", "xep_0049", "xep_0054", "xep_0084", "xep_0153", "xep_0163", "xep_0172", "xep_0402", "xep_0490")
PEP_EVENTS = ("avatar_metadata_publish", "user_nick_publish", "pubsub_publish", "pubsub_retract", "vcard_avatar_update")


def test_what_accounts_publish(tmp_path):
    """spec: XEP-0163: avatars, nicks, bookmarks, read states, private storage, as slixmpp has them"""

    async def main() -> None:
        async with clients(tmp_path, "alice", "bob", plugins=PEP, events=PEP_EVENTS) as (server, alice, bob):
            for client, other in ((alice, "bob"), (bob, "alice")):
                client.auto_authorize = client.auto_subscribe = True
                client.send_presence_subscription(f"{other}@{SERVER}")
                client["xep_0163"].add_interest(["urn:xmpp:bookmarks:1"])
            await asyncio.sleep(0)
            for client in (alice, bob):
                await client["xep_0199"].ping(SERVER, timeout=PATIENCE_S)
                await client["xep_0115"].update_caps(broadcast=False)
                client.send_presence()
                await client["xep_0199"].ping(SERVER, timeout=PATIENCE_S)

            # a nick and an avatar reach the contact
            await alice["xep_0172"].publish_nick("Al", timeout=PATIENCE_S)
            while (await bob.wait("user_nick_publish"))["pubsub_event"]["items"]["item"]["nick"]["nick"] != "Al":
                pass
            made = io.BytesIO()
            Image.new("RGB", (40, 40), (1, 2, 3)).save(made, "PNG")
            data = made.getvalue()
            name = hashlib.sha1(data).hexdigest()
            avatars = alice["xep_0084"]
            await avatars.publish_avatar(data, timeout=PATIENCE_S)
            info = {"id": name, "type": "image/png", "bytes": len(data)}
            await avatars.publish_avatar_metadata(items=[info], timeout=PATIENCE_S)
            while (await bob.wait("avatar_metadata_publish"))["pubsub_event"]["items"]["item"]["id"] != name:
                pass
            got = await bob["xep_0084"].retrieve_avatar(f"alice@{SERVER}", name, timeout=PATIENCE_S)
            assert got["pubsub"]["items"]["item"]["avatar_data"]["value"] == data
            card = (await bob["xep_0054"].get_vcard(f"alice@{SERVER}", cached=False, timeout=PATIENCE_S))["vcard_temp"]
            assert card["FN"] == "Al" and card["PHOTO"]["BINVAL"] == data

            # a room that is entered is bookmarked, in both forms, and left when the bookmark goes
            muc = alice["xep_0045"]
            await muc.join_muc_wait(ROOM, "alice", timeout=PATIENCE_S)
            form = await muc.get_room_config(ROOM)
            form["type"] = "submit"
            await muc.set_room_config(ROOM, form)
            alice.send_message(mto=ROOM, mbody="one", mtype="groupchat")
            stanza_id = (await alice.wait("groupchat_message")).xml.find("{urn:xmpp:sid:0}stanza-id").get("id")
            found = await alice["xep_0060"].get_items(alice.boundjid.bare, "urn:xmpp:bookmarks:1", timeout=PATIENCE_S)
            (item,) = found["pubsub"]["items"]
            assert item["id"] == ROOM and item["conference"]["autojoin"] and item["conference"]["nick"] == "Al"
            old = await alice["xep_0048"].get_bookmarks(timeout=PATIENCE_S)
            listed = old["private"]["bookmarks"]["conferences"]
            assert [(one["jid"], one["autojoin"]) for one in listed] == [(ROOM, True)]
            mds = alice["xep_0490"]
            await mds.flag_chat(ROOM, stanza_id, timeout=PATIENCE_S)
            (state,) = (await mds.catch_up(timeout=PATIENCE_S))["pubsub"]["items"]
            assert state["id"] == ROOM and state["displayed"]["stanza_id"]["id"] == stanza_id
            await alice["xep_0060"].retract(
                alice.boundjid.bare, "urn:xmpp:bookmarks:1", ROOM, notify="true", timeout=PATIENCE_S
            )
            gone = (await alice.wait("pubsub_retract"))["pubsub_event"]["items"]["retract"]["id"]
            assert gone == ROOM
            assert set((await server.middle.reader.memberships(alice_id(server))).values()) == {"leave"}

    asyncio.run(main())


def alice_id(server):
    return server.middle.accounts.user_id("alice")


def test_a_stream_is_resumed(tmp_path):
    """spec: XEP-0198 5: the network breaks; the room does not notice, and what was said meanwhile comes once."""

    async def main() -> None:
        events = ("session_resumed", "sm_enabled", "disconnected", "stanza_acked")
        async with clients(tmp_path, "alice", "bob", plugins=("xep_0198",), events=events) as (server, alice, bob):
            await bob.wait("sm_enabled")
            muc = alice["xep_0045"]
            await muc.join_muc_wait(ROOM, "alice", timeout=PATIENCE_S)
            form = await muc.get_room_config(ROOM)
            form["type"] = "submit"
            await muc.set_room_config(ROOM, form)
            await bob["xep_0045"].join_muc_wait(ROOM, "bob", timeout=PATIENCE_S)
            for turn in range(3):
                alice.send_message(mto=ROOM, mbody=f"before {turn}", mtype="groupchat")
                assert (await bob.wait("groupchat_message"))["body"] == f"before {turn}"
                was = server.front.connections
                bob.transport.abort()
                await bob.wait("disconnected")
                await server.fewer_than(was)
                for number in range(3):
                    alice.send_message(mto=ROOM, mbody=f"meanwhile {turn} {number}", mtype="groupchat")
                alice.send_message(mto=f"bob@{SERVER}", mbody=f"to you {turn}", mtype="chat")
                await alice["xep_0199"].ping(SERVER, timeout=PATIENCE_S)
                assert "bob" in muc.get_roster(ROOM)
                bob.connect("127.0.0.1", server.port)
                await bob.wait("session_resumed")
                for number in range(3):
                    assert (await bob.wait("groupchat_message"))["body"] == f"meanwhile {turn} {number}"
                while (heard := await bob.wait("message"))["type"] != "chat":
                    pass
                assert heard["body"] == f"to you {turn}"
                bob.send_message(mto=ROOM, mbody=f"after {turn}", mtype="groupchat")
                while (await alice.wait("groupchat_message"))["body"] != f"after {turn}":
                    pass
                assert (await bob.wait("groupchat_message"))["body"] == f"after {turn}"
            assert bob.heard["session_start"].empty()

    asyncio.run(main())


def test_preferences_of_an_archive(tmp_path):
    """spec: XEP-0441 2"""

    async def main() -> None:
        async with clients(tmp_path, "alice", plugins=("xep_0441",)) as (_, alice):
            prefs, bob = alice["xep_0441"], slixmpp.JID(f"bob@{SERVER}")
            default, always, never = await prefs.get_preferences(timeout=PATIENCE_S)
            assert (default, set(always), set(never)) == ("always", set(), set())
            await prefs.set_preferences("roster", always=[bob], never=[], timeout=PATIENCE_S)
            default, always, never = await prefs.get_preferences(timeout=PATIENCE_S)
            assert (default, set(always), set(never)) == ("roster", {bob}, set())

    asyncio.run(main())


def test_the_hat_of_a_half_operator(tmp_path):
    """spec: XEP-0317 3.1"""

    async def main() -> None:
        event = f"muc::{ROOM}::presence"
        async with clients(tmp_path, "alice", "bob", plugins=("xep_0317",), events=(event,)) as (_, alice, bob):
            muc = alice["xep_0045"]
            await muc.join_muc_wait(ROOM, "alice", timeout=PATIENCE_S)
            form = await muc.get_room_config(ROOM)
            form["type"] = "submit"
            await muc.set_room_config(ROOM, form)
            await bob["xep_0045"].join_muc_wait(ROOM, "bob", timeout=PATIENCE_S)
            await muc.set_role(ROOM, "bob", "moderator", timeout=PATIENCE_S)
            while not (hats := list((await bob.wait(event))["hats"])):
                pass
            assert [(hat["title"], hat["uri"]) for hat in hats] == [
                ("Half-operator", "https://tripoint.dev/ns#halfop")
            ]

    asyncio.run(main())
