"""What servers tell each other besides events: typing, receipts, presence; as values and as JSON, both ways.

m.direct_to_device, m.device_list_update and m.signing_key_update are incoming_devices.py and outgoing_devices.py. Types
that nobody knows are ignored.
spec: Matrix server-server-api "EDUs", "Typing Notifications", "Receipts", "Presence"
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import structlog

from tripoint.core.canonical_json import Json, JsonObject
from tripoint.core.errors import PeerError
from tripoint.core.ids import EventId, RoomId, ServerName, UserId, parse_user_id, server_of
from tripoint.core.json_view import object_at
from tripoint.core.token_bucket import Rate, TokenBuckets
from tripoint.matrix.federation.incoming_devices import IncomingDevices
from tripoint.matrix.federation.lanes import Edu, EduKey
from tripoint.rooms.changes import PresenceChanged
from tripoint.rooms.commands import SetReceipt, SetTyping
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.outbox import OutgoingReceipt
from tripoint.rooms.ports import PresenceService, RoomService
from tripoint.rooms.refusals import Refused

log = structlog.get_logger()

# Of one transaction; a hostile server can put as many into one EDU as its body holds.
MAX_RECEIPTS: Final = 500
MAX_PRESENCES: Final = 100
# What one server may say of who is there. Whoever has thousands of users says this much of them.
PRESENCES: Final = Rate(500, 20)
AT_ONCE: Final = 50
# Somebody of another server types for this long unless it says so again. Servers say it again after 30 to 40 s.
TYPING_MS: Final = 60_000
# Users of other servers whose presence is remembered, and how long unless it is said again.
MAX_PRESENT: Final = 10_000
PRESENT_MS: Final = 30 * 60_000
# The session under which the presence board knows what another server says.
SESSION: Final = "federation"
# A time that a clock may show; anything else is a mistake, or somebody's attempt to stay on top.
MAX_TS_MS: Final = 253_402_300_799_999


def receipt_edu(receipt: OutgoingReceipt) -> tuple[EduKey, Edu]:
    """A receipt, and the key under which a newer one replaces it: room, user and thread."""
    data: JsonObject = {"ts": receipt.ts_ms}
    if receipt.thread_id is not None:
        data["thread_id"] = receipt.thread_id
    content: JsonObject = {
        receipt.room_id: {"m.read": {receipt.user_id: {"event_ids": [receipt.event_id], "data": data}}}
    }
    key = ("m.receipt", receipt.room_id, receipt.user_id, receipt.thread_id or "")
    return key, Edu("m.receipt", content, receipt.room_key, receipt.position)


def typing_edu(room_id: RoomId, user_id: UserId, typing: bool) -> tuple[EduKey, Edu]:
    content: JsonObject = {"room_id": room_id, "user_id": user_id, "typing": typing}
    return ("m.typing", room_id, user_id), Edu("m.typing", content)


def presence_edu(change: PresenceChanged, now_ms: int) -> tuple[EduKey, Edu]:
    entry: JsonObject = {
        "user_id": change.user_id,
        "presence": change.presence,
        "last_active_ago": max(0, now_ms - change.last_active_ts_ms),
        "currently_active": change.presence == "online",
    }
    if change.status_msg is not None:
        entry["status_msg"] = change.status_msg
    return ("m.presence", change.user_id), Edu("m.presence", {"push": [entry]})


class EduIntake:
    """EDUs of other servers, to the same services as those of local users: all protocols show them alike.

    A user must be of the server that sends, and joined to the room; the room must let the server in.
    `presence` None: presence of other servers is not wanted.
    """

    def __init__(
        self,
        rooms: LoadedRooms,
        service: RoomService,
        presence: PresenceService | None,
        now_ms: Callable[[], int],
        devices: IncomingDevices,
    ) -> None:
        self._rooms = rooms
        self._service = service
        self._presence = presence
        self._now_ms = now_ms
        self._present: OrderedDict[UserId, int] = OrderedDict()
        self._said = TokenBuckets(PRESENCES)
        self._kinds: Mapping[str, Callable[[ServerName, Sequence[JsonObject]], Awaitable[None]]] = {
            "m.typing": self._typing,
            "m.receipt": self._receipts,
            "m.presence": self._presences,
            "m.direct_to_device": devices.messages,
            "m.device_list_update": devices.lists,
            "m.signing_key_update": devices.keys,
        }

    async def take(self, origin: ServerName, edus: Sequence[JsonObject]) -> None:
        """All EDUs of one transaction. What is malformed or not the server's to say is left out."""
        by_kind: dict[str, list[JsonObject]] = {}
        for edu in edus:
            kind, content = edu.get("edu_type"), edu.get("content")
            if isinstance(kind, str) and isinstance(content, dict):
                by_kind.setdefault(kind, []).append(content)
        for kind, contents in by_kind.items():
            handler = self._kinds.get(kind)
            if handler is not None:
                await handler(origin, contents)

    async def _typing(self, origin: ServerName, contents: Sequence[JsonObject]) -> None:
        newest: dict[tuple[str, str], bool] = {}
        for content in contents:
            room_id, user_id, typing = content.get("room_id"), content.get("user_id"), content.get("typing")
            if isinstance(room_id, str) and isinstance(user_id, str) and isinstance(typing, bool):
                newest[room_id, user_id] = typing
        for (room_id, user_id), typing in newest.items():
            user = _user_of(origin, user_id)
            if user is not None and await self._may_speak(origin, room_id):
                await self._do(
                    SetTyping(actor=user, room_id=RoomId(room_id), typing=typing, timeout_ms=TYPING_MS)
                )

    async def _receipts(self, origin: ServerName, contents: Sequence[JsonObject]) -> None:
        newest: dict[tuple[str, UserId, str | None], SetReceipt] = {}
        for content in contents:
            for room_id in content:
                # Kinds other than m.read are for nobody else.
                for user_id, said in object_at(object_at(content, room_id), "m.read").items():
                    receipt = _receipt(origin, room_id, user_id, said)
                    if receipt is not None:
                        newest[room_id, receipt.actor, receipt.thread_id] = receipt
        wanted = list(newest.values())
        if len(wanted) > MAX_RECEIPTS:
            log.info("federation.receipts_dropped", server=origin, number=len(wanted) - MAX_RECEIPTS)
        allowed = {room_id: await self._may_speak(origin, room_id) for room_id in {r.room_id for r in wanted}}
        wanted = [receipt for receipt in wanted[:MAX_RECEIPTS] if allowed[receipt.room_id]]
        for start in range(0, len(wanted), AT_ONCE):
            await asyncio.gather(*(self._do(receipt) for receipt in wanted[start : start + AT_ONCE]))

    async def _presences(self, origin: ServerName, contents: Sequence[JsonObject]) -> None:
        if self._presence is None:
            return
        entries = [entry for content in contents for entry in _list(content.get("push"))]
        for entry in entries[:MAX_PRESENCES]:
            if not isinstance(entry, dict):
                continue
            user_id, presence, status = entry.get("user_id"), entry.get("presence"), entry.get("status_msg")
            user = _user_of(origin, user_id) if isinstance(user_id, str) else None
            if user is None or not self._shares_room(user):
                continue
            if self._said.take(origin, self._now_ms() / 1000) > 0:
                # The next one says what is so then; what is not said again is over in half an hour.
                return
            if presence in ("online", "unavailable"):
                self._presence.set(user, SESSION, str(presence), status if isinstance(status, str) else None)
                self._present[user] = self._now_ms()
                self._present.move_to_end(user)
                if len(self._present) > MAX_PRESENT:
                    self._presence.session_down(self._present.popitem(last=False)[0], SESSION)
            elif presence == "offline" and self._present.pop(user, None) is not None:
                self._presence.session_down(user, SESSION)

    def sweep(self) -> None:
        """Forget presence that has not been said again for long: its server may be gone."""
        oldest_ms = self._now_ms() - PRESENT_MS
        while self._presence is not None and self._present:
            user, said_ms = next(iter(self._present.items()))
            if said_ms > oldest_ms:
                return
            del self._present[user]
            self._presence.session_down(user, SESSION)

    async def _may_speak(self, origin: ServerName, room_id: str) -> bool:
        """spec: "ACLs MUST be applied to all EDUs that are local to a specific room"."""
        try:
            room = await self._rooms.get(RoomId(room_id))
        except Refused:
            return False
        return origin in room.servers() and room.allows_server(origin)

    def _shares_room(self, user_id: UserId) -> bool:
        return any(user_id in room.joined() for room in self._rooms.in_memory())

    async def _do(self, command: SetTyping | SetReceipt) -> None:
        try:
            await self._service.do(command)
        except Refused as refused:
            log.debug("federation.edu_refused", refusal=refused.refusal.name)


def _user_of(origin: ServerName, user_id: str) -> UserId | None:
    """A user of the server that speaks; None for anybody else's."""
    try:
        user = parse_user_id(user_id)
    except PeerError:
        return None
    return user if server_of(user) == origin else None


def _receipt(origin: ServerName, room_id: str, user_id: str, said: Json) -> SetReceipt | None:
    user = _user_of(origin, user_id)
    if user is None or not isinstance(said, dict):
        return None
    event_ids, data = _list(said.get("event_ids")), object_at(said, "data")
    event_id, ts_ms, thread_id = event_ids[-1] if event_ids else None, data.get("ts"), data.get("thread_id")
    if not isinstance(event_id, str) or not isinstance(ts_ms, int) or not 0 <= ts_ms <= MAX_TS_MS:
        return None
    if thread_id is not None and (not isinstance(thread_id, str) or not 0 < len(thread_id) <= 255):
        return None
    return SetReceipt(
        actor=user, room_id=RoomId(room_id), event_id=EventId(event_id), thread_id=thread_id, ts_ms=ts_ms
    )


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []
