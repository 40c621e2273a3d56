"""Replacing rooms: what goes over, who goes along, what is refused, what happens at the same time.

spec: Matrix client-server-api "Room Upgrades"; docs/mapping.md 21.4
"""

import asyncio
from pathlib import Path

import pytest

from tests.support.middle import Party, party, run
from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import EventId, RoomAlias, RoomId, UserId
from tripoint.core.power import Rank
from tripoint.core.room_version import ROOM_VERSIONS
from tripoint.rooms import upgrading
from tripoint.rooms.changes import EventCommitted, MembershipChanged, RoomMoved
from tripoint.rooms.commands import (
    Ban,
    CloseRoom,
    Command,
    CreateRoom,
    FollowRoom,
    Invite,
    Join,
    Leave,
    MaskList,
    OpenDirect,
    Origin,
    RenameRoom,
    Secret,
    SendEvent,
    SendState,
    SetAlias,
    SetMask,
    SetPassword,
    SetRanks,
    SetTopic,
    StateDraft,
    Template,
    UpgradeRoom,
)
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.room import Room
from tripoint.rooms.settings import spelling
from tripoint.store.interface import StoreError
from tripoint.store.memory import MemoryStore
from tripoint.store.sqlite import SqliteStore


async def refused(p: Party, command: Command) -> Refusal:
    with pytest.raises(Refused) as caught:
        await p.do(command)
    return caught.value.refusal


async def upgrade(p: Party, actor: UserId, room_id: RoomId, version: str = "12", **more: object) -> Room:
    done = await p.do(UpgradeRoom(actor=actor, room_id=room_id, room_version=version, **more))  # type: ignore[arg-type]
    assert done.room_id is not None
    await p.middle.following.settled()
    return await p.middle.loaded.get(done.room_id)


async def tea(p: Party, owner: UserId, version: str = "11", **more: object) -> RoomId:
    done = await p.do(
        CreateRoom(
            actor=owner,
            template=Template.CHANNEL,
            alias_localpart="tea",
            listed=True,
            room_version=version,
            **more,  # type: ignore[arg-type]
        )
    )
    assert done.room_id is not None
    return done.room_id


@pytest.mark.parametrize("closing_first", [True, False])
@pytest.mark.parametrize("turns", range(12))
def test_a_room_is_closed_or_replaced_never_both(closing_first: bool, turns: int) -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob = await p.accounts("alice", "bob")
            old_id = await tea(p, alice)
            await p.do(Join(actor=bob, room_id=old_id))
            wishes: list[Command] = [
                CloseRoom(actor=alice, room_id=old_id),
                UpgradeRoom(actor=alice, room_id=old_id, room_version="12"),
            ]
            first = asyncio.ensure_future(p.do(wishes.pop(0 if closing_first else 1)))
            for _ in range(turns):
                await asyncio.sleep(0)
            answers = await asyncio.gather(first, p.do(wishes[0]), return_exceptions=True)
            refusals = [one for one in answers if isinstance(one, BaseException)]
            assert [type(one) for one in refusals] == [Refused], answers

    run(work)


def test_who_is_in_the_new_room_says_nothing_to_nobody_in_the_old_one() -> None:
    """A view hears nothing of the old room any more; Matrix clients do, and whoever has the level may still speak."""

    async def work() -> None:
        async with party() as p:
            alice, bob, carol = await p.accounts("alice", "bob", "carol")
            old_id = await tea(p, alice)
            for one in (bob, carol):
                await p.do(Join(actor=one, room_id=old_id))
            await p.do(SetRanks(actor=alice, room_id=old_id, ranks=((bob, Rank.ADMIN), (carol, Rank.ADMIN))))
            new = await upgrade(p, alice, old_id)
            await p.do(Join(actor=bob, room_id=new.room_id))

            def saying(who: UserId, session: str) -> SendEvent:
                content: JsonObject = {"msgtype": "m.text", "body": "where are you?"}
                origin = Origin(session)
                return SendEvent(actor=who, room_id=old_id, type="m.room.message", content=content, origin=origin)

            for session in ("xmpp-1", "irc-1"):
                assert await refused(p, saying(bob, session)) is Refusal.NOT_JOINED
                topic = SetTopic(actor=bob, room_id=old_id, topic="here?", origin=Origin(session))
                assert await refused(p, topic) is Refusal.NOT_JOINED
            await p.do(saying(bob, "@bob:example.org/DEVICE"))
            # Who did not come along is still there.
            await p.do(saying(carol, "irc-2"))

    run(work)


