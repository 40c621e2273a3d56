"""One-to-one messages: what is kept goes through the direct room of the two users, and is seen on every protocol.

spec: RFC6121 8.5; docs/mapping.md 15.1-15.7. Messages come from one_to_one.py, abroad.py, and those to occupants of a
room from muc/messages.py, through send(). What was missed is missed.py's, what is said of earlier messages
relating.py's, copies are carbons.py's.
"""

from dataclasses import dataclass, replace
from typing import Final

import structlog

from tripoint.core.ids import EventId, InvalidId, RoomId, UserId, parse_user_id, server_of
from tripoint.core.message import MessageKind
from tripoint.core.richtext import RichText
from tripoint.core.sealed import BARE
from tripoint.core.stand_ins import stand_in_address
from tripoint.fanout.hub import Hub
from tripoint.rooms.changes import EventCommitted, RoomChange
from tripoint.rooms.commands import OpenDirect, Origin, SendEvent
from tripoint.rooms.ports import RoomView
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.succession import replacement_of
from tripoint.xmpp.c2s.carbons import copy_to, is_private, wants_copies
from tripoint.xmpp.c2s.conversation import MESSAGE, caption, said, taken_back
from tripoint.xmpp.c2s.markers import send_receipt, take_request
from tripoint.xmpp.c2s.undelivered import say_undelivered
from tripoint.xmpp.c2s.upload import pasted
from tripoint.xmpp.c2s.users import LiveUser, Users
from tripoint.xmpp.corrections import corrected
from tripoint.xmpp.jid import parse_jid
from tripoint.xmpp.links import link_rooms
from tripoint.xmpp.messages import content_of, text_of
from tripoint.xmpp.payloads import bare_content, is_said
from tripoint.xmpp.reactions import REACTION, is_word, reacted_to, reactions_of, reactions_xml
from tripoint.xmpp.render import Shared, stanza_id, to_attribute
from tripoint.xmpp.replies import relation_of
from tripoint.xmpp.session import Doors, XmppSession, origin_of
from tripoint.xmpp.stanza_facts import NO_FACTS, StanzaFacts, facts_between_two, facts_in
from tripoint.xmpp.tables import CLIENT_NS, RECEIPTS_NS
from tripoint.xmpp.wire import Element, escape_attribute

log = structlog.get_logger()

_TOLD = frozenset({REACTION, "m.room.redaction"})
# The command that opens a conversation beside an encrypted one (account_commands.py).
PLAIN_DIRECT: Final = "Unencrypted conversation"
# Rooms of two that are looked up once; a busy server has some thousands of them alive.
_REMEMBERED_PAIRS = 20_000
# How many conversations are looked at for what was missed.
MISSED_ROOMS = 50

# Asks for a receipt. spec: XEP-0184 5.3
REQUEST: Final = f"<request xmlns='{RECEIPTS_NS}'/>"

Pair = tuple[UserId, UserId]
Said = tuple[MessageKind, RichText]


@dataclass(frozen=True, slots=True)
class Route:
    """How a message that is being sent is addressed: `to` a full JID, or `from_` an occupant's address."""

    to: str | None = None
    from_: str | None = None
    inside: str = ""
    only: frozenset[str] | None = None  # sessions that know the occupant; the others get the bare address
    private: bool = False  # no copies (XEP-0280 9)
    sender: str | None = None  # the full JID of a sender of another server
    at: tuple[str, ...] = ()  # full JIDs of a reader of another server who is in the room of `from_`
    receipt: bool = False  # the reader's client is asked for a receipt (XEP-0184)


