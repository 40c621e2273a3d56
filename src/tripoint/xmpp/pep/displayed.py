"""How far an account has read in each conversation, as a node: one read state for all protocols, and private.

A view of the account's own receipts: whatever client moved them, its XMPP clients hear of it, and what these publish
moves them. It goes forward alone. Conversations are rooms by their addresses and people by theirs; a receipt at
something that no XMPP client has seen (a change of state) is shown at the last message before it.
spec: XEP-0490; docs/mapping.md 13.3. Read next: bookmarks.py (which rooms are shown).
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from tripoint.accounts.refusals import NodeRefusal, NodeRefused
from tripoint.core.ids import EventId, RoomId, UserId
from tripoint.core.nodes import MAX_ITEMS, Access, NodeConfig, NodeItem, SendLast
from tripoint.fanout.hub import Hub
from tripoint.rooms.changes import ReceiptMoved, RoomChange
from tripoint.rooms.commands import SetReceipt
from tripoint.rooms.history import ByPosition, Direction, HistoryItem, HistoryQuery
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.xmpp.jid import InvalidJid, Jid, parse_any_user_jid, parse_jid
from tripoint.xmpp.pep.notify import published
from tripoint.xmpp.projection import room_jid
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At, declare_feature
from tripoint.xmpp.render import stanza_id
from tripoint.xmpp.tables import DISPLAYED_ASSIST_NS, DISPLAYED_NS, PUBSUB_ERRORS_NS, STANZA_ID_NS
from tripoint.xmpp.wire import Element

if TYPE_CHECKING:
    from tripoint.xmpp.c2s.direct import DirectMessages
    from tripoint.xmpp.c2s.users import Users
    from tripoint.xmpp.muc.service import Muc
    from tripoint.xmpp.pep.bookmarks import Bookmarks
    from tripoint.xmpp.pep.notify import Notifier
    from tripoint.xmpp.session import Doors, XmppSession

declare_feature(DISPLAYED_ASSIST_NS, at=(At.ACCOUNT,), spec="XEP-0490 4.5.2")

# Kinds of receipts that say what their owner has read.
_KINDS: Final = ("m.read", "m.read.private", "m.fully_read")
_MESSAGE: Final = "m.room.message"
# One-to-one conversations that are looked up: those that the archive has too.
_DIRECT: Final = 500
# How many rooms are looked up before others get their turn.
_AT_ONCE: Final = 20


class Displayed:
    """The node of read states, of all accounts. See pep.service.LiveNode."""

    name = DISPLAYED_NS
    config = NodeConfig(access=Access.WHITELIST, max_items=MAX_ITEMS, send_last=SendLast.NEVER)

    def __init__(
        self,
        doors: "Doors",
        users: "Users",
        muc: "Muc",
        direct: "DirectMessages",
        bookmarks: "Bookmarks",
        notifier: "Notifier",
        hub: Hub,
    ) -> None:
        self._doors = doors
        self._users = users
        self._muc = muc
        self._direct = direct
        self._bookmarks = bookmarks
        self._notifier = notifier
        # Position of what was told last to an account that is here.
        self._told: dict[UserId, dict[RoomId, int]] = {}
        hub.watch_all_rooms(self._room_changed, messages=False)

    # -- reading

    async def items(self, user_id: UserId, limit: int) -> Sequence[NodeItem]:
        """See LiveNode."""
        found: list[tuple[int, NodeItem]] = []
        for number, (jid, room) in enumerate((await self._bookmarks.rooms(user_id)).items()):
            found += await self._shown(user_id, room.room_id, jid, by=jid)
            if number % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
        for room_id, peer in await self._direct.direct_rooms(user_id, _DIRECT):
            own = self._users.jid_of(user_id)
            found += await self._shown(user_id, room_id, self._users.jid_of(peer), by=own)
        return [item for _, item in sorted(found, key=lambda row: -row[0])][:limit]

    async def item(self, user_id: UserId, item_id: str) -> NodeItem | None:
        """See LiveNode."""
        try:
            place = await self._place(user_id, parse_jid(item_id))
        except (InvalidJid, Problem):
            return None
        if place is None:
            return None
        shown = await self._shown(user_id, *place)
        return shown[0][1] if shown else None

    async def _shown(self, user_id: UserId, room_id: RoomId, jid: str, by: str) -> list[tuple[int, NodeItem]]:
        """(position, item) of a conversation; nothing where nothing was read."""
        read = await self._read(user_id, room_id)
        message = None if read is None else await self._message_at(user_id, room_id, read)
        return [] if message is None else [(message.position, self._item(user_id, jid, by, message))]

    def _item(self, user_id: UserId, jid: str, by: str, message: HistoryItem) -> NodeItem:
        inside = stanza_id(by, message.event.event_id)
        payload = f"<displayed xmlns='{DISPLAYED_NS}'>{inside}</displayed>"
        return NodeItem(jid, payload, self._users.jid_of(user_id), message.event.origin_server_ts)

    async def _read(self, user_id: UserId, room_id: RoomId) -> HistoryItem | None:
        """The newest event that one of the account's receipts stands at."""
        newest: HistoryItem | None = None
        for receipt in await self._doors.reader.own_receipts(room_id, user_id):
            if _counts(receipt.kind, receipt.thread_id):
                found = await self._event(user_id, room_id, receipt.event_id)
                if found is not None and (newest is None or found.position > newest.position):
                    newest = found
        return newest

    async def _event(self, user_id: UserId, room_id: RoomId, event_id: EventId) -> HistoryItem | None:
        try:
            return await self._doors.reader.event(room_id, event_id, user_id)
        except Refused:
            return None

    async def _message_at(self, user_id: UserId, room_id: RoomId, at: HistoryItem) -> HistoryItem | None:
        """The last message at or before an event: what XMPP clients know by its id."""
        if at.event.type == _MESSAGE:
            return at
        page = await self._doors.reader.history(
            HistoryQuery(
                room_id=room_id,
                viewer=user_id,
                direction=Direction.BACKWARD,
                anchor=ByPosition(at.position),
                limit=1,
                types=(_MESSAGE,),
                only_here=True,
            )
        )
        return page.items[0] if page.items else None

    # -- what clients do

    async def publish(self, session: "XmppSession", item_id: str | None, payload: Element) -> str:
        """Read up to a message. What lies before the place where the account is already changes nothing.

        spec: XEP-0490 4.2, 5.1
        """
        mark = payload.child("stanza-id", STANZA_ID_NS)
        if (payload.name, payload.namespace) != ("displayed", DISPLAYED_NS) or mark is None or not mark.get("id"):
            extra = f"<invalid-payload xmlns='{PUBSUB_ERRORS_NS}'/>"
            raise Problem("bad-request", "Say which message was displayed", extra=extra)
        try:
            jid = parse_jid(item_id or "")
        except InvalidJid:
            raise Problem("jid-malformed", "The id of a read state is the address of the conversation") from None
        place = await self._place(session.user_id, jid)
        if place is None:
            raise Problem("item-not-found", "You have no such conversation")
        await self._move(session.user_id, place[0], EventId(mark.get("id") or ""))
        return place[1]

    async def _move(self, user_id: UserId, room_id: RoomId, event_id: EventId) -> None:
        wished = await self._doors.reader.event(room_id, event_id, user_id)
        present = await self._read(user_id, room_id)
        if present is not None and wished.position <= present.position:
            return
        for kind in ("m.read.private", "m.fully_read"):
            await self._doors.rooms.do(SetReceipt(actor=user_id, room_id=room_id, event_id=event_id, kind=kind))

    async def assist(self, session: "XmppSession", stanza: Element, jid: Jid) -> None:
        """A message that says by the way what was displayed: that is for this server alone. spec: XEP-0490 4.5.3"""
        element = stanza.child("displayed", DISPLAYED_NS)
        if element is None:
            return
        stanza.children.remove(element)
        if jid.resource and jid.domain == self._doors.domains.rooms:
            return  # a private message of a room: the conversation is with the person
        try:
            await self.publish(session, str(jid.bare), element)
        except (Problem, Refused) as error:
            # spec: XEP-0490 5.1: what is not in the conversation is ignored; the message is what was asked for
            if isinstance(error, Refused) and error.refusal is Refusal.SERVER_BUSY:
                raise

    async def retract(self, session: "XmppSession", item_id: str) -> None:
        """What was read stays read."""
        if await self.item(session.user_id, item_id) is None:
            raise NodeRefused(NodeRefusal.NO_SUCH_ITEM)
        raise Problem("not-allowed", "What was read stays read")

    async def _place(self, user_id: UserId, jid: Jid) -> tuple[RoomId, str, str] | None:
        """The room of a conversation, its address, and who gives its messages their ids."""
        domains = self._doors.domains
        if jid.domain == domains.rooms and jid.local and not jid.resource:
            room_id = await self._muc.find_for(user_id, jid)
            if room_id is None or (await self._doors.reader.memberships(user_id)).get(room_id) != "join":
                return None
            address = room_jid(await self._doors.reader.room(room_id), domains)
            return room_id, address, address
        peer = None if jid.resource else parse_any_user_jid(jid, domains)
        room_id = None if peer is None else await self._doors.reader.direct_room(user_id, peer)
        return None if room_id is None else (room_id, str(jid), self._users.jid_of(user_id))

    # -- telling

    def ended(self, user_id: UserId) -> None:
        """The last session of an account is gone."""
        self._told.pop(user_id, None)

    def _room_changed(self, change: RoomChange) -> None:
        """See fanout.hub: the account's own receipts, whoever moved them."""
        if type(change) is not ReceiptMoved or not _counts(change.kind, change.thread_id):
            return
        if self._notifier.hears(change.user_id, DISPLAYED_NS):
            self._doors.spawn(self._tell(change.user_id, change.room_id))

    async def _tell(self, user_id: UserId, room_id: RoomId) -> None:
        place = await self._address(user_id, room_id)
        shown = [] if place is None else await self._shown(user_id, room_id, *place)
        told = self._told.setdefault(user_id, {})
        if not shown or shown[0][0] <= told.get(room_id, -1):
            return
        told[room_id] = shown[0][0]
        self._notifier.tell_owner(user_id, DISPLAYED_NS, published(DISPLAYED_NS, (shown[0][1],)))

    async def _address(self, user_id: UserId, room_id: RoomId) -> tuple[str, str] | None:
        """Address of a conversation, and who gives its messages their ids; None for what is not shown on XMPP."""
        try:
            room = await self._doors.reader.room(room_id)
        except Refused:
            return None
        peer = await self._direct.peer_in(room, user_id)
        if peer is not None:
            return self._users.jid_of(peer), self._users.jid_of(user_id)
        if not await self._bookmarks.is_shown(room, user_id):
            return None
        jid = room_jid(room, self._doors.domains)
        return jid, jid


def _counts(kind: str, thread_id: str | None) -> bool:
    return kind in _KINDS and thread_id in (None, "main")
