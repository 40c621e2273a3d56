"""Letters about addresses: confirm one, it is in use, there is no account with it. Their words: core/letter_words.py"""

from enum import Enum

from tripoint.core.email_address import EmailAddress
from tripoint.core.letter_words import Say
from tripoint.core.letters import Letter, Link, Text


class Purpose(Enum):
    """What somebody shows an address for. With the first three a client does the rest, after the link was opened; with
    the others the page does that the link leads to."""

    REGISTER = "register"
    ADD = "add"
    RESET = "reset"
    ADD_ON_PAGE = "add on page"
    RESET_ON_PAGE = "reset on page"
    REGISTER_ON_PAGE = "register on page"

    @property
    def is_add(self) -> bool:
        return self in (Purpose.ADD, Purpose.ADD_ON_PAGE)

    @property
    def is_reset(self) -> bool:
        return self in (Purpose.RESET, Purpose.RESET_ON_PAGE)

    @property
    def on_page(self) -> bool:
        return self in (Purpose.ADD_ON_PAGE, Purpose.RESET_ON_PAGE, Purpose.REGISTER_ON_PAGE)


def confirm_letter(
    say: Say, purpose: Purpose, to: EmailAddress, server: str, url: str, hours: int, account: str | None
) -> Letter:
    """A link that shows that the address is theirs. `account`: whose password is to be reset."""
    kind = "reset" if purpose.is_reset else "add" if purpose.is_add else "register"
    asked = say("reset_text", account=account or "") if purpose.is_reset else say(f"{kind}_text", server=server)
    good = say("good_hour") if hours == 1 else say("good_hours", hours=str(hours))
    lines = (Text(asked), Link(say(f"{kind}_link"), url), Text(good), Text(say("not_you")))
    return Letter(to, say(f"{kind}_subject", server=server), lines)


def in_use_letter(say: Say, to: EmailAddress, server: str) -> Letter:
    """spec: Matrix client-server-api POST /register/email/requestToken: told to the address, not to who asked."""
    lines = (say("in_use_text", server=server), say("in_use_password"), say("nothing_to_do"))
    return Letter(to, say("in_use_subject", server=server), tuple(map(Text, lines)))


def unknown_letter(say: Say, to: EmailAddress, server: str) -> Letter:
    """spec: Matrix client-server-api POST /account/password/email/requestToken, as in_use_letter()."""
    lines = (say("unknown_text", server=server), say("unknown_perhaps"), say("nothing_to_do"))
    return Letter(to, say("unknown_subject", server=server), tuple(map(Text, lines)))
