"""A channel's room was replaced: its sessions go over to the new room, and the channel stays what it is to them.

Same name, no PART and JOIN; what differs (who is there, ranks, modes, masks, topic) is told as changes of the channel,
by the server. Where too much differs a client is shown the channel anew instead.
spec: docs/mapping.md 21.4, 5.5.  Who goes over is decided in rooms/following.py.  Read next: tripoint/irc/entrance.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from tripoint.core.ids import RoomId, UserId
from tripoint.core.power import Rank
from tripoint.irc import numerics as n
from tripoint.irc.channel import Channel
from tripoint.irc.events import (
    LETTERS,
    By,
    ban_mask,
    flag_line,
    flag_modes,
    is_mask_shown,
    joined_line,
    rank_modes,
    step_lines,
    topic_line,
)
from tripoint.irc.projection import Names, channel_args, channel_flags, rank_letters
from tripoint.irc.render import NOBODY, Outgoing, fitted, one_line
from tripoint.irc.sessions import Sessions
from tripoint.irc.tables import fold
from tripoint.irc.wire import seal
from tripoint.rooms.changes import EventCommitted, MoveRefused, RoomMoved, StateReset
from tripoint.rooms.commands import FollowRoom, MaskList
from tripoint.rooms.masks import listed_masks
from tripoint.rooms.ports import RoomReader, RoomView
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.settings import tls_only
from tripoint.rooms.succession import predecessor_of, replacement_of, succeeds

if TYPE_CHECKING:
    from tripoint.irc.entrance import Channels
    from tripoint.irc.session import IrcSession

UPGRADED: Final = "This room was upgraded"
NOT_ALONG: Final = f"{UPGRADED}, and you are not in the new one"
# People that come and go with it; beyond that a client is quicker with the list of those who are there.
MAX_STEPS: Final = 50


class Moving:
    """Takes sessions from one channel to another of the same name. `channels` is set by the network."""

    def __init__(self, names: Names, reader: RoomReader, sessions: Sessions, now_ms: Callable[[], int]) -> None:
        self._names = names
        self._reader = reader
        self._sessions = sessions
        self._now_ms = now_ms
        self.channels: Channels

    def is_left(self, channel: Channel) -> bool:
        """Whether another room has taken the place of a channel's, or it is being found out: what happens to it is not
        for those who are about to go over."""
        named = replacement_of(channel.room)
        return named is not None and channel.stays_before != named

    def former(self, session: IrcSession, room: RoomView) -> Channel | None:
        """The channel of this session whose place a room has taken."""
        old = predecessor_of(room)
        channel = None if old is None else session.channels.get(old)
        return channel if channel is not None and succeeds(room, channel.room) else None

    def inherit_name(self, room: RoomView) -> None:
        """A room that takes the place of another, known here, goes by its name."""
        named = predecessor_of(room)
        old = None if named is None else self._reader.peek(named)
        if old is not None and succeeds(room, old):
            channel = self.channels.get(old.room_id)
            self._names.hand_on(old, room, None if channel is None else channel.name)

    # -- moving

    def move(
        self, session: IrcSession, old: Channel, room: RoomView, change: EventCommitted | StateReset | None
    ) -> None:
        """`session` hears `room` from now on, and `old` no more. `change`: the join that is being told."""
        channels = self.channels
        if old.direct:
            channels.detach(old, session)
            return
        if (closed := _closed_to(room, session)) is not None:
            self._turn_away(session, old, f"{UPGRADED}: {closed}")
            return
        channel = channels.opened(room)
        channel.attach(session)
        if change is None:
            channel.settle()
        else:
            channel.take_rank(session.user_id)
            channel.member_came(session.user_id)
        session.tell(self._notice(old.name, UPGRADED))
        lines = self._differences(old, channel) if fold(old.name) == fold(channel.name) else None
        if lines is None:
            session.tell(Outgoing([fitted(f":{session.mask} PART {old.name}", UPGRADED)]))
            channels.show(session, channel, None, own=False)
        else:
            for out in lines:
                session.tell(out)
        channels.detach(old, session)

    def _differences(self, old: Channel, new: Channel) -> Sequence[Outgoing] | None:
        """From the picture that sessions of `old` have to the one of `new`; made once for all who go at a time."""
        key = (old.room_id, old.room.last_position, new.room.last_position)
        if new.arrival is None or new.arrival[0] != key:
            new.arrival = (key, differences(old, new, self._now_ms()))
        return new.arrival[1]

    def _say_no(self, session: IrcSession, name: str, text: str) -> None:
        words = f":{self._names.server} {n.ERR_NOSUCHCHANNEL} {session.nick} {name}"
        session.outbox.send(seal(fitted(words, one_line(text))))

    def _notice(self, name: str, text: str) -> Outgoing:
        return Outgoing([fitted(f":{self._names.server} NOTICE {name}", one_line(text))], ts_ms=self._now_ms())

    def _turn_away(self, session: IrcSession, old: Channel, text: str) -> None:
        """The session is in the old channel no more, and does not hear the new one."""
        self._say_no(session, old.name, text)
        session.tell(Outgoing([fitted(f":{session.mask} PART {old.name}", UPGRADED)]))
        self.channels.detach(old, session)

    # -- what the middle tells

    def refused(self, change: MoveRefused) -> None:
        """Somebody was not taken along."""
        old = self.channels.get(change.old)
        if old is not None and change.stays and old.stays_before != change.new:
            old.stays_before = change.new
            self._catch_up(old)
        for session in [] if old is None else self._sessions.of(change.user_id):
            if old is None or session.id not in old.sessions:
                continue
            if old.direct:
                if not change.stays:
                    session.notice(f"{UPGRADED}: {change.text}")
                    self.channels.detach(old, session)
            elif change.stays:
                session.tell(self._notice(old.name, change.text))
            else:
                self._turn_away(session, old, f"{NOT_ALONG}: {change.text}")

    def _catch_up(self, channel: Channel) -> None:
        """Nobody goes over: what was not told meanwhile is told now."""
        if channel.direct:
            return
        by = By(self._names.server, NOBODY, self._now_ms())
        for out in (*rank_modes(channel, by), *flag_modes(channel, by)):
            channel.tell(out)
        self.channels.take_name(channel, self._names.server)

    def moved(self, change: RoomMoved) -> None:
        """A user is a member of both rooms, and it turns out that one has taken the place of the other."""
        old, room = self.channels.get(change.old), self._reader.peek(change.new)
        if old is None or room is None or not succeeds(room, old.room):
            return
        for session in self._sessions.of(change.user_id):
            if session.id not in old.sessions:
                continue
            channel = session.channels.get(change.new)
            if channel is None:
                self.move(session, old, room, None)
                continue
            # It was shown under another name, before anybody said that the two are one.
            session.tell(self._notice(old.name, UPGRADED))
            session.tell(Outgoing([fitted(f":{session.mask} PART {old.name}", UPGRADED)]))
            self.inherit_name(room)
            self.channels.detach(old, session)
            self.channels.take_name(channel, self._names.server)

    # -- who comes later

    async def go_along(self, session: IrcSession, room: RoomView) -> None:
        """A member comes to a room that leads elsewhere: he is shown the room that he gets to."""
        try:
            done = await session.do(FollowRoom(actor=session.user_id, room_id=room.room_id))
        except Refused as refused:
            self._say_no(session, self._names.channel(room), f"{NOT_ALONG}: {refused.text}")
            return
        found: RoomId = done.room_id or room.room_id
        view = await self._reader.room(found)
        if found in session.channels:
            # He was shown it as he joined: what he missed was said before that, in the rooms that it was.
            await self.channels.show_missed(session, view)
        elif view.membership(session.user_id) == "join":
            await self.channels.enter(session, view)


def _closed_to(room: RoomView, session: IrcSession) -> str | None:
    if room.encrypted:
        return Refusal.ENCRYPTED.value
    return Refusal.TLS_NEEDED.value if tls_only(room) and not session.secure else None


def differences(old: Channel, new: Channel, ts_ms: int) -> Sequence[Outgoing] | None:
    """PART, JOIN, MODE and TOPIC that turn what was told of `old` into what `new` is; None where that is too much."""
    names = new.names
    by = By(names.server, NOBODY, ts_ms)
    before, now = _shown(old), _shown(new)
    gone, came = before - now, now - before
    if len(gone) + len(came) > MAX_STEPS:
        return None
    out = [Outgoing([fitted(f":{names.mask(user)} PART {new.name}", UPGRADED)], ts_ms=ts_ms) for user in sorted(gone)]
    out += [joined_line(names, new, user, ts_ms) for user in sorted(came)]
    steps: list[tuple[str, str, str]] = []
    for user in sorted(now):
        was = old.rank(user) if user in before else Rank.PLAIN
        letters_before, letters_now = rank_letters(was), rank_letters(new.rank(user))
        nick = names.nick(user)
        steps += [("-", letter, nick) for letter in letters_before if letter not in letters_now]
        steps += [("+", letter, nick) for letter in letters_now if letter not in letters_before]
    bans_before, bans_now = _entries(old), _entries(new)
    steps += [("-", letter, mask) for letter, mask in sorted(bans_before - bans_now)]
    steps += [("+", letter, mask) for letter, mask in sorted(bans_now - bans_before)]
    out += step_lines(new.name, by, steps)
    out += flag_line(new.name, by, (old.flags, old.args), (channel_flags(new.room), channel_args(new.room)))
    if (old.room.topic or "") != (new.room.topic or ""):
        out.append(topic_line(new, by, new.room.topic or ""))
    return out


def _shown(channel: Channel) -> set[UserId]:
    gone = channel.names.gone
    return {user for user in channel.room.joined() if channel.shows(user) and user not in gone}


def _entries(channel: Channel) -> set[tuple[str, str]]:
    """What stands on the lists of masks of a channel, as MODE shows it."""
    room, names = channel.room, channel.names
    found = {
        ("b", ban_mask(names, user)) for user, member in room.members().items() if member.membership == "ban"
    }
    found |= {("b", f"~m:{names.nick(user)}") for user in channel.muted}
    for which in MaskList:
        found |= {(LETTERS[which], one.mask) for one in listed_masks(room, which) if is_mask_shown(one.mask)}
    return found
