"""What happens on the other protocols, as XMPP sees it: commands go straight to the room service.

spec: docs/mapping.md 2.6-2.9, 4.4, 4.7, 5, 7.6, 9, 10
"""

import asyncio
import re

import pytest

from tests.xmpp.server import SERVER, Client, TestServer, serve
from tripoint.core.ids import RoomAlias, RoomId, UserId
from tripoint.core.power import Rank
from tripoint.rooms import listing
from tripoint.rooms.commands import (
    Ban,
    CreateRoom,
    Invite,
    Join,
    Kick,
    Leave,
    OpenDirect,
    SendEvent,
    SendState,
    SetAlias,
    SetRanks,
    SetRoomNick,
    SetTopic,
    StateDraft,
    Template,
)

ROOM = f"tea@rooms.{SERVER}"
PAYLOAD = "dev.tripoint.xmpp.payload"


def user(name: str) -> UserId:
    return UserId(f"@{name}:{SERVER}")


class Scene:
    """A room of carol's, made on another protocol, with alice in it by XMPP."""

    def __init__(self, server: TestServer, room_id: RoomId, alice: Client) -> None:
        self.server = server
        self.room_id = room_id
        self.alice = alice

    async def do(self, command):
        return await self.server.middle.service.do(command)

    async def member(self, name: str, nick: str | None = None) -> UserId:
        await self.server.make_account(name)
        await self.do(Join(actor=user(name), room_id=self.room_id, nick=nick))
        return user(name)

    async def say(self, content: dict, type_: str = "m.room.message", name: str = "carol") -> None:
        if type_ != "m.room.message" or all(isinstance(content.get(key), str) for key in ("msgtype", "body")):
            await self.do(SendEvent(actor=user(name), room_id=self.room_id, type=type_, content=content))
            return
        # Nobody here may say that; other servers let it pass.
        writer, room = self.server.middle.writer, await self.server.middle.loaded.get(self.room_id)
        transaction = writer.begin(room)
        transaction.append(user(name), type_, content)
        await writer.commit(room, transaction)


def scene(test):
    """A test that gets a Scene."""

    def run() -> None:
        async def main() -> None:
            async with serve() as server:
                await server.make_account("carol")
                done = await server.middle.service.do(
                    CreateRoom(actor=user("carol"), template=Template.MUC, alias_localpart="tea")
                )
                alice = await server.online("alice")
                await alice.join(ROOM, "alice")
                await test(Scene(server, done.room_id, alice))

        asyncio.run(main())

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    return run


@scene
async def test_members_of_other_protocols_are_occupants(s):
    await s.member("dave")
    await s.alice.expect(
        f"<presence from='{ROOM}/dave' to='alice@{SERVER}/r'><show>xa</show><x xmlns='http://jabber.org/protocol/muc#user'>"
        f"<item affiliation='none' role='participant' jid='dave@{SERVER}'/></x><occupant-id …/></presence>"
    )
    s.server.middle.presence.set(user("dave"), "elsewhere", "unavailable", "at <lunch>")
    await s.alice.expect(f"<presence from='{ROOM}/dave' …><show>away</show><status>at &lt;lunch&gt;</status><x …")
    s.server.middle.presence.set(user("dave"), "elsewhere", "online", None)
    await s.alice.expect(f"<presence from='{ROOM}/dave' to='alice@{SERVER}/r'><x …")
    await s.do(Leave(actor=user("dave"), room_id=s.room_id, reason="bye & thanks"))
    await s.alice.expect(
        f"<presence from='{ROOM}/dave' type='unavailable' …><status>bye &amp; thanks</status><x …"
        "<item affiliation='none' role='none' …"
    )
    await s.alice.quiet()


