"""Push services of phones: what is asked for, and what is published to them.

spec: XEP-0357 4.1, 5, 6, 7, 7.1, 8; XEP-0198 5
"""

import asyncio
import re
from pathlib import Path

import pytest

from tests.xmpp.s2s.islands import ONE
from tests.xmpp.s2s.outside import Outside, outside, owner_in, play
from tests.xmpp.server import HEADER, SERVER, Client
from tripoint.config.load import ConfigError, parse_config

NS = "urn:xmpp:push:0"
SERVICE = "push-5.client.example"
NODE = "yxs32uqsflafdk3iuqo"
ALICE = f"@alice:{ONE}"
OPTIONS = (
    "<x xmlns='jabber:x:data' type='submit'>"
    "<field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#publish-options</value></field>"
    "<field var='secret'><value>eruio234vzxc2kla-91</value></field></x>"
)
SM = "urn:xmpp:sm:3"
PUBLISHED = re.compile(
    rf"<iq type='set' id='([^']*)' from='{ONE}' to='([^']*)'>"
    rf"<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='([^']*)'><item>"
    rf"<notification xmlns='{NS}'>(.*?)</notification></item></publish>(.*?)</pubsub></iq>"
)


async def enable(client: Client, inside: str = "", node: str = NODE, service: str = SERVICE) -> str:
    return await client.ask(
        f"<iq type='set' id='x43'><enable xmlns='{NS}' jid='{service}' node='{node}'>{inside}</enable></iq>"
    )


async def disable(client: Client, attributes: str) -> str:
    return await client.ask(f"<iq type='set' id='x97'><disable xmlns='{NS}' {attributes}/></iq>")


async def published(world: Outside) -> list[tuple[str, ...]]:
    """(id, service, node, form, options) of what is published, as soon as there is any."""
    async with asyncio.timeout(5):
        while not (found := PUBLISHED.findall("".join(xml for _, xml in world.sent))):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    world.heard()
    return found


async def answer(world: Outside, its_id: str, error: str = "", service: str = SERVICE) -> None:
    kind = "error" if error else "result"
    await world.says(f"<iq from='{service}' to='{ONE}' type='{kind}' id='{its_id}'>{error}</iq>")


async def say(client: Client, text: str) -> None:
    client.send(f"<message to='alice@{ONE}' type='chat' id='m'><body>{text}</body></message>")
    await client.skip()


def nodes(world: Outside) -> list[object]:
    return [one.data["node"] for one in world.apps[ONE].middle.accounts.pushers.of(ALICE)]  # type: ignore[arg-type]


async def gone(world: Outside, client: Client) -> None:
    """The client says that it goes, and is not there any more."""
    client.send("</stream:stream>")
    await client.lost()
    async with asyncio.timeout(5):
        while world.apps[ONE].xmpp.users.live(ALICE) is not None:  # type: ignore[arg-type]  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def phone(world: Outside, inside: str = OPTIONS) -> tuple[Client, Client]:
    """Alice, who asked to be pushed to, and Bob."""
    alice, bob = await world.client("alice", ONE), await world.client("bob", ONE)
    assert await enable(alice, inside) == f"<iq type='result' id='x43' to='alice@{ONE}/r'/>"
    return alice, bob


def test_it_is_offered_on_the_account(tmp_path: Path) -> None:
    async def work(world: Outside) -> None:
        alice = await world.client("alice", ONE)
        disco = "<query xmlns='http://jabber.org/protocol/disco#info'/>"
        assert f"<feature var='{NS}'/>" in await alice.ask(f"<iq type='get' id='x13' to='alice@{ONE}'>{disco}</iq>")

    play(tmp_path, work)