class DirectMessages:
    """Sends one-to-one messages into direct rooms, and delivers what is said there, wherever it was said."""

    def __init__(self, doors: Doors, users: Users, hub: Hub) -> None:
        self._doors = doors
        self._users = users
        # () stands for "no direct room"; unknown rooms are not in it.
        self._pairs: dict[RoomId, Pair | tuple[()]] = {}
        self._rooms: dict[Pair, RoomId] = {}
        self._undecided: dict[RoomId, list[EventCommitted]] = {}
        self._routes: dict[tuple[str, str | None], Route] = {}
        # Of what was told last.
        self.last_position = 0
        # The position of what is being delivered now; a managed session remembers it with the stanza.
        self.position = 0
        hub.watch_all_rooms(self._changed)

    # -- sending

    async def send(
        self, session: XmppSession, stanza: Element, text: Said | None, target: UserId, route: Route
    ) -> None:
        """A message that says something, from `session` to `target`; or without a text, one that is kept for clients
        of XMPP alone. Raises Refused, Problem."""
        abroad = stand_in_address(target, self._doors.domains.server) is not None
        wants_receipt = take_request(stanza)
        if session.foreign:
            route = replace(route, sender=session.full)
        if wants_receipt is not None and (abroad or self._is_heard_by_client(session, target, route)):
            # spec: XEP-0184 5.3: it is for their client to say that it has come
            route, wants_receipt = replace(route, receipt=True), None
        room = await self._room(session.user_id, target)
        relation = await relation_of(session, room, stanza, (target, session.user_id))
        if text is not None and relation.answers is not None:
            text = text_of(stanza, relation) or text
        event_type = BARE if text is None else MESSAGE
        files = await pasted(session, stanza, relation)
        if files:
            event_type, content = MESSAGE, files[0]
        elif text is None:
            content = bare_content(stanza, relation)
        else:
            kind, words = text
            content = content_of(stanza, kind, link_rooms(words, self._doors.domains), relation)
        to = "" if route.to is None or route.from_ is not None else parse_jid(route.to).resource
        stays = server_of(target) == self._doors.domains.server
        content |= facts_between_two(stanza, resource=session.jid.resource, to=to, stays=stays).content()
        content = await corrected(session, room, stanza, content, event_type)
        origin = origin_of(session, stanza)
        key = (session.id, origin.token)
        self._routes[key] = replace(route, private=True) if is_private(stanza) else route
        try:
            await self._doors.rooms.do(
                SendEvent(actor=session.user_id, origin=origin, room_id=room, type=event_type, content=content)
            )
            for more in files[1:]:
                # spec: XEP-0447 4.2: several files; here each is a message
                origin = Origin(session.id)
                await self._doors.rooms.do(
                    SendEvent(actor=session.user_id, origin=origin, room_id=room, type=MESSAGE, content=more)
                )
        finally:
            self._routes.pop(key, None)
        if wants_receipt is not None:
            to = stanza.get("to") or session.bare
            send_receipt(session, to if route.from_ is not None else to.partition("/")[0], wants_receipt)

    def _is_heard_by_client(self, session: XmppSession, target: UserId, route: Route) -> bool:
        """Whether a client of XMPP gets what is sent to somebody now."""
        recipient = self._users.live(target)
        if recipient is None or recipient is session.user or self._doors.reader.blocks(target, session.user_id):
            return False
        return bool(hearers(recipient, route.to))

    async def _room(self, actor: UserId, target: UserId) -> RoomId:
        """The direct room of two users. The one found before serves as long as it is still theirs alone."""
        pair = (actor, target) if actor < target else (target, actor)
        known = self._rooms.get(pair)
        room = None if known is None else self._doors.reader.peek(known)
        if known is not None and room is not None and _is_theirs(room, pair):
            return known
        try:
            opened = (await self._doors.rooms.do(OpenDirect(actor=actor, target=target))).room_id
        except Refused as refused:
            if refused.refusal is not Refusal.ENCRYPTED:
                raise
            # docs/mapping.md 15.4
            way = f"the command '{PLAIN_DIRECT}' of {self._doors.domains.server} opens an unencrypted one"
            raise Refused(Refusal.ENCRYPTED, f"{refused.text}; {way}") from refused
        assert opened is not None  # OpenDirect always names one
        if len(self._rooms) >= _REMEMBERED_PAIRS:
            self._rooms.pop(next(iter(self._rooms)))
        self._rooms[pair] = opened
        self._remember(opened, pair)
        return opened

    # -- hearing

    def _changed(self, change: RoomChange) -> None:
        if type(change) is not EventCommitted:
            return
        self.last_position = self.position = change.position
        event = change.event
        if event.type == "m.room.member":
            self._pairs.pop(change.room_id, None)
            return
        if event.type not in _TOLD and not is_said(event):
            return
        undecided = self._undecided.get(change.room_id)
        if undecided is not None:
            undecided.append(change)
            return
        pair = self._pairs.get(change.room_id)
        if pair is None:
            self._decide_later(change)
        elif pair:
            self._deliver(change, pair)

    def _decide_later(self, change: EventCommitted) -> None:
        room = self._doors.reader.peek(change.room_id)
        people = None if room is None else _two_of(room)
        if people is None:
            self._remember(change.room_id, ())
        elif any(self._users.live(user_id) is not None or self._is_foreign(user_id) for user_id in people):
            self._undecided[change.room_id] = [change]
            self._doors.spawn(self._decide(change.room_id, people))

    async def _decide(self, room_id: RoomId, people: Pair) -> None:
        try:
            direct = await self._doors.reader.direct_room(*people) == room_id
        except Refused:
            direct = False
        self._remember(room_id, people if direct else ())
        for change in self._undecided.pop(room_id, []):
            if direct:
                self._deliver(change, people)

    def _remember(self, room_id: RoomId, pair: Pair | tuple[()]) -> None:
        if len(self._pairs) >= _REMEMBERED_PAIRS:
            self._pairs.pop(next(iter(self._pairs)))
        self._pairs[room_id] = pair

    def _deliver(self, change: EventCommitted, pair: Pair) -> None:
        event, gone = change.event, change.redacted
        reaction = gone if gone is not None and gone.type == REACTION else event if event.type == REACTION else None
        if reaction is not None:
            about = reacted_to(reaction)
            if about is not None and not is_word(about[1]):
                self._doors.spawn(self._deliver_reactions(change, pair, reaction.sender, about[0]))
            return
        room = self._doors.reader.peek(change.room_id)
        inside = behind = None
        if is_said(event):
            inside = said(self._doors, event, room, whole=False)
            behind = caption(event)
        elif gone is not None:
            inside = taken_back(self._doors, event, gone, room)
        if inside is not None:
            self._hand_out(change, pair, event.sender, inside)
        if behind is not None:
            self._hand_out(change, pair, event.sender, behind, is_caption=True)

    async def _deliver_reactions(self, change: EventCommitted, pair: Pair, writer: UserId, target: str) -> None:
        """The whole set that somebody has on a message now. docs/mapping.md 11.4"""
        reader = self._doors.reader
        try:
            about = await reader.event(change.room_id, EventId(target), writer)
            present = await reactions_of(reader, change.room_id, writer)
        except Refused:
            return  # he is gone, or the message
        self._hand_out(change, pair, writer, reactions_xml(about.token or target, present.get(target, ())))

    def _hand_out(
        self, change: EventCommitted, pair: Pair, writer: UserId, inside: str, *, is_caption: bool = False
    ) -> None:
        """A message of `writer` to the other of the two, with copies. spec: RFC6121 8.5, XEP-0280 7, 8

        The second message of an event, a caption, is not named after the event (docs/mapping.md 11).
        """
        one, other = pair
        target = other if writer == one else one
        recipient, own = self._users.live(target), self._users.live(writer)
        if self._doors.reader.blocks(target, writer):
            recipient = None
        goes_abroad = target != writer and self._is_abroad(target)
        if target != writer and not goes_abroad and self._is_foreign(target) and is_said(change.event):
            why = "this server does not talk to other XMPP servers"
            self._doors.spawn(say_undelivered(self._doors, writer, target, why))
        if recipient is None and own is None and not goes_abroad:
            return
        origin, event_id = change.origin, change.event.event_id
        sender = None if origin is None else self._users.by_id(origin.session)
        route = Route()
        if origin is not None:
            route = self._routes.get((origin.session, origin.token), route)
        from_jid = route.sender or (self._users.jid_of(writer) if sender is None else sender.full)
        facts = facts_in(change.event.content)
        its_id = origin.token if origin is not None and origin.keep and origin.token else event_id
        if is_caption:
            its_id += "-caption"

        def named(by: str) -> str:
            return inside if is_caption else inside + stanza_id(by, event_id)

        if goes_abroad:
            self._send_abroad(route, from_jid, target, its_id, inside, facts)
        self.position = change.position
        heard: set[XmppSession] = set() if sender is None else {sender}
        if recipient is not None:
            marked = named(recipient.bare) + (REQUEST if route.receipt and not is_caption else "")
            plain = chat(from_jid, its_id, marked, facts)
            occupant = None if route.from_ is None else chat(route.from_, its_id, marked + route.inside, facts)
            for session in hearers(recipient, route.to):
                heard.add(session)
                if occupant is not None and (route.only is None or session.id in route.only):
                    session.send_shared(occupant)
                else:
                    session.send(plain.to(session.to if session.full == route.to else recipient.to))
            if not route.private and (wanting := wants_copies(recipient, heard)):
                copy_to(wanting, "received", plain.to(to_attribute(route.to or recipient.bare)))
        if own is not None and not route.private and (wanting := wants_copies(own, heard)):
            sent = chat(from_jid, its_id, named(own.bare), facts)
            copy_to(wanting, "sent", sent.to(to_attribute(route.to or self._users.jid_of(target))))
        self.position = self.last_position

    def _is_foreign(self, user_id: UserId) -> bool:
        return stand_in_address(user_id, self._doors.domains.server) is not None

    def _is_abroad(self, user_id: UserId) -> bool:
        address, abroad = stand_in_address(user_id, self._doors.domains.server), self._doors.abroad
        return address is not None and abroad is not None and abroad.reaches(address.rpartition("@")[2])

    def _send_abroad(
        self, route: Route, from_jid: str, target: UserId, its_id: str, inside: str, facts: StanzaFacts
    ) -> None:
        """To somebody of another server, as one of our users wrote it. docs/mapping.md 15.8"""
        assert self._doors.abroad is not None
        if route.from_ is not None and route.at:
            self._send_to_occupant(route, route.from_, from_jid, its_id, inside, facts)
            return
        to = route.to or self._users.jid_of(target)
        if route.receipt:
            inside += REQUEST
        stanza = chat(from_jid, its_id, inside, facts).to(to_attribute(to))
        attributes = {"from": from_jid, "to": to, "id": its_id, "type": kind_of(from_jid, facts)}
        self._doors.abroad.send(
            stanza, self._doors.domains.server, parse_jid(to), Element("message", CLIENT_NS, attributes)
        )

    def _send_to_occupant(
        self, route: Route, from_: str, writer: str, its_id: str, inside: str, facts: StanzaFacts
    ) -> None:
        """To the sessions that somebody of another server has in the room. spec: XEP-0045 7.5; docs/mapping.md 15.6"""
        assert self._doors.abroad is not None
        shared = chat(from_, its_id, inside + route.inside, facts)
        attributes = {"from": writer, "to": route.to or from_, "id": its_id, "type": kind_of(from_, facts)}
        for full in route.at:
            self._doors.abroad.send(
                shared.to(to_attribute(full)),
                self._doors.domains.rooms,
                parse_jid(full),
                Element("message", CLIENT_NS, attributes),
            )

    # -- which rooms

    async def is_direct(self, room: RoomView) -> bool:
        """Whether a room is what two people's one-to-one messages go to, so that it is no MUC for them."""
        people = _two_of(room)
        if people is None:
            return False
        return room.direct_pair is not None or await self._doors.reader.direct_room(*people) == room.room_id

    async def peer_in(self, room: RoomView, user_id: UserId) -> UserId | None:
        """Whom `user_id` talks to in this room one to one (himself, where he keeps notes there)."""
        people = _two_of(room)
        if people is None or user_id not in people or not await self.is_direct(room):
            return None
        return people[0] if people[1] == user_id else people[1]

    async def direct_rooms(self, user_id: UserId, most: int = MISSED_ROOMS) -> list[tuple[RoomId, UserId]]:
        """The newest canonical direct rooms, from m.direct (docs/mapping.md 15.2 keeps it for both users)."""
        found: list[tuple[RoomId, UserId]] = []
        direct = await self._doors.accounts.account_data(user_id, None, "m.direct") or {}
        for key in list(direct)[-most:]:
            try:
                peer = parse_user_id(key)
            except InvalidId:
                continue
            room_id = await self._doors.reader.direct_room(user_id, peer)
            if room_id is not None:
                found.append((room_id, peer))
        return found


