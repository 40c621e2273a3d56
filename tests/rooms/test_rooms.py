"""Making rooms and naming them; direct rooms; temporary channels; guests; what is told but not kept."""

import asyncio
from pathlib import Path

import pytest

from tests.support.middle import Clock, Party, make_config, party, run
from tests.support.slow_store import SlowStore
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.core.ids import EventId, RoomAlias, RoomId, UserId
from tripoint.core.power import Rank
from tripoint.core.room_version import SUPPORTED
from tripoint.rooms.changes import (
    EventCommitted,
    PresenceChanged,
    ProfileChanged,
    ReceiptMoved,
    RoomChange,
    TypingChanged,
    UserChange,
)
from tripoint.rooms.codec import decode_change, decode_command, encode_change, encode_command
from tripoint.rooms.commands import (
    CreateRoom,
    DeleteAlias,
    Forget,
    Invite,
    Join,
    Kick,
    Leave,
    OpenDirect,
    Origin,
    SetAlias,
    SetListed,
    SetProfile,
    SetReceipt,
    SetTyping,
    StateDraft,
    Template,
    UnlockRoom,
)
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.store.sqlite import SqliteStore

TEA = RoomAlias("#tea:example.org")


@pytest.mark.parametrize("version", SUPPORTED)
def test_rooms_of_every_version_work(version: str) -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob = await p.accounts("alice", "bob")
            done = await p.do(
                CreateRoom(actor=alice, template=Template.CHANNEL, room_version=version, name="Tea", topic="hot")
            )
            assert done.room_id is not None
            await p.do(Join(actor=bob, room_id=done.room_id))
            await p.say(bob, done.room_id, "hello")
            room = await p.middle.reader.room(done.room_id)
            assert (room.version.id, room.name, room.topic) == (version, "Tea", "hot")
            assert (room.rank(alice), room.rank(bob)) == (Rank.OWNER, Rank.PLAIN)

    run(work)


def test_an_unknown_room_version_is_refused() -> None:
    async def work() -> None:
        async with party() as p:
            (alice,) = await p.accounts("alice")
            for version in ("0", "13", "org.example.x"):
                with pytest.raises(Refused) as caught:
                    await p.do(CreateRoom(actor=alice, room_version=version))
                assert caught.value.refusal is Refusal.VERSION_UNSUPPORTED

    run(work)


def test_the_first_events_come_in_the_order_of_the_specification() -> None:
    """spec: client-server createRoom"""

    async def work() -> None:
        async with party() as p:
            alice, bob = await p.accounts("alice", "bob")
            await p.do(
                CreateRoom(
                    actor=alice,
                    alias_localpart="Tea",
                    name="Tea",
                    topic="hot",
                    invite=(bob,),
                    initial_state=(StateDraft("m.room.history_visibility", "", {"history_visibility": "joined"}),),
                )
            )
            types = [c.event.type for c in p.room_changes if isinstance(c, EventCommitted)]
            assert types == [
                "m.room.create",
                "m.room.member",
                "m.room.power_levels",
                "m.room.canonical_alias",
                "m.room.join_rules",
                "m.room.guest_access",
                "m.room.history_visibility",
                "m.room.name",
                "m.room.topic",
                "m.room.member",
            ]
            assert await p.middle.reader.resolve_alias(TEA) is not None

    run(work)


def test_two_rooms_at_the_same_moment_cannot_have_the_same_name() -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob = await p.accounts("alice", "bob")
            results = await asyncio.gather(
                p.do(CreateRoom(actor=alice, alias_localpart="tea")),
                p.do(CreateRoom(actor=bob, alias_localpart="TEA")),
                return_exceptions=True,
            )
            refusals = [r.refusal for r in results if isinstance(r, Refused)]
            assert refusals == [Refusal.ALIAS_TAKEN]
            for bad in ("has space", "", "a\x00b", "x" * 300):
                with pytest.raises(Refused) as caught:
                    await p.do(CreateRoom(actor=alice, alias_localpart=bad))
                assert caught.value.refusal is Refusal.BAD_ALIAS

    run(work)


