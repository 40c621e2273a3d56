"""Two servers and a person on each: what they say to each other, over links that prove who they are."""

import asyncio
from pathlib import Path

import pytest

from tests.xmpp.s2s.islands import ONE, TWO, Pair, run
from tests.xmpp.server import Client

ALICE, BOB = f"alice@{ONE}", f"bob@{TWO}"


async def both(pair: Pair) -> tuple[Client, Client]:
    return await pair.client("alice", ONE), await pair.client("bob", TWO)


async def befriend(alice: Client, bob: Client) -> None:
    """Each sees the other. spec: RFC6121 3.1"""
    alice.send(f"<presence to='{BOB}' type='subscribe'/>")
    await bob.expect(f"<presence from='{ALICE}' type='subscribe' to='{BOB}'/>")
    bob.send(f"<presence to='{ALICE}' type='subscribed'/>")
    await alice.expect(f"<presence from='{BOB}' type='subscribed' to='{ALICE}'/>")
    await alice.expect(f"<presence from='{BOB}/r' to='{ALICE}'/>")
    bob.send(f"<presence to='{ALICE}' type='subscribe'/>")
    await alice.expect(f"<presence from='{BOB}' type='subscribe' to='{ALICE}'/>")
    alice.send(f"<presence to='{BOB}' type='subscribed'/>")
    await bob.expect(f"<presence from='{ALICE}' type='subscribed' to='{BOB}'/>")
    await bob.expect(f"<presence from='{ALICE}/r' to='{BOB}'/>")


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize("direct", [True, False])
def test_a_conversation_over_any_kind_of_link(tmp_path: Path, trusted: bool, direct: bool) -> None:
    """spec: RFC6120 13.7, XEP-0178, XEP-0220, XEP-0368"""

    async def work(pair: Pair) -> None:
        alice, bob = await both(pair)
        alice.send(f"<message to='{BOB}' type='chat' id='m1'><body>Hello</body></message>")
        await bob.expect(f"<message from='{ALICE}/r' type='chat' id='m1' to='{BOB}'><body>Hello</body>…</message>")
        bob.send(f"<message to='{ALICE}/r' type='chat' id='m2'><body>Good evening</body></message>")
        await alice.expect(
            f"<message from='{BOB}/r' type='chat' id='m2' to='{ALICE}/r'><body>Good evening</body>…</message>"
        )
        # By now the first knows that the other's certificate can be verified, and asks for it.
        assert pair.apps[TWO].xmpp.servers.links.proofs() == {ONE: "external" if trusted else "dialback"}

    run(tmp_path, work, trusted=trusted, direct=direct)


@pytest.mark.parametrize("direct", [True, False])
def test_certificates_alone(tmp_path: Path, direct: bool) -> None:
    """spec: RFC6120 13.8.3: where there is no dialback, all are asked for a certificate"""

    async def work(pair: Pair) -> None:
        alice, bob = await both(pair)
        alice.send(f"<message to='{BOB}' type='chat' id='m1'><body>Hello</body></message>")
        await bob.expect("<message…<body>Hello</body>…")
        assert pair.apps[ONE].xmpp.servers.links.proofs() == {TWO: "external"}

    run(tmp_path, work, dialback=False, direct=direct)


def test_subscriptions_and_presence(tmp_path: Path) -> None:
    """spec: RFC6121 3.1, 3.2, 4.2-4.5"""

    async def work(pair: Pair) -> None:
        alice, bob = await both(pair)
        await befriend(alice, bob)
        alice.send("<presence><show>away</show></presence>")
        await bob.expect(f"<presence from='{ALICE}/r' to='{BOB}'><show>away</show></presence>")
        # A second client is shown who is there.
        second = await pair.again("alice", ONE, "second")
        await second.expect(f"<presence from='{ALICE}/r' to='{ALICE}/second'>…</presence>")
        await second.expect(f"<presence from='{BOB}/r' to='{ALICE}'/>")
        await bob.expect(f"<presence from='{ALICE}/second' to='{BOB}'/>")
        await second.close()
        await bob.expect(f"<presence from='{ALICE}/second' type='unavailable' to='{BOB}'/>")
        await alice.skip()
        bob.send(f"<presence to='{ALICE}' type='unsubscribe'/>")
        await alice.expect(f"<presence from='{BOB}' type='unsubscribe' to='{ALICE}'/>")
        await bob.expect(f"<presence from='{ALICE}/r' type='unavailable' to='{BOB}'/>")

    run(tmp_path, work)


