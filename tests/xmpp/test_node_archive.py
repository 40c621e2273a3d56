"""The archive of a node of an account: pages of its items, for who may read it.

spec: XEP-0442 3; XEP-0313 4; XEP-0059 2
"""

import asyncio
import re
from collections.abc import Awaitable, Callable

from tests.xmpp.server import SERVER, Client, TestServer, serve

MAM = "urn:xmpp:mam:2"
RSM = "http://jabber.org/protocol/rsm"
PUBSUB = "http://jabber.org/protocol/pubsub"
NODE = "urn:example:recipes"


def on_server(work: Callable[[TestServer, Client], Awaitable[None]]) -> None:
    async def go() -> None:
        async with serve() as server:
            await server.make_account("alice")
            await server.make_account("bob")
            alice = await server.online("alice")
            for number, access in enumerate(("open", "", "", "")):
                form = (
                    "<publish-options><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>"
                    f"{PUBSUB}#publish-options</value></field><field var='pubsub#access_model'><value>{access}</value>"
                    "</field><field var='pubsub#max_items'><value>10</value></field></x></publish-options>"
                    if access
                    else ""
                )
                item = f"<item id='r{number}'><recipe xmlns='urn:example'>{number}</recipe></item>"
                answer = await alice.ask(
                    f"<iq type='set' id='p{number}'><pubsub xmlns='{PUBSUB}'><publish node='{NODE}'>{item}</publish>"
                    f"{form}</pubsub></iq>"
                )
                assert "type='result'" in answer, answer
            await alice.skip()
            await work(server, alice)

    asyncio.run(go())


async def ask(client: Client, inside: str = "", to: str = "", node: str = NODE) -> tuple[list[str], str]:
    """The ids of the items that came, and the answer after them."""
    addressed = f" to='{to}'" if to else ""
    query = f"<query xmlns='{MAM}' node='{node}' queryid='x'>{inside}</query>"
    client.send(f"<iq type='set' id='q'{addressed}>{query}</iq>")
    ids: list[str] = []
    while True:
        text = await client.xml()
        if " id='q'" in text.partition(">")[0]:
            return ids, text
        found = re.search(r"queryid='x' id='([^']*)'.*<item id='([^']*)'><recipe", text)
        assert found is not None and found[1] == found[2], text
        assert f"<items node='{NODE}'>" in text and "<delay " in text
        ids.append(found[1])


def form(**fields: str) -> str:
    named = [(name.replace("_", "-"), value) for name, value in fields.items()]
    told = "".join(f"<field var='{name}'><value>{value}</value></field>" for name, value in named)
    head = f"<field var='FORM_TYPE'><value>{MAM}</value></field>"
    return f"<x xmlns='jabber:x:data' type='submit'>{head}{told}</x>"


def page(inside: str) -> str:
    return f"<set xmlns='{RSM}'>{inside}</set>"


def test_all_of_it_and_pages() -> None:
    async def work(server: TestServer, alice: Client) -> None:
        ids, fin = await ask(alice)
        assert ids == ["r0", "r1", "r2", "r3"] and "complete='true'" in fin
        assert "<first index='0'>r0</first><last>r3</last><count>4</count>" in fin
        ids, fin = await ask(alice, page("<max>3</max>"))
        assert ids == ["r0", "r1", "r2"] and "complete='false'" in fin
        assert (await ask(alice, page("<max>3</max><after>r2</after>")))[0] == ["r3"]
        assert (await ask(alice, page("<max>2</max><before/>")))[0] == ["r2", "r3"]
        assert (await ask(alice, page("<max>2</max><before>r2</before>")))[0] == ["r0", "r1"]
        assert (await ask(alice, form(ids="r1")))[0] == ["r1"]
        assert (await ask(alice, form(after_id="r1")))[0] == ["r2", "r3"]
        assert (await ask(alice, form(before_id="r1")))[0] == ["r0"]
        assert (await ask(alice, form(start="2100-01-01T00:00:00Z")))[0] == []
        assert len((await ask(alice, form(start="2020-01-01T00:00:00Z", end="2100-01-01T00:00:00Z")))[0]) == 4

    on_server(work)


def test_what_is_taken_back_or_published_anew() -> None:
    async def work(server: TestServer, alice: Client) -> None:
        retract = f"<retract node='{NODE}'><item id='r1'/></retract>"
        await alice.ask(f"<iq type='set' id='t'><pubsub xmlns='{PUBSUB}'>{retract}</pubsub></iq>")
        again = f"<publish node='{NODE}'><item id='r0'><recipe xmlns='urn:example'>anew</recipe></item></publish>"
        await alice.ask(f"<iq type='set' id='u'><pubsub xmlns='{PUBSUB}'>{again}</pubsub></iq>")
        await alice.skip()
        assert (await ask(alice))[0] == ["r2", "r3", "r0"]

    on_server(work)


def test_what_is_not_there_and_who_may_not() -> None:
    async def work(server: TestServer, alice: Client) -> None:
        bob = await server.online("bob")
        owner = f"alice@{SERVER}"
        assert (await ask(bob, to=owner))[0] == ["r0", "r1", "r2", "r3"], "the node is open"
        for inside, condition in (
            (page("<after>nothing</after>"), "item-not-found"),
            (form(ids="nothing"), "item-not-found"),
            (form(**{"with": "bob@example.org"}), "feature-not-implemented"),
        ):
            ids, answer = await ask(alice, inside)
            assert ids == [] and condition in answer
        assert "item-not-found" in (await ask(alice, node="nothing"))[1]
        # Of a conversation nobody else sees anything.
        bob.send(f"<iq type='set' id='z' to='{owner}'><query xmlns='{MAM}'/></iq>")
        assert "service-unavailable" in await bob.xml()
        answer = await alice.ask(
            f"<iq type='set' id='c'><pubsub xmlns='{PUBSUB}#owner'><configure node='{NODE}'><x xmlns='jabber:x:data' "
            f"type='submit'><field var='FORM_TYPE'><value>{PUBSUB}#node_config</value></field>"
            "<field var='pubsub#access_model'><value>whitelist</value></field></x></configure></pubsub></iq>"
        )
        assert "type='result'" in answer
        ids, answer = await ask(bob, to=owner)
        assert ids == [] and "type='error'" in answer

    on_server(work)