def test_names_are_given_and_taken_away() -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob, carol = await p.accounts("alice", "bob", "carol")
            room_id = await p.room(alice, bob)
            await p.do(SetAlias(actor=bob, alias=TEA, room_id=room_id))
            assert await p.middle.reader.resolve_alias(TEA) == room_id
            room = await p.middle.reader.room(room_id)
            assert list(room.aliases) == [TEA]
            with pytest.raises(Refused) as caught:
                await p.do(SetAlias(actor=alice, alias=TEA, room_id=room_id))
            assert caught.value.refusal is Refusal.ALIAS_TAKEN
            with pytest.raises(Refused) as caught:
                await p.do(DeleteAlias(actor=carol, alias=TEA))
            assert caught.value.refusal is Refusal.POWER_TOO_LOW
            await p.do(DeleteAlias(actor=bob, alias=TEA))
            assert await p.middle.reader.resolve_alias(TEA) is None
            assert list(room.aliases) == []

    run(work)


def test_the_directory_shows_what_is_published() -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob = await p.accounts("alice", "bob")
            small = await p.room(alice)
            large = await p.room(alice, bob)
            with pytest.raises(Refused) as caught:
                await p.do(SetListed(actor=bob, room_id=large, listed=True))
            assert caught.value.refusal is Refusal.POWER_TOO_LOW
            for room_id in (small, large):
                await p.do(SetListed(actor=alice, room_id=room_id, listed=True))
            rows = await p.middle.reader.public_rooms(search=None, limit=10, offset=0)
            assert [(row.room_id, row.joined) for row in rows] == [(large, 2), (small, 1)]
            await p.do(SetListed(actor=alice, room_id=large, listed=False))
            rows = await p.middle.reader.public_rooms(search=None, limit=10, offset=0)
            assert [row.room_id for row in rows] == [small]

    run(work)


def test_a_locked_room_opens_when_it_is_configured_or_after_ten_minutes() -> None:
    """spec: XEP-0045 10.1.1; docs/mapping.md 4.3"""

    async def work() -> None:
        clock = Clock()
        async with party(clock=clock) as p:
            alice, bob = await p.accounts("alice", "bob")
            rooms = []
            for _ in range(2):
                done = await p.do(CreateRoom(actor=alice, template=Template.MUC, locked=True))
                assert done.room_id is not None
                rooms.append(done.room_id)
                with pytest.raises(Refused) as caught:
                    await p.do(Join(actor=bob, room_id=done.room_id))
                assert caught.value.refusal is Refusal.NOT_INVITED
            with pytest.raises(Refused):
                await p.do(UnlockRoom(actor=bob, room_id=rooms[0]))
            await p.do(UnlockRoom(actor=alice, room_id=rooms[0]))
            await p.do(Join(actor=bob, room_id=rooms[0]))
            clock.now += 599
            await p.middle.creation.unlock_due(clock.ms())
            assert (await p.middle.reader.room(rooms[1])).locked
            clock.now += 2
            await p.middle.creation.unlock_due(clock.ms())
            room = await p.middle.reader.room(rooms[1])
            assert (room.locked, room.join_rule) == (False, "public")
            await p.do(Join(actor=bob, room_id=rooms[1]))

    run(work)


def test_two_people_have_one_direct_room() -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob = await p.accounts("alice", "bob")
            made = await p.do(OpenDirect(actor=alice, target=bob))
            assert made.created and made.room_id is not None
            again = await p.do(OpenDirect(actor=bob, target=alice))
            assert (again.room_id, again.created) == (made.room_id, False)
            room = await p.middle.reader.room(made.room_id)
            assert set(room.joined()) == {alice, bob}
            for one, other in ((alice, bob), (bob, alice)):
                assert await p.middle.accounts.account_data(one, None, "m.direct") == {other: [made.room_id]}
                assert await p.middle.reader.direct_room(one, other) == made.room_id
            note = await p.do(OpenDirect(actor=alice, target=alice))
            assert note.room_id != made.room_id
            with pytest.raises(Refused) as caught:
                await p.do(OpenDirect(actor=alice, target=UserId("@ghost:example.org")))
            assert caught.value.refusal is Refusal.NO_SUCH_USER
            await p.do(Leave(actor=bob, room_id=made.room_id))
            fresh = await p.do(OpenDirect(actor=alice, target=bob))
            assert fresh.room_id != made.room_id

    run(work)


