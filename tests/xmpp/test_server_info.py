"""What a server says of itself and keeps for clients: the time, who runs it, limits of streams, versions of rosters.

spec: XEP-0202, XEP-0157, XEP-0478, XEP-0237 (RFC6121 2.6)
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.xmpp.server import OPTIONS, SERVER, Client, TestServer, serve
from tripoint.config.load import ConfigError, parse_config, split_contact
from tripoint.xmpp.c2s.discovery import contact_form, status_form

LIMITS = "urn:xmpp:stream-limits:0"


def on_server(work: Callable[[TestServer], Awaitable[None]], **options: object) -> None:
    async def go() -> None:
        async with serve(options=replace(OPTIONS, **options)) as server:
            await work(server)

    asyncio.run(go())


@pytest.mark.parametrize("to", [SERVER, f"rooms.{SERVER}", f"matrix.{SERVER}"])
def test_what_time_it_is(to: str) -> None:
    """spec: XEP-0202 3, examples 1 and 2; 4"""

    async def work(server: TestServer) -> None:
        alice = await server.online("alice")
        before = datetime.now(UTC)
        answer = await alice.ask(f"<iq type='get' to='{to}' id='time_1'><time xmlns='urn:xmpp:time'/></iq>")
        found = re.search(r"<time xmlns='urn:xmpp:time'><tzo>\+00:00</tzo><utc>([^<]*Z)</utc></time>", answer)
        assert found is not None, answer
        said = datetime.fromisoformat(found.group(1).replace("Z", "+00:00"))
        assert -1 < (said - before).total_seconds() < 5
        info = await alice.ask(
            f"<iq type='get' to='{to}' id='d'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>"
        )
        assert "<feature var='urn:xmpp:time'/>" in info

    on_server(work)


def test_who_runs_it() -> None:
    """spec: XEP-0157 3, examples 1 and 2"""
    contacts = (
        ("admin", "mailto:xmpp@shakespeare.lit"),
        ("abuse", "mailto:abuse@shakespeare.lit"),
        ("abuse", "xmpp:abuse@shakespeare.lit?message&x"),
    )

    async def work(server: TestServer) -> None:
        alice = await server.online("alice")
        asked = f"<iq type='get' to='{SERVER}' id='disco1'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>"
        assert (
            "<x xmlns='jabber:x:data' type='result'>"
            "<field var='FORM_TYPE' type='hidden'><value>http://jabber.org/network/serverinfo</value></field>"
            "<field var='abuse-addresses' type='list-multi'><value>mailto:abuse@shakespeare.lit</value>"
            "<value>xmpp:abuse@shakespeare.lit?message&amp;x</value></field>"
            "<field var='admin-addresses' type='list-multi'><value>mailto:xmpp@shakespeare.lit</value></field></x>"
        ) in await alice.ask(asked)

    on_server(work, contacts=contacts)
    assert contact_form(()) == ""


def test_where_to_look_when_it_is_down() -> None:
    """spec: XEP-0455 2.1, examples 1 and 2"""
    addresses = ("https://secondary.shakespeare.lit/status.json?a&b",)

    async def work(server: TestServer) -> None:
        alice = await server.online("alice")
        asked = f"<iq type='get' to='{SERVER}' id='disco1'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>"
        assert (
            "<x xmlns='jabber:x:data' type='result'>"
            "<field var='FORM_TYPE' type='hidden'><value>urn:xmpp:sos:0</value></field>"
            "<field var='external-status-addresses' type='list-multi'>"
            "<value>https://secondary.shakespeare.lit/status.json?a&amp;b</value></field></x>"
        ) in await alice.ask(asked)

    on_server(work, status_addresses=addresses)
    assert status_form(()) == ""
    text = '[server]\nname = "example.org"\n[xmpp]\nstatus_addresses = ["{}"]\n'
    assert parse_config(text.format(addresses[0]), "t.toml").xmpp.status_addresses == addresses
    with pytest.raises(ConfigError, match=r"is no address like https://status\.example"):
        parse_config(text.format("status.example.org"), "t.toml")


@pytest.mark.parametrize("contact", ["", "abuse", "mailto:abuse@example.org", "abuse example.org", "boss mailto:a@b"])
def test_what_is_no_contact(contact: str) -> None:
    assert split_contact(contact) is None
    with pytest.raises(ConfigError, match="abuse mailto:abuse@example"):
        parse_config(f'[server]\ncontacts = ["{contact}"]\n', "t.toml")


def test_contacts_are_read() -> None:
    text = '[server]\ncontacts = ["status https://status.example.org/"]\n'
    assert split_contact(*parse_config(text, "t.toml").server.contacts) == ("status", "https://status.example.org/")


def test_limits_are_told_and_hold() -> None:
    """spec: XEP-0478 3.1, example 1; 4: others after the login"""

    async def work(server: TestServer) -> None:
        await server.make_account("alice")
        client = await server.connect()
        limits = (await client.open()).child("limits", LIMITS)
        assert limits is not None and limits.child_text("max-bytes", LIMITS) == "16384"
        await client.authenticate("alice", "correct horse")
        limits = (await client.open()).child("limits", LIMITS)
        assert limits is not None
        assert limits.child_text("max-bytes", LIMITS) == "20000"
        assert limits.child_text("idle-seconds", LIMITS) == "99"
        await client.bind("r")
        frame = f"<iq type='get' id='x' to='{SERVER}'><ping xmlns='urn:xmpp:ping'><!></ping></iq>"
        client.send(frame.replace("<!>", "x" * (20000 - len(frame) + len("<!>"))))
        await client.expect("<iq type='result' id='x'…/>")
        client.send(f"<message><body>{'x' * 20000}</body></message>")
        await client.expect("<stream:error><policy-violation …")

    on_server(work, stanza_bytes=20000, ping_interval_s=99.0)


async def roster(client: Client, ver: str | None) -> str:
    versioned = "" if ver is None else f" ver='{ver}'"
    return await client.ask(f"<iq type='get' id='r1h3vzp7'><query xmlns='jabber:iq:roster'{versioned}/></iq>")


def version_in(xml: str) -> str:
    found = re.search(r" ver='([^']+)'", xml)
    assert found is not None, xml
    return found.group(1)


async def set_item(client: Client, contact: str, more: str = "") -> None:
    item = f"<item jid='{contact}@{SERVER}'{more}/>"
    client.send(f"<iq type='set' id='s'><query xmlns='jabber:iq:roster'>{item}</query></iq>")


def test_a_roster_that_is_known_is_not_sent_again() -> None:
    """spec: RFC6121 2.6.2, 2.6.3"""

    async def work(server: TestServer) -> None:
        one, two = await server.online("alice", "one"), await server.online("alice", "two")
        await one.skip()
        empty = version_in(await roster(one, ""))
        assert " ver=" not in await roster(two, None)
        await set_item(one, "bob")
        push = await one.xml()
        first = version_in(push)
        assert "subscription='none'" in push and first != empty
        await one.expect("<iq type='result' id='s'…/>")
        # Who does not ask for versions is not told any.
        push = await two.xml()
        assert "bob@" in push and " ver=" not in push
        # Nothing new: an empty result, which is no empty roster.
        assert await roster(two, first) == f"<iq type='result' id='r1h3vzp7' to='alice@{SERVER}/two'/>"
        assert await roster(one, first) == f"<iq type='result' id='r1h3vzp7' to='alice@{SERVER}/one'/>"
        await set_item(one, "bob", " name='Robert'")
        second = version_in(await one.xml())
        assert version_in(await two.xml()) == second
        await one.expect("<iq type='result' id='s'…/>")
        answer = await roster(one, first)
        assert "name='Robert'" in answer and version_in(answer) == second
        await set_item(one, "bob", " subscription='remove'")
        assert version_in(await one.xml()) == empty
        await one.expect("<iq type='result' id='s'…/>")
        assert "<query" in await roster(one, "nonsense")

    on_server(work)


def test_a_request_that_nobody_sees_changes_no_version() -> None:
    """spec: RFC6121 3.1.3: it is no part of the roster that clients see"""

    async def work(server: TestServer) -> None:
        alice, eve = await server.online("alice"), await server.online("eve")
        version = version_in(await roster(alice, ""))
        eve.send(f"<presence type='subscribe' to='alice@{SERVER}'/>")
        await alice.expect("<presence …type='subscribe'…/>")
        assert "<query" not in await roster(alice, version)

    on_server(work)