@pytest.mark.parametrize("version", ["1", "6", "10", "11", "12"])
@pytest.mark.parametrize("wished", ["1", "7", "11", "12"])
def test_what_a_room_is_goes_over(version: str, wished: str) -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob, carol, dora = await p.accounts("alice", "bob", "carol", "dora")
            old_id = await tea(p, alice, version, name="Tea", creation_content={"type": "org.example.kind"})
            old = await p.middle.loaded.get(old_id)
            await p.do(Join(actor=bob, room_id=old_id))
            await p.do(Join(actor=carol, room_id=old_id))
            await p.do(SetRanks(actor=alice, room_id=old_id, ranks=((bob, Rank.OP),)))
            await p.do(SetTopic(actor=alice, room_id=old_id, topic="Kettle on"))
            await p.do(RenameRoom(actor=alice, room_id=old_id, alias=RoomAlias("#Tea:example.org")))
            await p.do(Ban(actor=alice, room_id=old_id, target=dora, reason="coffee"))
            acl = {"allow": ["*"], "deny": ["evil.example"], "allow_ip_literals": True}
            for type_, content in (
                ("m.room.server_acl", acl),
                ("m.room.avatar", {"url": "mxc://example.org/pot"}),
                ("m.room.guest_access", {"guest_access": "can_join"}),
                ("dev.tripoint.room.limits", {"max_members": 40}),
                ("org.example.other", {"mine": True}),
                ("m.room.pinned_events", {"pinned": ["$x"]}),
            ):
                await p.do(SendState(actor=alice, room_id=old_id, type=type_, state_key="", content=content))  # type: ignore[arg-type]
            await p.do(SetMask(actor=alice, room_id=old_id, list=MaskList.BAN, mask="*!*@*.bad.example"))
            new = await upgrade(p, alice, old_id, wished)
            assert new.version is ROOM_VERSIONS[wished]
            create = new.create_event.content
            assert create["type"] == "org.example.kind"
            predecessor = create["predecessor"]
            assert isinstance(predecessor, dict)
            assert predecessor["room_id"] == old_id
            assert ("event_id" in predecessor) is (wished != "12")
            assert (new.name, new.topic, new.join_rule) == ("Tea", "Kettle on", "public")
            for key in ("m.room.server_acl", "m.room.avatar", "m.room.guest_access", "dev.tripoint.room.limits"):
                assert new.state[key, ""].content == old.state[key, ""].content
            assert new.history_visibility == old.history_visibility
            assert ("org.example.other", "") not in new.state
            assert ("m.room.pinned_events", "") not in new.state
            assert [rule.content for rule in new.user_rules()] == [rule.content for rule in old.user_rules()]
            banned = new.state["m.room.member", dora].content
            assert banned == {"membership": "ban", "reason": "coffee"}
            # Nobody is there but who upgraded: who has a Matrix client alone goes himself.
            assert set(new.joined()) == {alice}
            assert new.rank(alice) is Rank.OWNER
            assert new.power.user(bob) == old.power.user(bob) == 50
            if wished == "12":
                assert new.power.event("m.room.tombstone", True) > new.power.state_default
                assert new.power.creators == {alice}
            # The names moved, and the old room leads on.
            alias = RoomAlias("#tea:example.org")
            assert await p.middle.reader.resolve_alias(alias) == new.room_id
            assert (new.canonical_alias, list(new.aliases), new.listed) == (alias, [alias], True)
            assert (old.canonical_alias, list(old.aliases), old.listed) == (None, [], False)
            assert (spelling(new), spelling(old)) == ("#Tea", None)
            tombstone = old.state["m.room.tombstone", ""]
            assert tombstone.content == {"body": "This room was upgraded", "replacement_room": new.room_id}
            assert tombstone.sender == alice
            assert await p.middle.reader.newest(old_id) == new.room_id
            with pytest.raises(Refused):
                await p.say(carol, old_id, "still here")
            assert (old.power.events_default, old.power.invite) == (50, 50)
            assert old.power.user(carol) < old.power.invite

    run(work)