@pytest.mark.parametrize(
    ("xml", "condition"),
    [
        ("<enable xmlns='urn:xmpp:push:0' node='n'/>", "bad-request"),
        ("<enable xmlns='urn:xmpp:push:0' jid='a@@b' node='n'/>", "jid-malformed"),
        (f"<enable xmlns='urn:xmpp:push:0' jid='{ONE}' node='n'/>", "item-not-found"),
        (f"<enable xmlns='urn:xmpp:push:0' jid='rooms.{ONE}' node='n'/>", "item-not-found"),
        (f"<enable xmlns='urn:xmpp:push:0' jid='alice@{ONE}' node='n'/>", "item-not-found"),
        (f"<enable xmlns='urn:xmpp:push:0' jid='{SERVICE}' node='{'n' * 1025}'/>", "policy-violation"),
        (
            f"<enable xmlns='urn:xmpp:push:0' jid='{SERVICE}'><x xmlns='jabber:x:data' type='submit'>"
            f"<field var='secret'><value>{'s' * 4097}</value></field></x></enable>",
            "policy-violation",
        ),
        (
            f"<enable xmlns='urn:xmpp:push:0' jid='{SERVICE}'><x xmlns='jabber:x:data' type='submit'>"
            "<field var='FORM_TYPE'><value>urn:xmpp:push:summary</value></field></x></enable>",
            "bad-request",
        ),
        ("<disable xmlns='urn:xmpp:push:0'/>", "bad-request"),
    ],
)
def test_what_is_refused(tmp_path: Path, xml: str, condition: str) -> None:
    async def work(world: Outside) -> None:
        alice = await world.client("alice", ONE)
        assert f"<{condition} " in await alice.ask(f"<iq type='set' id='x'>{xml}</iq>")
        assert nodes(world) == []

    play(tmp_path, work)


def test_enabled_and_disabled(tmp_path: Path) -> None:
    """spec: XEP-0357 5 (the last request counts), 6 (one node, or all of a service)"""

    async def work(world: Outside) -> None:
        alice = await world.client("alice", ONE)
        for node in ("a", "a", "b", "c"):
            await enable(alice, node=node)
        await enable(alice, node="d", service="push.other.example")
        assert nodes(world) == ["a", "b", "c", "d"]
        assert "type='result'" in await disable(alice, f"jid='{SERVICE}' node='b'")
        assert nodes(world) == ["a", "c", "d"]
        assert "type='result'" in await disable(alice, f"jid='{SERVICE}'")
        assert nodes(world) == ["d"]
        assert "type='result'" in await disable(alice, f"jid='{SERVICE}'")
        for number in range(9):
            await enable(alice, node=f"n{number}")
        assert "<resource-constraint " in await enable(alice, node="n9")
        assert "type='result'" in await enable(alice, node="n8")

    play(tmp_path, work)


def test_what_is_published(tmp_path: Path) -> None:
    """spec: XEP-0357 7, example 13. Who is connected is not pushed to; what is said is for the operator to decide."""

    async def work(world: Outside) -> None:
        alice, bob = await phone(world)
        await say(bob, "one")
        assert "<body>one</body>" in await alice.xml()
        await gone(world, alice)
        world.heard()
        await say(bob, "two")
        ((its_id, service, node, form, options),) = await published(world)
        assert (service, node) == (SERVICE, NODE)
        assert form == (
            "<x xmlns='jabber:x:data' type='submit'>"
            "<field var='FORM_TYPE'><value>urn:xmpp:push:summary</value></field>"
            "<field var='message-count'><value>2</value></field></x>"
        )
        assert options == f"<publish-options>{OPTIONS}</publish-options>"
        await answer(world, its_id)
        front = world.apps[ONE].xmpp
        front.options = type(front.options)(push_summary=("last-message-sender", "last-message-body"))
        await say(bob, "a &lt; b")
        ((its_id, _, _, form, _),) = await published(world)
        assert f"<field var='last-message-sender'><value>bob@{ONE}</value></field>" in form
        assert "<field var='last-message-body'><value>a &lt; b</value></field>" in form
        await answer(world, its_id)
        front.options = type(front.options)(push_summary=())
        await say(bob, "four")
        assert [form for _, _, _, form, _ in await published(world)] == [""]

    play(tmp_path, work)


ENCRYPTED = (
    "<encrypted xmlns='{0}'><header sid='1'/>{1}</encrypted>",
    "<openpgp xmlns='urn:xmpp:openpgp:0'>BASE64</openpgp>",
    "<other xmlns='urn:example:cipher'>BASE64</other>"
    "<encryption xmlns='urn:xmpp:eme:0' namespace='urn:example:cipher'/><store xmlns='urn:xmpp:hints'/>",
)


