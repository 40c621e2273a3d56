"""People of other XMPP servers in the rooms here: a session for each of their resources, for as long as it is in one.

It does what a client's session does, through the same handlers. It ends with its last visit: by its own wish, by
somebody who may remove it, or when what is sent to it does not arrive. Who is silent for long is asked whether they are
still there; who does not answer is not.
spec: docs/mapping.md 1.7, 23.1; XEP-0045 7, 11.1, 18.1.2; XEP-0199 4; XEP-0410. How long they stay members is
absence.py's, and which rooms let them in the rooms' (rooms/foreigners.py).
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

import structlog

from tripoint.accounts.ports import Account
from tripoint.core.ids import server_of
from tripoint.core.token_bucket import Rate, TokenBuckets
from tripoint.rooms.changes import SessionsEnded, UserChange
from tripoint.rooms.foreigners import OTHER_SERVER, check_foreigner
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.xmpp.c2s.presence import presence_of
from tripoint.xmpp.c2s.users import MAX_RESOURCES
from tripoint.xmpp.jid import Jid
from tripoint.xmpp.muc.absence import Absences, Place
from tripoint.xmpp.muc.service import Muc
from tripoint.xmpp.muc.view import Visit
from tripoint.xmpp.newcomers import Newcomers
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.session import Doors, XmppSession
from tripoint.xmpp.tables import CLIENT_NS, MUC_NS, PING_NS, REGISTER_NS, STANZA_ERRORS_NS
from tripoint.xmpp.wire import Element, escape_attribute

log = structlog.get_logger()

# Sessions of all other servers, and of one: each is some kilobytes.
MAX_SESSIONS: Final = 20_000
MAX_OF_DOMAIN: Final = 5_000
# How often the people of one domain enter rooms. docs/mapping.md 24
ENTRIES: Final = Rate(200, 5.0)
# What the people of one domain send to rooms, over all its streams.
STANZAS: Final = Rate(1000, 100.0)
# Who was silent for so long is asked, and has so long to answer.
ASK_AFTER_S: Final = 900.0
ANSWER_S: Final = 300.0
# How often it is looked who is present.
LOOK_S: Final = 60.0
# Asked at once when the connection to their server broke.
MAX_ASKED: Final = 200

# spec: XEP-0045 18.1.2; service-unavailable is what servers say of a resource that is not there (RFC6121 8.5.3.2)
_GONE: Final = frozenset(
    {
        "gone",
        "item-not-found",
        "recipient-unavailable",
        "redirect",
        "remote-server-not-found",
        "remote-server-timeout",
        "service-unavailable",
    }
)

OTHER_WAY: Final = "Your server is a Matrix server too: join this room through it, where you are the same person"

Make = Callable[[Jid, Account], XmppSession]


class Visitor:
    """One resource of somebody of another server. `busy`: how many of its stanzas are being handled; `asked`: the id
    of the question whether it is there, and since when that waits."""

    __slots__ = ("asked", "busy", "domain", "heard_at", "pongs", "session")

    def __init__(self, session: XmppSession, domain: str, now: float) -> None:
        self.session = session
        self.domain = domain
        self.busy = 0
        self.heard_at = now
        self.asked: tuple[str, float] | None = None
        # Has answered such a question: from now on service-unavailable says that it is gone.
        self.pongs = False


class Visitors:
    """All of them. `make` makes a session that answers by the way to its server."""

    def __init__(self, doors: Doors, muc: Muc, newcomers: Newcomers, make: Make) -> None:
        self._doors = doors
        self._muc = muc
        self._newcomers = newcomers
        self._make = make
        self._visitors: dict[str, Visitor] = {}
        self._of_domain: Counter[str] = Counter()
        self._of_person: Counter[str] = Counter()
        self._entries = TokenBuckets(ENTRIES)
        self._stanzas = TokenBuckets(STANZAS)
        self._absences = Absences(doors)
        self._present: set[Place] = set()
        self._looked_at = doors.monotonic()
        self._looking = False
        self._unreachable: set[str] = set()
        self._asked = 0

    def __len__(self) -> int:
        return len(self._visitors)

    async def start(self) -> None:
        """Load who was here before."""
        await self._absences.start()

    # -- what comes

    async def handle(self, jid: Jid, account: Account, stanza: Element, to: Jid) -> None:
        """A stanza of somebody of another server, to a room or somebody in it."""
        full = str(jid)
        if stanza.get("type") in ("result", "error") and self._muc.questions.answered(jid, stanza):
            return
        visitor = self._visitors.get(full)
        now = self._doors.monotonic()
        if visitor is not None:
            visitor.heard_at = now
        if stanza.get("type") == "error" or (stanza.name == "iq" and stanza.get("type") == "result"):
            if visitor is not None:
                self._answered(visitor, stanza, to)
            return
        if visitor is None:
            visitor = Visitor(self._make(jid, account), jid.domain, now)
        visitor.busy += 1
        try:
            await visitor.session.guarded(stanza, self._do(visitor, stanza, to))
        finally:
            visitor.busy -= 1
            self._settle(visitor)

    def bounced(self, stanza: Element, problem: Problem) -> None:
        """A question of a room could not be delivered."""
        self._muc.questions.bounced(stanza, problem)

    async def _do(self, visitor: Visitor, stanza: Element, to: Jid) -> None:
        session = visitor.session
        # Who leaves is let out, however fast.
        leaving = stanza.name == "presence" and stanza.get("type") is not None
        if not leaving and self._stanzas.take(visitor.domain, self._doors.monotonic()):
            raise Problem("resource-constraint", "People of your server send too much to rooms here; wait a little")
        if stanza.name == "presence" and stanza.get("type") is None and stanza.child("x", MUC_NS) is not None:
            self._register(visitor)
            await self._admit(session, to)
        elif stanza.name == "iq" and stanza.get("type") == "set" and stanza.child("query", REGISTER_NS) is not None:
            await self._newcomers.make_known(session.user_id, session.jid)
        await session.dispatch(stanza)
        if stanza.name == "presence" and stanza.get("type") is None and session.visits:
            show, status = presence_of(stanza)
            self._doors.presence.set(session.user_id, session.id, show, status)

    def _register(self, visitor: Visitor) -> None:
        """From now on the session is found. Raises Problem for too many."""
        session = visitor.session
        if self._entries.take(visitor.domain, self._doors.monotonic()):
            raise Problem("resource-constraint", "People of your server enter rooms too fast; try again later")
        if self._visitors.get(session.full) is visitor:
            return
        if len(self._visitors) >= MAX_SESSIONS or self._of_domain[visitor.domain] >= MAX_OF_DOMAIN:
            raise Problem("resource-constraint", "Too many people of other servers are in rooms here")
        if self._of_person[session.bare] >= MAX_RESOURCES:
            raise Problem("resource-constraint", f"At most {MAX_RESOURCES} of your clients are in rooms here")
        self._visitors[session.full] = visitor
        self._of_domain[visitor.domain] += 1
        self._of_person[session.bare] += 1

    async def _admit(self, session: XmppSession, to: Jid) -> None:
        """Whether the room is one for people of other servers, before anybody stands for them. docs/mapping.md 23.1"""
        server, user_id = self._doors.domains.server, session.user_id
        if self._doors.domains.same.server_of(session.jid.domain) is not None:
            # docs/mapping.md 23.4
            raise Refused(Refusal.FOREIGNERS_FORBIDDEN, OTHER_WAY)
        named = self._muc.named(to)
        if named.startswith("#") and server_of(named) != server:
            raise Refused(Refusal.FOREIGNERS_FORBIDDEN, OTHER_SERVER)
        room_id = await self._muc.find(session, to)
        if room_id is None:
            # spec: XEP-0045 7.2, table 9: not-allowed where rooms cannot be created
            text = "There is no such room, and people of other servers make none here"
            raise Refused(Refusal.FOREIGNERS_FORBIDDEN, text)
        room = await self._doors.reader.room(room_id)
        if not room.is_here(server):
            raise Refused(Refusal.FOREIGNERS_FORBIDDEN, OTHER_SERVER)
        if room.membership(user_id) == "ban":
            raise Refused(Refusal.BANNED)
        check_foreigner(room, user_id, server)
        await self._newcomers.make_known(user_id, session.jid)
        self._absences.present((room_id, user_id))

    def _settle(self, visitor: Visitor) -> None:
        """A session that is in no room, and on its way to none, is not kept."""
        session = visitor.session
        if visitor.busy or session.visits or session.waiting or session.closed:
            return
        session.closed = True
        if self._visitors.get(session.full) is not visitor:
            return
        del self._visitors[session.full]
        for counter, key in ((self._of_domain, visitor.domain), (self._of_person, session.bare)):
            counter[key] -= 1
            if not counter[key]:
                del counter[key]
        self._doors.presence.session_down(session.user_id, session.id)

    # -- what does not arrive

    def _answered(self, visitor: Visitor, stanza: Element, to: Jid) -> None:
        """An error is that of something the room has sent, or an answer to the question whether they are there."""
        asked, kind = visitor.asked, stanza.get("type")
        is_answer = stanza.name == "iq" and asked is not None and stanza.get("id") == asked[0]
        if stanza.name == "iq" and not is_answer:
            return
        if is_answer:
            visitor.asked = None
            if kind == "result":
                visitor.pongs = True
                return
        condition = _condition(stanza)
        if condition not in _GONE or (is_answer and condition == "service-unavailable" and not visitor.pongs):
            return
        visit = visitor.session.visits.get(str(to.bare))
        if visit is not None:
            self._drop(visit, f"Their server says: {condition}")
            self._settle(visitor)

    def unreachable(self, ours: str, theirs: str) -> None:
        """Nothing can be sent to a domain. May be called while a room is told something: what follows from it is done
        afterwards."""
        if ours != self._doors.domains.rooms or not self._of_domain[theirs]:
            return
        if not self._unreachable:
            self._doors.call_later(0, self._drop_unreachable)
        self._unreachable.add(theirs)

    def broken(self, ours: str, theirs: str) -> None:
        """The connection to a domain broke, and what was on its way may be lost: are they still there?"""
        if ours == self._doors.domains.rooms and self._of_domain[theirs]:
            mine = [visitor for visitor in self._visitors.values() if visitor.domain == theirs]
            for visitor in mine[:MAX_ASKED]:
                self._ask(visitor)

    def _drop_unreachable(self) -> None:
        domains, self._unreachable = self._unreachable, set()
        for visitor in list(self._visitors.values()):
            if visitor.domain in domains:
                self._drop_all(visitor, "Their server cannot be reached")

    def _drop_all(self, visitor: Visitor, why: str) -> None:
        for visit in list(visitor.session.visits.values()):
            self._drop(visit, why)
        self._settle(visitor)

    def _drop(self, visit: Visit, why: str) -> None:
        log.info("muc.visitor_lost", room=visit.view.jid, visitor=visit.session.full, reason=why)
        visit.view.drop_visit(visit, why)
        self._muc.close_if_empty(visit.view)

    def user_changed(self, change: UserChange) -> None:
        """Somebody was locked out here: their sessions end, as those of clients do."""
        if isinstance(change, SessionsEnded) and not change.device_ids:
            for visitor in list(self._visitors.values()):
                if visitor.session.user_id == change.user_id:
                    self._drop_all(visitor, change.reason)

    # -- now and then

    def sweep(self) -> None:
        """Forget who was removed, ask who is silent, end what was not answered."""
        now = self._doors.monotonic()
        for visitor in list(self._visitors.values()):
            if visitor.asked is not None and now - visitor.asked[1] > ANSWER_S:
                self._drop_all(visitor, "They do not answer")
            elif visitor.asked is None and now - visitor.heard_at > ASK_AFTER_S:
                self._ask(visitor)
            self._settle(visitor)
        if now - self._looked_at >= LOOK_S and not self._looking:
            self._looked_at = now
            self._looking = True
            self._doors.spawn(self._look())

    def _ask(self, visitor: Visitor) -> None:
        """spec: XEP-0199 4; in the name of themselves in a room: that address has had their presence"""
        session = visitor.session
        visit = next(iter(session.visits.values()), None)
        if visit is None:
            return
        self._asked += 1
        visitor.asked = (f"there-{self._asked}", self._doors.monotonic())
        head = f"<iq type='get' id='{visitor.asked[0]}' from='{escape_attribute(visit.occupant.jid)}'"
        session.send(head.encode() + session.to + f"><ping xmlns='{PING_NS}'/></iq>".encode())

    async def _look(self) -> None:
        """Note who is present, and since when the others are not."""
        try:
            before, self._present = self._present, set(self._places())
            for place in self._present:
                self._absences.present(place)
            for place in before - self._present:
                self._absences.gone(place)
            await self._absences.see_out(self._present)
        finally:
            self._looking = False

    def _places(self) -> Iterator[Place]:
        for visitor in self._visitors.values():
            for visit in visitor.session.visits.values():
                yield visit.view.room.room_id, visitor.session.user_id


def _condition(stanza: Element) -> str:
    """spec: RFC6120 8.3.2"""
    error = stanza.child("error", CLIENT_NS)
    if error is None:
        return ""
    found = (one.name for one in error.elements() if one.namespace == STANZA_ERRORS_NS and one.name != "text")
    return next(found, "")
