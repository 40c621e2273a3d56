"""State of a room as other servers and other protocols' clients can write it: nothing of it breaks a line.

spec: docs/mapping.md 9.2, 9.3, 11.4; RFC2812 2.3
"""

from __future__ import annotations

from tests.irc.server import Client, TestServer, serve
from tests.irc.test_server import run
from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import RoomId
from tripoint.rooms.commands import SendEvent, SendState, SetProfile


async def at_tea(server: TestServer, *caps: str) -> tuple[Client, Client, RoomId]:
    alice, bob = await server.account("alice"), await server.account("bob", *caps)
    await alice.answer("JOIN #tea")
    await bob.answer("JOIN #tea")
    room_id = await server.front.network.find_room("#tea", server.middle.accounts.user_id("alice"))
    assert room_id is not None
    return alice, bob, room_id


def test_masks_that_no_line_holds_are_not_told_and_the_others_are() -> None:
    async def scenario() -> None:
        async with serve() as server:
            _, bob, room_id = await at_tea(server)
            alice = server.middle.accounts.user_id("alice")

            async def put(kind: str, key: str, content: JsonObject) -> list[str]:
                wish = SendState(actor=alice, room_id=room_id, type=kind, state_key=key, content=content)
                await server.middle.service.do(wish)
                return [line.partition(" MODE ")[2] for line in await bob.answer()]

            long = "x" * 600
            told = await put("dev.tripoint.room.masks", "", {"e": [f"{long}!*@*", "a!*@*"], "I": ["é" * 300]})
            assert told == ["#tea +e a!*@*"]
            told = await put("m.room.server_acl", "", {"allow": ["*"], "deny": [f"{long}.example", "evil.example"]})
            assert told == ["#tea +b *!*@evil.example"]
            rule: JsonObject = {"entity": f"@*:{long}", "recommendation": "m.ban", "reason": "x"}
            assert await put("m.policy.rule.user", "one", rule) == []
            rule = {"entity": "@*:x", "recommendation": "m.ban", "reason": "x", "dev.tripoint.mask": long}
            assert await put("m.policy.rule.user", "two", rule) == []
            await bob.quiet()

    run(scenario())


def test_reactions_that_no_tag_holds() -> None:
    async def scenario() -> None:
        async with serve() as server:
            alice, bob, room_id = await at_tea(server, "message-tags")
            alice.send("PRIVMSG #tea :hello")
            (said,) = await bob.until("PRIVMSG")
            event_id = said.partition("msgid=")[2].partition(" ")[0].partition(";")[0]
            for key in ("k" * 10_000, "\N{TEACUP WITHOUT HANDLE}" * 3_000, "a b;c"):
                content: JsonObject = {"m.relates_to": {"rel_type": "m.annotation", "event_id": event_id, "key": key}}
                wish = SendEvent(
                    actor=server.middle.accounts.user_id("alice"), room_id=room_id, type="m.reaction", content=content
                )
                await server.middle.service.do(wish)
                for line in await bob.answer():
                    assert len(line.partition(" ")[0].encode()) <= 4096

    run(scenario())


def test_long_words_as_metadata_are_cut() -> None:
    """A value without a space in it stands without a colon, as long as it fits. spec: IRCv3 metadata"""

    async def scenario() -> None:
        async with serve() as server:
            _, bob, room_id = await at_tea(server, "draft/metadata-2", "batch")
            alice = server.middle.accounts.user_id("alice")
            bob.send("METADATA * SUB display-name url")
            await bob.until("BATCH -md")
            for name in ("Tea", "x" * 5_000, "é" * 900, "two words " * 300, "two\nlines"):
                content: JsonObject = {"name": name}
                await server.middle.service.do(
                    SendState(actor=alice, room_id=room_id, type="m.room.name", state_key="", content=content)
                )
                (told,) = await bob.answer()
                head, _, value = told.partition(" METADATA #tea display-name * ")
                assert head == ":alice!alice@example.org"
                assert " " not in value or value[0] == ":"
                value, name = value.removeprefix(":"), name.replace("\n", " | ")
                assert value == name or (value.endswith("...") and name.startswith(value[:-3]))
            value_of_many = {"a": "x" * 900}
            await server.middle.service.do(SetProfile(actor=alice, field="dev.tripoint.irc.url", value=value_of_many))
            (told,) = await bob.answer()
            assert told.startswith(":alice!alice@example.org METADATA alice url * :{") and told.endswith("...")

    run(scenario())
