"""Asks an identity provider: where its endpoints are, what a code is good for, who that is.

spec: OpenID Connect Core 3.1.3, 3.1.3.7, 5.3; RFC6749 2.3.1, 4.1.3; RFC7517, RFC7519. Signatures are joserfc's.
"""

import base64
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote, urlencode

import orjson
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from tripoint.core.canonical_json import JsonObject
from tripoint.core.json_view import text_at
from tripoint.core.oauth.openid import MAX_SUBJECT, BadProvider, Endpoints, discovery_url, read_endpoints
from tripoint.core.oauth.providers import Provider
from tripoint.net.outbound import Outbound

LIMIT_BYTES: Final = 262_144
TIMEOUT_S: Final = 10.0
# How long what a provider says of itself is believed; keys are asked for again as soon as one is unknown.
KEPT_S: Final = 3600.0
# Clocks of two machines.
LEEWAY_S: Final = 60
# No "none", and nothing that a public key could be mistaken for the secret of.
ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_FORM: Final = "application/x-www-form-urlencoded"


class ProviderClient:
    """One provider. Raises BadProvider and RemoteFailed. `clock_s` is monotonic, `now_s` the wall clock."""

    def __init__(
        self,
        provider: Provider,
        outbound: Outbound,
        now_s: Callable[[], float],
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.provider = provider
        self._outbound = outbound
        self._now_s = now_s
        self._clock_s = clock_s
        self._endpoints: tuple[float, Endpoints] | None = None
        self._keys: KeySet | None = None

    async def endpoints(self) -> Endpoints:
        """What the provider says of itself, now or within the last hour."""
        kept = self._endpoints
        if kept is None or kept[0] < self._clock_s():
            document = await self._get(discovery_url(self.provider.issuer))
            kept = self._endpoints = (self._clock_s() + KEPT_S, read_endpoints(document, self.provider.issuer))
            self._keys = None
        return kept[1]

    async def who(self, code: str, *, redirect_uri: str, nonce: str, verifier: str) -> JsonObject:
        """The claims about whoever came back with this code; `sub` is there."""
        endpoints = await self.endpoints()
        tokens = await self._trade(endpoints, code, redirect_uri, verifier)
        token = text_at(tokens, "id_token")
        if token is None:
            raise BadProvider("it gave no ID token")
        claims = await self._verified(endpoints, token, nonce)
        access_token = text_at(tokens, "access_token")
        wanted = {self.provider.localpart_claim, self.provider.display_name_claim} - set(claims)
        if wanted and endpoints.userinfo is not None and access_token is not None:
            more = await self._get(endpoints.userinfo, {"Authorization": f"Bearer {access_token}"})
            # spec: OpenID Connect Core 5.3.2: "if they do not match, the UserInfo Response values MUST NOT be used"
            if more.get("sub") != claims["sub"]:
                raise BadProvider("it speaks of two different people")
            claims = {**more, **claims}
        return claims

    async def _trade(self, endpoints: Endpoints, code: str, redirect_uri: str, verifier: str) -> JsonObject:
        provider = self.provider
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        headers = {"Content-Type": _FORM, "Accept": "application/json"}
        if provider.oauth_client_secret and endpoints.basic:
            # spec: RFC6749 2.3.1: both are form-encoded first
            pair = f"{quote(provider.oauth_client_id, safe='')}:{quote(provider.oauth_client_secret, safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form["client_id"] = provider.oauth_client_id
            if provider.oauth_client_secret:
                form["client_secret"] = provider.oauth_client_secret
        answer = await self._outbound.post(
            endpoints.token,
            urlencode(form).encode(),
            headers=headers,
            limit_bytes=LIMIT_BYTES,
            timeout_s=TIMEOUT_S,
        )
        body = _object(answer.body)
        if answer.status != 200:
            raise BadProvider(f"it refused the code: {text_at(body, 'error') or answer.status}")
        return body

    async def _verified(self, endpoints: Endpoints, token: str, nonce: str) -> JsonObject:
        """spec: OpenID Connect Core 3.1.3.7"""
        try:
            try:
                claims = self._decoded(token, await self._key_set(endpoints, fresh=False))
            except JoseError:
                # A new key: providers change theirs without a word.
                claims = self._decoded(token, await self._key_set(endpoints, fresh=True))
        except (JoseError, ValueError) as error:
            raise BadProvider(f"its ID token is not valid: {type(error).__name__}") from error
        audience = claims.get("aud")
        listed = audience if isinstance(audience, list) else [audience]
        now_s = self._now_s()
        expires, subject = claims.get("exp"), claims.get("sub")
        if claims.get("iss") != endpoints.issuer:
            raise BadProvider("its ID token is another issuer's")
        if self.provider.oauth_client_id not in listed:
            raise BadProvider("its ID token is for somebody else")
        if len(listed) > 1 and claims.get("azp") != self.provider.oauth_client_id:
            raise BadProvider("its ID token was given to somebody else")
        if not isinstance(expires, int | float) or expires + LEEWAY_S < now_s:
            raise BadProvider("its ID token has expired")
        if claims.get("nonce") != nonce:
            raise BadProvider("its ID token is of another log-in")
        if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT:
            raise BadProvider("its ID token says nobody's name")
        return claims

    def _decoded(self, token: str, keys: KeySet) -> JsonObject:
        return dict(jwt.decode(token, keys, algorithms=list(ALGORITHMS)).claims)

    async def _key_set(self, endpoints: Endpoints, *, fresh: bool) -> KeySet:
        if self._keys is None or fresh:
            document: Any = await self._get(endpoints.keys)
            self._keys = KeySet.import_key_set(document)
        return self._keys

    async def _get(self, url: str, headers: dict[str, str] | None = None) -> JsonObject:
        answer = await self._outbound.get(url, headers=headers, limit_bytes=LIMIT_BYTES, timeout_s=TIMEOUT_S)
        if answer.status != 200:
            raise BadProvider(f"it answered {answer.status}")
        return _object(answer.body)


def _object(body: bytes) -> JsonObject:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise BadProvider("its answer is not JSON") from None
    if not isinstance(value, dict):
        raise BadProvider("its answer is not an object")
    return value