def _is_theirs(room: RoomView, pair: Pair) -> bool:
    """Both are inside and nobody else, and it can be read here. docs/mapping.md 15.1"""
    both = room.membership(pair[0]) == "join" == room.membership(pair[1])
    alone = room.joined_count() == len(set(pair))
    return both and alone and not room.encrypted and replacement_of(room) is None


def _two_of(room: RoomView) -> Pair | None:
    """The two people of a room that may be their direct room (one, twice: notes to self)."""
    if room.canonical_alias is not None or room.joined_count() > 2:
        return None
    people = [m.user_id for m in room.members().values() if m.membership in ("join", "invite")]
    if len(people) <= 1 and room.direct_pair is not None:
        # The other one, of another server, is not invited yet.
        return room.direct_pair
    if len(people) == 1:
        return people[0], people[0]
    return (people[0], people[1]) if len(people) == 2 else None


def hearers(user: LiveUser, wanted: str | None) -> list[XmppSession]:
    """The resource that was named, or all that take messages. spec: RFC6121 8.5.2.1.1, 8.5.3.1"""
    named = [session for session in user.sessions.values() if session.full == wanted]
    return named or [
        session for session in user.sessions.values() if session.presence is not None and session.priority >= 0
    ]


def kind_of(from_jid: str, facts: StanzaFacts) -> str:
    """The type of a one-to-one message: the one that its writer gave it. spec: RFC6121 5.2.2"""
    # A server talks to nobody: it tells (docs/mapping.md 10.13).
    return "normal" if facts.normal or "@" not in from_jid else "chat"


def chat(from_jid: str, its_id: str, inside: str, facts: StanzaFacts = NO_FACTS) -> Shared:
    """A one-to-one message."""
    kind = kind_of(from_jid, facts)
    head = f"<message from='{escape_attribute(from_jid)}' type='{kind}' id='{escape_attribute(its_id)}'"
    head += facts.attributes
    return Shared(head.encode(), f">{inside}</message>".encode())
