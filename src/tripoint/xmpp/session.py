"""A logged-in party: one bound resource of one account, its presence, the rooms it is in, its stanzas in order.

Handlers answer through here and never write to a socket. A session knows the doors of the middle (Doors) and
the places where sessions meet: Users (presence, roster, one-to-one), Muc (rooms), Pep (what accounts publish).
spec: RFC6120 10.1 (stanzas of one stream are handled in order), RFC6121 4; docs/mapping.md 4.
Read next: router.py (what happens to a stanza), c2s/users.py, muc/service.py.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

import structlog

from tripoint.accounts.ports import Account, AccountService, ServiceDesk
from tripoint.accounts.refusals import AccountRefused, NodeRefused
from tripoint.core.attachment import Attachment
from tripoint.core.ids import DeviceId, EventId, UserId
from tripoint.core.turn import NO_SERVERS, TurnServers
from tripoint.fanout.delivery import Outbox
from tripoint.media.ports import Media
from tripoint.media.refusals import MediaRefused
from tripoint.net.connections import CallLater
from tripoint.rooms.commands import Origin
from tripoint.rooms.ports import NameTable, PresenceService, RoomReader, RoomService
from tripoint.rooms.refusals import Refused
from tripoint.xmpp.acks import WRAP
from tripoint.xmpp.idle import Held, change_state
from tripoint.xmpp.jid import Domains, Jid
from tripoint.xmpp.management import Managed, manage
from tripoint.xmpp.refusals import Problem, problem_of
from tripoint.xmpp.render import Shared, iq_result, stanza_error, to_attribute
from tripoint.xmpp.tables import CSI_NS, SM_NS
from tripoint.xmpp.wire import Element

if TYPE_CHECKING:
    from tripoint.xmpp.c2s.direct import DirectMessages
    from tripoint.xmpp.c2s.missed import Missed
    from tripoint.xmpp.c2s.users import LiveUser, Users
    from tripoint.xmpp.caps import Caps
    from tripoint.xmpp.muc.joining import Waiting
    from tripoint.xmpp.muc.service import Muc
    from tripoint.xmpp.muc.view import Visit
    from tripoint.xmpp.pep.service import Pep
    from tripoint.xmpp.pictures import Pictures
    from tripoint.xmpp.resumption import Resumptions

log = structlog.get_logger()

# How many stanzas of one stream may wait before its socket is read no further: TCP then holds the sender back.
BACKLOG_STANZAS = 64
# How many stanzas may wait for a client to be told that it is bound.
MAX_PENDING = 1000
# How many questions of one client may wait for other servers.
MAX_LATER = 20
# It is stored with every message; clients use 36 characters, some add a prefix.
MAX_STANZA_ID = 256
# What every session has at first: an empty set of its own would be 200 bytes.
_NONE: frozenset[str] = frozenset()

Spawn = Callable[[Coroutine[object, object, None]], None]
Dispatch = Callable[["XmppSession", Element], Awaitable[None]]


class Sink(Protocol):
    """Where a session's stanzas go: an Outbox, or what stands before it."""

    def send(self, data: bytes) -> None: ...


class Carrier(Protocol):
    """What a session is connected by: a stream, or what stands in for one."""

    def end(self, condition: str, text: str, more: str = "") -> None:
        """End the session with a stream error."""

    def drained(self) -> None:
        """More may be read."""

    def hand_over(self) -> None:
        """The session goes on elsewhere."""


class Abroad(Protocol):
    """The way to components and other servers (outside.py)."""

    def reaches(self, domain: str) -> bool:
        """Whether there is a way to a domain that is not ours, so far as can be told without trying."""

    def send(self, stanza: bytes, ours: str, to: Jid, original: Element | None = None) -> None:
        """A whole stanza, with its addresses, from one of our domains; `original` goes back where it cannot."""


@dataclass(frozen=True, slots=True)
class Doors:
    """The doors of the middle, and what comes from outside: names, clock, background work.

    `spawn` runs a coroutine and owns it; `call_later` is the loop's. `secret` is the server's own, stable over
    restarts; occupant ids are derived from it.
    """

    domains: Domains
    rooms: RoomService
    reader: RoomReader
    accounts: AccountService
    presence: PresenceService
    names: NameTable
    now_ms: Callable[[], int]
    monotonic: Callable[[], float]
    spawn: Spawn
    call_later: CallLater
    secret: bytes
    media: Media
    pictures: "Pictures"
    desk: ServiceDesk | None = None
    contacts: tuple[tuple[str, str], ...] = ()  # what for, and an address: those who run the server (XEP-0157)
    turn: TurnServers = NO_SERVERS  # what helps calls through firewalls
    status_addresses: tuple[str, ...] = ()  # where clients look when this server does not answer (XEP-0455)
    abroad: Abroad | None = None  # None: this server talks to nobody else
    services: tuple[tuple[str, str], ...] = ()  # domains of components, and their titles

    def url_of(self, event_id: EventId) -> Callable[[Attachment], str | None]:
        """Gives the addresses of the files of one event."""
        return partial(self.media.links.url, event_id)


