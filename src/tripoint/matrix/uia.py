"""User-interactive authentication: what a client must show before something grave is done.

spec: Matrix client-server-api user-interactive-authentication-api. Every flow here has one stage, so a session
only has to be one we gave out for this purpose; what was shown on a page (fallback) is in it.
"""

from collections.abc import Mapping

from msgspec import Struct

from tripoint.accounts.confirmations import Confirmations
from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import UserId
from tripoint.matrix.errors import MatrixError


class Asked(Struct, frozen=True):
    """What something needs: one of `stages`. `purpose` tells one thing from another; `what` is for people; `user_id` is
    whose password is meant; `params` go along for the stages that have some."""

    purpose: str
    stages: tuple[str, ...]
    what: str = ""
    user_id: UserId | None = None
    params: Mapping[str, JsonObject] = {}


class Shown(Struct, frozen=True):
    """What the client showed. `on_page`: it was checked on the page of this server already."""

    auth: JsonObject
    on_page: bool = False


class UserInteractive:
    """Keeps to the sessions that were given out."""

    def __init__(self, confirmations: Confirmations) -> None:
        self._confirmations = confirmations

    def check(self, auth: object, asked: Asked) -> Shown:
        """What the client shows for one of the stages, or the 401 that asks for it.

        A `session` that was given is ours, of the same purpose, and ends here; none at all is taken too, since
        a client may know the only stage without asking.
        """
        if not isinstance(auth, dict):
            raise self._ask(asked)
        session, stage = auth.get("session"), auth.get("type")
        if session is not None:
            known = self._confirmations.find(session) if isinstance(session, str) else None
            if known is None or known.purpose != asked.purpose:
                raise MatrixError(400, "M_UNKNOWN", "That authentication session is not known, or too old")
            assert isinstance(session, str), "it was found"
            # spec: "Fallback": with nothing but its session, the client says that the page was seen to.
            if stage is None:
                if known.passed is None:
                    raise self._error(asked, session, "M_FORBIDDEN", "This is not confirmed yet")
                self._confirmations.end(session)
                return Shown(known.passed, on_page=True)
        if stage not in asked.stages:
            raise self._ask(asked)
        if isinstance(session, str):
            self._confirmations.end(session)
        return Shown(auth)

    def session_of(self, auth: object, asked: Asked) -> str | None:
        """The session that a client names, where it is ours and of this purpose."""
        session = auth.get("session") if isinstance(auth, dict) else None
        known = self._confirmations.find(session) if isinstance(session, str) else None
        return session if isinstance(session, str) and known is not None and known.purpose == asked.purpose else None

    def failed(self, asked: Asked, errcode: str, error: str) -> MatrixError:
        """The 401 for a stage that was tried and not passed: the client may try again."""
        return self._ask(asked, errcode, error)

    def again(self, asked: Asked, session: str) -> MatrixError:
        """The 401 for a stage that is not passed yet: the same session goes on."""
        return self._error(asked, session, "M_FORBIDDEN", "This is not confirmed yet")

    def _ask(
        self, asked: Asked, errcode: str = "M_FORBIDDEN", error: str = "This needs authentication"
    ) -> MatrixError:
        session = self._confirmations.ask(asked.purpose, asked.stages, asked.what, asked.user_id)
        return self._error(asked, session, errcode, error)

    def _error(self, asked: Asked, session: str, errcode: str, error: str) -> MatrixError:
        return MatrixError(
            401,
            errcode,
            error,
            session=session,
            flows=[{"stages": [stage]} for stage in asked.stages],
            params={stage: asked.params[stage] for stage in asked.stages if stage in asked.params},
            completed=[],
        )
