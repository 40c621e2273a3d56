"""What comes from other XMPP servers: stanzas of their users, for ours.

Each is handled as if its sender had a session here, of the stand-in (docs/mapping.md 1.7), that answers by the way it
came; of requests only those that say what anybody may know are taken. What is for rooms goes to muc/foreigners.py.
spec: RFC6120 10.1, 10.5; RFC6121 3.1.3, 4.3.2, 8.5; docs/mapping.md 15.8. What goes there is abroad.py's.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import structlog

from tripoint.accounts.ports import Account
from tripoint.core.ids import InvalidId, UserId
from tripoint.core.stand_ins import stand_in_address, stand_in_id
from tripoint.xmpp.blocked import is_blocked_by
from tripoint.xmpp.c2s.abroad import of_a_room
from tripoint.xmpp.c2s.kept_invitations import keep_invitation
from tripoint.xmpp.c2s.presence import answer_probe, received_subscription
from tripoint.xmpp.c2s.undelivered import say_undelivered
from tripoint.xmpp.c2s.users import LiveUser, Users
from tripoint.xmpp.jid import Jid, parse_jid, parse_user_jid
from tripoint.xmpp.messages import text_of
from tripoint.xmpp.newcomers import Newcomers
from tripoint.xmpp.pep.notify import NOTIFICATION
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.render import stanza_error
from tripoint.xmpp.router import drop_forged_ids
from tripoint.xmpp.session import Abroad, Carrier, Doors, Sink, XmppSession
from tripoint.xmpp.tables import (
    CLIENT_NS,
    DISCO_INFO_NS,
    DISCO_ITEMS_NS,
    PING_NS,
    PUBSUB_NS,
    STANZA_ERRORS_NS,
    TIME_NS,
    VCARD_NS,
    VERSION_NS,
)
from tripoint.xmpp.wire import Element, render

log = structlog.get_logger()

_ANYBODY: Final = frozenset({DISCO_INFO_NS, DISCO_ITEMS_NS, PING_NS, TIME_NS, VERSION_NS, VCARD_NS, PUBSUB_NS})
_SUBSCRIPTIONS: Final = frozenset({"subscribe", "subscribed", "unsubscribe", "unsubscribed"})


class Back:
    """Where the answers to a foreigner go."""

    def __init__(self, abroad: Abroad, ours: str, to: Jid) -> None:
        self._abroad, self._ours, self._to = abroad, ours, to

    def send(self, data: bytes) -> None:
        """A whole stanza, with its addresses."""
        self._abroad.send(data, self._ours, self._to)


class Nowhere:
    """Stands for the connection that a foreigner does not have here."""

    def end(self, condition: str, text: str, more: str = "") -> None:
        """Nothing ends."""

    def drained(self) -> None:
        """Nothing waits."""

    def hand_over(self) -> None:
        """Nothing is resumed."""


MakeVisitor = Callable[[Jid, Account, Sink, Carrier], XmppSession]


class Rooms(Protocol):
    """The rooms of this server, for people of others (muc/foreigners.py)."""

    async def handle(self, jid: Jid, account: Account, stanza: Element, to: Jid) -> None:
        """A stanza to a room or somebody in it."""

    def bounced(self, stanza: Element, problem: Problem) -> None:
        """A question that a room or the server asked, or an invitation, could not be delivered."""


class Foreign:
    """Delivers what other servers send. `visitor` makes the session as which a foreigner's stanza is handled."""

    def __init__(
        self, doors: Doors, users: Users, abroad: Abroad, newcomers: Newcomers, rooms: Rooms, visitor: MakeVisitor
    ) -> None:
        self._doors = doors
        self._users = users
        self._abroad = abroad
        self._newcomers = newcomers
        self._rooms = rooms
        self._visitor = visitor
        # Whether a message of a push service ends a registration (push.py).
        self.revoked: Callable[[UserId, str, Element], Awaitable[bool]] = _nothing_revoked

    def bounce(self, stanza: Element, problem: Problem) -> None:
        """A stanza of a client could not be delivered. spec: RFC6120 10.4.3"""
        sender = stanza.get("from") or ""
        session = self._users.session(sender)
        domains = self._doors.domains
        if sender == domains.server or sender.partition("/")[0].endswith(f"@{domains.rooms}"):
            self._rooms.bounced(stanza, problem)
        elif session is not None:
            session.refuse(stanza, problem)
        elif stanza.name == "iq":
            self._rooms.bounced(stanza, problem)
        elif stanza.name == "message":
            self._doors.spawn(self._say_so(parse_jid(sender), parse_jid(stanza.get("to") or ""), problem.text))

    async def deliver(self, stanza: Element) -> None:
        """Handle one stanza, whose domains were checked."""
        sender, to = parse_jid(stanza.get("from") or ""), parse_jid(stanza.get("to") or "")
        if stanza.name == "message":
            drop_forged_ids(stanza, self._doors.domains)
        try:
            user_id = stand_in_id(str(sender.bare), self._doors.domains.server)
        except InvalidId:
            if stanza.get("type") not in ("error", "result"):
                problem = Problem("policy-violation", "Your address is too long for this server")
                self._abroad.send(stanza_error(stanza, str(sender), problem), to.domain, sender)
            return
        account = Account(user_id, str(sender.bare), False, False, 0, False, False, False)
        if to.domain == self._doors.domains.rooms and to.local:
            await self._rooms.handle(sender, account, stanza, to)
            return
        visitor = self._visitor(sender, account, Back(self._abroad, to.domain, sender), Nowhere())
        await visitor.guarded(stanza, self._handle(visitor, stanza, to))

    async def _handle(self, visitor: XmppSession, stanza: Element, to: Jid) -> None:
        if stanza.name == "iq":
            await self._iq(visitor, stanza, to)
            return
        kind = stanza.get("type") or ""
        target = await self._account(to)
        if target is None:
            if stanza.name == "message" or kind == "subscribe":
                raise Problem("service-unavailable", "There is no such user here")
            return
        hidden = is_blocked_by(visitor, target)
        if stanza.name == "presence":
            # spec: XEP-0191 3.3: nothing comes from who is blocked
            if not hidden:
                await self._presence(visitor, stanza, to, target)
            return
        if hidden:
            raise Problem("service-unavailable", "There is nobody who takes this")
        await self._message(visitor, stanza, to, target)

    async def _account(self, to: Jid) -> UserId | None:
        """The local person with this address."""
        domains = self._doors.domains
        if to.domain != domains.server or not to.local:
            return None
        user_id = parse_user_jid(to, domains)
        if user_id is None or stand_in_address(user_id, domains.server) is not None:
            return None
        return user_id if await self._doors.accounts.is_local_user(user_id) else None

    # -- messages

    async def _message(self, visitor: XmppSession, stanza: Element, to: Jid, target: UserId) -> None:
        kind = stanza.get("type") or "normal"
        live = self._users.live(target)
        named = None if live is None or not to.resource else live.sessions.get(to.resource)
        in_room = named is not None and visitor.bare in named.rooms_abroad
        if kind == "error" and stanza.get("id") == NOTIFICATION and not to.resource:
            visitor.pep.contacts_abroad.gone(target, visitor.full)
            return
        if kind in ("groupchat", "error"):
            if named is not None:
                named.send(_as_it_is(stanza))
            elif kind == "error":
                error = stanza.child("error", CLIENT_NS)
                why = None if error is None else error.child_text("text", STANZA_ERRORS_NS)
                await self._say_so(to, visitor.jid, why or "their server does not take it")
            elif kind == "groupchat":
                # spec: RFC6121 8.5.2.1.1, 8.5.3.2.1
                raise Problem("service-unavailable", "There is no such resource")
            return
        if await visitor.muc.accept_direct_invitation(visitor, stanza, target):
            return
        if not to.resource and await self.revoked(target, str(visitor.jid), stanza):
            return
        if not visitor.jid.local or in_room or of_a_room(stanza):
            there = [named] if named is not None else [] if live is None else live.available()
            for session in there:
                session.send(_as_it_is(stanza))
            if not there:
                keep_invitation(self._doors, target, stanza, visitor.full)
            return
        text = text_of(stanza)
        if text is not None and text[1].blocks:
            await self._newcomers.make_known(visitor.user_id, visitor.jid)
        await visitor.dispatch(stanza)

    async def _say_so(self, writer: Jid, reader: Jid, why: str) -> None:
        """A message did not arrive that somebody wrote by another protocol, or from a client that is gone."""
        user_id = parse_user_jid(writer.bare, self._doors.domains)
        if user_id is not None:
            await say_undelivered(
                self._doors, user_id, stand_in_id(str(reader.bare), self._doors.domains.server), why
            )

    # -- presence

    async def _presence(self, visitor: XmppSession, stanza: Element, to: Jid, target: UserId) -> None:
        kind = stanza.get("type") or ""
        live = self._users.live(target)
        if kind == "":
            visitor.pep.contacts_abroad.heard(visitor, stanza, target)
        elif kind in ("unavailable", "error"):
            visitor.pep.contacts_abroad.gone(target, visitor.full)
        if kind in _SUBSCRIPTIONS:
            await received_subscription(visitor, kind, target, stanza)
        elif kind == "probe":
            await answer_probe(visitor, target)
        elif kind in ("", "unavailable", "error") and live is not None:
            for session in _hearers(live, to, visitor.jid, kind):
                session.send(_as_it_is(stanza))

    # -- requests

    async def _iq(self, visitor: XmppSession, stanza: Element, to: Jid) -> None:
        domains = self._doors.domains
        if stanza.get("type") in ("result", "error"):
            ours = to.domain == domains.server and not to.resource
            if ours and visitor.muc.questions.answered(visitor.jid, stanza):
                return
            if to.domain == domains.server and to.resource:
                await visitor.dispatch(stanza)
            return
        payload = stanza.first()
        served = to.domain == domains.server or (not to.local and to.domain == domains.rooms)
        person = to.domain == domains.server and bool(to.local)
        if person:
            target = await self._account(to)
            # spec: XEP-0191 3.3: as if they were not there
            served = target is not None and not is_blocked_by(visitor, target)
        if person and to.resource and served:
            await visitor.dispatch(stanza)
            return
        open_to_all = payload is not None and payload.namespace in _ANYBODY and stanza.get("type") == "get"
        if not served or not open_to_all:
            raise Problem("service-unavailable", "This is not offered to other servers")
        await visitor.dispatch(stanza)


async def _nothing_revoked(user_id: UserId, sender: str, message: Element) -> bool:
    return False


def _hearers(live: LiveUser, to: Jid, sender: Jid, kind: str) -> Sequence[XmppSession]:
    """Who is named, or those of a subscriber; of the end a contact hears who was one. spec: RFC6121 3.3.3,
    8.5.2.1.2, 8.5.3.1"""
    if to.resource:
        named = live.sessions.get(to.resource)
        return () if named is None else (named,)
    item = live.roster.get(str(sender.bare))
    if item is None or (kind != "unavailable" and item.subscription not in ("to", "both")):
        return ()
    return live.available()


def _as_it_is(stanza: Element) -> bytes:
    return render(stanza)