def test_who_is_here_by_irc_or_xmpp_goes_along_in_the_same_moment() -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob, carol, dora = await p.accounts("alice", "bob", "carol", "dora")
            old_id = await tea(p, alice)
            for one in (bob, carol, dora):
                await p.do(Join(actor=one, room_id=old_id, nick=f"{one[1]}-nick"))
            p.middle.presence.session_up(bob, "irc-1")
            p.middle.presence.session_up(carol, "xmpp-1")
            p.middle.presence.session_up(dora, "@dora:example.org DEVICE")
            p.user_changes.clear()
            new = await upgrade(p, alice, old_id)
            assert set(new.joined()) == {alice, bob, carol}
            assert new.joined()[bob].displayname == "b-nick"
            joins = [c.change for c in p.user_changes if isinstance(c, MembershipChanged)]
            assert len(joins) == 3
            moved = {(c.user_id, c.old, c.new) for c in p.user_changes if isinstance(c, RoomMoved)}
            assert moved == {(one, old_id, new.room_id) for one in (alice, bob, carol)}
            # Who comes later follows then, and so does who enters the new room himself.
            p.user_changes.clear()
            done = await p.do(FollowRoom(actor=dora, room_id=old_id))
            assert done.room_id == new.room_id
            await p.middle.following.settled()
            assert new.membership(dora) == "join"
            assert [c for c in p.user_changes if isinstance(c, RoomMoved)] == [RoomMoved(dora, old_id, new.room_id)]

    run(work)


def test_personal_settings_go_along_once(tmp_path: Path) -> None:
    async def work() -> None:
        async with party(store=SqliteStore(tmp_path / "t.db")) as p:
            alice, bob = await p.accounts("alice", "bob")
            old_id = await tea(p, alice)
            await p.do(Join(actor=bob, room_id=old_id))
            accounts = p.middle.accounts
            await accounts.set_account_data(bob, old_id, "m.tag", {"tags": {"m.favourite": {}}})
            await accounts.set_account_data(bob, None, "m.direct", {alice: [old_id]})
            new = await upgrade(p, alice, old_id)
            assert await accounts.account_data(bob, new.room_id, "m.tag") is None
            await p.do(Join(actor=bob, room_id=new.room_id))
            await p.middle.following.settled()
            assert await accounts.account_data(bob, new.room_id, "m.tag") == {"tags": {"m.favourite": {}}}
            assert await accounts.account_data(bob, None, "m.direct") == {alice: [old_id, new.room_id]}
            # What he changes afterwards stays as he has it.
            await accounts.set_account_data(bob, None, "m.direct", {})
        async with party(store=SqliteStore(tmp_path / "t.db")) as p:
            await p.do(FollowRoom(actor=bob, room_id=old_id))
            await p.middle.following.settled()
            assert await p.middle.accounts.account_data(bob, None, "m.direct") == {}
            assert not [c for c in p.user_changes if isinstance(c, RoomMoved)]

    run(work)


def test_members_of_a_closed_room_are_invited() -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob, carol, dora = await p.accounts("alice", "bob", "carol", "dora")
            old_id = await p.room(alice, template=Template.PRIVATE_CHAT)
            for one in (bob, carol):
                await p.do(Invite(actor=alice, room_id=old_id, target=one))
                await p.do(Join(actor=one, room_id=old_id))
            p.middle.presence.session_up(bob, "irc-1")
            new = await upgrade(p, alice, old_id)
            here = {one: new.membership(one) for one in (alice, bob, carol, dora)}
            assert here == {alice: "join", bob: "join", carol: "invite", dora: "leave"}
            await p.do(FollowRoom(actor=carol, room_id=old_id))
            assert await refused(p, Join(actor=dora, room_id=new.room_id)) is Refusal.NOT_INVITED

    run(work)


