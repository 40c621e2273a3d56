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


class Foreigner:
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


class Foreigners:
    """All of them. `make` makes a session that answers by the way to its server."""

    def __init__(self, doors: Doors, muc: Muc, newcomers: Newcomers, make: Make) -> None:
        self._doors = doors
        self._muc = muc
        self._newcomers = newcomers
        self._make = make
        self._foreigners: dict[str, Foreigner] = {}
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
        return len(self._foreigners)

    async def start(self) -> None:
        """Load who was here before."""
        await self._absences.start()

    # -- what comes

    async def handle(self, jid: Jid, account: Account, stanza: Element, to: Jid) -> None:
        """A stanza of somebody of another server, to a room or somebody in it."""
        full = str(jid)
        if stanza.get("type") in ("result", "error") and self._muc.questions.answered(jid, stanza):
            return
        if stanza.name == "message" and stanza.get("type") == "error" and not jid.resource and not to.resource:
            self._muc.invited.failed(str(to), full, _why(stanza))
            return
        foreigner = self._foreigners.get(full)
        now = self._doors.monotonic()
        if foreigner is not None:
            foreigner.heard_at = now
        if stanza.get("type") == "error" or (stanza.name == "iq" and stanza.get("type") == "result"):
            if foreigner is not None:
                self._answered(foreigner, stanza, to)
            return
        if foreigner is None:
            foreigner = Foreigner(self._make(jid, account), jid.domain, now)
        foreigner.busy += 1
        try:
            await foreigner.session.guarded(stanza, self._do(foreigner, stanza, to))
        finally:
            foreigner.busy -= 1
            self._settle(foreigner)

    def bounced(self, stanza: Element, problem: Problem) -> None:
        """A question that a room or the server asked, or an invitation, could not be delivered."""
        if stanza.name == "message":
            self._muc.invited.failed(stanza.get("from") or "", stanza.get("to") or "", problem.text)
        else:
            self._muc.questions.bounced(stanza, problem)

    async def _do(self, foreigner: Foreigner, stanza: Element, to: Jid) -> None:
        session = foreigner.session
        # Who leaves is let out, however fast.
        leaving = stanza.name == "presence" and stanza.get("type") is not None
        if not leaving and self._stanzas.take(foreigner.domain, self._doors.monotonic()):
            raise Problem("resource-constraint", "People of your server send too much to rooms here; wait a little")
        if stanza.name == "presence" and stanza.get("type") is None and stanza.child("x", MUC_NS) is not None:
            self._register(foreigner)
            await self._admit(session, to)
        elif stanza.name == "iq" and stanza.get("type") == "set" and stanza.child("query", REGISTER_NS) is not None:
            await self._newcomers.make_known(session.user_id, session.jid)
        await session.dispatch(stanza)
        if stanza.name == "presence" and stanza.get("type") is None and session.visits:
            show, status = presence_of(stanza)
            self._doors.presence.set(session.user_id, session.id, show, status)

    def _register(self, foreigner: Foreigner) -> None:
        """From now on the session is found. Raises Problem for too many."""
        session = foreigner.session
        if self._entries.take(foreigner.domain, self._doors.monotonic()):
            raise Problem("resource-constraint", "People of your server enter rooms too fast; try again later")
        if self._foreigners.get(session.full) is foreigner:
            return
        if len(self._foreigners) >= MAX_SESSIONS or self._of_domain[foreigner.domain] >= MAX_OF_DOMAIN:
            raise Problem("resource-constraint", "Too many people of other servers are in rooms here")
        if self._of_person[session.bare] >= MAX_RESOURCES:
            raise Problem("resource-constraint", f"At most {MAX_RESOURCES} of your clients are in rooms here")
        self._foreigners[session.full] = foreigner
        self._of_domain[foreigner.domain] += 1
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

    def _settle(self, foreigner: Foreigner) -> None:
        """A session that is in no room, and on its way to none, is not kept."""
        session = foreigner.session
        if foreigner.busy or session.visits or session.waiting or session.closed:
            return
        session.closed = True
        if self._foreigners.get(session.full) is not foreigner:
            return
        del self._foreigners[session.full]
        for counter, key in ((self._of_domain, foreigner.domain), (self._of_person, session.bare)):
            counter[key] -= 1
            if not counter[key]:
                del counter[key]
        self._doors.presence.session_down(session.user_id, session.id)

    # -- what does not arrive

    def _answered(self, foreigner: Foreigner, stanza: Element, to: Jid) -> None:
        """An error is that of something the room has sent, or an answer to the question whether they are there."""
        asked, kind = foreigner.asked, stanza.get("type")
        is_answer = stanza.name == "iq" and asked is not None and stanza.get("id") == asked[0]
        if stanza.name == "iq" and not is_answer:
            return
        if is_answer:
            foreigner.asked = None
            if kind == "result":
                foreigner.pongs = True
                return
        condition = _condition(stanza)
        if condition not in _GONE or (is_answer and condition == "service-unavailable" and not foreigner.pongs):
            return
        visit = foreigner.session.visits.get(str(to.bare))
        if visit is not None:
            self._drop(visit, f"Their server says: {condition}")
            self._settle(foreigner)

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
            mine = [foreigner for foreigner in self._foreigners.values() if foreigner.domain == theirs]
            for foreigner in mine[:MAX_ASKED]:
                self._ask(foreigner)

    def _drop_unreachable(self) -> None:
        domains, self._unreachable = self._unreachable, set()
        for foreigner in list(self._foreigners.values()):
            if foreigner.domain in domains:
                self._drop_all(foreigner, "Their server cannot be reached")

    def _drop_all(self, foreigner: Foreigner, why: str) -> None:
        for visit in list(foreigner.session.visits.values()):
            self._drop(visit, why)
        self._settle(foreigner)

    def _drop(self, visit: Visit, why: str) -> None:
        log.info("muc.foreigner_lost", room=visit.view.jid, foreigner=visit.session.full, reason=why)
        visit.view.drop_visit(visit, why)
        self._muc.close_if_empty(visit.view)

    def user_changed(self, change: UserChange) -> None:
        """Somebody was locked out here: their sessions end, as those of clients do."""
        if isinstance(change, SessionsEnded) and not change.device_ids:
            for foreigner in list(self._foreigners.values()):
                if foreigner.session.user_id == change.user_id:
                    self._drop_all(foreigner, change.reason)

    # -- now and then

    def sweep(self) -> None:
        """Forget who was removed, ask who is silent, end what was not answered."""
        now = self._doors.monotonic()
        for foreigner in list(self._foreigners.values()):
            if foreigner.asked is not None and now - foreigner.asked[1] > ANSWER_S:
                self._drop_all(foreigner, "They do not answer")
            elif foreigner.asked is None and now - foreigner.heard_at > ASK_AFTER_S:
                self._ask(foreigner)
            self._settle(foreigner)
        if now - self._looked_at >= LOOK_S and not self._looking:
            self._looked_at = now
            self._looking = True
            self._doors.spawn(self._look())

    def _ask(self, foreigner: Foreigner) -> None:
        """spec: XEP-0199 4; in the name of themselves in a room: that address has had their presence"""
        session = foreigner.session
        visit = next(iter(session.visits.values()), None)
        if visit is None:
            return
        self._asked += 1
        foreigner.asked = (f"there-{self._asked}", self._doors.monotonic())
        head = f"<iq type='get' id='{foreigner.asked[0]}' from='{escape_attribute(visit.occupant.jid)}'"
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
        for foreigner in self._foreigners.values():
            for visit in foreigner.session.visits.values():
                yield visit.view.room.room_id, foreigner.session.user_id


def _why(stanza: Element) -> str:
    """What an error says in words, or its condition."""
    error = stanza.child("error", CLIENT_NS)
    text = None if error is None else error.child_text("text", STANZA_ERRORS_NS)
    return text or _condition(stanza) or "their server does not take it"


def _condition(stanza: Element) -> str:
    """spec: RFC6120 8.3.2"""
    error = stanza.child("error", CLIENT_NS)
    if error is None:
        return ""
    found = (one.name for one in error.elements() if one.namespace == STANZA_ERRORS_NS and one.name != "text")
    return next(found, "")
