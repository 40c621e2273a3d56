"""Who may be where: KICK and INVITE.

spec: RFC2812 3.2.7, 3.2.8; docs/mapping.md 9.7, 9.9.  Who may kick whom is the room's, not decided here.
"""

from __future__ import annotations

from tripoint.core.ids import UserId, server_of
from tripoint.irc import numerics as n
from tripoint.irc.channel import Channel
from tripoint.irc.names import foreign_user
from tripoint.irc.refusals import IrcRefused
from tripoint.irc.registry import command
from tripoint.irc.session import IrcSession, echo
from tripoint.irc.tables import MAX_TARGETS
from tripoint.irc.wire import Line
from tripoint.rooms.commands import Invite, Kick
from tripoint.rooms.refusals import Refusal, Refused


@command("KICK", min_params=2, cost=2, spec="RFC2812 3.2.8")
async def kick(session: IrcSession, line: Line) -> None:
    """KICK <channel> <nick>{,<nick>} [:<reason>]. Everyone, the kicker too, hears it through fan-out."""
    channel = await session.channel_named(line.params[0])
    nicks = list(dict.fromkeys(nick for nick in line.params[1].split(",") if nick))
    if not nicks:
        raise IrcRefused(n.ERR_NEEDMOREPARAMS, "KICK", "Not enough parameters")
    if len(nicks) > MAX_TARGETS:
        raise IrcRefused(n.ERR_TOOMANYTARGETS, echo(nicks[MAX_TARGETS]), "Too many targets")
    for nick in nicks:
        user_id = await session.network.find_user(nick)
        if user_id is None:
            session.numeric(n.ERR_NOSUCHNICK, echo(nick), Refusal.NO_SUCH_USER.value)
            continue
        membership = channel.room.membership(user_id)
        if membership not in ("join", "invite", "knock"):
            session.numeric(n.ERR_USERNOTINCHANNEL, echo(nick), channel.name, Refusal.TARGET_NOT_JOINED.value)
            continue
        try:
            await session.do(
                Kick(
                    actor=session.user_id,
                    room_id=channel.room_id,
                    target=user_id,
                    reason=line.param(2) or None,
                    origin=session.origin(),
                )
            )
        except Refused as refused:
            session.refuse(refused, "KICK", channel.name, nick)
            continue
        if membership != "join":
            # No line says it to the channel, so it is said to who did it (docs/mapping.md 9.10, 9.11).
            text = "Their knock is declined" if membership == "knock" else "Their invitation is taken back"
            session.standard("NOTE", "KICK", "TAKEN_BACK", channel.name, echo(nick), text=text)


@command("INVITE", cost=2, spec="RFC2812 3.2.7")
async def invite(session: IrcSession, line: Line) -> None:
    """INVITE <nick> <channel>; without parameters: where one is invited to (336, 337)."""
    if not line.params:
        await _list_invites(session)
        return
    if len(line.params) < 2:
        raise IrcRefused(n.ERR_NEEDMOREPARAMS, "INVITE", "Not enough parameters")
    nick, word = line.params[:2]
    # docs/mapping.md 23.1: people of other XMPP servers are invited who were never here.
    user_id = foreign_user(nick, session.names.server) or await session.user_named(nick)
    channel = await session.channel_named(word)
    if user_id in channel.room.joined():
        raise IrcRefused(n.ERR_USERONCHANNEL, echo(nick), channel.name, "is already on channel")
    asked = Invite(actor=session.user_id, room_id=channel.room_id, target=user_id, origin=session.origin())
    if server_of(user_id) == session.names.server or session.outbox.holding:
        _answer_invite(session, channel, nick, user_id, await _refused(session, asked))
    else:
        session.network.spawn(_invite_abroad(session, channel, nick, asked))


async def _refused(session: IrcSession, asked: Invite) -> Refused | None:
    try:
        await session.do(asked)
    except Refused as refused:
        return refused
    return None


async def _invite_abroad(session: IrcSession, channel: Channel, nick: str, asked: Invite) -> None:
    """Their server is asked first, which may take a while: the client's other commands go on meanwhile."""
    refused = await _refused(session, asked)
    with session.outbox.apart():
        _answer_invite(session, channel, nick, asked.target, refused)


def _answer_invite(
    session: IrcSession, channel: Channel, nick: str, user_id: UserId, refused: Refused | None
) -> None:
    if refused is not None:
        session.refuse(refused, "INVITE", channel.name, nick)
        return
    # spec: RFC2812 5.1 as every server sends it: the nick first, then the channel.
    session.numeric(n.RPL_INVITING, session.names.nick(user_id), channel.name)
    presence = session.reader.presence(user_id)
    if presence.presence == "unavailable":
        session.numeric(n.RPL_AWAY, session.names.nick(user_id), presence.status_msg or "Away")


async def _list_invites(session: IrcSession) -> None:
    memberships = await session.reader.memberships(session.user_id)
    for room_id, membership in memberships.items():
        if membership == "invite":
            room = await session.reader.room(room_id)
            member = room.member(session.user_id)
            if member is not None and session.reader.hides_invitation(session.user_id, member.event.sender):
                continue
            session.numeric(n.RPL_INVITELIST, session.names.channel(room))
    session.numeric(n.RPL_ENDOFINVITELIST, "End of /INVITE list")
