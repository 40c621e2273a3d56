"""What clients call without a browser: registration, tokens, revocation, device authorisation, metadata.

spec: RFC6749 3.2, 5; RFC7009 2; RFC7591 3; RFC8414 3; RFC8628 3.1, 3.2; Matrix client-server-api oauth-20-api
"""

from collections.abc import Awaitable, Callable

import orjson

from tripoint.accounts.oauth.service import Authorization, Granted
from tripoint.accounts.ports import LogIn
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.core.canonical_json import JsonObject
from tripoint.core.oauth.clients import CODE, DEVICE, MAX_BYTES, REFRESH, Client
from tripoint.core.oauth.errors import OAuthError
from tripoint.core.oauth.metadata import LINK
from tripoint.core.oauth.requests import Parameters, needed, read_form, read_scope, shown_user_code, single
from tripoint.net.http import Header, Request, Response

# Clients in browsers are everywhere; nothing here goes by cookies.
_CORS: tuple[Header, ...] = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
    (b"access-control-allow-headers", b"X-Requested-With, Content-Type, Authorization"),
)
# spec: RFC6749 5.1
_HEADERS: tuple[Header, ...] = (
    (b"content-type", b"application/json"),
    (b"cache-control", b"no-store"),
    (b"pragma", b"no-cache"),
    *_CORS,
)
_METADATA_HEADERS: tuple[Header, ...] = (
    (b"content-type", b"application/json"),
    (b"cache-control", b"public, max-age=600"),
    *_CORS,
)


class OAuthEndpoints:
    """Each method answers one address."""

    def __init__(self, oauth: Authorization, now_ms: Callable[[], int]) -> None:
        self._oauth = oauth
        self._now_ms = now_ms

    async def metadata(self, request: Request) -> Response:
        """The same as GET /auth_metadata, where other software looks for it."""
        return Response(200, orjson.dumps(await self._oauth.metadata()), _METADATA_HEADERS)

    async def keys(self, request: Request) -> Response:
        """By which clients may verify ID tokens."""
        return Response(200, orjson.dumps(await self._oauth.id_tokens.keys()), _METADATA_HEADERS)

    async def register(self, request: Request) -> Response:
        """spec: RFC7591 3.1, 3.2"""

        async def work() -> Response:
            if len(request.body) > 2 * MAX_BYTES:
                raise OAuthError("invalid_client_metadata", "that is too much for a client")
            try:
                body = orjson.loads(request.body)
            except orjson.JSONDecodeError:
                body = None
            if not isinstance(body, dict):
                raise OAuthError("invalid_client_metadata", "the body must be a JSON object")
            client = await self._oauth.clients.register(body, address=request.address)
            issued_s = self._now_ms() // 1000
            answer: JsonObject = {
                "client_id": client.client_id,
                "client_id_issued_at": issued_s,
                **client.metadata(),
            }
            return _json(answer, 201)

        return await _answered(work)

    async def token(self, request: Request) -> Response:
        async def work() -> Response:
            form = read_form(request.header(b"content-type"), request.body)
            client = await self._client(form)
            match needed(form, "grant_type"):
                case "authorization_code":
                    _check_grant(client, CODE)
                    granted = await self._oauth.trade_code(
                        client, needed(form, "code"), single(form, "redirect_uri"), single(form, "code_verifier")
                    )
                    return _json(_granted(granted))
                case "refresh_token":
                    _check_grant(client, REFRESH)
                    # spec: RFC6749 6: a narrower scope may be asked for; there is none.
                    if (scope := single(form, "scope")) is not None:
                        read_scope(scope)
                    return _json(_tokens(await self._oauth.refresh(client, needed(form, "refresh_token"))))
                case "urn:ietf:params:oauth:grant-type:device_code":
                    _check_grant(client, DEVICE)
                    granted = await self._oauth.trade_device_code(client, needed(form, "device_code"))
                    return _json(_granted(granted))
            raise OAuthError("unsupported_grant_type", "this server does not know that grant type")

        return await _answered(work)

    async def revoke(self, request: Request) -> Response:
        """spec: token-revocation: whoever has a token may end it, whichever client it was given to."""

        async def work() -> Response:
            form = read_form(request.header(b"content-type"), request.body)
            await self._oauth.revoke(needed(form, "token"))
            return _json({})

        return await _answered(work)

    async def device_authorization(self, request: Request) -> Response:
        """spec: RFC8628 3.1, 3.2"""

        async def work() -> Response:
            form = read_form(request.header(b"content-type"), request.body)
            client = await self._client(form)
            scope = read_scope(single(form, "scope"))
            codes = await self._oauth.ask_device(client, scope, address=request.address)
            uri, code = self._oauth.base + LINK, shown_user_code(codes.user_code)
            answer: JsonObject = {
                "device_code": codes.device_code,
                "user_code": code,
                "verification_uri": uri,
                "verification_uri_complete": f"{uri}?user_code={code}",
                "expires_in": codes.expires_in_s,
                "interval": codes.interval_s,
            }
            return _json(answer)

        return await _answered(work)

    async def _client(self, form: Parameters) -> Client:
        """The client that says it is one: public clients have nothing to prove it by. spec: RFC6749 3.2.1"""
        client = await self._oauth.clients.find(needed(form, "client_id"))
        if client is None:
            raise OAuthError("invalid_client", "this client is not registered", status=401)
        return client


def _check_grant(client: Client, grant: str) -> None:
    if grant not in client.grant_types:
        raise OAuthError("unauthorized_client", "this client did not register for that grant type")


def _tokens(log_in: LogIn) -> JsonObject:
    """spec: RFC6749 5.1"""
    return {
        "access_token": log_in.access_token or "",
        "token_type": "Bearer",
        "expires_in": (log_in.expires_in_ms or 0) // 1000,
        "refresh_token": log_in.refresh_token or "",
    }


def _granted(granted: Granted) -> JsonObject:
    body: JsonObject = {**_tokens(granted.log_in), "scope": granted.scope}
    if granted.id_token is not None:
        body["id_token"] = granted.id_token
    return body


def _json(body: JsonObject, status: int = 200) -> Response:
    return Response(status, orjson.dumps(body), _HEADERS)


async def _answered(work: Callable[[], Awaitable[Response]]) -> Response:
    """What `work` answers; its refusals as OAuth errors. spec: RFC6749 5.2"""
    try:
        return await work()
    except OAuthError as error:
        return _json({"error": error.error, "error_description": error.description}, error.status)
    except AccountRefused as refused:
        limited = refused.refusal is AccountRefusal.RATE_LIMITED
        # No code of RFC6749 says "later" for these endpoints; this one is known from 4.1.2.1.
        answer = _json(
            {"error": "temporarily_unavailable", "error_description": refused.text}, 429 if limited else 503
        )
        wait_s = -(-(refused.retry_after_ms or 1000) // 1000)
        return Response(answer.status, answer.body, (*_HEADERS, (b"retry-after", str(wait_s).encode())))
