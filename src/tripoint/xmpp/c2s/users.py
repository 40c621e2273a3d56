"""Who is on XMPP in this process: users, their resources, their rosters.

spec: RFC6121 2 (roster), 4 (presence). The roster lives with the accounts; that of a user who is online is
held here and written through. Read next: presence.py, roster.py.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Mapping

from tripoint.accounts.in_turn import InTurn
from tripoint.accounts.ports import AccountService, RosterItem
from tripoint.core.ids import RoomId, UserId
from tripoint.xmpp.jid import Domains, Jid, parse_jid, parse_user_jid, user_jid
from tripoint.xmpp.render import to_attribute
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import ROSTER_NS
from tripoint.xmpp.wire import escape_attribute, escape_text

# RFC 7622 lets a resource have 1,023 bytes; a client with more than this many is a loop, not a person.
MAX_RESOURCES = 20
# What other servers take; a roster is read whole at every login.
MAX_ITEMS = 2000


class LiveUser:
    """A user with at least one session. `roster` maps bare JIDs to items."""

    __slots__ = ("bare", "opened", "photo", "roster", "sessions", "to", "user_id")

    def __init__(self, user_id: UserId, bare: str, roster: dict[str, RosterItem]) -> None:
        self.user_id = user_id
        self.bare = bare
        self.to = to_attribute(bare)
        self.roster = roster
        self.photo = ""  # what presence says of the avatar, where it is known that there is or was one (photos.py)
        self.sessions: dict[str, XmppSession] = {}  # by resource
        # Rooms of two that were entered at a login, and of which no client was shown what was said there (missed.py).
        self.opened: set[RoomId] = set()

    def available(self) -> list[XmppSession]:
        """Resources that have sent presence."""
        return [session for session in self.sessions.values() if session.presence is not None]


def render_item(item: RosterItem) -> str:
    """spec: RFC6121 2.1.2"""
    attributes = f" jid='{escape_attribute(item.jid)}' subscription='{item.subscription}'"
    if item.name:
        attributes += f" name='{escape_attribute(item.name)}'"
    if item.ask:
        attributes += " ask='subscribe'"
    if item.approved:
        attributes += " approved='true'"
    groups = "".join([f"<group>{escape_text(group)}</group>" for group in item.groups])
    return f"<item{attributes}>{groups}</item>" if groups else f"<item{attributes}/>"


def version_of(roster: Mapping[str, RosterItem]) -> str:
    """What tells this roster from any other that its user's clients could have seen. spec: RFC6121 2.6

    It is made from what they see, so it needs no place to be kept, and is the same after a restart.
    """
    shown = sorted(render_item(item) for item in roster.values() if item.shown)
    return hashlib.sha256("".join(shown).encode()).hexdigest()[:32]


class Users:
    """All sessions of this process, found by user and by address."""

    def __init__(self, domains: Domains, accounts: AccountService) -> None:
        self._domains = domains
        self._accounts = accounts
        self._users: dict[UserId, LiveUser] = {}
        self._sessions: dict[str, XmppSession] = {}
        # What is made of an item as it is, is stored before anybody else looks at that roster: by user.
        self.rosters = InTurn()
        self._pushed = 0
        # Who is taking everybody off his list of blocked people at this moment (blocking.py).
        self.unblocking_all: set[UserId] = set()
        self.invitations = asyncio.Lock()  # what is open is read and written by one at a time: it is seldom

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[XmppSession]:
        return iter(list(self._sessions.values()))

    async def add(self, session: XmppSession) -> None:
        """A session is bound; from now on it is found. An older one of the same resource gives way.

        spec: RFC6120 7.7.2.2 (3)
        """
        roster = dict(await self._accounts.roster(session.user_id))
        user = self._users.get(session.user_id)
        former = None if user is None else user.sessions.get(session.jid.resource)
        if former is not None:
            former.carrier.end("conflict", "Another client took this resource")
            user = self._users.get(session.user_id)  # it is a new one if that was the only session
        if user is None:
            user = self._users[session.user_id] = LiveUser(session.user_id, session.bare, roster)
        user.sessions[session.jid.resource] = session
        session.user = user
        self._sessions[session.id] = session

    def remove(self, session: XmppSession) -> None:
        """The stream is gone."""
        self._sessions.pop(session.id, None)
        user = session.user
        if user is not None and user.sessions.get(session.jid.resource) is session:
            del user.sessions[session.jid.resource]
            if not user.sessions:
                self._users.pop(user.user_id, None)

    def everybody(self) -> list[UserId]:
        """Who is here."""
        return list(self._users)

    def live(self, user_id: UserId) -> LiveUser | None:
        return self._users.get(user_id)

    def by_id(self, session_id: str) -> XmppSession | None:
        return self._sessions.get(session_id)

    def at(self, jid: Jid) -> LiveUser | None:
        """The user of a JID of ours, if online."""
        user_id = parse_user_jid(jid, self._domains)
        return None if user_id is None else self._users.get(user_id)

    def by_bare(self, bare: str) -> LiveUser | None:
        """The user of a bare JID of ours that stands in a roster, if online."""
        return self.at(parse_jid(bare))

    def user_of(self, bare: str) -> UserId | None:
        """Who a bare JID that stands in a roster is, on any Matrix server; None for other servers' JIDs."""
        return parse_user_jid(parse_jid(bare), self._domains)

    def session(self, full: str) -> XmppSession | None:
        """The session bound to a full JID."""
        bare, _, resource = full.partition("/")
        for user in self._candidates(bare):
            return user.sessions.get(resource)
        return None

    def _candidates(self, bare: str) -> Iterator[LiveUser]:
        local, _, domain = bare.partition("@")
        user = self.at(Jid(local, domain, ""))
        if user is not None:
            yield user

    async def roster_of(self, user_id: UserId) -> dict[str, RosterItem]:
        """The roster of a local user, online or not. Of an online one it is the live one: do not change it."""
        live = self._users.get(user_id)
        return live.roster if live is not None else dict(await self._accounts.roster(user_id))

    async def put_item(
        self,
        user_id: UserId,
        item: RosterItem,
        *,
        if_changed: bool = False,
        first: Callable[[], None] = lambda: None,
    ) -> None:
        """Store one roster item (subscription `remove` drops it) and push it. spec: RFC6121 2.1.6

        `if_changed`: pushed only if clients see a difference; a request that came in is none (RFC6121 A.3.1). `first`
        is called when it is stored, before it is pushed.
        """
        await self._accounts.set_roster_item(user_id, item)
        first()
        live = self._users.get(user_id)
        if live is None:
            return
        before = live.roster.get(item.jid)
        if item.subscription == "remove":
            live.roster.pop(item.jid, None)
        else:
            live.roster[item.jid] = item
            same = before is not None and render_item(before) == render_item(item)
            if not item.shown or (same and if_changed):
                return
        version = ""
        if any(session.versions for session in live.sessions.values()):
            version = f" ver='{version_of(live.roster)}'"
        for session in live.sessions.values():
            if session.interested:
                ver = version if session.versions else ""
                xml = f"<query xmlns='{ROSTER_NS}'{ver}>{render_item(item)}</query></iq>"
                self._pushed += 1  # spec: RFC6120 8.1.3: unique within a stream
                head = f"<iq type='set' id='push-{self._pushed}' to='{escape_attribute(session.full)}'>"
                session.send(f"{head}{xml}".encode())

    def shares_presence(self, session: XmppSession, with_: XmppSession) -> bool:
        """Whether `session` lets `with_` see that it is there: own account, subscription or directed presence.

        spec: RFC6121 8.5.3.1
        """
        if session.user_id == with_.user_id or session.user is None:
            return True
        item = session.user.roster.get(with_.bare)
        subscribed = item is not None and item.subscription in ("from", "both")
        directed = with_.full in session.directed or with_.bare in session.directed
        # A room of another server has its presence, whoever of it asks (XEP-0045 7.2).
        return subscribed or directed or with_.bare in session.rooms_abroad

    def jid_of(self, user_id: UserId) -> str:
        """The bare JID of any user."""
        return user_jid(user_id, self._domains)
