"""Policy lists that the server itself follows: who is kept out of all rooms, on every protocol, and who never is.

spec: Matrix client-server-api "Moderation policy lists", m.ban applied to a server; docs/mapping.md 9.14
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from tests.rooms.test_policy_lists import HERE, rules, server, user
from tests.support.middle import Party, make_config, party, run
from tripoint.config.options import Federation
from tripoint.core.ids import RoomId, ServerName, UserId
from tripoint.rooms.commands import CreateRoom, Invite, Join, Knock, Leave, OpenDirect, SendState, SetProfile, Template
from tripoint.rooms.policy_lists import Rules
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.server_lists import ServerLists


def following(found: Rules, *admins: str) -> ServerLists:
    async def rules_of(room_id: RoomId) -> Rules:
        return found

    async def is_admin(user_id: UserId) -> bool:
        return user_id in admins

    lists = ServerLists(HERE, rules_of, is_admin)
    lists.lists = (RoomId("!list:example.org"),)
    return lists


@pytest.mark.parametrize(
    ("rule", "name", "why"),
    [
        (server("evil.example"), "evil.example", "Rule about evil.example"),
        (server("evil.example"), "EVIL.example:8448", "Rule about evil.example"),
        (server("[2001:db8::1]"), "[2001:db8::1]:8448", "Rule about [2001:db8::1]"),
        (server("*.example"), "a.example", "Rule about *.example"),
        (server("*.example"), "example", None),
        (server("evi?.example"), "evil.example", "Rule about evi?.example"),
        (server("*"), "any.example", "Rule about *"),
        # Nobody makes this server mute towards itself, nor those who wrote the rule, who could not take it back.
        (server("*"), "example.org", None),
        (server("*"), "list.example", None),
        # A rule about users is none about their server.
        (user("@*:evil.example"), "evil.example", None),
    ],
)
def test_servers_that_are_not_spoken_to(rule: tuple[str, dict[str, object]], name: str, why: str | None) -> None:
    async def work() -> None:
        assert await following(rules(rule)).against_server(ServerName(name)) == why

    run(work)


def test_rooms_by_their_ids_and_aliases() -> None:
    async def work() -> None:
        lists = following(
            rules(
                ("m.policy.rule.room", {"entity": "!bad:x.example", "recommendation": "m.ban", "reason": "filth"}),
                ("m.policy.rule.room", {"entity": "#*filth*:*", "recommendation": "m.ban"}),
                ("m.policy.rule.room", {"entity": "!good:x.example", "recommendation": "m.allow"}),
            )
        )
        assert await lists.against_room(["!bad:x.example"]) == "filth"
        assert await lists.against_room(["!c:x.example", "#more-filth:x.example"]) == "Rule about #*filth*:*"
        assert await lists.against_room(["!good:x.example", "#good:x.example"]) is None

    run(work)


def test_administrators_and_the_server_s_own_voice_are_kept_out_by_nothing() -> None:
    async def work() -> None:
        lists = following(rules(user("@?*:*"), server("*")), "@ada:example.org", "@ada:other.org")
        assert await lists.against_user(UserId("@ada:example.org")) is None
        assert await lists.against_user(UserId("@eve:example.org")) == "spam"
        assert await lists.against_user(UserId("@ada:other.org")) == "spam"

    run(work)


class Scene:
    """carol writes a list that the server follows; alice has rooms; eve is whom it is about."""

    def __init__(self, at: Party) -> None:
        self.at = at

    async def begin(self) -> None:
        self.alice, self.carol, self.eve = await self.at.accounts("alice", "carol", "eve")
        self.tea = await self.at.room(self.alice)
        self.coc = await self.at.room(self.carol)
        self.at.middle.reload(
            replace(make_config(), federation=Federation(policy_lists=(str(self.coc), "!nowhere:example.org")))
        )

    async def rule(self, entity: str, kind: str = "user", recommendation: str = "m.ban") -> None:
        content = {"entity": entity, "recommendation": recommendation, "reason": "spam"}
        type_ = f"m.policy.rule.{kind}"
        await self.at.do(
            SendState(actor=self.carol, room_id=self.coc, type=type_, state_key=f"rule:{entity}", content=content)
        )

    async def refused(self, command: Join | Knock | Invite | CreateRoom | OpenDirect) -> str:
        with pytest.raises(Refused) as refused:
            await self.at.do(command)
        assert refused.value.refusal is Refusal.BANNED
        return refused.value.text


def in_a_scene(work: Callable[[Scene], Awaitable[None]]) -> None:
    async def go() -> None:
        async with party() as at:
            scene = Scene(at)
            await scene.begin()
            await work(scene)

    run(go)


def test_who_is_listed_enters_nothing_and_is_invited_nowhere() -> None:
    async def work(s: Scene) -> None:
        inside = await s.at.room(s.alice, s.eve)
        await s.rule("@e?e:*")
        assert "spam" in await s.refused(Join(actor=s.eve, room_id=s.tea))
        assert await s.refused(Knock(actor=s.eve, room_id=s.tea))
        assert "spam" in await s.refused(Invite(actor=s.alice, room_id=s.tea, target=s.eve))
        await s.refused(Invite(actor=s.eve, room_id=inside, target=s.alice))
        await s.refused(CreateRoom(actor=s.alice, template=Template.PRIVATE_CHAT, invite=(s.eve,)))
        await s.refused(OpenDirect(actor=s.alice, target=s.eve))
        # Where he is, he stays, and is called as he likes.
        assert (await s.at.middle.loaded.get(inside)).membership(s.eve) == "join"
        await s.at.do(SetProfile(actor=s.eve, field="displayname", value="Eve"))
        await s.at.do(Leave(actor=s.eve, room_id=inside))
        await s.refused(Join(actor=s.eve, room_id=inside))
        # It is taken back.
        await s.rule("@e?e:*", recommendation="")
        await s.at.do(Join(actor=s.eve, room_id=s.tea))

    in_a_scene(work)


def test_an_administrator_goes_where_he_likes() -> None:
    async def work(s: Scene) -> None:
        await s.rule("@?*:*")
        await s.refused(Join(actor=s.eve, room_id=s.tea))
        await s.at.middle.accounts.administration.set_admin(s.eve, True)
        await s.at.do(Join(actor=s.eve, room_id=s.tea))

    in_a_scene(work)


def test_rooms_that_nobody_enters() -> None:
    async def work(s: Scene) -> None:
        await s.rule(str(s.tea), "room")
        assert "spam" in await s.refused(Join(actor=s.eve, room_id=s.tea))
        assert "spam" in await s.refused(Invite(actor=s.alice, room_id=s.tea, target=s.eve))

    in_a_scene(work)


def test_the_operator_follows_it_no_more() -> None:
    async def work(s: Scene) -> None:
        await s.rule(str(s.eve))
        s.at.middle.reload(make_config())
        await s.at.do(Join(actor=s.eve, room_id=s.tea))

    in_a_scene(work)