async def guest(p: Party, nick: str) -> UserId:
    return (await p.middle.accounts.create_guest(nick, address="127.0.0.1")).user_id


def test_guests_make_temporary_channels_that_end_with_them() -> None:
    """spec: docs/mapping.md 1.9, 4.8"""

    async def work() -> None:
        async with party() as p:
            alice = await p.account("alice")
            visitor = await guest(p, "Visitor")
            with pytest.raises(Refused) as caught:
                await p.do(CreateRoom(actor=visitor, template=Template.CHANNEL))
            assert caught.value.refusal is Refusal.GUESTS_FORBIDDEN
            closed = await p.room(alice)
            with pytest.raises(Refused) as caught:
                await p.do(Join(actor=visitor, room_id=closed))
            assert caught.value.refusal is Refusal.GUESTS_FORBIDDEN
            made = await p.do(CreateRoom(actor=visitor, template=Template.TEMPORARY, alias_localpart="tea"))
            assert made.room_id is not None
            room = await p.middle.reader.room(made.room_id)
            assert room.state["m.room.create", ""].content["m.federate"] is False
            await p.do(Join(actor=alice, room_id=made.room_id))
            await p.middle.accounts.end_guest(visitor, "ran out of tea")
            assert set(room.joined()) == {alice}
            left = p.room_changes[-1]
            assert isinstance(left, EventCommitted)
            assert left.event.content == {"membership": "leave", "reason": "ran out of tea"}
            assert await p.middle.accounts.account(visitor) is None
            await p.do(Leave(actor=alice, room_id=made.room_id))
            assert await p.middle.reader.resolve_alias(TEA) is None
            with pytest.raises(Refused) as caught:
                await p.middle.reader.room(made.room_id)
            assert caught.value.refusal is Refusal.NO_SUCH_ROOM

    run(work)


@pytest.mark.parametrize("nick", ["alice", "ALICE", "a1ice", "nickserv", "has space", "a:b", "a~b", "@a", "#a", ""])
def test_nicks_that_guests_cannot_have(nick: str) -> None:
    async def work() -> None:
        async with party() as p:
            await p.account("alice")
            with pytest.raises(AccountRefused) as caught:
                await guest(p, nick)
            assert caught.value.refusal in (AccountRefusal.NAME_TAKEN, AccountRefusal.BAD_NAME)
            await guest(p, "Bystander")
            with pytest.raises(AccountRefused):
                await guest(p, "bystander")

    run(work)


def test_an_account_takes_its_name_from_a_guest() -> None:
    async def work() -> None:
        async with party() as p:
            visitor = await guest(p, "carol")
            await p.account("carol")
            assert (await p.middle.reader.profile(visitor))["displayname"] == "guest-1"

    run(work)


def test_a_profile_goes_into_every_room_that_showed_it() -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob = await p.accounts("alice", "bob")
            plain, own = await p.room(alice, bob), await p.room(alice)
            await p.do(Join(actor=bob, room_id=own, nick="Kettle"))
            await p.do(SetProfile(actor=bob, field="displayname", value="Bob"))
            reader = p.middle.reader
            assert (await reader.room(plain)).joined()[bob].displayname == "Bob"
            assert (await reader.room(own)).joined()[bob].displayname == "Kettle"
            assert ProfileChanged(bob, "displayname", "Bob") in p.user_changes
            with pytest.raises(Refused) as caught:
                await p.do(SetProfile(actor=bob, field="displayname", value="x" * 2000))
            assert caught.value.refusal is Refusal.TOO_LARGE

    run(work)


def test_who_is_kicked_while_he_takes_another_name_stays_out() -> None:
    """Whatever turn of the loop the kick comes in: a member event with the new name would be a join."""

    async def work() -> None:
        async with party() as p:
            alice, bob = await p.accounts("alice", "bob")
            for turns in range(12):
                room_id = await p.room(alice, bob)
                naming = asyncio.ensure_future(
                    p.do(SetProfile(actor=bob, field="displayname", value=f"Bob {turns}"))
                )
                for _ in range(turns):
                    await asyncio.sleep(0)
                await p.do(Kick(actor=alice, room_id=room_id, target=bob))
                await naming
                assert (await p.middle.reader.room(room_id)).membership(bob) == "leave", turns

    run(work)