class XmppSession:
    """One bound resource. `id` is unique over all sessions of the process and names the origin of commands."""

    __slots__ = (
        "_allowance",
        "_allowance_at",
        "_backlog",
        "_burst",
        "_busy",
        "_dispatch",
        "_ending",
        "_held",
        "_later",
        "_per_s",
        "_rested",
        "_resumptions",
        "_wire",
        "account",
        "address",
        "bare",
        "blocklist",
        "bookmarks_seen",
        "caps",
        "caps_query",
        "carbons",
        "carrier",
        "closed",
        "device_id",
        "direct",
        "directed",
        "doors",
        "foreign",
        "full",
        "hearing_since",
        "hears",
        "hides_photo",
        "id",
        "installation",
        "interested",
        "jid",
        "let_in_by",
        "managed",
        "missed",
        "muc",
        "outbox",
        "pep",
        "presence",
        "priority",
        "reads_archive",
        "rooms_abroad",
        "secure",
        "shows",
        "to",
        "user",
        "user_id",
        "users",
        "versions",
        "visits",
        "waiting",
        "wants",
    )

    def __init__(
        self,
        session_id: str,
        jid: Jid,
        account: Account,
        device_id: DeviceId,
        outbox: Sink,
        doors: Doors,
        stanzas_burst: float,
        stanzas_per_s: float,
        *,
        users: "Users",
        muc: "Muc",
        direct: "DirectMessages",
        missed: "Missed",
        pep: "Pep",
        dispatch: Dispatch,
        carrier: Carrier,
        resumptions: "Resumptions",
        secure: bool,
    ) -> None:
        self.id = session_id
        self.jid = jid
        self.full = str(jid)
        self.bare = str(jid.bare)
        self.to = to_attribute(self.full)
        self.account = account
        self.address = ""  # from where it is connected; the stream knows
        self.user_id: UserId = account.user_id
        self.device_id = device_id
        # The device whose access token let this client in (RFC 7628): it ends with it.
        self.let_in_by: DeviceId | None = None
        # Where stanzas go: the connection's outbox, behind what counts them and what holds them back.
        self.outbox: Sink = outbox
        self._wire: Sink | None = outbox
        self.managed: Managed | None = None
        # Which installation of a client it is, where that says so (XEP-0388 2.3).
        self.installation: str | None = None
        # Finds by itself in the archive what it missed (XEP-0386 3.2).
        self.reads_archive = False
        self._held: Held | None = None
        self._resumptions = resumptions
        self.carrier = carrier
        self.doors = doors
        self.users = users
        self.muc = muc
        self.direct = direct
        self.missed = missed
        self.pep = pep
        self.user: LiveUser | None = None  # set by Users.add
        # Available presence as the others see it (its children); None while not available.
        self.presence: str | None = None
        self.priority = 0
        self.hears = False  # takes one-to-one messages, as presence of no negative priority says
        self.hearing_since = 0  # the position from which on it takes one-to-one messages
        self.carbons = False  # wants copies of what other resources send and get
        self.interested = False  # asked for the roster: gets roster pushes
        self.versions = False  # keeps the roster that it got, and wants to know its version
        self.directed: dict[str, Jid] = {}
        self.visits: dict[str, Visit] = {}  # by bare room JID
        self.rooms_abroad = _NONE  # bare JIDs of rooms of other XMPP servers that it has asked to enter
        # What its presence says of its features, the id of the question what these are, and the nodes that it wants to
        # hear of (pep/capabilities.py).
        self.caps: Caps | None = None
        self.caps_query: str | None = None
        self.wants = _NONE
        self.shows = _NONE  # features of messages that its client shows (caps.SHOWN)
        self.hides_photo = False  # wants its avatar not to be named in its presence (c2s/photos.py)
        # The bookmarks that its list had when it last got it (pep/old_bookmarks.py).
        self.bookmarks_seen = _NONE
        # Asked for its list of blocked people, and hears when that changes (XEP-0191 3.3).
        self.blocklist = False
        self.secure = secure
        # It stands for somebody of another server while one stanza of theirs is handled (c2s/foreign.py).
        self.foreign = False
        # Rooms of other servers that this client waits to enter, by bare JID (muc/joining.py).
        self.waiting: dict[str, Waiting] = {}
        self.closed = False
        self._dispatch = dispatch
        # A token bucket over stanzas: who sends faster waits. docs/mapping.md 24
        self._burst = self._allowance = stanzas_burst
        self._per_s = stanzas_per_s
        self._allowance_at = doors.monotonic()
        self._backlog: deque[Element] | None = None  # an empty one is 760 bytes, so there is one while it is needed
        self._busy = False
        self._ending: tuple[str, str, str] | None = None
        self._rested: asyncio.Future[None] | None = None
        self._later = 0

    # -- going out

    def send(self, data: bytes) -> None:
        """A whole stanza for this client; it leaves at the end of the loop's turn."""
        self.outbox.send(data)

    def send_shared(self, shared: Shared) -> None:
        self.outbox.send(shared.head + self.to + shared.tail)

    def answer(self, iq: Element, xml: str = "") -> None:
        """The result of an IQ."""
        self.outbox.send(iq_result(iq, self.full, xml))

    def refuse(self, stanza: Element, problem: Problem, by: str = "") -> None:
        """The error that answers a stanza; errors and results are never answered. spec: RFC6120 8.3.1"""
        if stanza.get("type") in ("error", "result"):
            return
        self.outbox.send(stanza_error(stanza, self.full, problem, by))

    def hold_back(self) -> None:
        """Keep what comes until the client knows that it is bound (see go)."""
        self.outbox = _Pending(self)

    def go(self) -> list[bytes]:
        """What was kept; from now on everything is sent."""
        pending = self.outbox
        self._rewire()
        return pending.stanzas if isinstance(pending, _Pending) else []

    def send_nonza(self, data: bytes) -> None:
        """What is no stanza: it is not counted and never sent twice; nothing where there is no connection."""
        if self._wire is not None:
            self._wire.send(data)

    # -- the connection below

    def begin_management(self, *, resumable: bool, wished_s: int | None) -> Managed | None:
        """From now on what is sent is counted and kept; None where the connection is gone. spec: XEP-0198 3"""
        if self._wire is None:
            return None
        self.managed = self._resumptions.begin(self, self._wire, resumable=resumable, wished_s=wished_s)
        self._rewire()
        return self.managed

    def set_active(self, active: bool) -> None:
        """Whether somebody looks at the client. What can wait is held back while nobody does. spec: XEP-0352"""
        if active == (self._held is None):
            return
        if self._held is not None:
            self._held.flush()
            self._held = None
        else:
            self._held = Held(self._counted().send)
        self._rewire()

    def _counted(self) -> Sink:
        """What stands right before the connection."""
        if self.managed is not None:
            return self.managed
        assert self._wire is not None  # a session without a connection is managed
        return self._wire

    def _rewire(self) -> None:
        counted = self._counted()
        if self._held is not None:
            self._held.pass_to(counted.send)
        self.outbox = counted if self._held is None else self._held
        for visit in self.visits.values():
            visit.view.sends_by(visit)

    def detach(self, carrier: Carrier) -> None:
        """The connection is gone; `carrier` stands in for it."""
        assert self.managed is not None  # else it has ended
        self._wire = None
        self.managed.lost()
        self.carrier = carrier

    def attach(self, carrier: Carrier, outbox: Outbox, h: int) -> None:
        """There is a connection again. Raises HandledTooMuch. spec: XEP-0198 5, XEP-0352 5.2"""
        assert self.managed is not None
        self.managed.go_on(outbox, h)
        self._wire = outbox
        self.carrier = carrier
        self._resumptions.resumed(self)
        self.set_active(True)

    @property
    def is_past_resuming(self) -> bool:
        return self.managed is None or self.managed.is_past_resuming

    async def rest(self) -> None:
        """Wait until everything that was received has been handled."""
        while self._busy:
            if self._rested is None:
                self._rested = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._rested)

    # -- coming in

    def receive(self, stanza: Element) -> bool:
        """Take a stanza; False asks the listener to read no further until on_drained."""
        backlog = self._backlog
        if backlog is None:
            backlog = self._backlog = deque()
        backlog.append(stanza)
        if not self._busy:
            self._busy = True
            self.doors.spawn(self._work(backlog))
        return len(backlog) < BACKLOG_STANZAS

    async def _work(self, backlog: deque[Element]) -> None:
        """Handle what waits, one stanza after the other."""
        try:
            while backlog and not self.closed:
                stanza = backlog.popleft()
                if stanza.namespace in _NONZAS:
                    _NONZAS[stanza.namespace](self, stanza)
                    if self._ending is not None:
                        self.carrier.end(*self._ending)
                        break
                    continue
                wait_s = self._owed()
                if wait_s:
                    await asyncio.sleep(wait_s)
                await self._handle(stanza)
                if self.managed is not None:
                    self.managed.handled = (self.managed.handled + 1) % WRAP
                if self._ending is not None:
                    self.carrier.end(*self._ending)
                    break
                if len(backlog) == BACKLOG_STANZAS // 2:
                    self.carrier.drained()
        finally:
            self._busy = False
            self._backlog = None
            self.carrier.drained()
            rested, self._rested = self._rested, None
            if rested is not None and not rested.done():
                rested.set_result(None)

    def _owed(self) -> float:
        """Seconds that the next stanza has to wait."""
        if self._per_s <= 0:
            return 0.0
        now = self.doors.monotonic()
        self._allowance = min(self._burst, self._allowance + (now - self._allowance_at) * self._per_s) - 1
        self._allowance_at = now
        return max(0.0, -self._allowance / self._per_s)

    async def _handle(self, stanza: Element) -> None:
        await self.guarded(stanza, self.dispatch(stanza))

    def dispatch(self, stanza: Element) -> Awaitable[None]:
        """Hand a stanza to its handler, which may raise."""
        return self._dispatch(self, stanza)

    def later(self, iq: Element, xml: Coroutine[object, object, str]) -> None:
        """Answer an IQ with what `xml` gives, when it does; other stanzas do not wait for it.

        For questions that another server has to answer. Problem where too many are open.
        """
        if self._later >= MAX_LATER:
            xml.close()
            raise Problem("resource-constraint", "You have asked too much that other servers have to answer")
        self._later += 1
        self.doors.spawn(self._answer_later(iq, xml))

    async def _answer_later(self, iq: Element, xml: Coroutine[object, object, str]) -> None:
        async def answer() -> None:
            self.answer(iq, await xml)

        try:
            await self.guarded(iq, answer())
        finally:
            self._later -= 1

    async def guarded(self, stanza: Element, work: Awaitable[None]) -> None:
        """Do what a stanza asks for; whatever goes wrong answers it."""
        try:
            await work
        except Problem as problem:
            self.refuse(stanza, problem, _answering(stanza))
        except (Refused, AccountRefused, NodeRefused, MediaRefused) as refused:
            self.refuse(stanza, problem_of(refused), _answering(stanza))
        except Exception:
            # A bug: told to us with its trace, to the client as what it is. Nothing else of the stream suffers.
            log.exception("xmpp.handler_failed", stanza=stanza.name, session=self.id)
            self.refuse(stanza, Problem("internal-server-error", "The server could not do this"))

    def end(self, condition: str, text: str, more: str = "") -> None:
        """End the stream from our side; what is being handled is answered first."""
        if self._busy:
            self._ending = (condition, text, more)
        else:
            self.carrier.end(condition, text, more)


