"""What a service hears that is in no history: who types, who has read what, who is there.

Nothing of it is kept: of what was not sent yet the newest of each kind stands, and of too much the oldest goes.
spec: Matrix application-service-api "Pushing ephemeral data"
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from tripoint.core.app_services import AppService
from tripoint.matrix.sync.ephemera import presence_event, receipt_events, typing_event
from tripoint.rooms.changes import PresenceChanged, ReceiptMoved, RoomChange, TypingChanged, UserChange
from tripoint.rooms.ports import Presence, Receipt
from tripoint.rooms.service_log import ServiceLog

# Of what waits while a service does not answer. One is some 200 bytes.
MAX_WAITING: Final = 1000
# That go with one transaction.
MAX_SENT: Final = 100


class Passing:
    """For one service."""

    def __init__(self, service: AppService, log: ServiceLog, now_ms: Callable[[], int]) -> None:
        self._service = service
        self._log = log
        self._now_ms = now_ms
        self._waiting: OrderedDict[tuple[str, ...], bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def room_changed(self, change: RoomChange) -> bool:
        """Whether there is something new to tell."""
        if isinstance(change, TypingChanged):
            moved = change.user_ids ^ change.before
            if not any(self._log.concerns(self._service, change.room_id, user_id) for user_id in moved):
                return False
            self._add(("typing", change.room_id), typing_event(sorted(change.user_ids), change.room_id))
            return True
        return isinstance(change, ReceiptMoved) and self._receipt(change)

    def _receipt(self, change: ReceiptMoved) -> bool:
        private = change.kind != "m.read"
        # spec: private receipts "MUST only be sent for users matching one of the application service's namespaces"
        if change.kind == "m.fully_read" or (private and not self._service.covers_user(change.user_id)):
            return False
        if not self._log.concerns(self._service, change.room_id, change.user_id):
            return False
        thread = change.thread_id
        receipt = Receipt(change.user_id, change.event_id, change.kind, thread, change.ts_ms, change.position)
        (event,) = receipt_events([receipt], change.user_id, change.room_id)
        self._add(("receipt", change.room_id, change.user_id, change.kind, thread or ""), event)
        return True

    def user_changed(self, change: UserChange) -> bool:
        """Whether there is something new to tell."""
        if not isinstance(change, PresenceChanged):
            return False
        user_id = change.user_id
        if not self._service.covers_user(user_id):
            rooms = self._log.rooms_of(user_id)
            if not any(self._log.concerns(self._service, room_id, user_id) for room_id in rooms):
                return False
        presence = Presence(change.presence, change.status_msg, change.last_active_ts_ms)
        self._add(("presence", user_id), presence_event(user_id, presence, self._now_ms()))
        return True

    def _add(self, key: tuple[str, ...], event: bytes) -> None:
        self._waiting.pop(key, None)
        self._waiting[key] = event
        if len(self._waiting) > MAX_WAITING:
            self._waiting.popitem(last=False)

    def take(self) -> list[bytes]:
        """The oldest of what waits; it does not wait any more."""
        return [self._waiting.popitem(last=False)[1] for _ in range(min(len(self._waiting), MAX_SENT))]
