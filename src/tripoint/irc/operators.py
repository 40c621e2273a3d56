"""Who may be an operator of this server on IRC, and what operators may do.

An operator is an account: OPER is for clients that are logged in. Administrators of the server may do everything; the
configuration names others, and what they may do.
spec: docs/mapping.md 18.4, docs/decisions/operators.md; RFC2812 3.1.4.  Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from tripoint.accounts.ports import Account


class Privilege(Enum):
    """The value is the word of the configuration."""

    BAN = "ban"
    INVITE = "invite"
    KILL = "kill"
    LOOK = "look"
    MASS = "mass"
    NOTICES = "notices"
    REHASH = "rehash"
    REPORTS = "reports"
    ROOMS = "rooms"
    VHOST = "vhost"
    WALLOPS = "wallops"


@dataclass(frozen=True, slots=True)
class Operator:
    """An account that may become an operator. `title` stands behind the nick in WHOIS.

    `hash`: what OPER asks for (core/password_hash.py); None: the account's own password.
    """

    account: str
    privileges: frozenset[Privilege] = field(default_factory=lambda: frozenset(Privilege))
    title: str = "is an IRC operator"
    hash: str | None = None

    def may(self, privilege: Privilege) -> bool:
        """Whether this operator may do such things."""
        return privilege in self.privileges


def operator_of(account: Account, configured: Iterable[Operator]) -> Operator | None:
    """What an account becomes by OPER; None if it may not."""
    if account.guest:
        return None
    named = next((one for one in configured if one.account == account.name), None)
    if named is None and account.admin:
        return Operator(account.name, title="is a server administrator")
    return named


class Notice(Enum):
    """Kinds of what the server tells operators of itself; the value is the letter of the mask (MODE +s)."""

    ABUSE = "a"
    BANS = "b"
    CONNECTIONS = "c"
    FORCED = "f"
    KILLS = "k"
    OPERATORS = "o"
    SERVER = "r"


NOTICE_LETTERS = "".join(sorted(kind.value for kind in Notice))
# What +s without a mask asks for: everything but who comes and goes.
DEFAULT_NOTICES = "".join(letter for letter in NOTICE_LETTERS if letter != Notice.CONNECTIONS.value)


def change_notices(present: str, words: str) -> str:
    """A mask after ``+ck-b``. Letters that are none are left out."""
    kept, on = set(present), True
    for letter in words:
        if letter in "+-":
            on = letter == "+"
        elif letter in NOTICE_LETTERS:
            kept = kept | {letter} if on else kept - {letter}
    return "".join(sorted(kept))
