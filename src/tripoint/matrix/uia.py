"""User-interactive authentication: what a client must show before something grave is done.

spec: Matrix client-server "User-Interactive Authentication API". Every flow here has one stage, so a session
only has to be one we gave out for this purpose.
"""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from tripoint.core.canonical_json import JsonObject
from tripoint.matrix.errors import MatrixError

# Sessions that were given out and not used; a client comes back within minutes.
MAX_SESSIONS = 10_000
SESSION_LIFE_S = 900


class UserInteractive:
    """Keeps the sessions that were given out."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._sessions: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def check(self, auth: object, stages: Sequence[str], purpose: str) -> JsonObject:
        """The client's `auth` for one of `stages`, or the 401 that asks for it.

        A `session` that was given is ours, of the same purpose, and ends here; none at all is taken too, since
        a client may know the only stage without asking.
        """
        if not isinstance(auth, dict):
            raise self._ask(stages, purpose)
        session, stage = auth.get("session"), auth.get("type")
        if session is not None:
            known = self._sessions.get(session) if isinstance(session, str) else None
            if known is None or known[0] != purpose or known[1] < self._clock_s():
                raise MatrixError(400, "M_UNKNOWN", "That authentication session is not known, or too old")
        if stage not in stages:
            raise self._ask(stages, purpose)
        if isinstance(session, str):
            self._sessions.pop(session, None)
        return auth

    def failed(self, stages: Sequence[str], purpose: str, errcode: str, error: str) -> MatrixError:
        """The 401 for a stage that was tried and not passed: the client may try again."""
        return self._ask(stages, purpose, errcode, error)

    def _ask(
        self,
        stages: Sequence[str],
        purpose: str,
        errcode: str = "M_FORBIDDEN",
        error: str = "This needs authentication",
    ) -> MatrixError:
        session = secrets.token_urlsafe(18)
        self._sessions[session] = (purpose, self._clock_s() + SESSION_LIFE_S)
        if len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        return MatrixError(
            401,
            errcode,
            error,
            session=session,
            flows=[{"stages": [stage]} for stage in stages],
            params={},
            completed=[],
        )
