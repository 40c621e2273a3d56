"""What the server can is told with the features of the stream, as a hash.  spec: XEP-0115 5.4, 6.2, 6.3, 7"""

import asyncio

from tests.xmpp.server import SERVER, serve
from tripoint.xmpp.caps import Caps, is_as_promised, verification2

CAPS = "http://jabber.org/protocol/caps"
INFO = "http://jabber.org/protocol/disco#info"


def test_6_3_a_client_that_knows_it_needs_not_ask() -> None:
    async def go() -> None:
        async with serve() as server:
            await server.make_account("alice")
            client = await server.connect()
            await client.open()
            await client.authenticate("alice", "correct horse")
            features = await client.open()
            told = features.child("c", CAPS)
            assert told is not None
            node, ver = told.get("node"), told.get("ver")
            assert node is not None and ver is not None and told.get("hash") == "sha-1"
            await client.bind("desk")
            client.send(f"<iq type='get' id='d' to='{SERVER}'><query xmlns='{INFO}' node='{node}#{ver}'/></iq>")
            answer = await client.stanza()
            query = answer.child("query", INFO)
            assert query is not None and query.get("node") == f"{node}#{ver}"
            assert is_as_promised(query, Caps(node, ver, "sha-1"))
            assert CAPS in [child.get("var") for child in query.elements()]
            # spec: XEP-0390 5.2, 5.3
            second = features.child("c", "urn:xmpp:caps")
            digest = None if second is None else second.child_text("hash", "urn:xmpp:hashes:2")
            node2 = f"urn:xmpp:caps#sha-256.{digest}"
            client.send(f"<iq type='get' id='f' to='{SERVER}'><query xmlns='{INFO}' node='{node2}'/></iq>")
            query = (await client.stanza()).child("query", INFO)
            assert query is not None and query.get("node") == node2 and verification2(query) == digest
            client.send(f"<iq type='get' id='e' to='{SERVER}'><query xmlns='{INFO}' node='{node}#other'/></iq>")
            assert (await client.stanza()).get("type") == "error"

    asyncio.run(go())
