"""People of other servers in the user directory.

spec: Matrix client-server, module "User directory": those who share a room with the searcher
"""

import pytest
from msgspec.structs import replace

from tests.federation.islands import bring_in, islands, make_room
from tests.support.middle import run
from tripoint.core.ids import RoomId, UserId
from tripoint.rooms import user_directory
from tripoint.rooms.commands import Join
from tripoint.rooms.ports import UsersFound


def test_who_shares_a_room_is_found_and_a_search_cut_short_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        async with islands("a.org", "b.org") as (one, two):
            carol, dave = UserId("@carol:a.org"), UserId("@dave:a.org")
            alice, eve = UserId("@alice:b.org"), UserId("@eve:b.org")
            room_id = await make_room(one, carol, "12")
            await one.party.do(Join(actor=dave, room_id=room_id))
            await bring_in(one, two, alice, room_id)

            async def found(searcher: UserId, term: str) -> UsersFound:
                return await two.party.middle.reader.find_users(searcher, term, 10)

            assert [one.user_id for one in (await found(alice, "carol")).users] == [carol]
            assert [one.user_id for one in (await found(alice, "A.org")).users] == [carol, dave]
            assert not (await found(alice, "a.org")).more
            assert (await found(alice, "nobody")).users == ()
            # The room is public and here in memory: who is not in it finds them too.
            assert [one.user_id for one in (await found(eve, "dave")).users] == [dave]
            monkeypatch.setattr(user_directory, "MAX_MEMBERS", 1)
            cut = await found(alice, "a.org")
            assert (len(cut.users), cut.more) == (1, True)

    run(work)


def test_who_is_in_rooms_of_the_directory_that_nobody_looks_at(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        async with islands("a.org", "b.org") as (one, two):
            alice, eve = UserId("@alice:b.org"), UserId("@eve:b.org")
            rooms = []
            for number in range(3):
                room_id = await make_room(one, UserId(f"@carol{number}:a.org"), "12")
                await bring_in(one, two, alice, room_id)
                rooms.append(room_id)
            middle = two.party.middle

            async def listed(room_id: RoomId, on: bool) -> None:
                """As somebody has it done who may."""
                await middle.stream.commit([replace((await middle.loaded.get(room_id)).row, listed=on)])

            for room_id in rooms[:2]:
                await listed(room_id, True)
            monkeypatch.setattr(user_directory, "READ_ROOMS", 1)

            async def found(term: str) -> tuple[list[str], bool]:
                # Whatever was read is let go again.
                middle.loaded._rooms.clear()
                middle.loaded._alive.clear()
                answer = await middle.reader.find_users(eve, term, 10)
                return sorted(user.user_id for user in answer.users), answer.more

            # A search reads one room more, and says that there may be others.
            first, more = await found("carol")
            assert len(first) == 1 and more
            assert await found("carol") == (["@carol0:a.org", "@carol1:a.org"], False)
            # What is not for everybody to find is not found, nor what is in the directory no more.
            await listed(rooms[0], False)
            assert await found("carol") == (["@carol1:a.org"], False)
            # No more people are remembered than there is room for.
            monkeypatch.setattr(user_directory, "MAX_KEPT", 0)
            await listed(rooms[0], True)
            await found("carol")
            assert len(middle.reader._directory._kept) == 1

    run(work)
