"""Policy lists that a server follows: what it refuses other servers, and its own people on IRC and XMPP.

spec: Matrix client-server-api "Moderation policy lists", m.ban "applied to a server"; docs/mapping.md 9.14
"""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.federation.servers import islands, server
from tests.federation.test_joining import account, make_room, room_of
from tests.federation.test_whole_servers import on_irc, on_xmpp, until
from tests.support.middle import run
from tripoint.config.options import Federation
from tripoint.core.ids import RoomId, UserId
from tripoint.matrix.federation.client import RemoteRefused, make_target
from tripoint.rooms.commands import Invite, Join, SendState
from tripoint.rooms.refusals import Refused
from tripoint.runtime.app import App

ONE, TWO = server("one.example"), server("two.example")


async def rule(app: App, actor: UserId, list_id: RoomId, kind: str, entity: str, recommendation: str = "m.ban") -> None:
    content = {"entity": entity, "recommendation": recommendation, "reason": "spam"}
    type_ = f"m.policy.rule.{kind}"
    await app.middle.service.do(
        SendState(actor=actor, room_id=list_id, type=type_, state_key=f"rule:{entity}", content=content)
    )


def follow(app: App, *lists: RoomId) -> None:
    app.middle.reload(replace(app.config, federation=Federation(policy_lists=tuple(map(str, lists)))))


async def ask(app: App, user_id: UserId, room_id: RoomId) -> None:
    target = make_target("_matrix", "federation", "v1", "make_join", room_id, user_id, query={"ver": ["12"]})
    await app.federation.trust.client.request(ONE, "GET", target)


def test_a_server_that_is_listed_is_not_spoken_to(tmp_path: Path) -> None:
    async def work() -> None:
        async with islands(tmp_path, ONE, TWO) as made:
            one, two = made.apps[ONE], made.apps[TWO]
            alice, bob = await account(one, "alice"), await account(two, "bob")
            room_id, list_id = await make_room(one, alice, room_version="12"), await make_room(one, alice)
            own = await make_room(two, bob)
            follow(one, list_id)
            await ask(two, bob, room_id)
            await rule(one, alice, list_id, "server", "*.example")
            with pytest.raises(RemoteRefused) as refused:
                await ask(two, bob, room_id)
            assert (refused.value.status, refused.value.errcode) == (403, "M_FORBIDDEN")
            assert "spam" in refused.value.error
            # Nobody of it is invited, and it invites nobody.
            with pytest.raises(Refused):
                await one.middle.service.do(Invite(actor=alice, room_id=room_id, target=bob))
            with pytest.raises(Refused):
                await two.middle.service.do(Invite(actor=bob, room_id=own, target=alice))
            assert own not in await one.middle.reader.memberships(alice)
            # It is taken back.
            await rule(one, alice, list_id, "server", "*.example", "")
            await two.middle.service.do(Join(actor=bob, room_id=room_id, via=(ONE,)))
            assert (await room_of(one, room_id)).membership(bob) == "join"

    run(work, timeout_s=60)


def test_a_user_of_another_server_who_is_listed(tmp_path: Path) -> None:
    async def work() -> None:
        async with islands(tmp_path, ONE, TWO) as made:
            one, two = made.apps[ONE], made.apps[TWO]
            alice, bob, carol = await account(one, "alice"), await account(two, "bob"), await account(two, "carol")
            room_id, list_id = await make_room(one, alice, room_version="12"), await make_room(one, alice)
            own = await make_room(two, bob)
            follow(one, list_id)
            await rule(one, alice, list_id, "user", "@bob:*")
            with pytest.raises(RemoteRefused) as refused:
                await ask(two, bob, room_id)
            assert (refused.value.status, refused.value.errcode) == (403, "M_FORBIDDEN")
            await ask(two, carol, room_id)
            with pytest.raises(Refused):
                await two.middle.service.do(Invite(actor=bob, room_id=own, target=alice))
            await two.middle.service.do(Join(actor=carol, room_id=room_id, via=(ONE,)))
            # Another server of the room may let him in; then he is where he is.
            assert (await room_of(one, room_id)).membership(carol) == "join"

    run(work, timeout_s=60)


def test_people_of_this_server_on_irc_and_xmpp(tmp_path: Path) -> None:
    async def work() -> None:
        async with islands(tmp_path, ONE) as made:
            one = made.apps[ONE]
            alice = await account(one, "alice")
            await account(one, "eve")
            room_id = await make_room(one, alice, alias_localpart="tea")
            list_id = await make_room(one, alice)
            follow(one, list_id)
            await rule(one, alice, list_id, "user", "@eve:one.example")
            irc = await on_irc(one, "eve")
            await irc.send("JOIN #tea")
            assert " 474 " in await until(irc, "#tea") and room_id
            xmpp = await on_xmpp(one, "eve")
            await xmpp.send(
                "<presence to='tea@rooms.one.example/eve'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
            )
            came = await until(xmpp, "type='error'")
            assert "<forbidden " in came and "spam" in came
            await rule(one, alice, list_id, "user", "@eve:one.example", "")
            await irc.send("JOIN #tea")
            await until(irc, " JOIN #tea")

    run(work, timeout_s=60)