def test_who_may_not_and_what_cannot() -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob, carol = await p.accounts("alice", "bob", "carol")
            old_id = await tea(p, alice)
            await p.do(Join(actor=bob, room_id=old_id))

            async def no(actor: UserId, version: str | None = "12", **more: object) -> Refusal:
                return await refused(
                    p, UpgradeRoom(actor=actor, room_id=old_id, room_version=version, **more)  # type: ignore[arg-type]
                )

            assert await no(bob) is Refusal.POWER_TOO_LOW
            assert await no(carol) is Refusal.NOT_JOINED
            assert await no(alice, "99") is Refusal.VERSION_UNSUPPORTED
            assert await no(alice, creators=("bob",)) is Refusal.BAD_CONTENT
            assert await no(alice, owner=carol) is Refusal.TARGET_NOT_JOINED
            assert await no(alice, owner=UserId("@x:far.example")) is Refusal.NOT_SUPPORTED
            room = await p.middle.loaded.get(old_id)
            assert ("m.room.tombstone", "") not in room.state
            guest = (await p.middle.accounts.create_guest("visitor", address="127.0.0.1")).user_id
            lounge = await p.do(CreateRoom(actor=guest, template=Template.TEMPORARY, alias_localpart="lounge"))
            assert lounge.room_id is not None
            assert await refused(p, UpgradeRoom(actor=guest, room_id=lounge.room_id)) is Refusal.GUESTS_FORBIDDEN
            await p.do(Join(actor=alice, room_id=lounge.room_id))
            await p.do(SetRanks(actor=guest, room_id=lounge.room_id, ranks=((alice, Rank.OWNER),)))
            assert await refused(p, UpgradeRoom(actor=alice, room_id=lounge.room_id)) is Refusal.NOT_SUPPORTED

    run(work)


def test_an_operator_who_may_do_little_else_can_upgrade() -> None:
    """The maker of the new room needs rights there only until its levels stand."""

    async def work() -> None:
        async with party() as p:
            alice, bob, carol = await p.accounts("alice", "bob", "carol")
            old_id = await tea(p, alice, "11")
            await p.do(Join(actor=bob, room_id=old_id))
            await p.do(Ban(actor=alice, room_id=old_id, target=carol))
            acl = {"allow": ["*"], "deny": ["evil.example"]}
            await p.do(
                SendState(actor=alice, room_id=old_id, type="m.room.server_acl", state_key="", content=acl)  # type: ignore[arg-type]
            )
            levels = dict((await p.middle.loaded.get(old_id)).power.content)
            levels["users"] = {alice: 100, bob: 50}
            levels["events"] = {**levels["events"], "m.room.tombstone": 50}  # type: ignore[dict-item]
            await p.do(
                SendState(actor=alice, room_id=old_id, type="m.room.power_levels", state_key="", content=levels)
            )
            new = await upgrade(p, bob, old_id, "10")
            assert (new.power.user(alice), new.power.user(bob)) == (100, 50)
            assert new.membership(carol) == "ban"
            assert new.state["m.room.server_acl", ""].sender == bob
            old = await p.middle.loaded.get(old_id)
            # He may not change the levels of the old room: it leads on all the same.
            assert old.power.events_default == 0
            assert old.state["m.room.tombstone", ""].sender == bob

    run(work)


def test_creators_come_and_go_with_an_upgrade() -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob, carol = await p.accounts("alice", "bob", "carol")
            old_id = await tea(p, alice, "12")
            for one in (bob, carol):
                await p.do(Join(actor=one, room_id=old_id))
            await p.do(SetRanks(actor=alice, room_id=old_id, ranks=((carol, Rank.OP),)))
            with_bob = await upgrade(p, alice, old_id, "12", creators=(bob,))
            assert with_bob.power.creators == {alice, bob}
            assert bob not in with_bob.power.content["users"]  # type: ignore[operator]
            assert with_bob.create_event.content["additional_creators"] == [bob]
            await p.do(Join(actor=bob, room_id=with_bob.room_id))
            # Handed over: made in the new owner's name, and nothing of the old one's is left.
            handed = await upgrade(p, alice, with_bob.room_id, "12", owner=bob)
            assert handed.power.creators == {bob}
            assert handed.create_event.sender == bob
            assert handed.membership(alice) == "join"
            assert handed.rank(alice) is Rank.PLAIN
            assert handed.power.user(carol) == 50
            # Back to where creators are ordinary: the maker has the highest level there is.
            back = await upgrade(p, bob, handed.room_id, "11", creators=(alice,))
            assert "additional_creators" not in back.create_event.content
            assert back.rank(bob) is Rank.OWNER
            assert back.power.user(bob) >= back.power.event("m.room.tombstone", True)

    run(work)