def test_typing_ends_by_message_and_by_time() -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob = await p.accounts("alice", "bob")
            room_id = await p.room(alice, bob)
            await p.do(SetTyping(actor=alice, room_id=room_id, typing=True))
            assert p.middle.reader.typing(room_id) == {alice}
            await p.say(alice, room_id, "said")
            assert p.middle.reader.typing(room_id) == frozenset()
            told = [c for c in p.room_changes if isinstance(c, TypingChanged)]
            assert told == [
                TypingChanged(room_id, frozenset({alice}), frozenset()),
                TypingChanged(room_id, frozenset(), frozenset({alice})),
            ]
            gone = asyncio.get_running_loop().create_future()

            def watch(change: RoomChange) -> None:
                if isinstance(change, TypingChanged) and not change.user_ids:
                    gone.set_result(None)

            await p.do(SetTyping(actor=bob, room_id=room_id, typing=True, timeout_ms=1))
            p.middle.hub.watch_room(room_id, watch)
            p.clock.now += 1
            await gone
            with pytest.raises(Refused) as caught:
                await p.do(SetTyping(actor=await p.account("carol"), room_id=room_id, typing=True))
            assert caught.value.refusal is Refusal.NOT_JOINED

    run(work)


def test_read_markers_are_kept() -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob = await p.accounts("alice", "bob")
            room_id = await p.room(alice, bob)
            said = [EventId(await p.say(alice, room_id, str(n))) for n in range(2)]
            for event_id in said:
                await p.do(SetReceipt(actor=bob, room_id=room_id, event_id=event_id))
            receipts = await p.middle.reader.receipts(room_id)
            assert [(r.user_id, r.event_id, r.kind) for r in receipts] == [(bob, said[1], "m.read")]
            moved = [c for c in p.room_changes if isinstance(c, ReceiptMoved)]
            assert [c.event_id for c in moved] == said
            assert moved[0].position < moved[1].position
            for bad in (
                SetReceipt(actor=bob, room_id=room_id, event_id=EventId("$nothing")),
                SetReceipt(actor=bob, room_id=room_id, event_id=said[0], kind="m.unread"),
            ):
                with pytest.raises(Refused):
                    await p.do(bad)

    run(work)


def test_presence_is_the_best_of_all_sessions() -> None:
    """spec: docs/mapping.md 13.7"""

    async def work() -> None:
        async with party() as p:
            (alice,) = await p.accounts("alice")
            board = p.middle.presence
            board.session_up(alice, "irc-1")
            board.set(alice, "irc-1", "unavailable", "tea")
            board.session_up(alice, "xmpp-1")
            board.session_down(alice, "xmpp-1")
            board.session_down(alice, "irc-1")
            board.session_down(alice, "irc-1")
            told = [(c.presence, c.status_msg) for c in p.user_changes if isinstance(c, PresenceChanged)]
            assert told == [
                ("online", None),
                ("unavailable", "tea"),
                ("online", None),
                ("unavailable", "tea"),
                ("offline", None),
            ]

    run(work)


def test_commands_and_changes_can_travel() -> None:
    """Frozen and serialisable: what is decoded is what was encoded."""

    async def work() -> None:
        async with party() as p:
            alice, bob = await p.accounts("alice", "bob")
            room_id = await p.room(alice, bob)
            await p.say(alice, room_id, "hello", Origin("s", "t", once=True))
            await p.do(SetTyping(actor=alice, room_id=room_id, typing=True))
            said = EventId(await p.say(alice, room_id, "hello"))
            await p.do(SetReceipt(actor=bob, room_id=room_id, event_id=said))
            p.middle.presence.session_up(alice, "x")
            changes: list[RoomChange | UserChange] = [*p.room_changes, *p.user_changes]
            assert len({type(change) for change in changes}) >= 5
            for change in changes:
                again = decode_change(encode_change(change))
                assert again == change
            for command in (
                CreateRoom(actor=alice, alias_localpart="x", initial_state=(StateDraft("a", "", {"b": [1]}),)),
                Join(actor=alice, origin=Origin("s", "t"), room_id=RoomId("!x")),
            ):
                assert decode_command(encode_command(command)) == command

    run(work)


