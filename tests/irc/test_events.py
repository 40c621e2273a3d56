"""Lines about anybody and anything: whatever a remote server calls its users, what goes out is one whole line.

spec: docs/mapping.md 1.5, 2.2; RFC2812 2.3
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from tests.irc.test_messages import event_of, names
from tripoint.core.ids import UserId
from tripoint.core.power import Rank
from tripoint.irc.channel import Channel
from tripoint.irc.events import joined_line, kicked_line, mode_line, parted_line, sender_of, typing_line
from tripoint.irc.member_list import MemberList
from tripoint.irc.render import Outgoing
from tripoint.irc.wire import Line, parse_line

USERS = st.builds(
    lambda local, server: UserId(f"@{local}:{server}"),
    st.text(st.characters(blacklist_characters=":\0"), max_size=120),
    st.text(max_size=120) | st.just("example.org"),
)
CHANNELS = st.sampled_from(("#tea", "#" + "é" * 99, "#~slug-abcdef"))


def check(out: Outgoing, command: str, params: int) -> None:
    for audience in (0, 255):
        data = out.form(audience)
        assert data.endswith(b"\r\n")
        assert data.count(b"\n") == 1
        line = parse_line(data.removesuffix(b"\r\n"))
        assert isinstance(line, Line)
        assert line.command == command
        assert len(line.params) >= params
        assert line.source.count("!") == 1


@given(USERS, USERS, CHANNELS, st.text(max_size=400), st.none() | st.text(max_size=80))
def test_anybody_can_be_shown(one: UserId, other: UserId, channel: str, reason: str, name: str | None) -> None:
    table = names()
    event = event_of({"reason": reason.encode("utf-8", "replace").decode().replace("\0", "")})
    event.sender = other
    member = SimpleNamespace(displayname=name)
    room = SimpleNamespace(member=lambda user_id: member)
    stub = cast(Channel, SimpleNamespace(name=channel, room=room, names=table))
    check(joined_line(table, stub, one, None), "JOIN", 1)
    check(parted_line(table, channel, event, one), "PART", 1)
    by = sender_of(table, event)
    check(kicked_line(table, channel, by, one, reason), "KICK", 3)
    check(mode_line(channel, by, "+o", [table.nick(one)]), "MODE", 3)
    check(typing_line(table, one, channel, active=True), "TAGMSG", 1)
    account = table.account(one)
    assert account is not None
    assert " " not in account
    assert account[0] != ":"


ACTIONS = st.lists(st.tuples(st.sampled_from("+-"), st.integers(0, 30), st.text("ab", min_size=1, max_size=70)))


@given(ACTIONS, st.integers(20, 100))
def test_names_are_packed_as_if_at_once(actions: list[tuple[str, int, str]], room: int) -> None:
    members = MemberList("= #tea :", room)
    words: dict[int, str] = {}
    for sign, number, word in actions:
        word = word[:room]
        if sign == "+":
            members.put(UserId(str(number)), word)
            words[number] = word
        else:
            members.drop(UserId(str(number)))
            words.pop(number, None)
    lines = members.lines()
    assert [word for line in lines for word in line.removeprefix("= #tea :").split(" ")] == list(words.values())
    assert all(len(line) <= len("= #tea :") + room for line in lines)
    whole = MemberList("= #tea :", room)
    for number, word in words.items():
        whole.put(UserId(str(number)), word)
    assert whole.lines() == lines


def test_ranks_with_a_prefix() -> None:
    from tripoint.irc.projection import PREFIX_OF_RANK, RANK_OF_MODE
    from tripoint.irc.tables import PREFIX_MODES, PREFIX_SIGNS

    shown = [PREFIX_OF_RANK[RANK_OF_MODE[letter]][0] for letter in PREFIX_MODES]
    assert "".join(shown) == PREFIX_SIGNS
    assert set(PREFIX_OF_RANK) == {Rank.OWNER, Rank.ADMIN, Rank.OP, Rank.HALFOP, Rank.VOICE}
