"""The lists of a channel: bans (b), exceptions (e) and who needs no invitation (I), shown and changed.

A mask that names one user is that user: +b bans, +I invites.  Every other one is a mask of the room's.
spec: RFC2811 4.3; RFC2812 3.2.3; Modern IRC "Ban channel mode"; docs/mapping.md 9.1-9.6.
"""

from __future__ import annotations

from collections.abc import Mapping

from tripoint.core.ids import UserId
from tripoint.core.power import Rank
from tripoint.irc import numerics as n
from tripoint.irc.channel import Channel
from tripoint.irc.events import ban_mask
from tripoint.irc.projection import muted_users
from tripoint.irc.refusals import IrcRefused
from tripoint.irc.session import IrcSession, echo
from tripoint.rooms.commands import Ban, Invite, Kick, MaskList, SetMask, SetRanks, Unban
from tripoint.rooms.masks import listed_masks
from tripoint.rooms.refusals import Refusal, Refused

LISTS: Mapping[str, MaskList] = {"b": MaskList.BAN, "e": MaskList.EXEMPT, "I": MaskList.INVITE}
_NUMERICS = {
    "b": (n.RPL_BANLIST, n.RPL_ENDOFBANLIST, "Ban"),
    "e": (n.RPL_EXCEPTLIST, n.RPL_ENDOFEXCEPTLIST, "Exception"),
    "I": (n.RPL_INVEXLIST, n.RPL_ENDOFINVEXLIST, "Invite Exception"),
}
_MASK_REFUSALS = frozenset({Refusal.BAD_MASK, Refusal.NO_SUCH_MASK})
_NO_SUCH_USER = Refusal.NO_SUCH_USER.value


def show_list(session: IrcSession, channel: Channel, letter: str) -> None:
    """One list and its end; nobody is hidden in it, since everybody in the room can read its state."""
    names, room = session.names, channel.room
    entry, end, what = _NUMERICS[letter]
    rows: list[tuple[str, UserId | None, int]] = []
    wanted = {"b": "ban", "I": "invite"}.get(letter)
    for user_id, member in room.members().items():
        if member.membership == wanted:
            rows.append((ban_mask(names, user_id), member.event.sender, member.event.origin_server_ts))
    rows += [(one.mask, one.sender, one.ts_ms) for one in listed_masks(room, LISTS[letter])]
    if letter == "b":
        rows += [(f"~m:{names.nick(user_id)}", None, 0) for user_id in sorted(muted_users(room.power))]
    for mask, sender, ts_ms in rows:
        by = () if sender is None else (names.nick(sender), str(ts_ms // 1000))
        session.numeric(entry, channel.name, echo(mask), *by)
    session.numeric(end, channel.name, f"End of Channel {what} List")


async def change_list(session: IrcSession, channel: Channel, letter: str, mask: str | None, *, on: bool) -> None:
    """One mask on or off a list."""
    if mask is None:
        show_list(session, channel, letter)
        return
    try:
        await _change(session, channel, letter, mask, on=on)
    except Refused as refused:
        if refused.refusal not in _MASK_REFUSALS:
            raise
        raise IrcRefused(n.ERR_INVALIDMODEPARAM, channel.name, letter, echo(mask), refused.text) from None


async def _change(session: IrcSession, channel: Channel, letter: str, mask: str, *, on: bool) -> None:
    actor, room_id, origin = session.user_id, channel.room_id, session.origin()
    if letter == "b" and mask.startswith(("~m:", "~mute:")):
        rank = Rank.MUTED if on else Rank.PLAIN
        user_id = await _muted_one(session, mask.partition(":")[2])
        await session.do(SetRanks(actor=actor, room_id=room_id, ranks=((user_id, rank),), origin=origin))
        return
    if letter == "e" and mask.startswith(("~a:", "~account:")):
        mask = await _mask_of_account(session, mask.partition(":")[2])
    one = await named_by(session, mask) if letter != "e" else None
    if one is None and mask.startswith("~"):
        raise Refused(Refusal.BAD_MASK, _NO_SUCH_USER if mask.startswith(("~a:", "~account:")) else None)
    if one is None:
        await session.do(
            SetMask(actor=actor, room_id=room_id, list=LISTS[letter], mask=mask, on=on, origin=origin)
        )
    elif letter == "I":
        await _invite(session, channel, one, on=on)
    elif on:
        await session.do(Ban(actor=actor, room_id=room_id, target=one, origin=origin))
    else:
        await session.do(Unban(actor=actor, room_id=room_id, target=one, origin=origin))


async def _mask_of_account(session: IrcSession, name: str) -> str:
    """The mask that meets one account alone: exceptions are masks, whoever they are for."""
    user_id = await session.network.find_user(name)
    if user_id is None:
        raise Refused(Refusal.BAD_MASK, _NO_SUCH_USER)
    localpart, _, server = user_id[1:].partition(":")
    return f"*!{localpart}@{server}"


async def _invite(session: IrcSession, channel: Channel, user_id: UserId, *, on: bool) -> None:
    """+I of one user is an invitation.  spec: docs/mapping.md 9.5"""
    actor, room_id, origin = session.user_id, channel.room_id, session.origin()
    membership = channel.room.membership(user_id)
    if on and membership == "join":
        nick, text = session.names.nick(user_id), "is already on channel"
        raise IrcRefused(n.ERR_USERONCHANNEL, nick, channel.name, text)
    if on:
        await session.do(Invite(actor=actor, room_id=room_id, target=user_id, origin=origin))
    elif membership == "invite":
        await session.do(Kick(actor=actor, room_id=room_id, target=user_id, origin=origin))
    else:
        raise Refused(Refusal.NO_SUCH_MASK)


async def _muted_one(session: IrcSession, mask: str) -> UserId:
    """Whom a mute means.  spec: docs/mapping.md 9.6: one user; globs are refused"""
    bare = mask.partition(":")[2] if mask.startswith(("~a:", "~account:")) else mask
    user_id = await named_by(session, bare) if "!" in bare else await session.network.find_user(bare)
    if user_id is None:
        raise Refused(Refusal.BAD_MASK, "Only one user can be muted: ~m:nick")
    return user_id


async def named_by(session: IrcSession, mask: str) -> UserId | None:
    """The user that a mask names, if it names exactly one.  spec: docs/mapping.md 9.1"""
    network, names = session.network, session.names
    if mask.startswith("~"):
        kind, _, rest = mask[1:].partition(":")
        return await network.find_user(rest) if kind in ("a", "account") else None
    nick, _, user_host = mask.partition("!")
    if not any(c in nick for c in "*?@") and user_host in ("", "*@*", "*"):
        return await network.find_user(nick)
    user, at, host = user_host.partition("@")
    if nick == "*" and user.startswith("guest-") and host == "*":
        user_id = names.local_user(user)
        return user_id if names.is_our_guest(user_id) else None
    if nick == "*" and at and not any(c in user + host for c in "*?"):
        is_ours = host in (names.server, names.own_host(names.local_user(user)))
        return await network.find_user(user if is_ours else f"{user}:{host}")
    return None


def guise(session: IrcSession) -> str | None:
    """How a guest, or who was given a host, is known to masks.  spec: docs/mapping.md 1.9, 9.3, 18.4"""
    host = session.names.own_host(session.user_id)
    return None if host is None else f"@{session.nick}:{host}"

