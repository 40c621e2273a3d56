"""Two who grant each other's request in the same moment: neither grant is lost.  spec: RFC6121 3.1, A.2, A.3"""

import asyncio

from tests.xmpp.server import SERVER, serve
from tripoint.accounts.ports import RosterItem
from tripoint.core.ids import UserId

ALICE, BOB = f"alice@{SERVER}", f"bob@{SERVER}"


def test_both_grant_at_once() -> None:
    async def main() -> None:
        async with serve() as server:
            alice, bob = await server.online("alice"), await server.online("bob")
            accounts = server.middle.accounts
            store = accounts.set_roster_item

            async def slowly(user_id: UserId, item: RosterItem) -> None:
                for _ in range(50):
                    await asyncio.sleep(0)
                await store(user_id, item)

            accounts.set_roster_item = slowly  # type: ignore[method-assign]
            alice.send(f"<presence to='{BOB}' type='subscribe'/>")
            bob.send(f"<presence to='{ALICE}' type='subscribe'/>")
            await alice.skip()
            await bob.skip()
            await alice.skip()
            alice.send(f"<presence to='{BOB}' type='subscribed'/>")
            bob.send(f"<presence to='{ALICE}' type='subscribed'/>")
            await alice.skip()
            await bob.skip()
            await alice.skip()
            for client, contact in ((alice, BOB), (bob, ALICE)):
                roster = await client.ask("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")
                assert f"<item jid='{contact}' subscription='both'/>" in roster, roster

    asyncio.run(asyncio.wait_for(main(), 20))