def test_who_is_blocked_sees_one_go_and_come_again(tmp_path: Path) -> None:
    """spec: XEP-0191 3.3"""

    async def work(pair: Pair) -> None:
        alice, bob = await both(pair)
        await befriend(alice, bob)
        item = f"<item jid='{BOB}'/>"
        await alice.ask(f"<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'>{item}</block></iq>")
        await bob.expect(f"<presence from='{ALICE}/r' to='{BOB}' type='unavailable'/>")
        alice.send("<presence><show>away</show></presence>")
        await alice.skip()
        bob.send("<presence><show>dnd</show></presence>")
        await bob.skip()
        await alice.quiet()
        listed = await alice.ask("<iq type='get' id='l'><blocklist xmlns='urn:xmpp:blocking'/></iq>")
        assert item in listed
        await alice.ask(f"<iq type='set' id='u'><unblock xmlns='urn:xmpp:blocking'>{item}</unblock></iq>")
        await bob.expect(f"<presence from='{ALICE}/r' to='{BOB}'><show>away</show></presence>")

    run(tmp_path, work)


def test_a_conversation_is_kept_and_seen_everywhere(tmp_path: Path) -> None:
    """Archive, carbons, corrections, retractions, reactions, receipts. docs/mapping.md 15.8"""

    async def work(pair: Pair) -> None:
        alice, bob = await both(pair)
        second = await pair.again("alice", ONE, "second")
        second.send("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>")
        await second.skip()
        await alice.skip()
        request = "<request xmlns='urn:xmpp:receipts'/>"
        alice.send(f"<message to='{BOB}/r' type='chat' id='m1'><body>Hello</body>{request}</message>")
        await bob.expect(f"<message …to='{BOB}/r'><body>Hello</body><stanza-id…{request}</message>")
        await second.expect(f"<message…<sent xmlns='urn:xmpp:carbons:2'>…to='{BOB}/r'…<body>Hello</body>…")
        # A receipt is for their client to send (docs/mapping.md 13.4).
        received = "<received xmlns='urn:xmpp:receipts' id='m1'/>"
        bob.send(f"<message to='{ALICE}/r' id='r1'>{received}</message>")
        await alice.expect(f"<message …from='{BOB}/r'…>{received}</message>")
        marker = "<displayed xmlns='urn:xmpp:chat-markers:0' id='m1'/>"
        bob.send(f"<message to='{ALICE}' type='chat' id='d'>{marker}</message>")
        await alice.expect(f"<message from='{BOB}' …<displayed xmlns='urn:xmpp:chat-markers:0' id='m1'/>…")
        alice.send(
            f"<message to='{BOB}' type='chat' id='m2'><body>Hallo</body>"
            "<replace xmlns='urn:xmpp:message-correct:0' id='m1'/></message>"
        )
        await bob.expect("<message…<body>Hallo</body>…<replace xmlns='urn:xmpp:message-correct:0' id='m1'/>…")
        bob.send(
            f"<message to='{ALICE}' type='chat' id='m3'><reactions xmlns='urn:xmpp:reactions:0' id='m1'>"
            "<reaction>👋</reaction></reactions></message>"
        )
        await alice.expect(f"<message from='{BOB}…<reactions xmlns='urn:xmpp:reactions:0' id='m1'><reaction>…")
        bob.send(f"<message to='{ALICE}' type='chat' id='m4'><body>Soup?</body></message>")
        await alice.expect("<message…<body>Soup?</body>…")
        form = (
            "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field>"
            f"<field var='with'><value>{BOB}</value></field></x>"
        )
        third = await pair.again("alice", ONE, "third")
        await third.skip()
        third.send(f"<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2' queryid='q'>{form}</query></iq>")
        found = "".join(await third.skip())
        assert found.count("<body>Hello</body>") == 1
        assert found.count("<body>Soup?</body>") == 1
        assert f"from='{BOB}'" in found

    run(tmp_path, work)


