"""Letters that this server writes by e-mail: what they say. As messages they are core/letter_form.py.

A letter is made of a few kinds of lines, so that its text and its HTML say the same and no text becomes markup.
"""

from collections.abc import Awaitable, Callable

from msgspec import Struct

from tripoint.core.email_address import EmailAddress


class Text(Struct, frozen=True):
    """A paragraph."""

    text: str


class Heading(Struct, frozen=True):
    text: str


class Quote(Struct, frozen=True):
    """What somebody said."""

    who: str
    text: str


class Link(Struct, frozen=True):
    """Where to go, and what for."""

    text: str
    url: str


Line = Text | Heading | Quote | Link


class Letter(Struct, frozen=True):
    """A letter to somebody. `leave_url`: where the reader ends letters of this kind, by one POST."""

    to: EmailAddress
    subject: str
    lines: tuple[Line, ...]
    leave_url: str | None = None


class MailFailed(Exception):
    """A letter was not sent. `reason` is for operators and names no address; `for_good`: it never will be."""

    def __init__(self, reason: str, *, for_good: bool = False) -> None:
        self.reason = reason
        self.for_good = for_good
        super().__init__(reason)


# Sends a letter; it is with the mail server when this returns. Raises MailFailed.
SendLetter = Callable[[Letter], Awaitable[None]]


def shortened(text: str, limit: int) -> str:
    """At most so many characters, with a sign where some are left out."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
