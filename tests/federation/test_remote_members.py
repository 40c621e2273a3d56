"""Members of other servers as IRC and XMPP clients see them: names, who did what, what comes late, what is denied.

spec: docs/mapping.md 1.5, 2.2, 2.4, 2.6, 2.9, 5, 7.6, 9.1, 9.7, 21.1, 21.2, 21.7
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.cross.world import IrcPerson, XmppPerson
from tests.federation.islands import Island, bring_in, islands, make_room
from tests.federation.viewers import connect, front_ends
from tests.support.middle import run
from tripoint.core.canonical_json import JsonObject
from tripoint.core.event import Event
from tripoint.core.ids import RoomId, UserId
from tripoint.core.power import Rank
from tripoint.irc.frontend import IrcFrontEnd
from tripoint.irc.wire import Line, parse_line
from tripoint.rooms.accept import Verdict
from tripoint.rooms.commands import (
    Ban,
    Command,
    Join,
    Kick,
    Leave,
    Redact,
    SendEvent,
    SendState,
    SetRanks,
    SetRoomNick,
    SetTopic,
)
from tripoint.rooms.transaction import RoomTransaction
from tripoint.xmpp.jid import parse_jid

ROOM = "tea@rooms.a.org"
CAPS = ("server-time", "account-tag", "message-tags", "extended-join")


class Scene:
    """#tea on a.org, with alice@a.org inside by IRC and XMPP, and bob@remote.org, whose server is the other one."""

    def __init__(
        self, one: Island, two: Island, room_id: RoomId, irc: IrcPerson, xmpp: XmppPerson, front: IrcFrontEnd
    ) -> None:
        self.one = one
        self.two = two
        self.room_id = room_id
        self.irc = irc
        self.xmpp = xmpp
        self.front = front
        self.alice = UserId("@alice:a.org")
        self.bob = UserId("@bob:remote.org")

    async def remote(self, command: Command) -> Event:
        """Bob's server does something, and ours hears of it."""
        self.two.outgoing.clear()
        await self.two.party.do(command)
        event = self.two.outgoing[-1]
        assert await self.one.deliver(event) is Verdict.ACCEPTED
        return event

    async def local(self, command: Command) -> None:
        self.one.outgoing.clear()
        await self.one.party.do(command)
        for event in self.one.outgoing:
            assert await self.two.deliver(event) is Verdict.ACCEPTED

    async def heard(self) -> tuple[list[str], list[str]]:
        return await self.irc.pending(), await self.xmpp.pending()