def test_who_was_away_gets_it_later(tmp_path: Path) -> None:
    """spec: XEP-0160 3"""

    async def work(pair: Pair) -> None:
        alice, bob = await both(pair)
        await bob.close()
        alice.send(f"<message to='{BOB}' type='chat' id='m1'><body>Hello</body></message>")
        bob = await pair.again("bob", TWO)
        alice.send(f"<message to='{BOB}' type='chat' id='m2'><body>There?</body></message>")
        texts = ""
        while "There?" not in texts:
            texts += await bob.xml()
        assert "<body>Hello</body>" in texts

    run(tmp_path, work)


def test_it_is_there_on_irc_and_matrix_too(tmp_path: Path) -> None:
    """docs/mapping.md 15.8: PRIVMSG to the rendered nick; a room without federation."""

    async def work(pair: Pair) -> None:
        alice, bob = await both(pair)
        bob.send(f"<message to='{ALICE}' type='chat' id='m1'><body>Hello</body></message>")
        await alice.expect("<message…<body>Hello</body>…")
        reader = pair.apps[ONE].middle.reader
        stand_in = f"@_xmpp_bob=40{TWO}:{ONE}"
        room = await reader.direct_room(f"@alice:{ONE}", stand_in)
        assert room is not None
        view = await reader.room(room)
        assert view.create_event.content["m.federate"] is False
        assert set(view.joined()) == {f"@alice:{ONE}", stand_in}
        profile = await reader.whole_profile(stand_in)
        assert profile["displayname"] == BOB
        assert profile["dev.tripoint.origin"] == {"proto": "xmpp", "id": BOB}
        read, write = await asyncio.open_connection("127.0.0.1", pair.apps[ONE].ports["irc"][0])
        login = "PASS alice:secret-password\r\nNICK alice\r\nUSER alice 0 * :a\r\n"
        write.write(login.encode())
        await asyncio.wait_for(read.readuntil(b" 376 "), 5)
        write.write(f"PRIVMSG bob|{TWO} :From IRC\r\n".encode())
        await bob.expect(f"<message from='{ALICE}' type='chat' id='…' to='{BOB}'><body>From IRC</body>…</message>")
        bob.send(f"<message to='{ALICE}' type='chat' id='m2'><body>To all</body></message>")
        line = await asyncio.wait_for(read.readuntil(b":To all\r\n"), 5)
        assert f":bob|{TWO}!".encode() in line.splitlines()[-1]
        write.close()

    run(tmp_path, work)


def test_messages_without_a_text_that_are_for_the_archive(tmp_path: Path) -> None:
    """spec: XEP-0384 7.1, XEP-0334 4.4; docs/mapping.md 10.0"""

    async def work(pair: Pair) -> None:
        alice, bob = await both(pair)
        secret = "<encrypted xmlns='urn:xmpp:omemo:2'><payload>x</payload></encrypted>"
        alice.send(f"<message to='{BOB}' type='chat' id='e1'>{secret}<store xmlns='urn:xmpp:hints'/></message>")
        await bob.expect(f"<message from='{ALICE}/r' type='chat' id='e1' to='{BOB}'>{secret}<store …")
        # What is not for it comes through all the same.
        paused = "<paused xmlns='http://jabber.org/protocol/chatstates'/>"
        alice.send(f"<message to='{BOB}' type='chat' id='e2'>{paused}</message>")
        await bob.expect("<message …id='e2'…<paused …")
        query = "<query xmlns='urn:xmpp:mam:2'><set xmlns='http://jabber.org/protocol/rsm'><before/></set></query>"
        for client in (alice, bob):
            client.send(f"<iq type='set' id='q'>{query}</iq>")
            assert secret in await client.xml()
            assert (await client.xml()).startswith("<iq type='result' id='q'")

    run(tmp_path, work)
