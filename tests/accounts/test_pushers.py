"""Pushers of all kinds in one list: what one account sets takes nothing from others' of another kind."""

from tests.support.middle import party, run

from tripoint.accounts.pushers import Pusher


def test_the_same_names_of_another_kind_are_left_alone() -> None:
    """spec: POST /pushers/set: without `append`, "the homeserver must remove any other pushers with the same App ID
    and pushkey for different users": of its own kind, for a name is easily guessed where it is no secret."""

    async def work() -> None:
        async with party() as p:
            alice, bob, carol = await p.accounts("alice", "bob", "carol")
            pushers = p.middle.accounts.pushers
            for user_id, kind in ((bob, "xmpp"), (carol, "http")):
                await pushers.set(Pusher(user_id, "xmpp", "node", "", {"kind": kind}, 1, 0), append=False)
            await pushers.set(Pusher(alice, "xmpp", "node", "", {"kind": "http"}, 1, 0), append=False)
            left = [one for one in (alice, bob, carol) if pushers.find((one, "xmpp", "node")) is not None]
            assert left == [alice, bob]

    run(work)
