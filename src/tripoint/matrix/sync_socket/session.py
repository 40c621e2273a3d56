"""Sockets for syncs: each message becomes the request that it would be over HTTP, and is answered as that is.

So who may ask, what bans and errors are, and what an answer says is decided in one place for both. One task reads a
socket's messages; another waits for the answer, and is dropped when a message comes that asks for something else.
spec: docs/clients/sync-socket.md; dialogue.py has its order
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlencode

import orjson
import structlog
from msgspec import Struct

from tripoint.accounts.ports import AccountService, TokenOwner
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.core.ids import DeviceId, UserId
from tripoint.matrix import refusals
from tripoint.matrix.errors import MatrixError
from tripoint.matrix.sync_socket.dialogue import Ask, BadMessage, Close, Dialogue, Kind, LogIn, Phase
from tripoint.net.http import Request, Response
from tripoint.net.websocket import WebSocket
from tripoint.rooms.changes import SessionsEnded, UserChange

log = structlog.get_logger()

# One for each tab of a browser; the oldest makes room.
PER_DEVICE: Final = 4
# Messages that wait while one is worked off. A client has nothing to say before it is answered but that it has changed
# its mind.
MAX_WAITING: Final = 8
_UNAUTHORISED: Final = frozenset({401, 403})

Handle = Callable[[Request], Awaitable[Response]]


class Patience(Struct, frozen=True):
    """How long a client may take: to log in, to ask, and to acknowledge what it has got."""

    log_in_s: float = 10.0
    ask_s: float = 60.0
    acknowledge_s: float = 60.0


class SyncSockets:
    """All of them. `handle` answers requests of HTTP."""

    def __init__(self, accounts: AccountService, patience: Patience = Patience()) -> None:  # noqa: B008  # it is frozen
        self.accounts = accounts
        self.patience = patience
        self.handle: Handle | None = None
        self.closing = False
        self._all: set[SyncSession] = set()
        self._of: dict[tuple[UserId, DeviceId | None], list[SyncSession]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def user_changed(self, change: UserChange) -> None:
        """Whose device was logged out is told so, and hears no more."""
        if not isinstance(change, SessionsEnded):
            return
        why = AccountRefused(AccountRefusal.LOCKED if change.kept else AccountRefusal.UNKNOWN_TOKEN)
        for session in list(self._all):
            owner = session.owner
            if owner is None or owner.account.user_id != change.user_id:
                continue
            if not change.device_ids or owner.device_id in change.device_ids:
                session.end(refusals.of_account(why))

    def close(self) -> None:
        """The server stops."""
        self.closing = True
        for session in list(self._all):
            session.close(Close.GOING_AWAY, "The server stops")

    def opened(self, session: "SyncSession") -> None:
        self._all.add(session)

    def named(self, session: "SyncSession", owner: TokenOwner) -> None:
        """A session is a device's."""
        sessions = self._of.setdefault((owner.account.user_id, owner.device_id), [])
        sessions.append(session)
        if len(sessions) > PER_DEVICE:
            sessions.pop(0).close(Close.TOO_MANY, f"This device has {PER_DEVICE} newer connections")

    def lost(self, session: "SyncSession") -> None:
        self._all.discard(session)
        if session.owner is None:
            return
        key = (session.owner.account.user_id, session.owner.device_id)
        sessions = self._of.get(key, [])
        if session in sessions:
            sessions.remove(session)
        if not sessions:
            self._of.pop(key, None)


