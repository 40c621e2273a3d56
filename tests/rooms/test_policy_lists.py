"""Policy lists: what their rules mean, in whose name they are carried out, and that they are after a restart.

spec: Matrix client-server-api "Moderation policy lists"; docs/mapping.md 9.14
"""

import asyncio

import pytest

from tests.support.middle import Party, party, reopened, run
from tripoint.core.event import Event
from tripoint.core.ids import RoomId, ServerName, UserId
from tripoint.rooms.commands import FollowList, Join, Leave, SendState, SetLevels
from tripoint.rooms.policy_lists import LISTS, MAX_LISTS, Rules
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.store.memory import MemoryStore

HERE = ServerName("example.org")
EVE = UserId("@eve:example.org")


class _Rule:
    sender = "@carol:list.example"

    def __init__(self, **content: object) -> None:
        self.content = content


def rules(*kinds: tuple[str, dict[str, object]]) -> Rules:
    state = {(type_, str(n)): _Rule(**content) for n, (type_, content) in enumerate(kinds)}
    return Rules(state)  # type: ignore[arg-type]


def user(entity: object, recommendation: object = "m.ban", reason: object = "spam") -> tuple[str, dict[str, object]]:
    return "m.policy.rule.user", {"entity": entity, "recommendation": recommendation, "reason": reason}


def server(entity: str) -> tuple[str, dict[str, object]]:
    return "m.policy.rule.server", {"entity": entity, "recommendation": "m.ban"}


@pytest.mark.parametrize(
    ("rule", "who", "why"),
    [
        (user("@eve:example.org"), "@eve:example.org", "spam"),
        (user("@eve:example.org"), "@eve2:example.org", None),
        (user("@EVE:example.org"), "@eve:example.org", "spam"),
        (user("@*spam*:*"), "@myspam:remote.org", "spam"),
        (user("@e?e:example.org"), "@eve:example.org", "spam"),
        (user("@e?e:example.org"), "@evve:example.org", None),
        (user("@eve:example.org", reason=None), "@eve:example.org", "Rule about @eve:example.org"),
        (user("@eve:example.org", "org.matrix.mjolnir.ban"), "@eve:example.org", "spam"),
        (user("@eve:example.org", "m.takedown"), "@eve:example.org", None),
        (user(["@eve:example.org"]), "@eve:example.org", None),
        (user(""), "@eve:example.org", None),
        (server("remote.org"), "@any:remote.org", "Rule about remote.org"),
        (server("*.remote.org"), "@any:chat.remote.org", "Rule about *.remote.org"),
        (server("*.remote.org"), "@any:remote.org", None),
        # Nobody shuts this server out of its own rooms.
        (server("example.org"), "@eve:example.org", None),
        (server("*"), "@eve:example.org", None),
        # People of other XMPP servers go by their own names, and by that of who stands for them.
        (server("far.example"), "@_xmpp_bob=40far.example:example.org", "Rule about far.example"),
        (server("example.org"), "@_xmpp_bob=40far.example:example.org", None),
        (user("@bob:far.example"), "@_xmpp_bob=40far.example:example.org", "spam"),
        (user("@*:far.example"), "@_xmpp_bob=40far.example:example.org", "spam"),
        (user("@_xmpp_bob=40far.example:example.org"), "@_xmpp_bob=40far.example:example.org", "spam"),
        (("m.policy.rule.room", {"entity": "@eve:example.org", "recommendation": "m.ban"}), "@eve:example.org", None),
    ],
)
def test_what_a_rule_is_about(rule: tuple[str, dict[str, object]], who: str, why: str | None) -> None:
    assert rules(rule).against(UserId(who), HERE) == why


async def _settled(at: Party) -> None:
    worker = at.middle.policy_lists._worker
    if worker is not None:
        await asyncio.wait_for(asyncio.shield(worker), 5)


async def _scene(at: Party) -> tuple[UserId, UserId, UserId, RoomId, RoomId]:
    alice, carol, eve = await at.accounts("alice", "carol", "eve")
    tea, coc = await at.room(alice, eve), await at.room(carol, alice)
    await at.do(FollowList(actor=alice, room_id=tea, list_id=coc))
    return alice, carol, eve, tea, coc


