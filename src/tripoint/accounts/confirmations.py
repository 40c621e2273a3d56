"""What clients are asked to show before something grave is done, and what has been shown on a page meanwhile.

In memory alone: they end within minutes, and a client whose confirmation is gone is asked anew.
spec: Matrix client-server-api user-interactive-authentication-api, fallback. Who asks: matrix/uia.py; the page:
oauth/confirm.py
"""

import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import UserId

# Sessions that were given out and not used; a client comes back within minutes.
MAX_SESSIONS: Final = 10_000
SESSION_LIFE_S: Final = 900


class Confirmation:
    """One session. `stages`: any one of them will do; `what`: what is to be done, in a word; `user_id`: whose password
    is asked for. `params`: what the client was told of each stage. `passed`: what was shown on the page for each stage,
    as a client would have said it. `shown`: the stages that are passed, where several are needed."""

    __slots__ = ("params", "passed", "pending", "purpose", "shown", "stages", "until_s", "user_id", "what")

    def __init__(
        self,
        purpose: str,
        stages: Sequence[str],
        what: str,
        user_id: UserId | None,
        params: Mapping[str, JsonObject],
        until_s: float,
    ) -> None:
        self.purpose = purpose
        self.stages = tuple(stages)
        self.what = what
        self.user_id = user_id
        self.until_s = until_s
        self.params = params
        self.passed: dict[str, JsonObject] = {}
        # A letter that the page has had sent: what will be shown once its link was opened.
        self.pending: JsonObject | None = None
        self.shown: dict[str, JsonObject] = {}


class Confirmations:
    """The sessions that were given out. `clock_s` is monotonic."""

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self._sessions: OrderedDict[str, Confirmation] = OrderedDict()

    def ask(
        self,
        purpose: str,
        stages: Sequence[str],
        what: str,
        user_id: UserId | None,
        params: Mapping[str, JsonObject] | None = None,
    ) -> str:
        """A new session."""
        session = secrets.token_urlsafe(18)
        until_s = self._clock_s() + SESSION_LIFE_S
        self._sessions[session] = Confirmation(purpose, stages, what, user_id, params or {}, until_s)
        if len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        return session

    def find(self, session: str) -> Confirmation | None:
        """One that still holds."""
        found = self._sessions.get(session)
        return found if found is not None and found.until_s >= self._clock_s() else None

    def end(self, session: str) -> None:
        """It was used."""
        self._sessions.pop(session, None)
