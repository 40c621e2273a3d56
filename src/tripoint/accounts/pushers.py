"""Pushers: where devices want to be told of events while they are not connected.

All of them are in memory, and on disk with the position of the last event that each was told of. A pusher goes with its
device. What is told is fanout/push.py, and how matrix/push/, irc/web_push.py and xmpp/push.py.
spec: Matrix client-server module push, POST /pushers/set
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import orjson
import structlog
from msgspec import Struct
from msgspec.structs import replace

from tripoint.accounts.commit import commit
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import UserId
from tripoint.core.json_view import object_at, text_at
from tripoint.rooms.changes import SessionsEnded, UserChange
from tripoint.store.contact_writes import PutDigest
from tripoint.store.interface import AccountStore
from tripoint.store.stream import Stream
from tripoint.store.writes import PutPusher

log = structlog.get_logger()

HTTP: Final = "http"
EMAIL: Final = "email"
Key = tuple[UserId, str, str]
# Of one account: a phone has one or two.
MAX_PUSHERS: Final = 50


class Pusher(Struct, frozen=True):
    """Where to tell a device. `settings`: what the client said beside the names; `set_ts_ms`: when.

    `device_id` "": it stays until it is taken away, whichever sessions come and go.
    """

    user_id: UserId
    app_id: str
    pushkey: str
    device_id: str
    settings: JsonObject
    set_ts_ms: int
    position: int

    @property
    def key(self) -> Key:
        """No two pushers have the same."""
        return self.user_id, self.app_id, self.pushkey

    @property
    def kind(self) -> str:
        """How it is told: http, email, webpush, xmpp."""
        return text_at(self.settings, "kind") or HTTP

    @property
    def data(self) -> JsonObject:
        return object_at(self.settings, "data")

    @property
    def url(self) -> str:
        return text_at(self.data, "url") or ""


class Pushers:
    """The pushers of all accounts. `changed` is called when there are others than before."""

    def __init__(self, store: AccountStore, stream: Stream) -> None:
        self._store = store
        self._stream = stream
        self._pushers: dict[UserId, dict[tuple[str, str], Pusher]] = {}
        self.changed: Callable[[], None] = lambda: None
        self._writing: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Read them. What is left of devices that went as the server stopped goes too."""
        devices: dict[UserId, frozenset[str]] = {}
        lost = []
        for row in await self._store.load_pushers():
            if row.user_id not in devices:
                rows = await self._store.load_devices(row.user_id)
                devices[row.user_id] = frozenset(device.device_id for device in rows)
            if row.device_id and row.device_id not in devices[row.user_id]:
                lost.append(replace(row, settings=None))
                continue
            settings = orjson.loads(row.settings or b"{}")
            names = (row.user_id, row.app_id, row.pushkey, row.device_id)
            self._keep(Pusher(*names, settings, row.set_ts_ms, row.position))
        if lost:
            await commit(self._stream, lost)

    async def close(self) -> None:
        """Wait for what is being written."""
        await asyncio.gather(*self._writing, return_exceptions=True)

    @property
    def users(self) -> Collection[UserId]:
        """Who has any."""
        return self._pushers.keys()

    def of(self, user_id: UserId) -> Sequence[Pusher]:
        return tuple(self._pushers.get(user_id, {}).values())

    def on_a_view(self, user_id: UserId) -> bool:
        """Whether a client of IRC or XMPP is told: these have no invitations to a conversation of two."""
        return any(pusher.kind not in (HTTP, EMAIL) for pusher in self._pushers.get(user_id, {}).values())

    def find(self, key: Key) -> Pusher | None:
        return self._pushers.get(key[0], {}).get(key[1:])

    async def set(self, pusher: Pusher, *, append: bool) -> None:
        """Add one, or change it. Without `append`, the same app and key is nobody else's of this kind any more.

        TOO_MANY_PUSHERS. Of another kind the same names are somebody else's by chance, or by malice.
        """
        own = self._pushers.get(pusher.user_id, {})
        if pusher.key[1:] not in own and len(own) >= MAX_PUSHERS:
            raise AccountRefused(AccountRefusal.TOO_MANY_PUSHERS)
        others: list[Pusher] = []
        if not append:
            for user_id, pushers in self._pushers.items():
                other = pushers.get(pusher.key[1:]) if user_id != pusher.user_id else None
                if other is not None and other.kind == pusher.kind:
                    others.append(other)
        await commit(self._stream, [*_gone(others), _row(pusher)])
        for other in others:
            self._drop(other)
        self._keep(pusher)
        self.changed()

    async def delete(self, key: Key) -> None:
        """Take one away; nothing happens where there is none."""
        pusher = self.find(key)
        if pusher is not None:
            await commit(self._stream, _gone([pusher]))
            self._drop(pusher)
            self.changed()

    async def told(self, pusher: Pusher, position: int, digest: bytes | None = None) -> None:
        """A pusher was told of the event at this position. `digest`: what its next letter waits for."""
        now = self.find(pusher.key)
        if now is None:
            return
        rows: list[PutPusher | PutDigest] = [] if digest is None else [PutDigest(*now.key, digest)]
        if now.position < position:
            now = replace(now, position=position)
            self._keep(now)
            rows.append(_row(now))
        if rows:
            await commit(self._stream, rows)

    async def load_digests(self) -> Mapping[Key, bytes]:
        """What the letters of pushers wait for. What is left of those that are gone goes too."""
        rows = {(row.user_id, row.app_id, row.pushkey): row.content or b"" for row in await self._store.load_digests()}
        lost = [key for key in rows if self.find(key) is None]
        if lost:
            await commit(self._stream, [PutDigest(*key, None) for key in lost])
        return {key: content for key, content in rows.items() if key not in lost}

    async def put_digests(self, contents: Mapping[Key, bytes]) -> None:
        """Write down what letters wait for. SERVER_BUSY."""
        await commit(self._stream, [PutDigest(*key, content) for key, content in contents.items()])

    def user_changed(self, change: UserChange) -> None:
        """A device that is gone hears no more."""
        if not isinstance(change, SessionsEnded) or change.kept or change.user_id not in self._pushers:
            return
        gone = [one for one in self.of(change.user_id) if not change.device_ids or one.device_id in change.device_ids]
        for pusher in gone:
            self._drop(pusher)
        if gone:
            self.changed()
            task = asyncio.ensure_future(self._forget(gone))
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)

    async def _forget(self, gone: Sequence[Pusher]) -> None:
        try:
            await commit(self._stream, _gone(gone))
        except AccountRefused as refused:
            # At the next start it is seen that their devices are gone.
            log.warning("pushers.not_dropped", user_id=gone[0].user_id, reason=refused.text)

    def _keep(self, pusher: Pusher) -> None:
        self._pushers.setdefault(pusher.user_id, {})[pusher.key[1:]] = pusher

    def _drop(self, pusher: Pusher) -> None:
        own = self._pushers.get(pusher.user_id, {})
        own.pop(pusher.key[1:], None)
        if not own:
            self._pushers.pop(pusher.user_id, None)


def _row(pusher: Pusher) -> PutPusher:
    settings = orjson.dumps(pusher.settings)
    return PutPusher(*pusher.key, pusher.device_id, settings, pusher.set_ts_ms, pusher.position)


def _gone(pushers: Sequence[Pusher]) -> list[PutPusher | PutDigest]:
    """The writes that take pushers away, and what their letters wait for."""
    rows = [PutPusher(*one.key, one.device_id, None, one.set_ts_ms, one.position) for one in pushers]
    return [*rows, *(PutDigest(*one.key, None) for one in pushers if one.kind == EMAIL)]