class SyncSession:
    """A net.websocket.WebSocketParty. `token`: the one of the handshake, if it had one."""

    def __init__(self, sockets: SyncSockets, request: Request, token: str | None, owner: TokenOwner | None) -> None:
        self.owner = owner
        self._sockets = sockets
        self._request = request
        self._token = token
        self._dialogue = Dialogue(named=owner is not None)
        self._messages: asyncio.Queue[bytes] = asyncio.Queue(MAX_WAITING)
        self._socket: WebSocket | None = None
        self._task: asyncio.Task[None] | None = None

    # -- from the socket

    def connected(self, socket: WebSocket) -> None:
        self._socket = socket
        self._sockets.opened(self)
        if self._sockets.closing:
            self.close(Close.GOING_AWAY, "The server stops")
            return
        if self.owner is not None:
            self._sockets.named(self, self.owner)
        self._task = asyncio.get_running_loop().create_task(self._serve())

    def received(self, message: bytes, is_text: bool) -> None:
        if not is_text:
            self.close(Close.NO_BYTES, "Messages are text")
            return
        try:
            self._messages.put_nowait(message)
        except asyncio.QueueFull:
            self.close(Close.TOO_MANY, "Too many messages at once")

    def lost(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._sockets.lost(self)

    # -- to it

    def close(self, code: Close, reason: str) -> None:
        """End the talk; the socket's own deadline ends the connection. Nothing more is answered."""
        if self._socket is not None:
            self._socket.close(code, reason)
        if self._task is not None:
            self._task.cancel()

    def end(self, error: MatrixError) -> None:
        """Nobody is let in by this token any more."""
        self._send(self._dialogue.refused(error.status, error.response().body))
        self.close(Close.UNAUTHORISED, error.errcode)

    def _send(self, message: bytes) -> None:
        if self._socket is not None:
            self._socket.write(self._socket.frame_text(message))

    # -- the talk

    async def _serve(self) -> None:
        try:
            await self._talk()
        except BadMessage as bad:
            self.close(Close.BAD_MESSAGE, str(bad))
        except TimeoutError:
            self.close(Close.TOO_SLOW, "Nothing came in time")
        except Exception:  # a bug: told to us with its trace, and to the client as ours
            log.exception("matrix.sync_socket_failed")
            self.close(Close.BUG, "Something went wrong on the server")

    async def _talk(self) -> None:
        asked: Ask | None = None
        while True:
            if self._dialogue.phase is Phase.ASKING and asked is not None:
                message = await self._answer(asked)
            else:
                message = await self._next()
            if message is None:
                continue
            wanted = self._dialogue.receive(message)
            if isinstance(wanted, Ask):
                asked = wanted
            else:
                await self._log_in(wanted)

    async def _next(self) -> bytes:
        """The next message. TimeoutError where none comes in time; a client that still reads has time."""
        patience, phase = self._sockets.patience, self._dialogue.phase
        limit_s = patience.acknowledge_s if phase is Phase.TOLD else patience.ask_s
        if phase is Phase.NAMELESS:
            limit_s = patience.log_in_s
        unread = self._unread()
        while True:
            try:
                async with asyncio.timeout(limit_s):
                    return await self._messages.get()
            except TimeoutError:
                before, unread = unread, self._unread()
                if unread >= before:
                    raise

    def _unread(self) -> int:
        return 0 if self._socket is None else self._socket.get_write_buffer_size()

    async def _answer(self, asked: Ask) -> bytes | None:
        """Answer a request, or give back the message that came before there was an answer."""
        loop = asyncio.get_running_loop()
        answering = loop.create_task(self._ask(asked))
        reading = loop.create_task(self._messages.get())
        try:
            await asyncio.wait((answering, reading), return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                return reading.result()
            self._tell(answering.result())
            return None
        finally:
            answering.cancel()
            reading.cancel()
            await asyncio.gather(answering, reading, return_exceptions=True)

    def _tell(self, response: Response) -> None:
        if response.status == 200:
            self._send(self._dialogue.told(response.body))
            return
        self._send(self._dialogue.refused(response.status, response.body))
        if response.status in _UNAUTHORISED:
            self.close(Close.UNAUTHORISED, "Log in again")

    async def _ask(self, asked: Ask) -> Response:
        if asked.kind is Kind.SYNC:
            query = urlencode({name: _as_query(value) for name, value in asked.parameters.items()}).encode()
            return await self._over_http("GET", "/_matrix/client/v3/sync", query, b"")
        return await self._over_http("POST", "/_matrix/client/v4/sync", b"", orjson.dumps(asked.parameters))

    async def _over_http(self, method: str, path: str, query: bytes, body: bytes) -> Response:
        assert self._sockets.handle is not None, "the front end sets it"
        headers = ((b"authorization", f"Bearer {self._token}".encode()),)
        request = Request(method, path, query, headers, body, self._request.address, self._request.secure)
        return await self._sockets.handle(request)

    async def _log_in(self, wanted: LogIn) -> None:
        """By a first token, or by the one that a client got for it. Another device takes another socket."""
        try:
            owner = await self._sockets.accounts.owner_of_token(wanted.access_token)
        except AccountRefused as refused:
            self.end(refusals.of_account(refused))
            return
        if self.owner is None:
            self.owner = owner
            self._sockets.named(self, owner)
            self._dialogue.named()
        elif (owner.account.user_id, owner.device_id) != (self.owner.account.user_id, self.owner.device_id):
            self.end(MatrixError(403, "M_FORBIDDEN", "This connection is another device's"))
            return
        self._token = wanted.access_token


def _as_query(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else orjson.dumps(value).decode()
