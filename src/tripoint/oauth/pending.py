"""Log-ins by a provider that are under way: what was begun, in which browser, and for what.

In memory alone: they take minutes, and one that is gone is begun anew. spec: Matrix client-server-api sso-login:
"homeservers SHOULD guard against unsolicited authentication attempts by tracking pending requests"
"""

import secrets
from collections import OrderedDict
from collections.abc import Callable
from enum import Enum
from typing import Final

MAX_PENDING: Final = 10_000
LIFE_S: Final = 900


class Purpose(Enum):
    """What somebody wants of the provider: to come in, to link it with an account, to show who they are once more."""

    LOG_IN = "log-in"
    LINK = "link"
    CONFIRM = "confirm"


class Pending:
    """One of them. `to`: the page that it is for, or the session that is confirmed. `subject` and what follows are
    known once the provider has answered."""

    __slots__ = (
        *("browser", "display_name", "name", "nonce", "provider_id", "purpose"),
        *("subject", "to", "until_s", "verifier"),
    )

    def __init__(self, provider_id: str, purpose: Purpose, to: str, browser: str, until_s: float) -> None:
        self.provider_id = provider_id
        self.purpose = purpose
        self.to = to
        self.browser = browser
        self.until_s = until_s
        self.nonce = secrets.token_urlsafe(24)
        self.verifier = secrets.token_urlsafe(48)
        self.subject: str | None = None
        self.name = ""
        self.display_name = ""


class PendingLogIns:
    """All of them, by their `state`."""

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self._all: OrderedDict[str, Pending] = OrderedDict()

    def begin(self, provider_id: str, purpose: Purpose, to: str, browser: str) -> tuple[str, Pending]:
        state = secrets.token_urlsafe(24)
        pending = Pending(provider_id, purpose, to, browser, self._clock_s() + LIFE_S)
        self._all[state] = pending
        if len(self._all) > MAX_PENDING:
            self._all.popitem(last=False)
        return state, pending

    def find(self, state: str, browser: str) -> Pending | None:
        """One that was begun in this browser, and not too long ago."""
        found = self._all.get(state)
        return found if found is not None and found.browser == browser and found.until_s > self._clock_s() else None

    def end(self, state: str) -> None:
        self._all.pop(state, None)
