"""The front end over real sockets: what transcripts cannot say (secrets, clocks, other protocols' messages)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from dataclasses import replace

from tests.irc.server import CONFIG, OPTIONS, PATIENCE_S, SERVER, Client, TestServer, serve, with_limits
from tests.support.terms import ACCEPTED, NEWER, TERMS
from tripoint.config.options import Server
from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import RoomAlias, RoomId, UserId
from tripoint.rooms.commands import CreateRoom, Invite, Join, SendEvent, SendState, SetAlias, Template


def run(scenario: object) -> None:
    asyncio.run(asyncio.wait_for(scenario, 30))  # type: ignore[arg-type]


# --- logging in ----------------------------------------------------------------------------------------


async def scram(client: Client, name: str, password: str) -> bytes:
    """The client's side of SCRAM-SHA-256 (RFC7677); returns the server's last message."""
    client.send("AUTHENTICATE SCRAM-SHA-256")
    await client.expect(f":{SERVER} AUTHENTICATE +")
    first = f"n={name},r=clientnonce"
    client.send("AUTHENTICATE " + base64.b64encode(f"n,,{first}".encode()).decode())
    challenge = base64.b64decode((await client.line()).split()[-1]).decode()
    fields = dict(part.split("=", 1) for part in challenge.split(","))
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(fields["s"]), int(fields["i"]))
    key = hmac.digest(salted, b"Client Key", "sha256")
    final = f"c=biws,r={fields['r']}"
    message = f"{first},{challenge},{final}".encode()
    signature = hmac.digest(hashlib.sha256(key).digest(), message, "sha256")
    proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature, strict=True))).decode()
    client.send("AUTHENTICATE " + base64.b64encode(f"{final},p={proof}".encode()).decode())
    answer = await client.line()
    if " AUTHENTICATE " not in answer:
        return answer.encode()
    assert hmac.compare_digest(
        base64.b64decode(answer.split()[-1]),
        b"v=" + base64.b64encode(hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), message, "sha256")),
    )
    client.send("AUTHENTICATE +")
    return (await client.line()).encode()


def test_scram_sha_256() -> None:
    async def scenario() -> None:
        async with serve() as server:
            await server.middle.accounts.register("alice", "pencil", address="x")
            client = await server.connect()
            client.send("CAP LS 302", "CAP REQ sasl", "NICK whoever", "USER a 0 * :A")
            await client.until("ACK")
            assert b" 904 " in await scram(client, "alice", "wrong")
            assert b" 904 " in await scram(client, "nobody", "pencil")
            assert b" 900 " in await scram(client, "alice", "pencil")
            await client.expect(":* 903 *")
            # spec: IRCv3 sasl-3.2 "SASL Reauthentication"
            guest = await server.guest("gus", "sasl")
            assert b" 904 " in await scram(guest, "alice", "wrong")
            assert b" NICK alice" in await scram(guest, "alice", "pencil")
            await guest.expect(f":{SERVER} 900 alice *", f":{SERVER} 903 alice :*")
            client.send("CAP END")
            # The nick of an account is its name, whatever was asked for.
            await client.expect(f":{SERVER} 001 alice :*")

    run(scenario())


def test_three_wrong_passwords_close_the_connection() -> None:
    async def scenario() -> None:
        async with serve() as server:
            client = await server.connect()
            client.send("CAP REQ sasl")
            await client.line()
            for _ in range(3):
                client.send("AUTHENTICATE PLAIN", "AUTHENTICATE " + base64.b64encode(b"\0bob\0x").decode())
            await client.until("^:example.org ERROR|^ERROR :Closing link: Too many SASL")

    run(scenario())


def test_pass_logs_in() -> None:
    async def scenario() -> None:
        async with serve() as server:
            await server.middle.accounts.register("alice", "pencil", address="x")
            client = await server.connect()
            client.send("PASS alice:pencil", "NICK x", "USER a 0 * :A")
            await client.expect(":* 900 x *", f":{SERVER} 001 alice :*")
            wrong = await server.connect()
            wrong.send("PASS alice:pen", "NICK x", "USER a 0 * :A")
            await wrong.expect(":* 464 x :*", "ERROR :*")

    run(scenario())


def test_accounts_that_need_an_address_are_made_elsewhere() -> None:
    async def scenario() -> None:
        config = replace(CONFIG, accounts=replace(CONFIG.accounts, email_required=True))
        async with serve(config) as server:
            client = await server.connect()
            client.send("CAP LS 302")
            assert "draft/account-registration" not in " ".join(await client.until(r" CAP \* LS :?[^*]"))
            # What the configuration says of registration is taken up while the server runs.
            server.middle.reload(CONFIG)
            await server.front.reload(OPTIONS)
            other = await server.connect()
            other.send("CAP LS 302")
            assert "draft/account-registration" in " ".join(await other.until(r" CAP \* LS :?[^*]"))

    run(scenario())


def test_an_account_whose_terms_have_to_be_accepted() -> None:
    async def scenario() -> None:
        config = replace(CONFIG, accounts=replace(CONFIG.accounts, terms=TERMS))
        async with serve(config) as server:
            client = await server.connect()
            client.send("CAP LS 302")
            offered = " ".join(await client.until(r" CAP \* LS :?[^*]"))
            # Who is not connected could not ask what there is to accept.
            assert "draft/account-registration=custom-account-name" in offered
            client.send("NICK tester", "USER t 0 * :T", "REGISTER * * hunter2")
            code = "COMPLETE_CONNECTION_REQUIRED"
            await client.expect(f":* FAIL REGISTER {code} :Accept what there is to accept first: *")
            guest = await server.guest("tea", "standard-replies")
            guest.send("REGISTER * * hunter2")
            await guest.expect(":* FAIL REGISTER TEMPORARILY_UNAVAILABLE tea :To make an account, * NickServ TERMS;*")
            guest.send("NS REGISTER hunter2")
            await guest.expect(":NickServ!* NOTICE tea :To make an account, accept what there is to accept first: *")
            listed = (
                ":NickServ!* NOTICE tea :Terms of Service, version 1.2: https://example.org/somewhere/terms-1.2-en.html",
                ":NickServ!* NOTICE tea :Privacy <policy>, version 3: https://example.org/privacy.html",
                ":NickServ!* NOTICE tea :If you have read and accept that: /msg NickServ TERMS ACCEPT",
            )
            # Nobody accepts what they were not shown, nor another version of it.
            guest.send("NS TERMS ACCEPT")
            await guest.expect(*listed)
            server.middle.reload(replace(CONFIG, accounts=replace(CONFIG.accounts, terms=NEWER)))
            guest.send("NS TERMS ACCEPT")
            await guest.expect(listed[0].replace("version 1.2", "version 1.3"), *listed[1:])
            guest.send("NS TERMS ACCEPT")
            await guest.expect(":NickServ!* NOTICE tea :You have accepted that; REGISTER makes an account")
            guest.send("REGISTER * * hunter2")
            await guest.expect(f":{SERVER} REGISTER SUCCESS tea :Account successfully registered")
            accepted = await server.middle.accounts.administration.accepted(UserId(f"@tea:{SERVER}"))
            assert {one.document: one.version for one in accepted} == {**ACCEPTED, "terms_of_service": "1.3"}

    run(scenario())


def test_register_before_connect() -> None:
    async def scenario() -> None:
        async with serve() as server:
            client = await server.connect()
            client.send("CAP LS 302")
            offered = await client.until(r" CAP \* LS :?[^*]")
            assert "draft/account-registration=before-connect,custom-account-name" in " ".join(offered)
            client.send("NICK tester", "USER t 0 * :T", "REGISTER * * hunter2", "CAP END")
            await client.expect(
                f":{SERVER} REGISTER SUCCESS tester :Account successfully registered",
                ":* 900 *",
                f":{SERVER} 001 tester :*",
            )
            again = await server.connect()
            again.send("NICK Tester", "USER t 0 * :T")
            await again.expect(":* 433 * Tester :*")
            again.send("NICK tester2", "REGISTER a~b * pw")
            await again.until(" 376 ")

    run(scenario())


def test_reserved_and_lookalike_names_are_refused() -> None:
    async def scenario() -> None:
        async with serve() as server:
            client = await server.connect()
            client.send("CAP LS", "NICK gus", "USER t 0 * :T", "REGISTER nickserv * pw")
            await client.until("FAIL REGISTER BAD_ACCOUNT_NAME nickserv")
            client.send("REGISTER :a b * pw")
            await client.until(" 461 ")

    run(scenario())


def test_guests_off() -> None:
    async def scenario() -> None:
        config = replace(CONFIG, accounts=replace(CONFIG.accounts, guests=False))
        async with serve(config, replace(OPTIONS, guests=False)) as server:
            client = await server.connect()
            # spec: IRCv3 account-registration: the token says it before, the reply at the end.
            client.send("CAP REQ draft/extended-isupport", "ISUPPORT")
            await client.until(" 005 .* draft/ACCOUNTREQUIRED ")
            client.send("CAP END", "NICK gus", "USER g 0 * :G")
            await client.expect(f":{SERVER} FAIL * ACCOUNT_REQUIRED :*", "ERROR :*")

    run(scenario())


def test_an_account_comes_back_into_its_rooms() -> None:
    async def scenario() -> None:
        async with serve() as server:
            alice = await server.account("alice")
            await alice.answer("JOIN #tea,#milk", "TOPIC #tea :Kettle")
            alice.send("QUIT")
            await alice.until("^ERROR")
            again = await server.account("alice")
            lines = await again.answer()
            assert [line for line in lines if " JOIN " in line] == [
                ":alice!alice@example.org JOIN #milk",
                ":alice!alice@example.org JOIN #tea",
            ] or len(lines) > 4
            assert any(" 332 alice #tea :Kettle" in line for line in lines)

    run(scenario())


def test_many_who_join_a_new_channel_at_once_are_in_one() -> None:
    async def scenario() -> None:
        async with serve() as server:
            clients = [await server.guest(f"g{number}") for number in range(8)]
            for client in clients:
                client.send("JOIN #rush")
            for client in clients:
                await client.until(" 366 ")
            room = server.middle.reader.peek(await room_of(server, "#rush"))
            assert room is not None
            assert room.joined_count() == 8

    run(scenario())


def test_a_channel_of_a_server_whose_name_has_a_port() -> None:
    async def scenario() -> None:
        async with serve(replace(CONFIG, server=Server(name="127.0.0.1:8448"))) as server:
            client = await server.guest("anna")
            client.send("JOIN #tea")
            await client.until(" 366 ")
            assert await server.middle.reader.resolve_alias(RoomAlias("#tea:127.0.0.1:8448")) is not None

    run(scenario())


# --- messages of other protocols -----------------------------------------------------------------------


async def matrix_user(server: TestServer, name: str) -> UserId:
    return (await server.middle.accounts.register(name, "pw", address="x")).user_id


async def room_of(server: TestServer, channel: str) -> RoomId:
    room_id = await server.front.network.find_room(channel, UserId(f"@nobody:{SERVER}"))
    assert room_id is not None
    return room_id


async def say(server: TestServer, user: UserId, room: RoomId, content: JsonObject) -> None:
    await server.middle.service.do(SendEvent(actor=user, room_id=room, type="m.room.message", content=content))


def test_what_matrix_clients_write() -> None:
    async def scenario() -> None:
        async with serve() as server:
            bob = await server.account("bob")
            await bob.answer("JOIN #tea")
            ann = await matrix_user(server, "ann")
            room = await room_of(server, "#tea")
            await server.middle.service.do(Join(actor=ann, room_id=room))
            await bob.expect(":ann!ann@example.org JOIN #tea")
            html = '<b>bold</b> <a href="https://matrix.to/#/@bob:example.org">Bobby</a> <a href="https://x.org/">x</a>'
            sent: list[tuple[JsonObject, list[str]]] = [
                ({"msgtype": "m.text", "body": "one\n\ntwo"}, ["one", "two"]),
                (
                    {
                        "msgtype": "m.text",
                        "body": "-",
                        "format": "org.matrix.custom.html",
                        "formatted_body": html,
                    },
                    ["\x02bold\x0f bob x <https://x.org/>"],
                ),
                ({"msgtype": "m.emote", "body": "waves"}, ["\x01ACTION waves\x01"]),
                # What was said elsewhere cannot become a CTCP or another line here.
                ({"msgtype": "m.text", "body": "\x01VERSION\x01"}, ["VERSION\x01"]),
                ({"msgtype": "m.text", "body": "a\r\nQUIT :b"}, ["a", "QUIT :b"]),
                (
                    {
                        "msgtype": "m.image",
                        "body": "cat.png",
                        "url": "mxc://x/y",
                        "info": {"mimetype": "image/png", "size": 2048},
                    },
                    ["cat.png (image/png, 2.0 KiB) https://files.example.org/m/*/cat.png"],
                ),
            ]
            for content, lines in sent:
                await say(server, ann, room, content)
                await bob.expect(*[f":ann!ann@example.org PRIVMSG #tea :{line}" for line in lines])
            await say(server, ann, room, {"msgtype": "m.text", "body": "word " * 300})
            for _ in range(4):
                assert (await bob.line()).startswith(":ann!ann@example.org PRIVMSG #tea :word word")
            await say(server, ann, room, {"msgtype": "m.text", "body": "\n".join("x" * 30)})
            for wanted in ("x", "x", "x", "... [30 lines] https://files.example.org/m/*/message.txt"):
                await bob.expect(f":ann!ann@example.org PRIVMSG #tea :{wanted}")
            # Nothing to show, nothing shown; of other servers such messages come without a body too.
            await say(server, ann, room, {"msgtype": "m.text", "body": ""})
            here = await server.middle.loaded.get(room)
            for empty in ({}, {"msgtype": "m.text"}, {"body": 5}):
                transaction = server.middle.writer.begin(here)
                transaction.append(ann, "m.room.message", empty)
                await server.middle.writer.commit(here, transaction)
            await bob.quiet()

    run(scenario())


def test_a_mention_becomes_a_pill() -> None:
    async def scenario() -> None:
        async with serve() as server:
            bob = await server.account("bob")
            await bob.answer("JOIN #tea")
            ann = await matrix_user(server, "ann")
            room = await room_of(server, "#tea")
            await server.middle.service.do(Join(actor=ann, room_id=room))
            await bob.answer("PRIVMSG #tea :ann: look at annex, @ann")
            view = server.middle.reader.peek(room)
            assert view is not None
            content = server.middle.loaded.peek(room).recent[-1].event.content  # type: ignore[union-attr]
            pill = '<a href="https://matrix.to/#/@ann:example.org">{}</a>'
            assert content["m.mentions"] == {"user_ids": ["@ann:example.org"]}
            assert content["body"] == "ann: look at annex, @ann"
            html = content["formatted_body"]
            assert isinstance(html, str)
            assert html.replace("%40", "@").replace("%3A", ":") == (
                f"{pill.format('ann')}: look at annex, {pill.format('@ann')}"
            )

    run(scenario())


def test_a_room_without_alias_has_a_slug() -> None:
    async def scenario() -> None:
        async with serve() as server:
            bob = await server.account("bob")
            ann = await matrix_user(server, "ann")
            made = await server.middle.service.do(
                CreateRoom(actor=ann, template=Template.PUBLIC_CHAT, name="The Tea Room")
            )
            assert made.room_id is not None
            room = await server.middle.service.do(Join(actor=bob_id(server), room_id=made.room_id))
            assert room.created
            line = (await bob.until(" JOIN "))[-1]
            channel = line.split(" JOIN ")[1]
            assert channel.startswith("#~the-tea-room-")
            await bob.answer()
            await say(server, ann, made.room_id, {"msgtype": "m.text", "body": "hi"})
            await bob.expect(f":ann!ann@example.org PRIVMSG {channel} :hi")
            # It gets a name: the old channel is left for the new one.
            await server.middle.service.do(
                SendState(
                    actor=ann,
                    room_id=made.room_id,
                    type="m.room.name",
                    state_key="",
                    content={"name": "Other"},
                )
            )
            await bob.quiet()
            bob.send(f"PRIVMSG {channel} :hello", f"PART {channel}")
            await bob.expect(f":bob!bob@example.org PART {channel}")

    run(scenario())


def bob_id(server: TestServer) -> UserId:
    return server.middle.accounts.user_id("bob")


def test_levels_and_names_set_over_matrix() -> None:
    async def scenario() -> None:
        async with serve() as server:
            bob = await server.account("bob")
            await bob.answer("JOIN #tea")
            ann = await matrix_user(server, "ann")
            room = await room_of(server, "#tea")
            do = server.middle.service.do
            await do(Join(actor=ann, room_id=room))
            await bob.expect(":ann!ann@example.org JOIN #tea")
            view = server.middle.reader.peek(room)
            assert view is not None

            async def state(kind: str, content: JsonObject) -> None:
                await do(SendState(actor=bob_id(server), room_id=room, type=kind, state_key="", content=content))

            levels = dict(view.power.content)
            # spec: docs/mapping.md 7.6: shown as the difference of ranks, from who wrote the levels.
            await state("m.room.power_levels", {**levels, "users": {ann: 60}})
            await bob.expect(":bob!bob@example.org MODE #tea +o ann")
            await state("m.room.power_levels", {**levels, "users": {ann: 61}})
            await state("m.room.power_levels", {**levels, "users": {ann: 25}, "events_default": 5})
            await bob.expect(":bob!bob@example.org MODE #tea -o+h ann ann", ":bob!bob@example.org MODE #tea +m")
            await state("m.room.join_rules", {"join_rule": "knock"})
            await bob.expect(":bob!bob@example.org MODE #tea +i")
            await state("m.room.topic", {"topic": "one\ntwo" + "x" * 400})
            line = await bob.line()
            assert line.startswith(":bob!bob@example.org TOPIC #tea :one | twoxxx")
            assert line.endswith("...")
            await do(SetAlias(actor=bob_id(server), alias=RoomAlias("#coffee:example.org"), room_id=room))
            # spec: docs/mapping.md 3.7
            await state("m.room.canonical_alias", {"alias": "#coffee:example.org"})
            await bob.expect(
                ":bob!bob@example.org PART #tea :This channel is now #coffee",
                ":bob!bob@example.org JOIN #coffee",
                ":* 332 bob #coffee :*",
                ":* 333 bob #coffee bob *",
                ":* 353 bob = #coffee :~bob %ann",
                ":* 366 bob #coffee :*",
            )
            bob.send("JOIN #tea", "PRIVMSG #coffee :still here")
            await bob.expect(":* 470 bob #tea #coffee :You are on that channel already, by its other name")
            await bob.quiet()
            carl = await server.account("carl")
            await state("m.room.join_rules", {"join_rule": "public"})
            await bob.expect(":bob!bob@example.org MODE #coffee -i")
            carl.send("JOIN #tea")
            await carl.expect(
                ":* 470 carl #tea #coffee :Forwarding to another channel", ":carl!carl@example.org JOIN #coffee"
            )

    run(scenario())


def test_an_invitation_over_matrix() -> None:
    async def scenario() -> None:
        async with serve() as server:
            bob = await server.account("bob")
            ann = await matrix_user(server, "ann")
            made = await server.middle.service.do(
                CreateRoom(actor=ann, template=Template.PRIVATE_CHAT, alias_localpart="den")
            )
            assert made.room_id is not None
            await server.middle.service.do(Invite(actor=ann, room_id=made.room_id, target=bob_id(server)))
            await bob.expect(":ann!ann@example.org INVITE bob #den")
            bob.send("INVITE")
            await bob.expect(f":{SERVER} 336 bob :#den", f":{SERVER} 337 bob :End of /INVITE list")
            bob.send("JOIN #den")
            await bob.expect(":bob!bob@example.org JOIN #den")

    run(scenario())


def test_an_encrypted_room_is_not_entered() -> None:
    async def scenario() -> None:
        async with serve() as server:
            bob = await server.account("bob", "standard-replies")
            await bob.answer("JOIN #tea")
            room = await room_of(server, "#tea")
            await server.middle.service.do(
                SendState(
                    actor=bob_id(server),
                    room_id=room,
                    type="m.room.encryption",
                    state_key="",
                    content={"algorithm": "m.megolm.v1.aes-sha2"},
                )
            )
            await bob.expect(
                f":{SERVER} NOTICE #tea :This room is now end-to-end encrypted: *",
                ":bob!bob@example.org PART #tea :End-to-end encrypted",
            )
            bob.send("JOIN #tea")
            await bob.expect(f":{SERVER} FAIL JOIN ENCRYPTED #tea :*", f":{SERVER} 477 bob #tea :*")
            again = await server.account("bob")
            await again.quiet()

    run(scenario())


def test_direct_messages_of_a_matrix_user() -> None:
    async def scenario() -> None:
        async with serve() as server:
            bob = await server.account("bob")
            ann = await matrix_user(server, "ann")
            made = await server.middle.service.do(
                CreateRoom(
                    actor=ann,
                    template=Template.TRUSTED_PRIVATE_CHAT,
                    is_direct=True,
                    invite=(bob_id(server),),
                )
            )
            assert made.room_id is not None
            await server.middle.service.do(Join(actor=bob_id(server), room_id=made.room_id))
            await say(server, ann, made.room_id, {"msgtype": "m.text", "body": "psst"})
            await bob.expect(":ann!ann@example.org PRIVMSG bob :psst")
            bob.send("PRIVMSG ann :what")
            await bob.quiet()
            last = server.middle.loaded.peek(made.room_id).recent[-1].event  # type: ignore[union-attr]
            assert last.content["body"] == "what"

    run(scenario())


# --- bad input, slow readers, clocks -------------------------------------------------------------------


def test_bad_lines_are_answered_and_the_next_one_is_read() -> None:
    async def scenario() -> None:
        async with serve() as server:
            bob = await server.account("bob", "standard-replies", "message-tags")
            await bob.answer("JOIN #tea")
            bob.send("X" * 600)
            await bob.expect(f":{SERVER} 417 bob :Input line was too long")
            bob.send("@" + "a" * 5000 + " PING x")
            await bob.expect(f":{SERVER} 417 bob :Input line was too long")
            bob.send_bytes(b"\0\1\2\r\n")
            await bob.expect(f":{SERVER} 400 bob * :A line must not hold NUL or CR")
            bob.send_bytes(b"PRIVMSG #tea :caf\xe9\r\n")
            await bob.expect(f":{SERVER} WARN PRIVMSG INVALID_UTF8 :*")
            bob.send_bytes(b"TOPIC #tea :caf\xe9\r\n")
            await bob.expect(f":{SERVER} WARN TOPIC INVALID_UTF8 :*", ":bob!bob@* TOPIC #tea :caf\xe9")
            bob.send_bytes(b"\r\n\n \r\n")
            await bob.quiet()
            other = await server.account("carl")
            await other.answer("JOIN #tea")
            bob.send_bytes(b"PRIVMSG #tea :caf\xe9\n")
            await other.expect(":bob!bob@example.org PRIVMSG #tea :café")

    run(scenario())


def test_a_client_that_does_not_read_loses_its_connection_only() -> None:
    async def scenario() -> None:
        options = replace(OPTIONS, sendq_bytes=256 * 1024)
        async with serve(options=options) as server:
            bob = await server.account("bob")
            await bob.answer("JOIN #tea")
            slow = await server.account("carl")
            await slow.answer("JOIN #tea")
            await bob.answer()
            slow._reader._transport.pause_reading()  # type: ignore[attr-defined]
            network = server.front.network
            room = await room_of(server, "#tea")
            carl = server.middle.accounts.user_id("carl")
            for _ in range(2000):
                for _ in range(20):
                    bob.send("PRIVMSG #tea :" + "x" * 400)
                await bob.quiet()
                if not network.sessions.of(carl):
                    break
            else:
                raise AssertionError("the slow reader is still there")
            view = server.middle.reader.peek(room)
            assert view is not None
            assert view.membership(carl) == "join"
            await bob.quiet()

    run(scenario())


class FakeClock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_silent_clients_are_asked_and_then_closed() -> None:
    async def scenario() -> None:
        clock = FakeClock()
        async with serve(monotonic=clock) as server:
            bob = await server.account("bob")
            late = await server.connect()
            late.send("NICK late", "PING x")
            await late.line()
            clock.now += 61
            server.front.sweep()
            await late.expect("ERROR :Closing link: Registration timed out")
            await bob.quiet()
            clock.now += 121
            server.front.sweep()
            await bob.expect(f"PING {SERVER}")
            bob.send("PONG x")
            await bob.quiet()
            clock.now += 121
            server.front.sweep()
            await bob.expect(f"PING {SERVER}")
            clock.now += 61
            server.front.sweep()
            await bob.expect("ERROR :Closing link: Ping timeout: *")

    run(scenario())


def test_an_account_that_is_too_fast_waits_and_is_then_refused() -> None:
    async def scenario() -> None:
        async with serve(with_limits(events_burst=1, events_per_s=0.001)) as server:
            bob = await server.account("bob", "standard-replies")
            await bob.answer("JOIN #tea")
            bob.send("PRIVMSG #tea :one", "PRIVMSG #tea :two")
            await bob.expect(f":{SERVER} FAIL PRIVMSG RATE_LIMITED #tea :You are sending too fast")

    run(scenario())


def test_lines_on_their_way_together_keep_their_order() -> None:
    async def scenario() -> None:
        # A small allowance: some of the lines are begun while others wait for it.
        async with serve(with_limits(events_burst=4, events_per_s=200)) as server:
            alice = await server.account("alice", "echo-message", "labeled-response", "batch")
            bob = await server.account("bob")
            await alice.answer("JOIN #tea,#milk")
            await bob.answer("JOIN #tea,#milk")
            await alice.answer()
            lines = [f"PRIVMSG #tea :line {number}" for number in range(40)]
            alice.send(*lines, "@label=x PRIVMSG #tea :labelled", "TOPIC #tea :after all", "PART #tea :bye")
            said = [f":alice!alice@example.org {line}" for line in lines]
            ended = [
                ":alice!alice@example.org TOPIC #tea :after all",
                ":alice!alice@example.org PART #tea :bye",
            ]
            await bob.expect(*said, ":alice!alice@example.org PRIVMSG #tea :labelled", *ended)
            await alice.expect(*said, "@label=x :alice!alice@example.org PRIVMSG #tea :labelled", *ended)
            alice.send("PRIVMSG #tea :one", "PRIVMSG #milk :two", "PRIVMSG #tea :three", "QUIT")
            # What each line brings comes in its own time, but all of it before the end.
            assert sorted((await alice.until("^ERROR"))[:-1]) == [
                ":alice!alice@example.org PRIVMSG #milk :two",
                f":{SERVER} 404 alice #tea :You are not in this room",
                f":{SERVER} 404 alice #tea :You are not in this room",
            ]
            await bob.expect(":alice!alice@example.org PRIVMSG #milk :two")

    run(scenario())


def test_commands_beyond_the_allowance_wait() -> None:
    async def scenario() -> None:
        options = replace(OPTIONS, commands_burst=3, commands_per_s=20)
        async with serve(options=options) as server:
            loop = asyncio.get_running_loop()
            bob = await server.guest("bob")
            begin = loop.time()
            await bob.answer(*["VERSION"] * 4)
            # Eight points of cost, three at once, twenty a second.
            assert loop.time() - begin > 0.2

    run(scenario())


def test_connections_of_one_address_are_limited() -> None:
    async def scenario() -> None:
        async with serve(options=replace(OPTIONS, connections_per_address=2)) as server:
            first = await server.guest("a")
            await server.guest("b")
            third = await server.connect()
            await third.expect("ERROR :Closing link: Too many connections from your address")
            first.send("QUIT")
            await first.until("ERROR")
            await server.guest("c")

    run(scenario())


def test_a_logged_out_device_is_closed() -> None:
    async def scenario() -> None:
        async with serve() as server:
            bob = await server.account("bob")
            await server.middle.accounts.log_out_all(bob_id(server))
            await bob.expect("ERROR :Closing link: *")

    run(scenario())


def test_draining_tells_everybody() -> None:
    async def scenario() -> None:
        async with serve() as server:
            bob = await server.account("bob")
            gus = await server.guest("gus")
            await asyncio.wait_for(server.front.drain(), PATIENCE_S)
            await bob.expect("ERROR :Closing link: Server is shutting down")
            await gus.expect("ERROR :Closing link: Server is shutting down")

    run(scenario())


def test_nothing_is_left_of_guests_who_went() -> None:
    async def scenario() -> None:
        async with serve() as server:
            alice = await server.account("alice", "away-notify", "invite-notify")
            await alice.answer("JOIN #tea", "MODE #tea -R")
            network, names = server.front.network, server.front.names
            before = (len(names._nicks), len(names._masks), len(names._users))
            for number in range(5):
                guest = await server.guest(f"g{number}")
                await guest.answer("JOIN #tea,#own", "PRIVMSG #tea :hi", f"NICK h{number}", "AWAY :x")
                await guest.answer("PRIVMSG alice :hello", "PART #tea", "JOIN #tea")
                guest.send("QUIT")
                await guest.until("^ERROR")
            await alice.until(":h4!.* QUIT ")
            await asyncio.wait_for(server.front.settled(), PATIENCE_S)
            assert [session.nick for session in network.sessions] == ["alice"]
            assert not names.gone
            assert not names._guests
            assert (len(names._nicks), len(names._masks), len(names._users)) == before
            assert {channel.name for channel in network.channels.all() if not channel.direct} == {"#tea"}
            assert alice.nick not in names.gone
            room = server.middle.reader.peek(await room_of(server, "#tea"))
            assert room is not None
            assert room.joined_count() == 1

    run(scenario())


def test_a_monitor_list_has_an_end() -> None:
    async def scenario() -> None:
        async with serve() as server:
            alice = await server.account("alice")
            nicks = [f"n{number}" for number in range(105)]
            alice.send(f"MONITOR + {','.join(nicks[:60])}", f"MONITOR + {','.join(nicks[60:])}")
            full = (await alice.until(" 734 "))[-1]
            assert full == f":{SERVER} 734 alice 100 {','.join(nicks[100:])} :Monitor list is full."
            answer = await alice.answer("MONITOR L")
            assert sum(line.count(",") + 1 for line in answer if " 732 " in line) == 100
            # It ends with the connection: nobody is told any more.
            alice.send("QUIT")
            await alice.until("ERROR")
            assert not server.front.network.monitors._watchers

    run(scenario())
