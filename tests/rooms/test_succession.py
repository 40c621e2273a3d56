"""Which room follows which: only where both say so, however the links are laid.  spec: docs/mapping.md 21.4"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.middle import Party, party, run
from tripoint.core.ids import RoomId, UserId
from tripoint.rooms import following
from tripoint.rooms.changes import MoveRefused
from tripoint.rooms.commands import CreateRoom, FollowRoom, Join, SendState, Template, UpgradeRoom
from tripoint.rooms.succession import MAX_CHAIN, lineage, newest, predecessor_of, replacement_of, succeeds


@dataclass(frozen=True)
class _Event:
    content: Any


@dataclass(frozen=True)
class _Room:
    """What succession.py looks at of a room."""

    room_id: str
    state: dict[tuple[str, str], _Event]


def room(name: str, after: object = None, before: object = None) -> Any:
    """A room that leads to `after` and says to have taken the place of `before`."""
    state = {("m.room.create", ""): _Event({} if before is None else {"predecessor": {"room_id": before}})}
    if after is not None:
        state["m.room.tombstone", ""] = _Event({"body": "", "replacement_room": after})
    return _Room(name, state)


@pytest.mark.parametrize(
    ("named", "found"),
    [
        ("!b:x.org", "!b:x.org"),
        ("!hash_without_a_server_part", "!hash_without_a_server_part"),
        ("!a:x.org", None),  # itself
        ("", None),
        ("!", None),
        ("#b:x.org", None),
        (17, None),
        (["!b:x.org"], None),
        ({"room_id": "!b:x.org"}, None),
        ("!b:x.org\x00", None),
        ("!" + "b" * 300 + ":x.org", None),
    ],
)
def test_what_a_tombstone_and_a_predecessor_may_say(named: object, found: str | None) -> None:
    assert replacement_of(room("!a:x.org", after=named)) == found
    assert predecessor_of(room("!a:x.org", before=named)) == found


def test_content_of_any_shape() -> None:
    for content in ({}, {"predecessor": None}, {"predecessor": []}, {"predecessor": {"event_id": "$x"}}):
        odd: Any = _Room("!a:x.org", {("m.room.create", ""): _Event(content), ("m.room.tombstone", ""): _Event({})})
        assert (predecessor_of(odd), replacement_of(odd)) == (None, None)
    assert predecessor_of(_Room("!a:x.org", {})) is None  # type: ignore[arg-type]


NAMES = [f"!r{number}:x.org" for number in range(6)]
LINK = st.none() | st.sampled_from(NAMES)


@given(st.lists(st.tuples(LINK, LINK), min_size=len(NAMES), max_size=len(NAMES)), st.data())
def test_any_web_of_links_has_ends(links: list[tuple[str | None, str | None]], data: st.DataObject) -> None:
    """Whatever rooms claim: the walk ends where all is linked both ways, and the way back is the same."""
    rooms = {name: room(name, *link) for name, link in zip(NAMES, links, strict=True)}

    async def find(name: RoomId) -> Any:
        return rooms.get(name)

    async def work() -> None:
        start = rooms[data.draw(st.sampled_from(NAMES))]
        last = await newest(start, find)
        back = await lineage(last, find)
        assert len({one.room_id for one in back}) == len(back)
        for new, old in pairwise(back):
            assert succeeds(new, old)
        assert start in back
        # A room that is the last of a chain leads nowhere from where both agree, or its chain is a ring.
        following_one = rooms.get(replacement_of(last) or "")
        if following_one is not None and succeeds(following_one, last):
            assert last is start

    asyncio.run(work())


def test_a_long_chain_is_cut() -> None:
    count = MAX_CHAIN + 5
    rooms = {
        f"!{n}:x.org": room(
            f"!{n}:x.org", f"!{n + 1}:x.org" if n + 1 < count else None, f"!{n - 1}:x.org" if n else None
        )
        for n in range(count)
    }

    async def find(name: RoomId) -> Any:
        return rooms.get(name)

    async def work() -> None:
        assert await newest(rooms["!0:x.org"], find) is rooms["!0:x.org"]
        assert (await newest(rooms["!10:x.org"], find)).room_id == f"!{count - 1}:x.org"
        assert len(await lineage(rooms[f"!{count - 1}:x.org"], find)) == MAX_CHAIN

    asyncio.run(work())


# -- the follower among such rooms


async def linked(p: Party, owner: UserId, name: str, before: RoomId | None = None) -> RoomId:
    content: Any = {} if before is None else {"predecessor": {"room_id": before}}
    done = await p.do(
        CreateRoom(actor=owner, template=Template.PUBLIC_CHAT, alias_localpart=name, creation_content=content)
    )
    assert done.room_id is not None
    return done.room_id


async def entomb(p: Party, owner: UserId, old: RoomId, new: str) -> None:
    content: Any = {"body": "moved", "replacement_room": new}
    await p.do(SendState(actor=owner, room_id=old, type="m.room.tombstone", state_key="", content=content))
    await p.middle.following.settled()


def test_chains_are_followed_to_their_end() -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob = await p.accounts("alice", "bob")
            rooms = [await linked(p, alice, "r0")]
            await p.do(Join(actor=bob, room_id=rooms[0]))
            for number in range(1, 6):
                rooms.append(await linked(p, alice, f"r{number}", rooms[-1]))
                await entomb(p, alice, rooms[-2], rooms[-1])
            done = await p.do(FollowRoom(actor=bob, room_id=rooms[0]))
            assert done.room_id == rooms[-1]
            for room_id in rooms:
                assert (await p.middle.loaded.get(room_id)).membership(bob) == "join"
            # And while somebody is there, one after the other.
            p.middle.presence.session_up(bob, "irc-1")
            last = rooms[-1]
            for number in range(6, 9):
                rooms.append(await linked(p, alice, f"r{number}", rooms[-1]))
            for old, new in reversed(list(pairwise(rooms[5:]))):
                await entomb(p, alice, old, new)
            assert (await p.middle.loaded.get(rooms[-1])).membership(bob) == "join"
            assert await p.middle.reader.newest(last) == rooms[-1]

    run(work)


def test_rings_and_one_sided_links_lead_nowhere() -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob = await p.accounts("alice", "bob")
            p.middle.presence.session_up(bob, "irc-1")
            first = await linked(p, alice, "first")
            await p.do(Join(actor=bob, room_id=first))
            # Each names the other as the one that came before: ids of old versions are made up.
            second = await linked(p, alice, "second", first)
            third = await linked(p, alice, "third", second)
            await entomb(p, alice, first, third)
            assert (await p.middle.loaded.get(third)).membership(bob) == "leave"
            await entomb(p, alice, second, first)
            await entomb(p, alice, third, first)
            done = await p.do(FollowRoom(actor=bob, room_id=first))
            assert done.room_id == first
            # One that is not replaced by anything, and one that is replaced by itself.
            await entomb(p, alice, first, first)
            assert (await p.do(FollowRoom(actor=bob, room_id=first))).room_id == first
            refused = [c for c in p.user_changes if isinstance(c, MoveRefused)]
            assert refused == [MoveRefused(bob, first, third, following.NOT_ITS_PLACE, stays=True)]
            assert await p.middle.reader.newest(first) == first

    run(work)


@contextmanager
def slow_pace() -> Iterator[None]:
    before = following.PACE
    following.PACE = following.Rate(3, 0.001)  # type: ignore[misc]
    try:
        yield
    finally:
        following.PACE = before  # type: ignore[misc]


def test_whoever_upgrades_on_and_on_takes_nobody_along_for_ever() -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob = await p.accounts("alice", "bob")
            rooms = [await linked(p, alice, "r0")]
            await p.do(Join(actor=bob, room_id=rooms[0]))
            p.middle.presence.session_up(bob, "irc-1")
            for number in range(1, 6):
                rooms.append(await linked(p, alice, f"r{number}", rooms[-1]))
                await entomb(p, alice, rooms[-2], rooms[-1])
            inside = [(await p.middle.loaded.get(room_id)).membership(bob) for room_id in rooms]
            assert inside == ["join", "join", "join", "join", "leave", "leave"]
            refused = [c for c in p.user_changes if isinstance(c, MoveRefused)]
            assert [(one.text, one.stays) for one in refused] == [(following.TOO_OFTEN, True)]

    with slow_pace():
        run(work)


def test_an_upgrade_within_an_upgrade_takes_everybody_to_the_end() -> None:
    async def work() -> None:
        async with party() as p:
            alice, bob = await p.accounts("alice", "bob")
            first = await linked(p, alice, "r0")
            await p.do(Join(actor=bob, room_id=first))
            p.middle.presence.session_up(bob, "xmpp-1")
            room_id = first
            for version in ("10", "11", "12", "12"):
                done = await p.do(UpgradeRoom(actor=alice, room_id=room_id, room_version=version))
                assert done.room_id is not None
                room_id = done.room_id
            await p.middle.following.settled()
            assert await p.middle.reader.newest(first) == room_id
            assert (await p.middle.loaded.get(room_id)).membership(bob) == "join"
            assert len(await p.middle.reader.lineage(room_id)) == 5

    run(work)