def test_asking_again_names_the_room_that_is_there() -> None:
    async def work() -> None:
        async with party() as p:
            (alice,) = await p.accounts("alice")
            old_id = await tea(p, alice)
            first = await upgrade(p, alice, old_id)
            again = await p.do(UpgradeRoom(actor=alice, room_id=old_id, room_version="12"))
            assert (again.room_id, again.created) == (first.room_id, False)
            # Another version is another upgrade.
            other = await upgrade(p, alice, old_id, "11")
            assert other.room_id != first.room_id
            assert await p.middle.reader.newest(old_id) == other.room_id

    run(work)


def test_two_upgrades_at_once_make_one_room() -> None:
    async def work() -> None:
        async with party() as p:
            (alice,) = await p.accounts("alice")
            old_id = await tea(p, alice)
            made = await asyncio.gather(
                *(p.do(UpgradeRoom(actor=alice, room_id=old_id, room_version="12")) for _ in range(5))
            )
            assert len({done.room_id for done in made}) == 1
            tombstones = [
                c for c in p.room_changes if isinstance(c, EventCommitted) and c.event.type == "m.room.tombstone"
            ]
            assert len(tombstones) == 1

    run(work)


def test_what_is_said_at_that_moment_is_before_it_or_refused() -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob = await p.accounts("alice", "bob")
            old_id = await tea(p, alice)
            await p.do(Join(actor=bob, room_id=old_id))
            before = await p.say(bob, old_id, "before")
            said = await asyncio.gather(
                p.do(UpgradeRoom(actor=alice, room_id=old_id, room_version="12")),
                *(p.say(bob, old_id, str(number)) for number in range(20)),
                return_exceptions=True,
            )
            old = await p.middle.loaded.get(old_id)
            order = [item.event.event_id for item in old.recent]
            end = order.index(old.state["m.room.tombstone", ""].event_id)
            kept = [one for one in said[1:] if isinstance(one, str)]
            assert all(order.index(EventId(event_id)) < end for event_id in [before, *kept])
            assert all(one.refusal is Refusal.CANNOT_SPEAK for one in said[1:] if isinstance(one, Refused))
            with pytest.raises(Refused):
                await p.say(bob, old_id, "after")

    run(work)


def test_half_an_upgrade_is_none() -> None:
    async def work() -> None:
        store = MemoryStore()
        async with party(store=store) as p:
            (alice,) = await p.accounts("alice")
            old_id = await tea(p, alice)
            store.fail_next(StoreError("disk full"))
            assert await refused(p, UpgradeRoom(actor=alice, room_id=old_id)) is Refusal.SERVER_BUSY
            store.fail_next(None)
            old = await p.middle.loaded.get(old_id)
            assert ("m.room.tombstone", "") not in old.state
            assert old.head_event("m.room.tombstone") is None
            assert list(old.aliases) == ["#tea:example.org"]
            new = await upgrade(p, alice, old_id)
            assert await p.middle.reader.newest(old_id) == new.room_id

    run(work)


def test_it_is_there_after_a_restart(tmp_path: Path) -> None:
    async def work() -> None:
        async with party(store=SqliteStore(tmp_path / "t.db")) as p:
            alice, bob = await p.accounts("alice", "bob")
            old_id = await tea(p, alice)
            await p.do(Join(actor=bob, room_id=old_id))
            new = await upgrade(p, alice, old_id)
        async with party(store=SqliteStore(tmp_path / "t.db")) as p:
            room = await p.middle.loaded.get(new.room_id)
            assert (room.state.keys(), list(room.aliases), room.listed) == (new.state.keys(), list(new.aliases), True)
            assert await p.middle.reader.resolve_alias(RoomAlias("#tea:example.org")) == new.room_id
            # Bob was away: he goes where the room went.
            assert (await p.do(FollowRoom(actor=bob, room_id=old_id))).room_id == new.room_id
            lineage = await p.middle.reader.lineage(new.room_id)
            assert [view.room_id for view in lineage] == [new.room_id, old_id]

    run(work)


