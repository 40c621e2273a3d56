"""A live session becomes another user: a guest logs in, or makes an account.

The client sees PART of its channels, a NICK to the account's name, 900, and is put into the account's rooms;
those of the guest's channels that let the account in are joined first, so that a temporary one survives.
Others see the guest quit.  spec: docs/mapping.md 1.9, 4.11, 18.1; IRCv3 account-notify, sasl-3.1 (900).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from tripoint.accounts.ports import Account
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.core.power import Rank
from tripoint.irc import numerics as n
from tripoint.irc.channel import Channel
from tripoint.irc.render import Audience, Outgoing, fitted
from tripoint.irc.session import IrcSession
from tripoint.rooms.commands import Join, SetRanks
from tripoint.rooms.refusals import Refused

# What the documents are is said by NickServ, in as many lines as it takes.
TERMS = "To make an account, accept what there is to accept first: /msg NickServ TERMS; then try again"


async def register_as(session: IrcSession, name: str, password: str, made: Callable[[Account], None]) -> None:
    """Make an account, tell it with `made`, and go on as it. Raises AccountRefused."""
    nick, mask = session.nick, session.mask
    session.changing_account = True
    try:
        account = await session.accounts.register(
            name, password, address=session.address, accepted=session.accepted
        )
        made(account)
        await _go_on_as(session, account, nick, mask)
    except AccountRefused as refused:
        if refused.refusal is AccountRefusal.TERMS_NEEDED:
            raise AccountRefused(refused.refusal, TERMS) from refused
        raise
    finally:
        session.changing_account = False


async def log_in_as(session: IrcSession, account: Account) -> None:
    """Go on as `account`, whose password was checked. Raises AccountRefused."""
    await _go_on_as(session, account, session.nick, session.mask)


async def _hand_on_ranks(session: IrcSession, account: Account, channels: list[Channel]) -> None:
    """What the guest is in its channels the account is, as far as the guest may give it: or they had no operator."""
    for channel in channels:
        room = channel.room
        rank = room.rank(session.user_id)
        if rank.above(Rank.PLAIN) and rank.above(room.rank(account.user_id)):
            ranks = ((account.user_id, rank),)
            with suppress(Refused):
                await session.rooms.do(
                    SetRanks(actor=session.user_id, room_id=channel.room_id, ranks=ranks, absent=True)
                )


async def _go_on_as(session: IrcSession, account: Account, old_nick: str, old_mask: str) -> None:
    """`old_nick` and `old_mask` are what the client and others still take for this session's."""
    network, names = session.network, session.names
    log_in = await session.accounts.log_in(account, protocol="irc", display_name="IRC")
    before, was_guest = session.user_id, session.account.guest
    channels = [channel for channel in session.channels.values() if not channel.direct]
    if was_guest:
        await _hand_on_ranks(session, account, channels)
    for channel in channels:
        session.own(Outgoing([fitted(f":{old_mask} PART {channel.name}", "Logging in")]))
    if was_guest:
        network.guest_left(before, old_mask, channels, session.outbox, f"Logged in as {account.name}")
    network.change_user(session, account.user_id)
    session.account, session.device_id = account, log_in.device_id
    nick = names.nick(account.user_id)
    if nick != old_nick:
        session.own(Outgoing([f":{old_mask} NICK {nick}"]))
    session.numeric(n.RPL_LOGGEDIN, session.mask, account.name, f"You are now logged in as {account.name}")
    session.entering = True
    try:
        for channel in channels:
            try:
                await session.do(Join(actor=account.user_id, room_id=channel.room_id, origin=session.origin()))
            except Refused as refused:
                session.refuse(refused, "JOIN", channel.name)
        await network.enter_joined_rooms(session)
        # spec: IRCv3 account-notify: to all on common channels, and to oneself.
        line = f":{session.mask} ACCOUNT {account.name}"
        out = Outgoing([line], who=names.who(account.user_id), requires=int(Audience.ACCOUNT_NOTIFY))
        network.sessions.tell_sharing(session, out)
        for other in network.monitors.extended(account.user_id):
            if other is not session and not other.channels.keys() & session.channels.keys():
                other.tell(out)
    finally:
        session.entering = False
        if was_guest:
            network.end_guest(before)
