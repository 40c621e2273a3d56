"""One HTTP request to one endpoint: find it, see who calls, answer errors as Matrix does.

spec: Matrix client-server "Using access tokens", "Web Browser Clients"; server-server-api request-authentication
"""

from collections.abc import Awaitable, Callable

from tripoint.accounts.account import Account
from tripoint.accounts.ports import AccountService, TokenOwner
from tripoint.accounts.refusals import AccountRefused, KeyRefused
from tripoint.core.app_services import AppService
from tripoint.core.errors import PeerError
from tripoint.core.ids import DeviceId, UserId, split_user_id
from tripoint.core.server_bans import Visitor
from tripoint.matrix import refusals
from tripoint.matrix.appservice.identity import asserted
from tripoint.matrix.errors import CORS, ETAG_CORS, MatrixError, invalid
from tripoint.matrix.federation.gate import FederationGate
from tripoint.matrix.registry import Auth, Call, Router, token_of
from tripoint.media.refusals import MediaRefused
from tripoint.net.http import Request, Response
from tripoint.rooms.refusals import Refused

# What the listener for other servers answers; the one for clients answers it too, for servers behind one proxy.
FEDERATION_PATHS = ("/_matrix/federation/", "/_matrix/key/", "/_matrix/policy/")
# What is never a page.
OWN_PATHS = ("/_matrix/", "/_synapse/")
OPERATOR_PATHS = ("/_synapse/admin/",)
FEDERATION_DOCUMENT = "/.well-known/matrix/server"

# Addresses whose preconditions browsers have to be let send.
ETAG_PATHS = "/_matrix/client/unstable/org.matrix.msc4108/"

_PREFLIGHT = Response(204, b"", CORS)
_ETAG_PREFLIGHT = Response(204, b"", ETAG_CORS)
Fallback = Callable[[Request], Awaitable[Response | None]]


class MatrixListener:
    """The handler behind HttpFront. `fallback` may answer paths that are not Matrix's (a web page); `gate` lets
    other servers in; in the name of `operator` is done what is asked on the machine itself."""

    def __init__(
        self,
        router: Router,
        accounts: AccountService,
        fallback: Fallback | None = None,
        gate: FederationGate | None = None,
        operator: UserId | None = None,
    ) -> None:
        self._operator: TokenOwner | None = None
        if operator is not None:
            account = Account(operator, split_user_id(operator)[0], guest=False, admin=True, created_ts_ms=0)
            self._operator = TokenOwner(account, DeviceId("control"))
        # Told of every request of an application service.
        self.heard_from: Callable[[AppService], None] | None = None
        self._router = router
        self._accounts = accounts
        self._gate = gate
        self._fallback = fallback

    async def handle_operator(self, request: Request) -> Response:
        """The administrators' API for who has the machine (runtime/control.py): no token is asked for."""
        if not request.path.startswith(OPERATOR_PATHS):
            return MatrixError(404, "M_UNRECOGNIZED", "Here is the administrators' API alone").response()
        return await self.handle(request, self._operator)

    async def handle(self, request: Request, operator: TokenOwner | None = None) -> Response:
        try:
            return await self._handle(request, operator)
        except MatrixError as error:
            return error.response()
        except Refused as refused:
            return refusals.of_room(refused).response()
        except AccountRefused as refused:
            return refusals.of_account(refused).response()
        except KeyRefused as refused:
            return refusals.of_keys(refused).response()
        except MediaRefused as refused:
            return refusals.of_media(refused).response()
        except PeerError as error:
            return invalid(str(error)).response()

    async def handle_federation(self, request: Request) -> Response:
        """As handle, on a listener that is for other servers alone."""
        if not request.path.startswith(FEDERATION_PATHS) and request.path != FEDERATION_DOCUMENT:
            return MatrixError(404, "M_UNRECOGNIZED", "This port is for other servers").response()
        return await self.handle(request)

    async def _handle(self, request: Request, operator: TokenOwner | None) -> Response:
        if self._fallback is not None and not request.path.startswith(OWN_PATHS):
            answer = await self._fallback(request)
            if answer is not None:
                return answer
        if request.method == "OPTIONS":
            return _ETAG_PREFLIGHT if request.path.startswith(ETAG_PATHS) else _PREFLIGHT
        # spec: RFC9110 9.3.2: HEAD is GET without the body, which the HTTP front leaves out.
        method = "GET" if request.method == "HEAD" else request.method
        declared, handler, path = self._router.find(method, request.path)
        if declared.auth is Auth.SERVER:
            assert self._gate is not None, "endpoints for servers are declared where there is a gate"
            origin, json = await self._gate.check(request)
            return await handler(Call(request, path, None, origin=origin, json=json))
        if operator is not None:
            return await handler(Call(request, path, operator))
        caller = None
        if declared.auth is not Auth.NONE:
            caller = await self._caller(request, declared.auth)
        if declared.auth is Auth.ADMIN and (caller is None or not caller.account.admin):
            raise MatrixError(403, "M_FORBIDDEN", "You are not an administrator of this server")
        if caller is not None and caller.account.guest and not declared.guests and declared.auth is not Auth.OPTIONAL:
            # spec: client-server-api guest-access lists what guests may call
            raise MatrixError(403, "M_GUEST_ACCESS_FORBIDDEN", "Guests cannot do this; make an account")
        # spec: docs/mapping.md 9.4
        self._accounts.bans.check(Visitor(request.address, () if caller is None else (caller.account.name,)))
        return await handler(Call(request, path, caller))

    async def _caller(self, request: Request, auth: Auth) -> TokenOwner | None:
        token = token_of(request)
        if not token:
            if auth is not Auth.OPTIONAL:
                raise MatrixError(401, "M_MISSING_TOKEN", "This needs an access token")
            return None
        service = self._accounts.app_services.of_token(token)
        if service is not None:
            if self.heard_from is not None:
                self.heard_from(service)
            return await asserted(self._accounts, service, request)
        return await self._accounts.owner_of_token(token, locked_too=auth is Auth.LOCKED_TOO)

    def too_large(self, request: Request) -> Response:
        return MatrixError(413, "M_TOO_LARGE", "The request body is too large").response()

    def failed(self, request: Request) -> Response:
        return MatrixError(500, "M_UNKNOWN", "Something went wrong on the server").response()
