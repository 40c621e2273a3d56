"""BOSH: XMPP for pages and networks that let nothing but HTTP through. Where requests find their session.

spec: XEP-0124 7, 17, 19.3; XEP-0206. What a session does is bosh_session.py, what a request says bosh_body.py.
"""

from typing import TYPE_CHECKING, Final

import structlog

from tripoint.fanout.delivery import MessageOutbox
from tripoint.net.http import Header, Request, Response
from tripoint.xmpp.bosh_body import BadBody, Body, read_body, write_body
from tripoint.xmpp.bosh_session import BoshSession
from tripoint.xmpp.framing import standalone
from tripoint.xmpp.jid import InvalidJid, parse_jid
from tripoint.xmpp.stream import ClientStream

if TYPE_CHECKING:
    from tripoint.xmpp.frontend import XmppFrontEnd

log = structlog.get_logger()

PATH: Final = "/http-bind"
_DEFAULT_KIND: Final = "text/xml; charset=utf-8"
# What a client may ask to be told that an answer is (7.1): nothing that a browser would run.
_KINDS: Final = frozenset({_DEFAULT_KIND, "text/xml", "application/xml", "text/plain"})
_CORS: Final = (b"access-control-allow-origin", b"*")
# spec: XEP-0124 17.1: for clients that came before version 1.6
_LEGACY: Final = {"bad-request": 400, "policy-violation": 403, "item-not-found": 404}
# Room for a few stanzas together, and for what is around them.
_SLACK_BYTES: Final = 65_536


class Bosh:
    """The sessions of one server."""

    def __init__(self, front: "XmppFrontEnd") -> None:
        self._front = front
        self._sessions: dict[str, BoshSession] = {}
        self._draining = False

    async def handle(self, request: Request) -> Response:
        """The answer to a request for PATH."""
        if request.method != "POST":
            text = b"XMPP over BOSH (XEP-0206): clients POST here.\n"
            return Response(405, text, ((b"allow", b"POST, OPTIONS"), (b"content-type", b"text/plain"), _CORS))
        try:
            body = read_body(request.body, self._front.options.stanza_bytes + _SLACK_BYTES)
        except BadBody as error:
            log.debug("bosh.bad_request", reason=str(error))
            return _answer(_terminate("bad-request"))
        if body.sid is None:
            return await self._begin(body, request)
        session = self._sessions.get(body.sid)
        if session is None or (session.secure and not request.secure):
            # Nobody knows what kind of client it was: the status is what any of them reads.
            return _answer(_terminate("item-not-found"))
        request.waits = True
        return self._told(session, await session.ask(body))

    def drain(self) -> None:
        """The server stops: no new sessions, and every request that waits is answered."""
        self._draining = True
        for session in list(self._sessions.values()):
            if session.stream is not None and not session.is_closing():
                session.stream.end("system-shutdown", "The server is being stopped")

    async def _begin(self, body: Body, request: Request) -> Response:
        """spec: XEP-0124 7.1, 17.2"""
        front = self._front
        if self._draining:
            return _answer(_terminate("system-shutdown"))
        if not body.to:
            return _answer(_terminate("improper-addressing"))
        try:
            known = str(parse_jid(body.to)) == front.domains.server
        except InvalidJid:
            known = False
        if not known:
            return _answer(_terminate("host-unknown"))
        session = BoshSession(
            front.new_id(), body, front.domains.server, secure=request.secure, ended=self._ended
        )
        session.kind = body.content if body.content in _KINDS else _DEFAULT_KIND
        connection = front.connection(request.address, secure=request.secure, framing=session.framing)
        outbox = MessageOutbox(
            session, front.flusher, front.options.sendq_bytes, lambda: self._overflowed(session), standalone
        )
        self._sessions[session.sid] = session
        session.stream = ClientStream(front, session, outbox, connection, request.address)
        return self._told(session, await session.ask(body))

    def _told(self, session: BoshSession, answer: bytes) -> Response:
        status = 200
        if session.legacy and b" type='terminate'" in answer.partition(b">")[0]:
            status = next((code for name, code in _LEGACY.items() if f"'{name}'".encode() in answer), 200)
        return _answer(answer, session.kind, status)

    def _ended(self, session: BoshSession) -> None:
        self._sessions.pop(session.sid, None)

    def _overflowed(self, session: BoshSession) -> None:
        log.info("xmpp.send_queue_full", address="" if session.stream is None else session.stream.address)
        session.abort()


def _terminate(condition: str) -> bytes:
    return write_body([("type", "terminate"), ("condition", condition)])


def _answer(body: bytes, kind: str = _DEFAULT_KIND, status: int = 200) -> Response:
    headers: tuple[Header, ...] = (
        (b"content-type", kind.encode("ascii")),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        _CORS,
    )
    return Response(status, body, headers)
