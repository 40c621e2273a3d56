"""Preferences of an archive as any Matrix client may have written them, and people with more than one address.

The protocol itself is scripts/archive_preferences.txt. spec: XEP-0441 2; docs/mapping.md 14.6
"""

import asyncio

import pytest

from tests.xmpp.server import SERVER, serve
from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import ServerName, UserId
from tripoint.xmpp.c2s.archive_preferences import ARCHIVE, MAX_LISTED, Preferences
from tripoint.xmpp.jid import Domains

GET = "<iq type='get' id='p'><prefs xmlns='urn:xmpp:mam:2'/></iq>"
BOB = f"bob@{SERVER}"


@pytest.mark.parametrize(
    ("content", "xml"),
    [
        ({}, "default='always'><always/><never/>"),
        ({"default": "roster", "always": [BOB]}, f"default='roster'><always><jid>{BOB}</jid></always><never/>"),
        ({"default": "sometimes", "always": BOB, "never": {}}, "default='always'><always/><never/>"),
        ({"default": 1, "never": [1, None, "@", "", f"{BOB}/phone", BOB]}, f"<always/><never><jid>{BOB}</jid></never>"),
    ],
)
def test_what_others_wrote(content: JsonObject, xml: str) -> None:
    async def main() -> None:
        async with serve() as server:
            alice = await server.bound("alice")
            accounts = server.middle.accounts
            await accounts.set_account_data(accounts.user_id("alice"), None, ARCHIVE, content)
            assert xml in await alice.ask(GET)

    asyncio.run(asyncio.wait_for(main(), 20))


def test_so_many_at_most() -> None:
    async def main() -> None:
        async with serve() as server:
            alice = await server.bound("alice")
            listed = "".join(f"<jid>u{number}@{SERVER}</jid>" for number in range(MAX_LISTED + 1))
            prefs = f"<prefs xmlns='urn:xmpp:mam:2' default='always'><never>{listed}</never></prefs>"
            assert "<resource-constraint " in await alice.ask(f"<iq type='set' id='s'>{prefs}</iq>")
            assert "<never/>" in await alice.ask(GET)

    asyncio.run(asyncio.wait_for(main(), 20))


def test_one_person_by_any_address() -> None:
    """docs/mapping.md 1.5, 1.6: somebody of another Matrix server, and of one that is proven to be an XMPP domain"""
    domains = Domains.of(ServerName(SERVER))
    bob = UserId("@bob:remote.org")
    gateway = f"bob%remote.org@matrix.{SERVER}"
    assert not Preferences.of("always", (), (gateway,), domains).holds(bob, {}, domains)
    assert Preferences.of("always", (), ("bob@remote.org",), domains).holds(bob, {}, domains)
    domains.same.names.add(ServerName("remote.org"))
    for address in (gateway, "bob@remote.org"):
        assert not Preferences.of("always", (), (address,), domains).holds(bob, {}, domains)
        assert Preferences.of("never", (address,), (), domains).holds(bob, {}, domains)
