"""Paging over many conversations at once, both ways, without gap or overlap. spec: XEP-0313 4, 6.1.1; docs 14.6"""

import asyncio
import re

import pytest

from tests.xmpp.server import Client, TestServer, serve
from tripoint.core.ids import UserId
from tripoint.rooms.commands import OpenDirect, SendEvent
from tripoint.xmpp import archives
from tripoint.xmpp.tables import DATA_FORMS_NS, MAM_NS, RSM_NS

PEERS = ("bob", "carol", "dave", "eve")
MESSAGES = 60


def user(name: str) -> UserId:
    return UserId(f"@{name}:example.org")


async def talk(server: TestServer) -> list[str]:
    """Everybody and alice write to each other by turns; what was said, in order."""
    await server.make_account("alice")
    rooms = {}
    for name in PEERS:
        await server.make_account(name)
        rooms[name] = (await server.middle.service.do(OpenDirect(actor=user(name), target=user("alice")))).room_id
    said = []
    for number in range(MESSAGES):
        name = PEERS[number * number % 7 % len(PEERS)]
        actor = user("alice") if number % 3 == 0 else user(name)
        content = {"msgtype": "m.text", "body": f"m{number}" + "x" * 200, "m.mentions": {}}
        await server.middle.service.do(
            SendEvent(actor=actor, room_id=rooms[name], type="m.room.message", content=content)
        )
        said.append(f"m{number}")
    return said


async def page(client: Client, number: int, inside: str) -> tuple[list[str], list[str], bool]:
    """(ids, texts, complete) of one query."""
    client.send(f"<iq type='set' id='q{number}'><query xmlns='{MAM_NS}' queryid='q{number}'>{inside}</query></iq>")
    ids, texts = [], []
    while True:
        xml = await client.xml()
        if xml.startswith("<iq"):
            assert "<fin " in xml, xml
            return ids, texts, "complete='true'" in xml
        ids.append(re.search(r"<result [^>]*id='([^']*)'", xml)[1])
        texts.append(re.search(r"<body>(m[0-9]+)x*</body>", xml)[1])


@pytest.mark.parametrize("limit", (1, 7, 100))
@pytest.mark.parametrize("most_bytes", (1024 * 1024, 3000))
def test_both_ways_through_all_conversations(limit: int, most_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_PAGE_BYTES", most_bytes)

    async def work() -> None:
        async with serve() as server:
            said = await talk(server)
            alice = await server.online("alice")
            await alice.skip()
            for backward in (False, True):
                got: list[str] = []
                place = "<before/>" if backward else ""
                number = 0
                while True:
                    number += 1
                    rsm = f"<set xmlns='{RSM_NS}'><max>{limit}</max>{place}</set>"
                    ids, texts, complete = await page(alice, number, rsm)
                    got = [*texts, *got] if backward else [*got, *texts]
                    if complete:
                        break
                    assert texts
                    place = f"<before>{ids[0]}</before>" if backward else f"<after>{ids[-1]}</after>"
                assert got == said
            # One of them alone; one with whom nothing was said; what cannot be an address.
            kind = f"<field var='FORM_TYPE' type='hidden'><value>{MAM_NS}</value></field>"
            for name, wanted in (("bob", 60), ("zoe", 0)):
                field = f"<field var='with'><value>{name}@example.org</value></field>"
                form = f"<x xmlns='{DATA_FORMS_NS}' type='submit'>{kind}{field}</x>"
                rsm = f"<set xmlns='{RSM_NS}'><max>100</max></set>"
                _, texts, _ = await page(alice, 1000, form + rsm)
                assert len(texts) <= wanted and bool(texts) == bool(wanted)

    asyncio.run(asyncio.wait_for(work(), 60))
