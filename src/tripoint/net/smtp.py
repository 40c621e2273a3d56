"""Sending letters: one exchange with the operator's mail server for each, encrypted, with a deadline.

The mail server queues, signs and delivers; this server hands over and tells what it was answered. Addresses, texts and
what is in links never reach a log: what a mail server says is told without the addresses in it.
spec: RFC5321, RFC3207 (STARTTLS), RFC8314 3.3 (TLS from the first byte), RFC4954 (AUTH)
"""

from __future__ import annotations

import asyncio
import re
import secrets
import ssl
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Final

import structlog

from tripoint.core.letters import Letter, MailFailed

log = structlog.get_logger("tripoint.mail")

# One letter, from the connection to the answer. spec: RFC5321 4.5.3.2 allows minutes; somebody waits for this one.
SEND_S: Final = 30.0
# Letters that are handed over at a time, and that wait for their turn.
MAX_AT_ONCE: Final = 4
MAX_WAITING: Final = 200
STARTTLS, TLS, PLAIN = "starttls", "tls", "none"
_ADDRESS = re.compile(r"[^\s<>()\[\]:;,\"]+@[^\s<>()\[\]:;,\"]+")


@dataclass(frozen=True, slots=True)
class MailServer:
    """The operator's mail server. `security`: starttls, tls or none; `user` empty: it asks for no password.
    `sender`: the address that letters come from."""

    host: str
    port: int
    security: str
    user: str
    password: str = field(repr=False)
    sender: str
    sender_name: str


class Postman:
    """Hands letters over. `context`: TLS as outgoing connections have it; `now_s`: seconds since 1970."""

    def __init__(
        self,
        server: MailServer,
        context: ssl.SSLContext,
        now_s: Callable[[], float],
        *,
        send_s: float = SEND_S,
    ) -> None:
        self._server = server
        self._context = context
        self._now_s = now_s
        self._send_s = send_s
        self._turns = asyncio.Semaphore(MAX_AT_ONCE)
        self._waiting = 0
        self.results = {"sent": 0, "failed": 0}

    async def send(self, letter: Letter) -> None:
        """See core.letters.SendLetter."""
        if self._waiting >= MAX_WAITING:
            raise MailFailed("too many letters wait to be sent")
        self._waiting += 1
        try:
            async with self._turns:
                await self.hand_over(letter)
        except MailFailed as failed:
            self.results["failed"] += 1
            log.warning("mail.not_sent", server=self._server.host, reason=failed.reason, for_good=failed.for_good)
            raise
        finally:
            self._waiting -= 1
        self.results["sent"] += 1
        log.info("mail.sent", server=self._server.host)

    async def hand_over(self, letter: Letter) -> None:
        """As send(), at once, without a word in the log."""
        # Here, since these take a while to import, and most servers send no mail.
        import aiosmtplib

        from tripoint.core.letter_form import compose

        server = self._server
        domain = server.sender.rpartition("@")[2]
        message = compose(
            letter,
            sender=server.sender,
            sender_name=server.sender_name,
            message_id=f"<{secrets.token_hex(16)}@{domain}>",
            now_s=self._now_s(),
        )
        client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            use_tls=server.security == TLS,
            start_tls=server.security == STARTTLS,
            tls_context=None if server.security == PLAIN else self._context,
            local_hostname=domain,
            timeout=self._send_s,
        )
        try:
            async with asyncio.timeout(self._send_s), AsyncExitStack() as stack:
                stack.callback(client.close)
                await client.connect()
                if server.user:
                    await client.login(server.user, server.password)
                await client.send_message(message, sender=server.sender, recipients=[letter.to])
                await client.quit()
        except TimeoutError:
            raise MailFailed(f"no whole answer within {self._send_s:g} s") from None
        except aiosmtplib.SMTPAuthenticationError as error:
            raise MailFailed(f"it does not let mail.user in: {_said(error.code, error.message)}") from None
        except aiosmtplib.SMTPRecipientsRefused as error:
            refused = error.recipients[0]
            text = f"it does not take the address: {_said(refused.code, refused.message)}"
            raise MailFailed(text, for_good=_is_final(refused.code)) from None
        except aiosmtplib.SMTPDataError as error:
            raise MailFailed(_said(error.code, error.message), for_good=_is_final(error.code)) from None
        except aiosmtplib.SMTPResponseException as error:
            raise MailFailed(_said(error.code, error.message)) from None
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise MailFailed(f"{type(error).__name__}: {_without_addresses(str(error))}") from None


def _is_final(code: int) -> bool:
    """spec: RFC5321 4.2.1: 5yz, not to be tried again as it is."""
    return 500 <= code < 600


def _said(code: int, text: str) -> str:
    return _without_addresses(f"{code} {text}")


def _without_addresses(text: str) -> str:
    return " ".join(_ADDRESS.sub("(address)", text)[:300].split())
