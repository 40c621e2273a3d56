"""User-interactive authentication: what a client must show before something grave is done.

spec: Matrix client-server-api user-interactive-authentication-api. Most flows here have one stage, so a session
only has to be one we gave out for this purpose; what was shown on a page (fallback) is in it. Where a flow has several
(collect), what is passed of them is kept in the session.
"""

from collections.abc import Awaitable, Callable, Mapping

from msgspec import Struct

from tripoint.accounts.confirmations import Confirmation, Confirmations
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import UserId
from tripoint.matrix.errors import MatrixError


class Asked(Struct, frozen=True):
    """What something needs: one of `stages`. `purpose` tells one thing from another; `what` is for people; `user_id` is
    whose password is meant; `params` go along for the stages that have some. `flows`: ways of several stages."""

    purpose: str
    stages: tuple[str, ...]
    what: str = ""
    user_id: UserId | None = None
    params: Mapping[str, JsonObject] = {}
    flows: tuple[tuple[str, ...], ...] = ()

    @property
    def ways(self) -> tuple[tuple[str, ...], ...]:
        return self.flows or tuple((stage,) for stage in self.stages)


class Shown(Struct, frozen=True):
    """What the client showed, in which session if in one. `on_page`: it was checked on the page of this server
    already."""

    auth: JsonObject
    session: str | None = None
    on_page: bool = False


class UserInteractive:
    """Keeps to the sessions that were given out."""

    def __init__(self, confirmations: Confirmations) -> None:
        self._confirmations = confirmations

    def check(self, auth: object, asked: Asked) -> Shown:
        """What the client shows for one of the stages, or the 401 that asks for it.

        A `session` that was given is ours and of the same purpose; it goes on until passed(). None at all is taken
        too, since a client may know the only stage without asking.
        """
        if not isinstance(auth, dict):
            raise self._go_on(asked, self._begin(asked))
        session, stage = auth.get("session"), auth.get("type")
        if session is not None:
            known = self._confirmations.find(session) if isinstance(session, str) else None
            if known is None or known.purpose != asked.purpose:
                raise MatrixError(400, "M_UNKNOWN", "That authentication session is not known, or too old")
            assert isinstance(session, str), "it was found"
            # spec: "Fallback": with nothing but its session, the client says that the page was seen to.
            if stage is None:
                if not known.passed:
                    raise self._error(asked, session, "M_FORBIDDEN", "This is not confirmed yet")
                self._confirmations.end(session)
                return Shown(next(iter(known.passed.values())), session, on_page=True)
        if stage not in asked.stages:
            raise self.failed(asked, "M_FORBIDDEN", "That is no stage of this", session)
        return Shown(auth, session)

    def passed(self, shown: Shown) -> None:
        """What the client showed holds: its session is used."""
        if shown.session is not None:
            self._confirmations.end(shown.session)

    async def collect(
        self, auth: object, asked: Asked, check: Callable[[str, JsonObject], Awaitable[None]]
    ) -> Mapping[str, JsonObject]:
        """What the client has shown for all stages of one of the ways, or the 401 that asks for the next.

        `check` looks at one stage and raises AccountRefused where that is not passed; the session goes on then.
        """
        if not isinstance(auth, dict):
            raise self._go_on(asked, self._begin(asked))
        session, given = auth.get("session"), auth
        if session is None:
            session = self._begin(asked)
            if auth.get("type") in asked.params:
                # Nobody has seen what a stage is about before they were told.
                raise self._go_on(asked, session)
        known = self._confirmations.find(session) if isinstance(session, str) else None
        if known is None or known.purpose != asked.purpose or not isinstance(session, str):
            raise MatrixError(400, "M_UNKNOWN", "That authentication session is not known, or too old")
        if auth.get("type") is None:
            seen_to = [stage for stage in known.passed if stage not in known.shown]
            given = known.passed[seen_to[0]] if seen_to else {}
        stage = given.get("type")
        if not isinstance(stage, str) or not any(stage in way for way in asked.ways):
            raise self._go_on(asked, session, known)
        try:
            await check(stage, given)
        except AccountRefused as refused:
            code = "M_UNAUTHORIZED" if refused.refusal is not AccountRefusal.RATE_LIMITED else "M_LIMIT_EXCEEDED"
            raise self._error(asked, session, code, refused.text, known) from refused
        # What it was asked with goes along: which versions of documents were presented.
        known.shown[stage] = {**given, **known.params.get(stage, {})}
        if any(known.shown.keys() >= set(way) for way in asked.ways):
            self._confirmations.end(session)
            return known.shown
        raise self._go_on(asked, session, known)

    def _begin(self, asked: Asked) -> str:
        return self._confirmations.ask(asked.purpose, asked.stages, asked.what, asked.user_id, asked.params)

    def _go_on(self, asked: Asked, session: str, known: Confirmation | None = None) -> MatrixError:
        """spec: a stage that was passed is no error, nor is what comes before the first."""
        return self._error(asked, session, "", "", known)

    def session_of(self, auth: object, asked: Asked) -> str | None:
        """The session that a client names, where it is ours and of this purpose."""
        session = auth.get("session") if isinstance(auth, dict) else None
        known = self._confirmations.find(session) if isinstance(session, str) else None
        return session if isinstance(session, str) and known is not None and known.purpose == asked.purpose else None

    def failed(self, asked: Asked, errcode: str, error: str, session: str | None = None) -> MatrixError:
        """The 401 for a stage that was tried and not passed: the client may try again, in the same session if it had
        one. spec: `session` is passed back "in subsequent attempts to authenticate in the same API call" """
        return self._error(asked, session or self._begin(asked), errcode, error)

    def again(self, asked: Asked, session: str) -> MatrixError:
        """The 401 for a stage that is not passed yet: the same session goes on."""
        return self._error(asked, session, "M_FORBIDDEN", "This is not confirmed yet")

    def _error(
        self, asked: Asked, session: str, errcode: str, error: str, known: Confirmation | None = None
    ) -> MatrixError:
        return MatrixError(
            401,
            errcode,
            error,
            session=session,
            flows=[{"stages": list(way)} for way in asked.ways],
            params=dict(asked.params if known is None else known.params),
            completed=[] if known is None else list(known.shown),
        )
