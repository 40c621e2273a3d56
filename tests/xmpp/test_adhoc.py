"""Sessions and actions of ad-hoc commands. spec: XEP-0050 3.3, 3.4, 4.4"""

import asyncio
import re
from collections.abc import Awaitable, Callable

from tests.xmpp.server import SERVER, Client, TestServer, serve

NS = "http://jabber.org/protocol/commands"
SESSIONS = "https://tripoint.dev/ns#sessions"
PLAIN = "https://tripoint.dev/ns#plaindm"


def on_server(work: Callable[[TestServer], Awaitable[None]]) -> None:
    async def main() -> None:
        async with serve() as server:
            await work(server)

    asyncio.run(main())


async def do(client: Client, attributes: str, node: str = SESSIONS) -> str:
    command = f"<command xmlns='{NS}' node='{node}' {attributes}/>"
    return await client.ask(f"<iq type='set' id='c' to='{SERVER}'>{command}</iq>")


def session_in(answer: str) -> str:
    found = re.search(r" sessionid='([^']+)'", answer)
    assert found is not None, answer
    return found.group(1)


def refused(answer: str) -> str:
    found = re.search(rf"<bad-request .*<([a-z-]+) xmlns='{NS}'/>", answer)
    assert found is not None, answer
    return found.group(1)


def test_a_session_is_of_who_began_it_and_of_its_command() -> None:
    async def work(server: TestServer) -> None:
        alice, desk, bob = await server.online("alice"), await server.online("alice", "d"), await server.online("bob")
        given = session_in(await do(alice, "action='execute'"))
        assert session_in(await do(alice, "action='execute'")) != given
        assert session_in(await do(alice, f"sessionid='{given}' action='next'")) == given
        for client, node, session in (
            (alice, SESSIONS, "mine"),
            (alice, SESSIONS, given[:-1]),
            (alice, SESSIONS, f"{given}x"),
            (alice, PLAIN, given),
            (desk, SESSIONS, given),
            (bob, SESSIONS, given),
        ):
            for action in ("next", "complete", "cancel"):
                assert refused(await do(client, f"sessionid='{session}' action='{action}'", node)) == "bad-sessionid"
        assert f"sessionid='{given}' status='canceled'" in await do(alice, f"sessionid='{given}' action='cancel'")

    on_server(work)


def test_actions_that_are_none_or_lead_nowhere() -> None:
    async def work(server: TestServer) -> None:
        alice = await server.online("alice")
        given = session_in(await do(alice, ""))
        assert refused(await do(alice, f"sessionid='{given}' action='prev'")) == "bad-action"
        assert refused(await do(alice, f"sessionid='{given}' action='dance'")) == "malformed-action"

    on_server(work)
