"""A mail server for tests: real SMTP over loopback, with STARTTLS and passwords, that keeps what it is given."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from functools import partial
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

USER, PASSWORD = "tripoint", "tea and cake"


@dataclass
class MailHouse:
    """What arrived. `refuses` is what it answers to RCPT TO where it is not empty, `refuses_data` to DATA."""

    port: int = 0
    letters: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    refuses: str = ""
    refuses_data: str = ""

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.refuses:
            return self.refuses.format(address=address)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.refuses_data:
            return self.refuses_data
        assert isinstance(envelope.content, bytes)
        message = BytesParser(policy=default).parsebytes(envelope.content)
        assert isinstance(message, EmailMessage)
        self.letters.append(message)
        self.recipients.append(list(envelope.rcpt_tos))
        self.encrypted.append(session.ssl is not None)
        return "250 OK"

    def text(self, number: int = -1) -> str:
        """The plain text of a letter."""
        part = self.letters[number].get_body(("plain",))
        assert part is not None
        return str(part.get_content()).replace("\r\n", "\n")

    def html(self, number: int = -1) -> str:
        part = self.letters[number].get_body(("html",))
        assert part is not None
        return str(part.get_content()).replace("\r\n", "\n")

    def link(self, containing: str, number: int = -1) -> str:
        """The first address in a letter that has this in it."""
        return next(word for word in self.text(number).split() if word.startswith("http") and containing in word)


def _authenticate(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
    right = isinstance(data, LoginPassword) and (data.login, data.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=right, handled=False)


@asynccontextmanager
async def mail_house(context: ssl.SSLContext | None = None, *, direct: bool = False) -> AsyncIterator[MailHouse]:
    """A running one. With a `context` it wants STARTTLS and a password; `direct`: TLS from the first byte instead."""
    house = MailHouse()
    loop = asyncio.get_running_loop()
    make: Callable[[], SMTP] = partial(SMTP, house, loop=loop, hostname="mail.test")
    if context is not None:
        secured: dict[str, Any] = {"authenticator": _authenticate, "auth_require_tls": not direct}
        secured |= {} if direct else {"auth_required": True, "tls_context": context, "require_starttls": True}
        make = partial(make, **secured)
    server = await loop.create_server(make, "127.0.0.1", 0, ssl=context if direct else None)
    house.port = server.sockets[0].getsockname()[1]
    try:
        yield house
    finally:
        server.close()