@scene
async def test_names_that_cannot_be_nicks(s):
    """docs/mapping.md 2.6: whatever the display name, the occupant has a valid, unique nick."""
    names = {
        "dave": "alice",  # somebody's handle
        "eve": "A\u202elice\r\n<x/>",
        "fay": "\u200b\u2060",
        "gil": "🐈",
        "hal": "🐈",
        "ian": "n" * 5000,
    }
    nicks = {}
    for name, displayname in names.items():
        await s.member(name, displayname)
        stanza = await s.alice.stanza()
        nicks[name] = stanza.get("from").partition("/")[2]
    assert nicks["dave"] == "alice (dave)"
    assert nicks["eve"] == "Alice<x/>" or nicks["eve"].startswith("Alice")
    assert nicks["fay"] == "fay"
    assert (nicks["gil"], nicks["hal"]) == ("🐈", "🐈 (hal)")
    assert len(nicks["ian"]) < 300
    assert len(set(nicks.values())) == len(nicks)
    # each of them can be addressed
    for name, nick in nicks.items():
        await s.say({"msgtype": "m.text", "body": f"I am {name}"}, name=name)
        escaped = nick.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        await s.alice.expect(f"<message from='{ROOM}/{escaped}' …")


@scene
async def test_a_display_name_changes_on_another_protocol(s):
    await s.member("dave")
    await s.alice.skip()
    await s.do(SetRoomNick(actor=user("dave"), room_id=s.room_id, nick="Dave the Brave"))
    await s.alice.expect(
        f"<presence from='{ROOM}/dave' type='unavailable' …nick='Dave the Brave'/><status code='303'/>…"
    )
    await s.alice.expect(f"<presence from='{ROOM}/Dave the Brave' …")
    # the same nick results: nothing to tell
    await s.do(
        SendState(
            actor=user("dave"),
            room_id=s.room_id,
            type="m.room.member",
            state_key=user("dave"),
            content={"membership": "join", "displayname": "Dave the Brave", "avatar_url": "mxc://x/y"},
        )
    )
    await s.alice.quiet()


@scene
async def test_kick_and_ban_from_elsewhere(s):
    await s.member("dave")
    await s.alice.skip()
    await s.do(Kick(actor=user("carol"), room_id=s.room_id, target=user("dave"), reason="<out>"))
    await s.alice.expect(
        "<presence …type='unavailable'…<item affiliation='none' role='none' jid='dave@example.org'>"
        "<actor nick='carol'/><reason>&lt;out&gt;</reason></item><status code='307'/>…"
    )
    await s.do(Ban(actor=user("carol"), room_id=s.room_id, target=user("alice")))
    await s.alice.expect(
        f"<presence from='{ROOM}/alice' type='unavailable' …<item affiliation='outcast' role='none' …>"
        "<actor nick='carol'/></item><status code='110'/><status code='301'/>…"
    )
    await s.say({"msgtype": "m.text", "body": "gone?"})
    await s.alice.quiet()
    s.alice.send(f"<message type='groupchat' id='m' to='{ROOM}'><body>x</body></message>")
    await s.alice.expect("<message type='error' id='m' …<not-acceptable …")


@scene
async def test_power_levels_from_elsewhere(s):
    await s.member("dave")
    await s.alice.skip()
    await s.do(
        SetRanks(actor=user("carol"), room_id=s.room_id, ranks=((user("dave"), Rank.OP), (user("alice"), Rank.HALFOP)))
    )
    got = sorted([await s.alice.xml(), await s.alice.xml()])
    assert f"'{ROOM}/alice'" in got[0] and "<item affiliation='member' role='moderator'" in got[0]
    assert "<status code='110'/>" in got[0]
    assert f"'{ROOM}/dave'" in got[1] and "<item affiliation='admin' role='moderator'" in got[1]
    await s.alice.quiet()