def test_the_password_goes_over() -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob, carol = await p.accounts("alice", "bob", "carol")
            old_id = await tea(p, alice)
            await p.do(SetPassword(actor=alice, room_id=old_id, password=Secret("oolong")))
            await p.do(Join(actor=bob, room_id=old_id, password=Secret("oolong")))
            new = await upgrade(p, alice, old_id)
            assert (await p.do(FollowRoom(actor=bob, room_id=old_id))).room_id == new.room_id
            assert await refused(p, Join(actor=carol, room_id=new.room_id)) is Refusal.WRONG_ROOM_PASSWORD
            await p.do(Join(actor=carol, room_id=new.room_id, password=Secret("oolong")))

    run(work)


def test_a_direct_room_is_still_theirs() -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob = await p.accounts("alice", "bob")
            old_id = (await p.do(OpenDirect(actor=alice, target=bob))).room_id
            assert old_id is not None
            p.middle.presence.session_up(bob, "irc-1")
            new = await upgrade(p, alice, old_id, "11")
            assert set(new.joined()) == {alice, bob}
            assert await p.middle.reader.direct_room(alice, bob) == new.room_id
            assert (await p.do(OpenDirect(actor=bob, target=alice))).room_id == new.room_id
            direct = await p.middle.accounts.account_data(bob, None, "m.direct")
            assert direct == {alice: [old_id, new.room_id]}

    run(work)


def test_a_space_keeps_what_is_in_it() -> None:
    async def work() -> None:
        async with party() as p:
            (alice,) = await p.accounts("alice")
            child = StateDraft("m.space.child", "!x:example.org", {"via": ["example.org"]})
            gone = StateDraft("m.space.child", "!y:example.org", {})
            done = await p.do(
                CreateRoom(actor=alice, creation_content={"type": "m.space"}, initial_state=(child, gone))
            )
            assert done.room_id is not None
            new = await upgrade(p, alice, done.room_id)
            assert new.create_event.content["type"] == "m.space"
            assert new.state["m.space.child", "!x:example.org"].content == {"via": ["example.org"]}
            assert ("m.space.child", "!y:example.org") not in new.state

    run(work)


def test_who_leaves_the_old_room_stays_in_the_new_one() -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob = await p.accounts("alice", "bob")
            old_id = await tea(p, alice)
            await p.do(Join(actor=bob, room_id=old_id))
            p.middle.presence.session_up(bob, "irc-1")
            new = await upgrade(p, alice, old_id)
            await p.do(Leave(actor=bob, room_id=old_id))
            assert new.membership(bob) == "join"
            await p.do(SetAlias(actor=bob, room_id=new.room_id, alias=RoomAlias("#pot:example.org")))

    run(work)


def test_large_rooms_go_over_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrading, "MAX_MEMBERS", 5)

    async def work() -> None:
        async with party() as p:
            alice, *people = await p.accounts("alice", *(f"user{number}" for number in range(45)))
            banned, members = people[:22], people[22:]
            old_id = await p.room(alice, template=Template.PRIVATE_CHAT)
            for one in members:
                await p.do(Invite(actor=alice, room_id=old_id, target=one))
                await p.do(Join(actor=one, room_id=old_id))
            for one in banned:
                await p.do(Ban(actor=alice, room_id=old_id, target=one))
            here = members[-8:]
            for number, one in enumerate(here):
                p.middle.presence.session_up(one, f"irc-{number}")
            new = await upgrade(p, alice, old_id)
            await p.middle.following.settled()
            assert {new.membership(one) for one in banned} == {"ban"}
            assert {new.membership(one) for one in members[:-8]} == {"invite"}
            assert {new.membership(one) for one in here} == {"join"}

    run(work)
