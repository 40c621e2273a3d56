"""An account is shown with another host from now on: CHGHOST, or a QUIT and JOIN for clients that do not know it.

spec: IRCv3 chghost, extended-monitor; docs/mapping.md 18.4.  Who is given which host is HostServ's (hostserv.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tripoint.accounts.ports import VhostList
from tripoint.core.ids import UserId
from tripoint.irc import numerics as n
from tripoint.irc.channel import Channel
from tripoint.irc.events import By, joined_line, mode_line
from tripoint.irc.projection import Names, rank_letters, shown_rank
from tripoint.irc.render import NOBODY, Audience, Outgoing
from tripoint.irc.session import IrcSession
from tripoint.irc.sessions import Sessions
from tripoint.irc.telling import Teller

_CHGHOST = int(Audience.CHGHOST)


class Hosts:
    """Tells of changed hosts."""

    def __init__(
        self, names: Names, vhosts: VhostList, sessions: Sessions, teller: Teller, now_ms: Callable[[], int]
    ) -> None:
        self._names = names
        self._vhosts = vhosts
        self._sessions = sessions
        self._teller = teller
        self._now_ms = now_ms

    def changed(self, user_id: UserId) -> None:
        """The host of an account is what the accounts say now."""
        names, now = self._names, self._now_ms()
        old = names.mask(user_id)
        names.set_host(user_id, self._vhosts.host(user_id))
        username, host = names.username_and_host(user_id)
        if old == names.mask(user_id):
            return
        for channel in self._teller.channels_of(user_id):
            channel.members_changed()
        line = f":{old} CHGHOST {username} {host}"
        out = Outgoing([line], ts_ms=now, who=names.who(user_id), requires=_CHGHOST)
        self._teller.tell_members_once(user_id, out, and_self=True)
        for session in self._sessions.of(user_id):
            if not session.hears(out):
                session.numeric(n.RPL_VISIBLEHOST, host, "is now your displayed host")
        quit_ = Outgoing([f":{old} QUIT :Changing host"], ts_ms=now, who=names.who(user_id))
        told: set[str] = set()
        for channel, session in self._without_chghost(user_id):
            if session.id not in told:
                told.add(session.id)
                session.tell(quit_)
            for back in self._back(channel, user_id, now):
                session.tell(back)

    def _without_chghost(self, user_id: UserId) -> Iterator[tuple[Channel, IrcSession]]:
        """Who sees the user in which channel and does not know CHGHOST."""
        for channel in self._teller.channels_of(user_id):
            if not channel.direct and channel.shows(user_id):
                for session in channel.sessions.values():
                    if session.user_id != user_id and not session.audience & _CHGHOST:
                        yield channel, session

    def _back(self, channel: Channel, user_id: UserId, now_ms: int) -> list[Outgoing]:
        """spec: IRCv3 chghost "Fallback": JOIN, and MODE of the rank."""
        back = [joined_line(self._names, channel, user_id, now_ms)]
        letters = rank_letters(shown_rank(channel.room, user_id))
        if letters:
            by = By(self._names.server, NOBODY, now_ms)
            back.append(mode_line(channel.name, by, f"+{letters}", [self._names.nick(user_id)] * len(letters)))
        return back