@pytest.mark.parametrize(
    ("inside", "told"),
    [
        (ENCRYPTED[0].format("urn:xmpp:omemo:2", "<payload>BASE64</payload>"), True),
        (ENCRYPTED[0].format("eu.siacs.conversations.axolotl", "<payload>BASE64</payload>"), True),
        (ENCRYPTED[1], True),
        (ENCRYPTED[2], True),
        # spec: XEP-0384 5.5.3: without a payload it is about keys alone
        (ENCRYPTED[0].format("urn:xmpp:omemo:2", ""), False),
        ("<note xmlns='urn:example:note'/><store xmlns='urn:xmpp:hints'/>", False),
    ],
)
def test_what_is_encrypted_without_a_body_wakes_phones(tmp_path: Path, inside: str, told: bool) -> None:
    """As m.room.encrypted does on Matrix; docs/mapping.md 19.10. spec: XEP-0357 7, XEP-0380 3.1"""

    async def work(world: Outside) -> None:
        alice, bob = await phone(world)
        await gone(world, alice)
        world.heard()
        bob.send(f"<message to='alice@{ONE}' type='chat' id='m'>{inside}</message>")
        await bob.skip()
        if not told:
            await say(bob, "in the clear")
        ((its_id, _, _, form, _),) = await published(world)
        # The one that is told is the only one that counts.
        assert "<field var='message-count'><value>1</value></field>" in form
        await answer(world, its_id)

    play(tmp_path, work)


def test_of_rooms(tmp_path: Path) -> None:
    """Messages in rooms, whose sender is the occupant, and invitations into them, which are the room's."""

    async def work(world: Outside) -> None:
        front = world.apps[ONE].xmpp
        front.options = type(front.options)(push_summary=("last-message-sender",))
        room = f"tea@rooms.{ONE}"
        bob = await owner_in(world, room, "bob")
        alice = await world.client("alice", ONE)
        await enable(alice)
        await gone(world, alice)
        world.heard()
        invite = f"<x xmlns='http://jabber.org/protocol/muc#user'><invite to='alice@{ONE}'/></x>"
        bob.send(f"<message to='{room}'>{invite}</message>")
        ((its_id, _, _, form, _),) = await published(world)
        assert f"<value>{room}</value>" in form
        await answer(world, its_id)
        alice = await world.again("alice", ONE)
        await alice.join(room, "alice")
        await gone(world, alice)
        world.heard()
        bob.send(f"<message to='{room}' type='groupchat' id='g'><body>alice: tea?</body></message>")
        ((its_id, _, _, form, _),) = await published(world)
        assert f"<value>{room}/bob</value>" in form
        await answer(world, its_id)

    play(tmp_path, work)


@pytest.mark.parametrize(
    ("error", "stays"),
    [
        ("<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>", False),
        ("<error type='auth'><forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>", False),
        ("<error type='wait'><resource-constraint xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>", True),
        ("<error type='cancel'><remote-server-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>", True),
    ],
)
def test_errors_end_a_registration(tmp_path: Path, error: str, stays: bool) -> None:
    """spec: XEP-0357 7.1; what may pass is tried again."""

    async def work(world: Outside) -> None:
        world.apps[ONE].pushing._first_retry_s = 0.01
        alice, bob = await phone(world)
        await gone(world, alice)
        await say(bob, "one")
        ((its_id, *_),) = await published(world)
        # Somebody else's answer is none.
        await answer(world, its_id, error, service="evil.example")
        assert nodes(world) == [NODE]
        await answer(world, its_id, error)
        if stays:
            ((its_id, *_),) = await published(world)
            await answer(world, its_id)
            assert nodes(world) == [NODE]
            return
        async with asyncio.timeout(5):
            while nodes(world):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    play(tmp_path, work)


def test_a_service_takes_nothing_more(tmp_path: Path) -> None:
    """spec: XEP-0357 8, example 15"""

    async def work(world: Outside) -> None:
        await phone(world)
        for sender, left in (("evil.example", [NODE]), (SERVICE, [])):
            await world.says(
                f"<message from='{sender}' to='alice@{ONE}'><pubsub xmlns='http://jabber.org/protocol/pubsub' "
                f"node='{NODE}'><affiliation jid='alice@{ONE}' affiliation='none'/></pubsub></message>"
            )
            assert nodes(world) == left

    play(tmp_path, work)


