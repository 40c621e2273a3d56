"""People of other servers in the user directory.

spec: Matrix client-server, module "User directory": those who share a room with the searcher
"""

import pytest

from tests.federation.islands import bring_in, islands, make_room
from tests.support.middle import run
from tripoint.core.ids import UserId
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