@pytest.mark.parametrize(
    ("content", "inside"),
    [
        ({"msgtype": "m.text", "body": "a\x00\x0b\ufffe b\r\nc"}, "<body>a b\nc</body>"),
        ({"msgtype": "m.emote", "body": "waves"}, "<body>/me waves</body>"),
        ({"msgtype": "m.text", "body": "/me is not an emote"}, "<body>\u200b/me is not an emote</body>"),
        (
            {"msgtype": "m.text", "body": "2 *3* 4"},
            "<body>2 *3* 4</body><unstyled xmlns='urn:xmpp:styling:0'/>",
        ),
        (
            {
                "msgtype": "m.text",
                "body": "bold",
                "format": "org.matrix.custom.html",
                "formatted_body": "<b>bold</b> <a href='https://matrix.to/#/@alice:example.org'>Allie</a>",
            },
            "<body>*bold* alice</body>",
        ),
        ({"msgtype": "m.notice", "body": "n"}, "<body>n</body><notice xmlns='https://tripoint.dev/ns#notice'/>"),
        (
            {"msgtype": "m.image", "body": "cat.png", "url": "no mxc name"},
            "<body>cat.png</body><unstyled xmlns='urn:xmpp:styling:0'/>",
        ),
        ({"msgtype": "m.text", "body": "x", PAYLOAD: "<a xmlns='urn:x'>y</a>"}, "<body>x</body><a xmlns='urn:x'>y</a>"),
        # what a room alone may say, and what would break out, is left out
        (
            {"msgtype": "m.text", "body": "x", PAYLOAD: "<x xmlns='http://jabber.org/protocol/muc#user'/>"},
            "<body>x</body>",
        ),
        ({"msgtype": "m.text", "body": "x", PAYLOAD: "</message><message><body>y</body>"}, "<body>x</body>"),
        ({"msgtype": "m.text", "body": "x", PAYLOAD: "<!DOCTYPE a><a xmlns='urn:x'/>"}, "<body>x</body>"),
        ({"msgtype": "m.text", "body": "x", PAYLOAD: "<body>y</body>"}, "<body>x</body>"),
        ({"msgtype": "m.text", "body": "x", PAYLOAD: "<a>" * 100}, "<body>x</body>"),
        ({"msgtype": "m.text", "body": "x", PAYLOAD: 7}, "<body>x</body>"),
        ({"msgtype": 7, "body": "x"}, "<body>x</body>"),
    ],
)
def test_messages_from_elsewhere(content, inside):
    @scene
    async def test(s):
        await s.say(content)
        text = await s.alice.xml()
        shown = re.search(
            rf"<message from='{ROOM}/carol' type='groupchat' id='\$[^']*' to='[^']*'>(.*)<stanza-id ", text, re.S
        )
        assert shown is not None and shown.group(1) == inside, text
        await s.alice.quiet()

    test()


@scene
async def test_what_says_nothing_is_not_shown(s):
    await s.say({"msgtype": "m.text"})
    await s.say({"body": 7, "msgtype": "m.text"})
    await s.say({"m.relates_to": {"rel_type": "m.annotation", "event_id": "$x", "key": "+"}}, "m.reaction")
    await s.say({"anything": 1}, "org.example.unknown")
    await s.alice.quiet()
    # docs/mapping.md 10.12: an unknown type with a body is text
    await s.say({"body": "fallback"}, "org.example.poll")
    await s.alice.expect("<message …<body>fallback</body>…")


@scene
async def test_topic_and_name_from_elsewhere(s):
    await s.do(SetTopic(actor=user("carol"), room_id=s.room_id, topic="a <b>\x00"))
    await s.alice.expect(f"<message from='{ROOM}/carol' …><subject>a &lt;b&gt;</subject>…")
    await s.do(
        SendState(actor=user("carol"), room_id=s.room_id, type="m.room.name", state_key="", content={"name": "Tea"})
    )
    await s.alice.expect(f"<message from='{ROOM}' type='groupchat' …<status code='104'/></x></message>")