def test_a_lost_connection(tmp_path: Path) -> None:
    """What was sent into it and not acknowledged is published when that is seen, and what comes from then on; nothing
    once the client has come back. spec: XEP-0198 4, 5"""

    async def work(world: Outside) -> None:
        alice, bob = await phone(world)
        alice.send(f"<enable xmlns='{SM}' resume='true'/>")
        enabled = await alice.expect(f"<enabled xmlns='{SM}' …/>")
        await say(bob, "seen")
        await alice.expect("<message …<body>seen</body>…")
        alice.send(f"<a xmlns='{SM}' h='1'/>")
        await alice.quiet()
        await say(bob, "not seen")
        await alice.expect("<message …<body>not seen</body>…")
        world.heard()
        alice.transport.abort()
        ((its_id, *_),) = await published(world)
        await answer(world, its_id)
        await say(bob, "later")
        ((its_id, *_),) = await published(world)
        await answer(world, its_id)
        again = Client()
        again.server = ONE
        port = world.apps[ONE].ports["xmpp"][0]
        await asyncio.get_running_loop().create_connection(lambda: again, "127.0.0.1", port)
        header = HEADER.replace(SERVER, ONE)
        await again.open(header)
        await again.authenticate("alice", "secret-password")
        await again.open(header)
        again.send(f"<resume xmlns='{SM}' h='1' previd='{enabled.get('id')}'/>")
        await again.expect("<resumed …/>")
        world.heard()
        await say(bob, "here")
        await asyncio.sleep(0.1)
        assert PUBLISHED.findall(world.heard()) == []

    play(tmp_path, work)


def test_a_server_that_stops(tmp_path: Path) -> None:
    """What a client has not acknowledged then is published after the next start, and nothing else."""

    async def work() -> None:
        async with outside(tmp_path / "one") as world:
            alice, bob = await phone(world)
            alice.send(f"<enable xmlns='{SM}' resume='true'/>")
            await alice.expect(f"<enabled xmlns='{SM}' …/>")
            await say(bob, "seen")
            await alice.expect("<message …<body>seen</body>…")
            alice.send(f"<a xmlns='{SM}' h='1'/>")
            await alice.quiet()
            await say(bob, "not seen")
            app = world.apps[ONE]
            await app.stop()
            world.heard()
            await world.start_one(Path(app.config.server.data_dir))
            # One push for two messages that are unread.
            ((its_id, *_),) = await published(world)
            await answer(world, its_id)
            await asyncio.sleep(0.1)
            assert PUBLISHED.findall(world.heard()) == []

    asyncio.run(asyncio.wait_for(work(), 60))


def test_a_client_as_a_service(tmp_path: Path) -> None:
    """A client of this server that takes what is published."""

    async def work(world: Outside) -> None:
        alice, service = await world.client("alice", ONE), await world.client("service", ONE)
        bob = await world.client("bob", ONE)
        await enable(alice, service=service.jid)
        await gone(world, alice)
        await say(bob, "one")
        came = await service.stanza()
        assert came.get("from") == ONE and came.child("pubsub", "http://jabber.org/protocol/pubsub") is not None
        error = "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
        service.send(f"<iq type='error' to='{ONE}' id='{came.get('id')}'>{error}</iq>")
        async with asyncio.timeout(5):
            while nodes(world):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    play(tmp_path, work)


def test_it_lasts(tmp_path: Path) -> None:
    """Over a restart; what came meanwhile, to whom is not there, is published then. And it goes with its device."""

    async def work() -> None:
        async with outside(tmp_path / "one") as world:
            alice, _ = await phone(world)
            app = world.apps[ONE]
            await gone(world, alice)
            await app.stop()
            await world.start_one(Path(app.config.server.data_dir))
            assert nodes(world) == [NODE]
            bob = await world.again("bob", ONE)
            await say(bob, "one")
            ((its_id, *_),) = await published(world)
            await answer(world, its_id)
            accounts = world.apps[ONE].middle.accounts
            (device,) = {one.device_id for one in accounts.pushers.of(ALICE)}  # type: ignore[arg-type]
            await accounts.log_out(ALICE, [device], reason="it was lost")  # type: ignore[arg-type]
            assert nodes(world) == []

    asyncio.run(asyncio.wait_for(work(), 60))


def test_the_summary_is_configured() -> None:
    with pytest.raises(ConfigError, match=r"everything. is not one of message-count"):
        parse_config('[server]\nname = "example.org"\n[xmpp]\npush_summary = ["everything"]\n', "t")