class _Pending:
    """Stanzas for a session whose client does not know yet that it is bound: of the moments that a look into the
    archive takes."""

    __slots__ = ("_session", "stanzas")

    def __init__(self, session: XmppSession) -> None:
        self._session = session
        self.stanzas: list[bytes] = []

    def send(self, data: bytes) -> None:
        """A whole stanza."""
        self.stanzas.append(data)
        if len(self.stanzas) == MAX_PENDING:
            self._session.end("resource-constraint", "More came for you than can wait")


# What else than stanzas is taken in their order, by namespace.
_NONZAS: dict[str, Callable[[XmppSession, Element], None]] = {SM_NS: manage, CSI_NS: change_state}


def origin_of(session: XmppSession, stanza: Element) -> Origin:
    """Who asks, and the stanza's id as the mark that is kept with what it becomes. docs/mapping.md 11

    Raises Problem for an id that is longer than anybody's.
    """
    stanza_id = stanza.get("id")
    if stanza_id is not None and len(stanza_id) > MAX_STANZA_ID:
        raise Problem("policy-violation", f"The id of a stanza has at most {MAX_STANZA_ID} characters here")
    return Origin(session.id, stanza_id, keep=stanza_id is not None)


def _answering(stanza: Element) -> str:
    """Who says no: the bare address of where the stanza went. spec: RFC6120 8.3.2 (by), XEP-0045 7.2.1"""
    return (stanza.get("to") or "").partition("/")[0]
