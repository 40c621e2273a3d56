"""What the letters about addresses say: confirm one, it is in use, there is no account with it."""

from enum import Enum

from tripoint.core.email_address import EmailAddress
from tripoint.core.letters import Letter, Line, Link, Text


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


_NOT_YOU = "If that was not you, there is nothing to do: without this link nothing happens."


def confirm_letter(
    purpose: Purpose, to: EmailAddress, server: str, url: str, hours: int, account: str | None
) -> Letter:
    """A link that shows that the address is theirs. `account`: whose password is to be reset."""
    good = Text(f"The link is good for {'an hour' if hours == 1 else f'{hours} hours'}, once.")
    lines: tuple[Line, ...]
    if purpose.is_reset:
        subject = f"A new password at {server}"
        asked = f"Somebody, you as we hope, has asked for a new password for {account}."
        lines = (Text(asked), Link("Choose a new password", url), good, Text(_NOT_YOU))
    elif purpose.is_add:
        subject = f"Confirm your e-mail address at {server}"
        asked = f"Somebody, you as we hope, wants this address to be one of their account at {server}."
        lines = (Text(asked), Link("Confirm the address", url), good, Text(_NOT_YOU))
    else:
        subject = f"Make your account at {server}"
        asked = f"Somebody, you as we hope, wants to make an account at {server} with this address."
        lines = (Text(asked), Link("Go on with the account", url), good, Text(_NOT_YOU))
    return Letter(to, subject, lines)


def in_use_letter(to: EmailAddress, server: str) -> Letter:
    """spec: Matrix client-server-api POST /register/email/requestToken: told to the address, not to who asked."""
    return Letter(
        to,
        f"You have an account at {server} already",
        (
            Text(f"Somebody, you as we hope, wanted to use this address at {server}. An account there has it already."),
            Text("If you do not remember its password, ask your client, or the page where you log in, for a new one."),
            Text("If that was not you, there is nothing to do."),
        ),
    )


def unknown_letter(to: EmailAddress, server: str) -> Letter:
    """spec: Matrix client-server-api POST /account/password/email/requestToken, as in_use_letter()."""
    return Letter(
        to,
        f"No account at {server} has this address",
        (
            Text(f"Somebody, you as we hope, has asked for a new password at {server}."),
            Text("No account there has this address; perhaps yours has another, or is at another server."),
            Text("If that was not you, there is nothing to do."),
        ),
    )