def test_a_room_that_somebody_holds_is_never_loaded_twice() -> None:
    """Two of one room would both build on its head."""

    async def work() -> None:
        from dataclasses import replace

        from tests.support.middle import UNLIMITED

        async with party(make_config(replace(UNLIMITED, rooms_in_memory=1))) as p:
            (alice,) = await p.accounts("alice")
            first = await p.room(alice)
            held = await p.middle.loaded.get(first)
            for _ in range(3):
                await p.room(alice)
            assert len(p.middle.loaded) == 1
            assert await p.middle.loaded.get(first) is held
            # Forgotten and read again, it is the same room.
            await p.say(alice, first, "one")
            state = {key: event.event_id for key, event in held.state.items()}
            del held
            await p.room(alice)
            again = await p.middle.loaded.get(first)
            assert {key: event.event_id for key, event in again.state.items()} == state
            await p.say(alice, first, "two")

    run(work)


def test_nothing_is_written_into_a_room_that_is_gone() -> None:
    async def work() -> None:
        async with party() as p:
            visitor = await guest(p, "Visitor")
            made = await p.do(CreateRoom(actor=visitor, template=Template.TEMPORARY))
            assert made.room_id is not None
            room = await p.middle.loaded.get(made.room_id)
            await p.do(Leave(actor=visitor, room_id=made.room_id))
            assert room.gone
            with pytest.raises(Refused) as caught:
                await p.do(Join(actor=visitor, room_id=made.room_id))
            assert caught.value.refusal is Refusal.NO_SUCH_ROOM

    run(work)


def test_registration_modes() -> None:
    async def work() -> None:
        async with party(make_config(registration="closed")) as p:
            with pytest.raises(AccountRefused) as caught:
                await p.account("alice")
            assert caught.value.refusal is AccountRefusal.REGISTRATION_CLOSED
            await p.middle.accounts.add_account("alice", "correct horse", admin=True)
        async with party(make_config(registration="token")) as p:
            accounts = p.middle.accounts
            with pytest.raises(AccountRefused) as caught:
                await p.account("alice")
            assert caught.value.refusal is AccountRefusal.REGISTRATION_TOKEN_NEEDED
            await accounts.registration_tokens.add("come-in", 1, None)
            await accounts.register("alice", "correct horse", address="", registration_token="come-in")
            with pytest.raises(AccountRefused) as caught:
                await accounts.register("bob", "correct horse", address="", registration_token="come-in")
            assert caught.value.refusal is AccountRefusal.BAD_REGISTRATION_TOKEN

    run(work)


@pytest.mark.parametrize("name", ["Alice", "1st", "a b", "root", "nickserv", "x" * 33, "", "guest-7", "аlice", "r00t"])
def test_names_that_accounts_cannot_have(name: str) -> None:
    async def work() -> None:
        async with party() as p:
            with pytest.raises(AccountRefused) as caught:
                await p.account(name)
            assert caught.value.refusal in (AccountRefusal.BAD_NAME, AccountRefusal.NAME_TAKEN)

    run(work)