async def _rule_against(at: Party, carol: UserId, coc: RoomId, who: UserId) -> None:
    content = {"entity": str(who), "recommendation": "m.ban", "reason": "spam"}
    key = f"rule:{who}"
    await at.do(SendState(actor=carol, room_id=coc, type="m.policy.rule.user", state_key=key, content=content))
    await _settled(at)


async def _membership(at: Party, room_id: RoomId, who: UserId) -> str:
    return (await at.middle.loaded.get(room_id)).membership(who)


def test_they_hold_after_a_restart() -> None:
    async def work() -> None:
        store = MemoryStore()
        async with party(store=store) as at:
            _, carol, eve, tea, coc = await _scene(at)
        async with party(store=reopened(store)) as at:
            # Nobody has looked into the room since: the list alone is heard of.
            await _rule_against(at, carol, coc, eve)
            assert await _membership(at, tea, eve) == "ban"

    run(work)


def test_they_hold_as_long_as_the_one_who_follows_may_ban() -> None:
    async def work() -> None:
        async with party() as at:
            alice, carol, eve, tea, coc = await _scene(at)
            other = await at.account("other")
            await at.do(Join(actor=other, room_id=tea))
            await at.do(Leave(actor=alice, room_id=tea))
            await _rule_against(at, carol, coc, eve)
            assert await _membership(at, tea, eve) == "join"

    run(work)


def test_nobody_of_the_same_rank_goes_and_the_others_do() -> None:
    async def work() -> None:
        async with party() as at:
            alice, carol, eve, tea, coc = await _scene(at)
            zed = await at.account("zed")
            await at.do(Join(actor=zed, room_id=tea))
            bob = await at.account("bob")
            await at.do(Join(actor=bob, room_id=tea))
            await at.do(SetLevels(actor=alice, room_id=tea, levels=((bob, 100), (eve, 100))))
            await at.do(FollowList(actor=alice, room_id=tea, list_id=coc, on=False))
            await at.do(Join(actor=bob, room_id=coc))
            await at.do(FollowList(actor=bob, room_id=tea, list_id=coc))
            await _rule_against(at, carol, coc, UserId("@*:example.org"))
            assert await _membership(at, tea, zed) == "join"  # a glob that meets this whole server is a mistake
            await _rule_against(at, carol, coc, UserId("@?e*:example.org"))
            assert (await _membership(at, tea, zed), await _membership(at, tea, eve)) == ("ban", "join")

    run(work)


def test_what_cannot_be_followed() -> None:
    async def work() -> None:
        async with party() as at:
            alice, carol, eve, tea, coc = await _scene(at)

            async def no(**changes: object) -> Refusal:
                asked = {"actor": alice, "room_id": tea, "list_id": coc, **changes}
                with pytest.raises(Refused) as refused:
                    await at.do(FollowList(**asked))  # type: ignore[arg-type]
                return refused.value.refusal

            secret = await at.room(carol)
            assert await no(list_id=secret) is Refusal.NOT_JOINED
            assert await no(list_id=RoomId("!nowhere:example.org")) is Refusal.NO_SUCH_ROOM
            assert await no(actor=carol) is Refusal.NOT_JOINED
            assert await no(actor=eve) is Refusal.POWER_TOO_LOW
            assert await no(list_id=tea) is Refusal.BAD_CONTENT
            assert await no(list_id=secret, on=False) is Refusal.NO_SUCH_MASK
            for _ in range(MAX_LISTS - 1):
                await at.do(FollowList(actor=alice, room_id=tea, list_id=await at.room(alice)))
            assert await no(list_id=await at.room(alice)) is Refusal.LIST_FULL
            event: Event | None = (await at.middle.loaded.get(tea)).state.get((LISTS, ""))
            assert event is not None and isinstance(event.content["rooms"], list)
            assert len(event.content["rooms"]) == MAX_LISTS

    run(work)