@scene
async def test_someone_who_left_by_xmpp_and_speaks_elsewhere_is_shown_first(s):
    """docs/mapping.md 4.4"""
    bob = await s.server.online("bob")
    await bob.join(ROOM, "bob")
    bob.send(f"<presence type='unavailable' to='{ROOM}/bob'/>")
    await bob.skip()
    await s.alice.skip()
    await s.say({"msgtype": "m.text", "body": "from my phone"}, name="bob")
    await s.alice.expect(f"<presence from='{ROOM}/bob' to=…")
    await s.alice.expect(f"<message from='{ROOM}/bob' …<body>from my phone</body>…")
    await bob.quiet()


@scene
async def test_direct_messages_from_elsewhere(s):
    """docs/mapping.md 15.1: whatever protocol they are written on"""
    await s.server.make_account("dave")
    done = await s.do(OpenDirect(actor=user("dave"), target=user("alice")))
    await s.do(
        SendEvent(
            actor=user("dave"),
            room_id=done.room_id,
            type="m.room.message",
            content={"msgtype": "m.text", "body": "psst"},
        )
    )
    await s.alice.expect(
        f"<message from='dave@{SERVER}' type='chat' id='$…' to='alice@{SERVER}'><body>psst</body><stanza-id …"
    )
    await s.alice.quiet()


@scene
async def test_an_invitation_from_elsewhere(s):
    await s.server.make_account("dave")
    done = await s.do(CreateRoom(actor=user("dave"), name="Cake"))
    await s.do(Invite(actor=user("dave"), room_id=done.room_id, target=user("alice"), reason="Cake?"))
    stanza = await s.alice.expect(
        "<message from='!…@rooms.example.org' to='alice@example.org'>…"
        "<invite from='dave@example.org'><reason>Cake?</reason></invite>…"
    )
    # a room without a name can be entered by its id
    room = stanza.get("from")
    entered = await s.alice.join(room, "alice")
    assert f"from='{room}/dave'" in entered[0] and f"from='{room}/alice'" in entered[1]


@scene
async def test_entering_by_another_name_is_redirected(s):
    """docs/mapping.md 3.6"""
    await s.do(SetAlias(actor=user("carol"), room_id=s.room_id, alias=RoomAlias(f"#cake:{SERVER}")))
    s.alice.send(
        f"<presence id='j' to='cake@rooms.{SERVER}/alice'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
    )
    await s.alice.expect(f"<presence type='error' id='j' …<redirect …>xmpp:{ROOM}?join</redirect>…")


@scene
async def test_the_canonical_name_changes(s):
    """docs/mapping.md 3.7: who is inside stays under the old address, who comes enters under the new one."""
    cake = f"#cake:{SERVER}"
    await s.do(SetAlias(actor=user("carol"), room_id=s.room_id, alias=RoomAlias(cake)))
    await s.do(
        SendState(
            actor=user("carol"), room_id=s.room_id, type="m.room.canonical_alias", state_key="", content={"alias": cake}
        )
    )
    await s.alice.expect(f"<message from='{ROOM}' …<status code='104'/>…")
    bob = await s.server.online("bob")
    new = f"cake@rooms.{SERVER}"
    got = await bob.join(new, "Bobby")
    assert [f"'{new}/{nick}'" in stanza for nick, stanza in zip(("carol", "alice", "Bobby"), got, strict=False)] == [
        True
    ] * 3
    await s.alice.expect(f"<presence from='{ROOM}/Bobby' …")
    await s.say({"msgtype": "m.text", "body": "hi"}, name="bob")
    await s.alice.expect(f"<message from='{ROOM}/Bobby' …")
    await bob.expect(f"<message from='{new}/Bobby' …")
    await s.alice.quiet()


