"""Displayed markers become receipts; and how much is said in a room.  spec: XEP-0333 4.3, 5; XEP-0502 3, 4"""

import asyncio
import re
from types import SimpleNamespace

from tests.xmpp.server import TestServer, serve
from tripoint.core.ids import RoomAlias, RoomId, UserId
from tripoint.rooms.changes import ReceiptMoved
from tripoint.xmpp.muc import markers
from tripoint.xmpp.muc.discovery import messages_per_hour

ALICE, BOB = UserId("@alice:example.org"), UserId("@bob:example.org")
HOUR_MS = 3_600_000


async def receipts(server: TestServer, room_id: RoomId, user_id: UserId) -> dict[tuple[str, str | None], str]:
    found = await server.middle.reader.own_receipts(room_id, user_id)
    return {(receipt.kind, receipt.thread_id): receipt.event_id for receipt in found}


def test_a_marker_in_a_room_is_a_public_receipt() -> None:
    async def work() -> None:
        async with serve() as server:
            alice, bob = await server.online("alice"), await server.online("bob")
            await alice.join("tea@rooms.example.org", "alice")
            alice.send(
                "<iq type='set' id='o' to='tea@rooms.example.org'><query xmlns='http://jabber.org/protocol/muc#owner'>"
                "<x xmlns='jabber:x:data' type='submit'/></query></iq>"
            )
            await alice.skip()
            await bob.join("tea@rooms.example.org", "bob")
            ids = []
            for text in ("one", "two"):
                alice.send(f"<message type='groupchat' to='tea@rooms.example.org'><body>{text}</body></message>")
                while "<body>" not in (got := await bob.xml()):
                    pass
                found = re.search(r"<stanza-id [^>]* id='([^']*)'", got)
                assert found is not None
                ids.append(found.group(1))
            room_id = await server.middle.reader.resolve_alias(RoomAlias("#tea:example.org"))
            assert room_id is not None

            async def mark(message_id: str, more: str = "") -> None:
                bob.send(
                    "<message type='groupchat' to='tea@rooms.example.org'>"
                    f"<displayed xmlns='urn:xmpp:chat-markers:0' id='{message_id}'/>{more}</message>"
                )
                await bob.skip()

            await mark(ids[1])
            await mark(ids[0])
            await mark("$not-there")
            assert await receipts(server, room_id, BOB) == {("m.read", None): ids[1]}
            await mark(ids[1], f"<thread>{ids[0]}</thread>")
            await mark(ids[1], "<thread>Act IV, Scene I</thread>")
            assert await receipts(server, room_id, BOB) == {("m.read", None): ids[1], ("m.read", ids[0]): ids[1]}
            heard = [got for got in await alice.skip() if "chat-markers" in got]
            assert len(heard) == 2 and f"<thread>{ids[0]}</thread>" in heard[1]
            # In a room of many it is kept, and not told.
            markers_limit, markers.MAX_MEMBERS = markers.MAX_MEMBERS, 1
            try:
                room = await server.middle.reader.room(room_id)
                view = server.front.muc.view(room_id, "tea@rooms.example.org")
                assert view is not None and room.joined_count() == 2
                newest = room.recent[-1].event.event_id
                markers.tell_displayed(view, ReceiptMoved(1, room_id, BOB, newest, "m.read", None, 1))
                await alice.quiet()
            finally:
                markers.MAX_MEMBERS = markers_limit

    asyncio.run(work())


def test_how_much_is_said() -> None:
    def item(ts_ms: int, kind: str = "m.room.message", **content: object) -> SimpleNamespace:
        event = SimpleNamespace(type=kind, origin_server_ts=ts_ms, content=content)
        return SimpleNamespace(event=event)

    now = 1_000 * HOUR_MS
    edit = {"m.relates_to": {"rel_type": "m.replace", "event_id": "$x"}, "m.new_content": {"body": "x"}}
    said = [item(now - 30 * HOUR_MS), item(now - 3 * HOUR_MS, body="a"), item(now, body="b"), item(now, "m.reaction")]
    room = SimpleNamespace(recent=[*said, item(now, body="* x", **edit)], recent_from=0)
    assert messages_per_hour(room, now) == 2 / 24
    # What is in memory covers the last two hours alone.
    busy = SimpleNamespace(recent=[item(now - 2 * HOUR_MS, body="a")] * 50, recent_from=7)
    assert messages_per_hour(busy, now) == 25
    assert messages_per_hour(SimpleNamespace(recent=[], recent_from=0), now) == 0