@asynccontextmanager
async def scene(*caps: str) -> AsyncIterator[Scene]:
    async with islands("a.org", "remote.org") as (one, two):
        (alice,) = await one.party.accounts("alice")
        bob, _ = await two.party.accounts("bob", "carol")
        room_id = await make_room(one, alice, "12", "tea")
        async with front_ends(one) as (irc, xmpp):
            chatter, jabberer = IrcPerson(connect(irc)), XmppPerson(connect(xmpp), "a.org")
            await chatter.log_in("alice", list(caps))
            await jabberer.log_in("alice", [])
            await jabberer.send(f"<presence to='{ROOM}/alice'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
            await chatter.pending()
            await jabberer.pending()
            await bring_in(one, two, bob, room_id)
            yield Scene(one, two, room_id, chatter, jabberer, irc)


def test_a_remote_user_has_a_nick_a_mask_and_an_account() -> None:
    async def work() -> None:
        async with scene(*CAPS) as at:
            (line,), (presence,) = await at.heard()
            tags, _, rest = line.partition(" ")
            assert re.fullmatch(r"@time=\S+;account=bob:remote.org", tags)
            assert rest == ":bob:remote.org!bob@remote.org JOIN #tea bob:remote.org :bob:remote.org"
            assert f"<presence from='{ROOM}/bob:remote.org'" in presence
            assert "jid='bob%remote.org@matrix.a.org'" in presence
            event = await at.remote(
                SendEvent(
                    actor=at.bob, room_id=at.room_id, type="m.room.message", content={"msgtype": "m.text", "body": "hi"}
                )
            )
            (line,), (message,) = await at.heard()
            assert line.endswith(" :bob:remote.org!bob@remote.org PRIVMSG #tea :hi")
            assert f"msgid={event.event_id}" in line
            assert "account=bob:remote.org" in line
            assert f"<message from='{ROOM}/bob:remote.org' type='groupchat' id='{event.event_id}'" in message
            assert "<delay" not in message

    run(work)


def test_questions_about_a_remote_user() -> None:
    async def work() -> None:
        async with scene("userhost-in-names") as at:
            await at.heard()
            nick = "bob:remote.org"
            for question in ("WHO #tea", f"WHOIS {nick}", f"USERHOST {nick}", "NAMES #tea", "WHO #tea %na"):
                await at.irc.send(question)
            lines = await at.irc.pending()
            for wanted in (
                ":a.org 352 alice #tea bob remote.org remote.org bob:remote.org G :0 bob:remote.org",
                ":a.org 311 alice bob:remote.org bob remote.org * :bob:remote.org",
                ":a.org 330 alice bob:remote.org bob:remote.org :is logged in as",
                ":a.org 320 alice bob:remote.org :is @bob:remote.org",
                ":a.org 302 alice :bob:remote.org=-bob@remote.org",
                ":a.org 354 alice bob:remote.org :bob:remote.org",
            ):
                assert wanted in lines
            assert any(" 353 " in line and "bob:remote.org!bob@remote.org" in line for line in lines)
            query = "<query xmlns='http://jabber.org/protocol/disco#info'/>"
            await at.xmpp.send(f"<iq type='get' id='1' to='{ROOM}/bob:remote.org'>{query}</iq>")
            (answer,) = await at.xmpp.pending()
            assert "type='result'" in answer

    run(work)


def test_what_a_remote_op_does_comes_from_his_nick() -> None:
    async def work() -> None:
        async with scene() as at:
            await at.local(SetRanks(actor=at.alice, room_id=at.room_id, ranks=((at.bob, Rank.OWNER),)))
            lines, stanzas = await at.heard()
            assert lines[-1] == ":alice!alice@a.org MODE #tea +qo bob:remote.org bob:remote.org"
            assert "affiliation='owner' role='moderator' jid='bob%remote.org@matrix.a.org'" in stanzas[-1]
            (zoe,) = await at.one.party.accounts("zoe")
            await at.local(Join(actor=zoe, room_id=at.room_id))
            await at.heard()
            await at.remote(SetRanks(actor=at.bob, room_id=at.room_id, ranks=((zoe, Rank.HALFOP),)))
            (line,), (presence,) = await at.heard()
            assert line == ":bob:remote.org!bob@remote.org MODE #tea +h zoe"
            assert f"from='{ROOM}/zoe'" in presence
            assert "affiliation='member' role='moderator'" in presence
            await at.remote(SetTopic(actor=at.bob, room_id=at.room_id, topic="Kettle on"))
            (line,), (subject,) = await at.heard()
            assert line == ":bob:remote.org!bob@remote.org TOPIC #tea :Kettle on"
            assert f"from='{ROOM}/bob:remote.org'" in subject
            await at.remote(Kick(actor=at.bob, room_id=at.room_id, target=zoe, reason="out"))
            (line,), (presence,) = await at.heard()
            assert line == ":bob:remote.org!bob@remote.org KICK #tea zoe :out"
            assert "<actor nick='bob:remote.org'/><reason>out</reason>" in presence
            assert "<status code='307'/>" in presence
            await at.remote(Ban(actor=at.bob, room_id=at.room_id, target=zoe))
            (line,), _ = await at.heard()
            assert line == ":bob:remote.org!bob@remote.org MODE #tea +b ~a:zoe"
            await at.remote(
                SendState(
                    actor=at.bob,
                    room_id=at.room_id,
                    type="m.room.join_rules",
                    state_key="",
                    content={"join_rule": "invite"},
                )
            )
            (line,), stanzas = await at.heard()
            assert line == ":bob:remote.org!bob@remote.org MODE #tea +i"
            assert any("<status code='104'/>" in stanza for stanza in stanzas)

    run(work)


def test_a_local_user_kicked_from_afar_is_out_on_every_protocol() -> None:
    async def work() -> None:
        async with scene() as at:
            await at.local(SetRanks(actor=at.alice, room_id=at.room_id, ranks=((at.bob, Rank.OWNER),)))
            (zoe,) = await at.one.party.accounts("zoe")
            await at.local(Join(actor=zoe, room_id=at.room_id))
            chatter = IrcPerson(connect(at.front))
            await chatter.log_in("zoe", [])
            await chatter.pending()
            await at.remote(Kick(actor=at.bob, room_id=at.room_id, target=zoe))
            assert await chatter.pending() == [":bob:remote.org!bob@remote.org KICK #tea zoe :bob:remote.org"]
            await at.one.party.say(at.alice, at.room_id, "are they gone?")
            assert await chatter.pending() == []
            assert (await at.one.party.middle.reader.memberships(zoe))[at.room_id] == "leave"

    run(work)


def test_a_remote_user_leaves_with_a_part_and_never_a_quit() -> None:
    async def work() -> None:
        async with scene() as at:
            await at.heard()
            await at.remote(Leave(actor=at.bob, room_id=at.room_id, reason="see you"))
            (line,), (presence,) = await at.heard()
            assert line == ":bob:remote.org!bob@remote.org PART #tea :see you"
            assert "type='unavailable'" in presence
            assert "<status>see you</status>" in presence
            assert "<status code='3" not in presence

    run(work)


def test_a_rename_is_303_on_xmpp_and_nothing_on_irc() -> None:
    async def work() -> None:
        async with scene() as at:
            await at.heard()
            await at.remote(SetRoomNick(actor=at.bob, room_id=at.room_id, nick="Bob the Builder"))
            lines, (gone, here) = await at.heard()
            assert lines == []
            assert "nick='Bob the Builder'/><status code='303'/>" in gone
            assert f"from='{ROOM}/Bob the Builder'" in here
            # An avatar has no form on either. What a room calls somebody of another server is all that is known of him.
            await at.irc.send("WHOIS bob:remote.org")
            assert ":a.org 311 alice bob:remote.org bob remote.org * :Bob the Builder" in await at.irc.pending()

    run(work)


def test_what_comes_late_says_when_it_was_said_and_comes_last() -> None:
    """Another server was cut off for an hour: no QUIT, and then every line once, with its time."""

    async def work() -> None:
        async with scene(*CAPS) as at:
            await at.heard()
            at.two.outgoing.clear()
            for number in range(3):
                await at.two.party.say(at.bob, at.room_id, f"late {number}")
            said_at = at.two.party.clock.now
            at.one.party.clock.now += 3600
            await at.one.party.say(at.alice, at.room_id, "meanwhile")
            lines, stanzas = await at.heard()
            assert [line.rpartition(":")[2] for line in lines] == ["meanwhile"]  # nothing of who cannot be reached
            assert ["<body>meanwhile</body>" in stanza for stanza in stanzas] == [True]
            for event in at.two.outgoing:
                await at.one.deliver(event)
            lines, stanzas = await at.heard()
            assert [line.rpartition(":")[2] for line in lines] == ["late 0", "late 1", "late 2"]
            for line, stanza in zip(lines, stanzas, strict=True):
                assert line.startswith("@time=2023-11-14T22:13:20.000Z;")
                assert f"<delay xmlns='urn:xmpp:delay' from='{ROOM}' stamp='2023-11-14T22:13:20.000Z'/>" in stanza
            assert said_at == 1_700_000_000.0

    run(work)


def test_what_a_remote_user_takes_back_is_taken_back_here() -> None:
    async def work() -> None:
        async with scene("draft/message-redaction", "message-tags") as at:
            content: JsonObject = {"msgtype": "m.text", "body": "oops"}
            said = await at.remote(
                SendEvent(actor=at.bob, room_id=at.room_id, type="m.room.message", content=content)
            )
            reaction: JsonObject = {
                "m.relates_to": {"rel_type": "m.annotation", "event_id": said.event_id, "key": "+1"}
            }
            reacted = await at.remote(
                SendEvent(actor=at.bob, room_id=at.room_id, type="m.reaction", content=reaction)
            )
            await at.heard()
            await at.remote(Redact(actor=at.bob, room_id=at.room_id, event_id=reacted.event_id))
            (line,), stanzas = await at.heard()
            assert line == (
                f"@+reply={said.event_id};+draft/reply={said.event_id};+draft/unreact=+1 "
                ":bob:remote.org!bob@remote.org TAGMSG #tea"
            )
            assert stanzas == []
            await at.remote(Redact(actor=at.bob, room_id=at.room_id, event_id=said.event_id, reason="typo"))
            (line,), (stanza,) = await at.heard()
            assert line == f":bob:remote.org!bob@remote.org REDACT #tea {said.event_id} :typo"
            assert f"from='{ROOM}/bob:remote.org'" in stanza
            assert f"<retract xmlns='urn:xmpp:message-retract:1' id='{said.event_id}'/>" in stanza

    run(work)


def test_where_this_server_is_denied_nothing_can_be_said() -> None:
    async def work() -> None:
        async with scene() as at:
            await at.local(SetRanks(actor=at.alice, room_id=at.room_id, ranks=((at.bob, Rank.OP),)))
            levels = dict((await at.one.party.middle.loaded.get(at.room_id)).power.content)
            levels["events"] = {"m.room.server_acl": 50}
            await at.local(
                SendState(
                    actor=at.alice, room_id=at.room_id, type="m.room.power_levels", state_key="", content=levels
                )
            )
            await at.heard()
            await at.remote(
                SendState(
                    actor=at.bob,
                    room_id=at.room_id,
                    type="m.room.server_acl",
                    state_key="",
                    content={"allow": ["*"], "deny": ["a.org"]},
                )
            )
            await at.heard()
            await at.irc.send("PRIVMSG #tea :hello?\r\nTOPIC #tea :x\r\nKICK #tea bob:remote.org")
            text = "This server (a.org) is denied in this room"
            assert await at.irc.pending() == [f":a.org 404 alice #tea :{text}"] * 3
            await at.xmpp.send(f"<message type='groupchat' id='m' to='{ROOM}'><body>hello?</body></message>")
            (error,) = await at.xmpp.pending()
            assert "<forbidden " in error
            assert text in error
            # What others say is still read, and one can leave.
            await at.remote(
                SendEvent(
                    actor=at.bob, room_id=at.room_id, type="m.room.message", content={"msgtype": "m.text", "body": "hi"}
                )
            )
            assert [line.rpartition(":")[2] for line in (await at.heard())[0]] == ["hi"]
            await at.irc.send("PART #tea")
            assert await at.irc.pending() == [":alice!alice@a.org PART #tea"]

    run(work)


async def _join_as(at: Scene, user_id: UserId, displayname: str | None) -> None:
    """Somebody of the other server, whose name only that server would accept, joins."""
    room = await at.two.party.middle.loaded.get(at.room_id)
    content = {"membership": "join"} | ({} if displayname is None else {"displayname": displayname})
    event = RoomTransaction(at.two.signer, room.version, room).append(
        user_id, "m.room.member", content, state_key=user_id
    )
    assert await at.one.deliver(event) is Verdict.ACCEPTED
    assert await at.two.deliver(event) is Verdict.ACCEPTED
    said = RoomTransaction(at.two.signer, room.version, room).append(
        user_id, "m.room.message", {"msgtype": "m.text", "body": "x"}
    )
    assert await at.one.deliver(said) is Verdict.ACCEPTED
    assert await at.two.deliver(said) is Verdict.ACCEPTED
    gone = RoomTransaction(at.two.signer, room.version, room).append(
        user_id, "m.room.member", {"membership": "leave"}, state_key=user_id
    )
    assert await at.one.deliver(gone) is Verdict.ACCEPTED
    assert await at.two.deliver(gone) is Verdict.ACCEPTED


HOSTILE = [
    "bob smith",
    "bob\r\nQUIT x",
    "bob!root@host",
    "@alice",
    "#tea",
    "bob,alice",
    "älice",
    "\u202eecila",
    "\x02bold\x0f",
    "~a",
    "<presence/>",
    "bob'/><x",
    "a" * 200,
    "%s%n",
    "bob%evil.org",
    "",
    "123456",
    "Bob",
]


@pytest.mark.parametrize("localpart", HOSTILE)
def test_whatever_a_remote_user_is_called_it_is_one_word_on_irc_and_an_address_on_xmpp(localpart: str) -> None:
    async def work() -> None:
        async with scene(*CAPS) as at:
            await at.heard()
            await _join_as(at, UserId(f"@{localpart}:remote.org"), "Eve\r\nJOIN #evil <b>")
            lines, stanzas = await at.heard()
            commands = []
            for line in lines:
                parsed = parse_line(line.encode())
                assert isinstance(parsed, Line)
                commands.append(parsed.command)
                nick, _, rest = parsed.source.partition("!")
                user, _, host = rest.partition("@")
                assert host == "remote.org"
                assert re.fullmatch(r"[a-z0-9_][a-z0-9._=/~-]*:remote\.org", nick), nick
                assert re.fullmatch(r"[A-Za-z0-9._=/+-]+", user)
                assert not set(parsed.tags.get("account", "")) & set(" \r\n")
            assert commands == ["JOIN", "PRIVMSG", "PART"]
            came, said, left = stanzas
            assert " type=" not in came.partition(">")[0]
            assert "<body>x</body>" in said
            assert "type='unavailable'" in left
            found = re.search(r" jid='([^']*)'", came)
            assert found is not None
            jid = parse_jid(found[1].replace("&amp;", "&"))
            assert jid.domain == "matrix.a.org"
            if not re.fullmatch(r"[a-z0-9_][a-z0-9._=/-]*", localpart):
                assert jid.local.startswith("~")

    run(work)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.text(st.characters(blacklist_characters=":\0", blacklist_categories=["Cs"]), max_size=30), max_size=5),
    st.none() | st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=40),
)
def test_any_names_at_all(localparts: list[str], name: str | None) -> None:
    """Nicks are different words, whatever the names are, and every stanza is XML (the reader parses it)."""

    async def work() -> None:
        async with scene(*CAPS) as at:
            await at.heard()
            users = list(dict.fromkeys(localparts))
            for localpart in users:
                await _join_as(at, UserId(f"@{localpart}:remote.org"), name)
            lines, stanzas = await at.heard()
            nicks = {line.split(" ")[1].partition("!")[0].lower() for line in lines if " JOIN #tea " in line}
            assert len(nicks) == len([localpart for localpart in users if localpart != "bob"])
            assert len(lines) >= 2 * len(nicks)
            assert len(stanzas) >= 2 * len(nicks)

    run(work)


def test_who_meets_a_mask_is_banned_by_its_setter_and_by_nobody_else() -> None:
    """docs/mapping.md 9.3: his own server does not know of masks."""

    async def work() -> None:
        async with scene() as at:
            await at.remote(Leave(actor=at.bob, room_id=at.room_id))
            await at.irc.send("MODE #tea +b bob*:remote.org!*@*")
            await at.heard()
            for event in at.one.outgoing:
                await at.two.deliver(event)
            room = await at.one.party.middle.reader.room(at.room_id)
            await bring_in(at.one, at.two, at.bob, at.room_id)
            await at.heard()
            assert room.membership(at.bob) == "ban"
            ban = room.state["m.room.member", at.bob]
            assert (ban.sender, ban.content["reason"]) == (at.alice, "Banned by mask: bob*!*@remote.org")

    run(work)