def test_the_life_of_a_password_and_of_tokens() -> None:
    async def work() -> None:
        clock = Clock()
        async with party(clock=clock) as p:
            accounts = p.middle.accounts
            alice = await p.account("alice")
            account = await accounts.check_password("alice", "correct horse", address="")
            for name, password in (("alice", "wrong"), ("nobody", "correct horse")):
                with pytest.raises(AccountRefused) as caught:
                    await accounts.check_password(name, password, address="")
                assert caught.value.refusal is AccountRefusal.WRONG_CREDENTIALS
            phone = await accounts.log_in(account, protocol="matrix", tokens=True, refreshable=True)
            laptop = await accounts.log_in(account, protocol="matrix", tokens=True)
            assert phone.access_token and phone.refresh_token and laptop.access_token
            assert (await accounts.owner_of_token(phone.access_token)).device_id == phone.device_id
            clock.now += 3601
            with pytest.raises(AccountRefused) as caught:
                await accounts.owner_of_token(phone.access_token)
            assert caught.value.refusal is AccountRefusal.EXPIRED_TOKEN
            renewed = await accounts.refresh(phone.refresh_token)
            assert renewed.access_token
            # It holds until what was given for it is used.
            await accounts.owner_of_token(renewed.access_token)
            with pytest.raises(AccountRefused):
                await accounts.refresh(phone.refresh_token)
            await accounts.change_password(alice, "battery staple", keep_device=laptop.device_id)
            await accounts.owner_of_token(laptop.access_token)
            with pytest.raises(AccountRefused) as caught:
                await accounts.owner_of_token(renewed.access_token)
            assert caught.value.refusal is AccountRefusal.UNKNOWN_TOKEN
            await accounts.check_password("alice", "battery staple", address="")
            room_id = await p.room(alice)
            await accounts.deactivate(alice)
            assert (await p.middle.reader.room(room_id)).membership(alice) == "leave"
            with pytest.raises(AccountRefused) as caught:
                await accounts.check_password("alice", "battery staple", address="")
            assert caught.value.refusal is AccountRefusal.DEACTIVATED
            with pytest.raises(AccountRefused) as caught:
                await p.account("alice")
            assert caught.value.refusal is AccountRefusal.NAME_TAKEN

    run(work)


def test_guessing_passwords_has_a_price() -> None:
    async def work() -> None:
        from tripoint.config.options import Limits

        clock = Clock()
        async with party(make_config(Limits(registrations_per_s=0)), clock=clock) as p:
            await p.account("alice")
            accounts = p.middle.accounts
            seen = []
            for _ in range(12):
                with pytest.raises(AccountRefused) as caught:
                    await accounts.check_password("alice", "wrong", address="10.0.0.1")
                seen.append(caught.value.refusal)
            assert seen == [AccountRefusal.WRONG_CREDENTIALS] * 10 + [AccountRefusal.RATE_LIMITED] * 2
            clock.now += 60
            await accounts.check_password("alice", "correct horse", address="10.0.0.1")

    run(work)


def test_nobody_enters_a_room_whose_end_is_on_its_way_to_the_disk(tmp_path: Path) -> None:
    async def work() -> None:
        async with party(store=SqliteStore(tmp_path / "t.db")) as p:
            (alice,) = await p.accounts("alice")
            visitor = await guest(p, "visitor")
            made = await p.do(CreateRoom(actor=visitor, template=Template.TEMPORARY, alias_localpart="brief"))
            room_id = made.room_id
            assert room_id is not None
            leaving = asyncio.create_task(p.do(Leave(actor=visitor, room_id=room_id)))
            for _ in range(100_000):
                if p.middle.loaded.peek(room_id) is None:
                    break
                await asyncio.sleep(0)
            assert not leaving.done()
            with pytest.raises(Refused) as refused:
                await p.do(Join(actor=alice, room_id=room_id))
            assert refused.value.refusal is Refusal.NO_SUCH_ROOM
            await leaving
            assert await p.middle.reader.resolve_alias(RoomAlias("#brief:example.org")) is None

    run(work)


def test_an_invitation_right_behind_forgetting_stays() -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob = await p.accounts("alice", "bob")
            room_id = await p.room(alice, bob)
            await p.do(Leave(actor=bob, room_id=room_id))
            await p.middle.reader.memberships(bob)
            await asyncio.gather(
                p.do(Forget(actor=bob, room_id=room_id)), p.do(Invite(actor=alice, room_id=room_id, target=bob))
            )
            assert (await p.middle.reader.memberships(bob))[room_id] == "invite"

    run(work)


def test_memberships_that_change_while_they_are_read() -> None:
    async def work() -> None:
        store = SlowStore()
        async with party(store=store) as p:
            alice, bob = await p.accounts("alice", "bob")
            rooms = [await p.room(alice) for _ in range(3)]
            await asyncio.gather(*(p.middle.accounts.profile(user_id) for user_id in (alice, bob)))
            store.before, store.after = 0, 50
            await asyncio.gather(
                *(p.middle.reader.memberships(bob) for _ in range(3)),
                *(p.do(Invite(actor=alice, room_id=room_id, target=bob)) for room_id in rooms),
            )
            assert await p.middle.reader.memberships(bob) == dict.fromkeys(rooms, "invite")

    run(work)
