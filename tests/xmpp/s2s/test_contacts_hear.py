"""What accounts publish, for contacts of other servers whose clients want to hear of it.

spec: XEP-0163 4.3; XEP-0115 5.4
"""

import re
from pathlib import Path

from tests.interop.peer import until
from tests.xmpp.s2s.islands import ONE, Pair, run
from tests.xmpp.s2s.test_two_servers import ALICE, BOB, befriend, both
from tests.xmpp.server import Client
from tripoint.xmpp.caps import verification
from tripoint.xmpp.wire import parse_fragment

PUBSUB = "http://jabber.org/protocol/pubsub"
ABOUT = (
    "<query xmlns='http://jabber.org/protocol/disco#info'><identity category='client' type='pc'/>"
    "<feature var='urn:x:news+notify'/></query>"
)
VER = verification(parse_fragment(ABOUT)[0], "sha-1")
PRESENCE = f"<presence><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:c' ver='{VER}'/></presence>"


async def tell_caps(client: Client, servers: int) -> None:
    """Presence that names a hash, and the answers to those who ask what it stands for."""
    client.send(PRESENCE)
    while servers:
        text = await client.xml()
        asked = re.match(r"<iq type='get' .*disco#info", text)
        if asked is not None:
            its_id, sender = (re.search(f" {name}='([^']*)'", text).group(1) for name in ("id", "from"))  # type: ignore[union-attr]
            client.send(f"<iq type='result' id='{its_id}' to='{sender}'>{ABOUT}</iq>")
            servers -= 1


async def publish(client: Client, item: str, node: str = "urn:x:news") -> None:
    got = await client.ask(
        f"<iq type='set' id='p{item}'><pubsub xmlns='{PUBSUB}'><publish node='{node}'><item id='{item}'>"
        "<x xmlns='urn:x'/></item></publish></pubsub></iq>"
    )
    assert " type='result'" in got, got


def test_a_contact_hears_what_is_new_and_what_there_was(tmp_path: Path) -> None:
    async def work(pair: Pair) -> None:
        alice, bob = await both(pair)
        await publish(alice, "one")
        await befriend(alice, bob)
        heard = pair.apps[ONE].xmpp.pep.contacts_abroad
        # Its own server asks, and the contact's; then comes the newest item.
        await tell_caps(bob, 2)
        news = f"<message from='{ALICE}' type='headline' to='{BOB}/r' id='pep'>"
        await bob.expect(f"{news}<event xmlns='{PUBSUB}#event'><items node='urn:x:news'><item id='one'>…")
        await publish(alice, "two")
        await bob.expect(f"{news}<event xmlns='{PUBSUB}#event'><items node='urn:x:news'><item id='two'>…")
        # What nobody asked for is not told, nor the same twice.
        await publish(alice, "three", "urn:x:other")
        bob.send(PRESENCE)
        assert not [text for text in await bob.skip() if "<event" in text or "<iq" in text]
        assert len(heard) == 1
        # Who is not there any more hears nothing.
        bob.send("<presence type='unavailable'/>")
        await until(lambda: len(heard) == 0, lambda: "it is thought to be there")
        await publish(alice, "four")
        assert not [text for text in await bob.skip() if "<event" in text]

    run(tmp_path, work)


def test_who_sees_the_presence_no_more_is_not_told(tmp_path: Path) -> None:
    async def work(pair: Pair) -> None:
        alice, bob = await both(pair)
        await befriend(alice, bob)
        await tell_caps(bob, 2)
        heard = pair.apps[ONE].xmpp.pep.contacts_abroad
        await until(lambda: len(heard) == 1, lambda: "it is not known")
        await alice.skip()
        alice.send(f"<presence to='{BOB}' type='unsubscribed'/>")
        await bob.expect(f"<presence from='{ALICE}/r' type='unavailable'…")
        await bob.expect(f"<presence from='{ALICE}' type='unsubscribed'…")
        await publish(alice, "one")
        assert not [text for text in await bob.skip() if "<event" in text]

    run(tmp_path, work)


def test_an_error_for_what_was_told_is_no_answer_to_anybody(tmp_path: Path) -> None:
    async def work(pair: Pair) -> None:
        alice, bob = await both(pair)
        await befriend(alice, bob)
        await tell_caps(bob, 2)
        heard = pair.apps[ONE].xmpp.pep.contacts_abroad
        await until(lambda: len(heard) == 1, lambda: "it is not known")
        await alice.skip()
        error = "<error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
        bob.send(f"<message to='{ALICE}' type='error' id='pep'>{error}</message>")
        await until(lambda: len(heard) == 0, lambda: "it is told still")
        await alice.quiet()

    run(tmp_path, work)


def test_somebody_who_is_no_contact_is_not_asked(tmp_path: Path) -> None:
    async def work(pair: Pair) -> None:
        _, bob = await both(pair)
        await tell_caps(bob, 1)
        bob.send(PRESENCE.replace("<presence>", f"<presence to='{ALICE}'>"))
        assert not [text for text in await bob.skip() if "<iq" in text]
        assert len(pair.apps[ONE].xmpp.pep.contacts_abroad) == 0

    run(tmp_path, work)
