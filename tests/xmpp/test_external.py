"""External services: what is listed, credentials, and nothing where nothing is configured.

spec: XEP-0215 3.1-3.3, 5
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from tests.xmpp.server import OPTIONS, SERVER, TestServer, serve
from tripoint.config.load import ConfigError, parse_config
from tripoint.core.turn import NO_SERVERS, TurnServers, parse_turn_uri

NS = "urn:xmpp:extdisco:2"
URIS = (
    "stun:stun.shakespeare.lit:9998",
    "turn:relay.shakespeare.lit:9999?transport=udp",
    "turn:relay.shakespeare.lit:80?transport=tcp",
)
TURN = TurnServers(tuple(parse_turn_uri(uri) for uri in URIS), "secret", 600)  # type: ignore[misc]
CREDENTIALS = r" username='\d+:[0-9a-f]{16}' password='[^']{28}' expires='[^']*Z' restricted='true'"
STUN = "<service type='stun' host='stun.shakespeare.lit' port='9998' transport='udp'/>"
UDP = f"<service type='turn' host='relay.shakespeare.lit' port='9999' transport='udp'{CREDENTIALS}/>"
TCP = f"<service type='turn' host='relay.shakespeare.lit' port='80' transport='tcp'{CREDENTIALS}/>"
DISCO = f"<iq type='get' to='{SERVER}' id='d'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>"


def on_server(work: Callable[[TestServer], Awaitable[None]], turn: TurnServers = TURN) -> None:
    async def go() -> None:
        async with serve(options=replace(OPTIONS, turn=turn)) as server:
            await work(server)

    asyncio.run(go())


def ask(inside: str) -> str:
    return f"<iq type='get' to='{SERVER}' id='ul2bc7y6'>{inside}</iq>"


@pytest.mark.parametrize(
    ("asked", "listed"),
    [
        (f"<services xmlns='{NS}'/>", f"<services xmlns='{NS}'>{STUN}{UDP}{TCP}</services>"),  # examples 1, 2
        (f"<services xmlns='{NS}' type='turn'/>", f"<services xmlns='{NS}' type='turn'>{UDP}{TCP}</services>"),  # 3, 4
        (f"<services xmlns='{NS}' type='ftp'/>", f"<services xmlns='{NS}' type='ftp'/>"),
        (  # examples 6, 7
            f"<credentials xmlns='{NS}'><service host='Relay.shakespeare.lit' type='turn'/></credentials>",
            f"<credentials xmlns='{NS}'>{UDP}{TCP}</credentials>",
        ),
        (
            f"<credentials xmlns='{NS}'><service host='relay.shakespeare.lit' type='turn' port='80'/></credentials>",
            f"<credentials xmlns='{NS}'>{TCP}</credentials>",
        ),
    ],
)
def test_what_there_is(asked: str, listed: str) -> None:
    async def work(server: TestServer) -> None:
        alice = await server.online("alice")
        answer = await alice.ask(ask(asked))
        assert re.fullmatch(f"<iq type='result'[^>]*>{listed}</iq>", answer), answer
        assert f"<feature var='{NS}'/>" in await alice.ask(DISCO)

    on_server(work)


@pytest.mark.parametrize(
    ("asked", "condition"),
    [
        ("<service host='elsewhere.example' type='turn'/>", "item-not-found"),
        ("<service host='stun.shakespeare.lit' type='stun'/>", "item-not-found"),
        ("<service host='relay.shakespeare.lit' type='turn' port='81'/>", "item-not-found"),
        ("<service type='turn'/>", "bad-request"),
        ("<service host='relay.shakespeare.lit'/>", "bad-request"),
        ("", "bad-request"),
    ],
)
def test_what_there_is_not(asked: str, condition: str) -> None:
    """spec: XEP-0215 3.3"""

    async def work(server: TestServer) -> None:
        alice = await server.online("alice")
        answer = await alice.ask(ask(f"<credentials xmlns='{NS}'>{asked}</credentials>"))
        assert f"<{condition} " in answer and "password" not in answer

    on_server(work)


def test_where_nothing_is_configured_there_is_nothing() -> None:
    async def work(server: TestServer) -> None:
        alice = await server.online("alice")
        assert NS not in await alice.ask(DISCO)
        for asked in (f"<services xmlns='{NS}'/>", f"<credentials xmlns='{NS}'/>"):
            assert "<service-unavailable " in await alice.ask(ask(asked))

    on_server(work, NO_SERVERS)


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ('uris = ["turn.example.org"]', "is not an address like"),
        ('uris = ["turn:turn.example.org"]', "secret is needed"),
        ("lifetime_s = 5", "at least 60"),
    ],
)
def test_mistakes_are_told(text: str, mistake: str) -> None:
    with pytest.raises(ConfigError, match=mistake):
        parse_config(f"[turn]\n{text}\n", "t.toml")


def test_it_is_read() -> None:
    config = parse_config('[turn]\nuris = ["turn:a.example"]\nsecret = "s"\n', "t.toml")
    assert config.turn.uris == ("turn:a.example",)
