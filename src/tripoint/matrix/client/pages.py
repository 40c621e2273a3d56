"""What sends browsers and clients to the pages of this server: OAuth metadata, SSO, and UIA without a client's help.

spec: Matrix client-server-api GET /auth_metadata, sso-login, fallback. The pages are the package oauth's.
"""

from urllib.parse import urlencode

from tripoint.accounts.oauth.service import Authorization
from tripoint.core.canonical_json import Json, JsonObject
from tripoint.core.oauth.metadata import CONFIRM, FALLBACK, SSO
from tripoint.matrix.errors import JSON_HEADERS, MatrixError, json_response, missing
from tripoint.matrix.registry import Auth, Call, endpoint
from tripoint.net.http import Response

# Parameters of POST /login that are no credentials.
_FORWARDED = ("device_id", "initial_device_display_name", "refresh_token")


class PageEndpoints:
    def __init__(self, oauth: Authorization) -> None:
        self._oauth = oauth

    @endpoint(
        "GET",
        "/_matrix/client/v1/auth_metadata",
        # COMPAT: what clients asked before the specification had it (MSC2965).
        "/_matrix/client/unstable/org.matrix.msc2965/auth_metadata",
        auth=Auth.NONE,
    )
    async def auth_metadata(self, call: Call) -> Response:
        if not self._oauth.is_on:
            raise MatrixError(404, "M_UNRECOGNIZED", "This server has no address for OAuth 2.0: see server.public_url")
        return json_response(await self._oauth.metadata())

    @endpoint(
        "GET", "/_matrix/client/v3/login/sso/redirect", "/_matrix/client/r0/login/sso/redirect", auth=Auth.NONE
    )
    async def sso(self, call: Call) -> Response:
        return self._to_sso(call, {})

    @endpoint(
        "GET",
        "/_matrix/client/v3/login/sso/redirect/{idpId}",
        "/_matrix/client/r0/login/sso/redirect/{idpId}",
        auth=Auth.NONE,
    )
    async def sso_of(self, call: Call) -> Response:
        provider = call.path["idpId"]
        if not any(one.provider_id == provider for one in self._oauth.providers):
            raise MatrixError(404, "M_NOT_FOUND", "There is no such identity provider")
        return self._to_sso(call, {"provider": provider})

    def _to_sso(self, call: Call, more: dict[str, str]) -> Response:
        url = call.query("redirectUrl")
        if not url:
            raise missing("redirectUrl")
        # spec: action=register is for somebody who wants an account.
        if call.query("action") == "register":
            more = {**more, "prompt": "create"}
        return _found(f"{SSO}?{urlencode({'redirectUrl': url, **more})}")

    @endpoint("GET", "/_matrix/static/client/login", auth=Auth.NONE)
    async def log_in_fallback(self, call: Call) -> Response:
        """spec: "Login Fallback": what is no credential goes along."""
        asked = {name: value for name in _FORWARDED if (value := call.query(name))}
        return _found(f"{FALLBACK}?{urlencode(asked)}" if asked else FALLBACK)

    @endpoint("GET", "/_matrix/client/v3/auth/{authType}/fallback/web", auth=Auth.NONE)
    async def fallback(self, call: Call) -> Response:
        """spec: "Fallback": a page on which the stage is passed."""
        session = call.query("session")
        if not session:
            raise missing("session")
        return _found(f"{CONFIRM}?{urlencode({'session': session, 'stage': call.path['authType']})}")


def sso_flow(oauth: Authorization) -> JsonObject | None:
    """m.login.sso as GET /login lists it; None where there is nowhere to send people.

    spec: sso-login, oauth-20-aware-clients
    """
    if not oauth.is_on:
        return None
    flow: JsonObject = {"type": "m.login.sso", "oauth_aware_preferred": True}
    providers: list[Json] = [one.for_clients() for one in oauth.providers]
    if providers:
        flow["identity_providers"] = providers
    return flow


def _found(location: str) -> Response:
    return Response(302, b"", ((b"location", location.encode()), *JSON_HEADERS[1:]))