@scene
async def test_the_room_becomes_encrypted(s):
    """docs/mapping.md 19.2, 19.3"""
    await s.do(
        SendState(
            actor=user("carol"),
            room_id=s.room_id,
            type="m.room.encryption",
            state_key="",
            content={"algorithm": "m.megolm.v1.aes-sha2"},
        )
    )
    await s.alice.expect(
        f"<presence from='{ROOM}/alice' type='unavailable' …<reason>This room is now end-to-end encrypted…</reason>"
        "</item><status code='110'/></x>…"
    )
    await s.say({"msgtype": "m.text", "body": "x"})
    await s.alice.quiet()
    s.alice.send(f"<presence id='j' to='{ROOM}/alice'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
    await s.alice.expect("<presence type='error' id='j' …<not-acceptable …>…End-to-end encrypted…")


@scene
async def test_a_private_room_is_not_talked_about(s):
    done = await s.do(CreateRoom(actor=user("carol"), template=Template.PRIVATE_CHAT, alias_localpart="secret"))
    secret = f"secret@rooms.{SERVER}"
    for namespace in ("disco#info", "disco#items", "muc#owner"):
        answer = await s.alice.ask(
            f"<iq type='get' id='1' to='{secret}'><query xmlns='http://jabber.org/protocol/{namespace}'/></iq>"
        )
        assert "<item-not-found " in answer
    s.alice.send(f"<presence id='j' to='{secret}/alice'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
    await s.alice.expect("<presence type='error' id='j' …<registration-required …")
    await s.do(Invite(actor=user("carol"), room_id=done.room_id, target=user("alice")))
    await s.alice.skip()
    answer = await s.alice.ask(
        f"<iq type='get' id='2' to='{secret}'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>"
    )
    assert "muc_membersonly" in answer and "muc_hidden" in answer


@scene
async def test_an_encrypted_message_says_nothing_here(s):
    await s.say({"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "secret"}, "m.room.encrypted")
    await s.alice.quiet()


def test_a_large_room_lists_who_matters(monkeypatch):
    """docs/mapping.md 4.7: in a large room those with a rank, those online and those who speak are listed."""
    monkeypatch.setattr(listing, "FULL_LIST_MEMBERS", 3)

    @scene
    async def test(s):
        for name in ("dave", "eve", "fay"):
            await s.member(name)
        await s.alice.skip()
        bob = await s.server.online("bob")
        # alice is still inside, so the view is the old one: enter another that is made anew
        s.alice.send(f"<presence type='unavailable' to='{ROOM}/alice'/>")
        await s.alice.skip()
        got = await bob.join(ROOM, "bob")
        nicks = [re.search(r"/([^']*)'", stanza).group(1) for stanza in got if stanza.startswith("<presence")]
        assert nicks == ["carol", "alice", "bob"]
        await bob.expect(f"<message from='{ROOM}' type='normal' to='bob@{SERVER}/r'><body>This room has 6 members: …")
        await s.say({"msgtype": "m.text", "body": "hi"}, name="eve")
        await bob.expect(f"<presence from='{ROOM}/eve' …")
        await bob.expect("<message …<body>hi</body>…")
        s.server.middle.presence.set(user("fay"), "x", "online", None)
        await bob.expect(f"<presence from='{ROOM}/fay' …")

    test()


@scene
async def test_history_is_what_was_asked_for(s):
    """spec: XEP-0045 7.2.14"""
    for number in range(30):
        await s.say({"msgtype": "m.text", "body": f"m{number}"})

    async def bodies(inside: str, name: str) -> list[str]:
        client = await s.server.online(name)
        got = await client.join(ROOM, name, inside)
        return re.findall(r"<body>([^<]*)</body>", "".join(got))

    assert await bodies("", "b1") == [f"m{n}" for n in range(10, 30)]
    assert await bodies("<history maxstanzas='0'/>", "b2") == []
    assert await bodies("<history maxchars='0'/>", "b3") == []
    assert await bodies("<history maxstanzas='3'/>", "b4") == ["m27", "m28", "m29"]
    assert len(await bodies("<history since='1970-01-01T00:00:00Z'/>", "b5")) == 30
    assert await bodies("<history since='2999-01-01T00:00:00Z'/>", "b6") == []
    assert len(await bodies("<history seconds='1000'/>", "b7")) == 30
    assert len(await bodies("<history maxchars='1200'/>", "b8")) == 2
    assert await bodies("<history maxstanzas='x' since='y' seconds='-1'/>", "b9") == [f"m{n}" for n in range(10, 30)]


@scene
async def test_one_order_for_everybody(s):
    """docs/mapping.md 5: all who are there see the same messages in the same order, each once."""
    bob = await s.server.online("bob")
    await bob.join(ROOM, "bob")
    await s.alice.skip()

    async def talk(name: str) -> None:
        for number in range(30):
            await s.say({"msgtype": "m.text", "body": f"{name}{number}"}, name=name)

    def by_xmpp(client: Client, name: str) -> None:
        for number in range(30):
            client.send(
                f"<message type='groupchat' id='{name}{number}' to='{ROOM}'><body>{name}{number}</body></message>"
            )

    by_xmpp(s.alice, "alice")
    by_xmpp(bob, "bob")
    await talk("carol")

    async def hear(client: Client) -> list[str]:
        return [(await client.stanza()).child("stanza-id", "urn:xmpp:sid:0").get("id") for _ in range(90)]

    one, other = await hear(s.alice), await hear(bob)
    assert one == other and len(set(one)) == 90
    late = await s.server.online("late")
    got = await late.join(ROOM, "late", "<history maxstanzas='90'/>")
    assert re.findall(r"<stanza-id [^>]* id='([^']*)'", "".join(got)) == one


@scene
async def test_initial_state_of_a_members_only_room(s):
    done = await s.do(
        CreateRoom(
            actor=user("carol"),
            template=Template.MUC,
            alias_localpart="club",
            initial_state=(StateDraft("m.room.join_rules", "", {"join_rule": "invite"}),),
        )
    )
    await s.do(Invite(actor=user("carol"), room_id=done.room_id, target=user("alice")))
    await s.alice.skip()
    got = await s.alice.join(f"club@rooms.{SERVER}", "alice")
    assert "affiliation='member' role='participant'" in got[1]


@scene
async def test_a_message_that_is_too_large(s):
    """docs/mapping.md 10.8: the event limit decides; nothing is cut."""
    s.alice.send(f"<message type='groupchat' id='big' to='{ROOM}'><body>{'x' * 70_000}</body></message>")
    await s.alice.expect("<message type='error' id='big' …<policy-violation …")
    s.alice.send(
        f"<message type='groupchat' id='kept' to='{ROOM}'><body>x</body><a xmlns='urn:x'>{'y' * 9000}</a></message>"
    )
    await s.alice.expect("<message type='error' id='kept' …<policy-violation …")
    s.alice.send(f"<message type='groupchat' id='{'i' * 300}' to='{ROOM}'><body>x</body></message>")
    await s.alice.expect("<message type='error' …<policy-violation …")
    s.alice.send(f"<message type='groupchat' id='fits' to='{ROOM}'><body>{'é' * 20_000}</body></message>")
    await s.alice.expect("<message …id='fits'…")


@scene
async def test_too_many_messages_are_told_to_wait(s):
    """docs/mapping.md 24"""
    from tests.xmpp.server import with_limits

    async with serve(with_limits(events_burst=2, events_per_s=0.001)) as server:
        alice = await server.online("alice")
        await alice.join(ROOM, "alice")
        for number in range(3):
            alice.send(f"<message type='groupchat' id='m{number}' to='{ROOM}'><body>x</body></message>")
        await alice.expect("<message …id='m0'…")
        await alice.expect("<message …id='m1'…")
        await alice.expect(
            "<message type='error' id='m2' …<error by='tea@rooms.example.org' type='wait'><resource-constraint …"
        )
