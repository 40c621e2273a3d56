"""As whom an application service speaks, which shows its own token.

spec: Matrix application-service-api "Identity assertion"
"""

from tripoint.accounts.ports import AccountService, TokenOwner
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.core.app_services import AppService
from tripoint.core.ids import DeviceId, InvalidId, RoomAlias, parse_user_id
from tripoint.matrix.errors import MatrixError, invalid
from tripoint.matrix.registry import Call, token_of
from tripoint.net.http import Request

# COMPAT: MSC3202, as bridges have sent it since before it was specified.
_DEVICE = ("device_id", "org.matrix.msc3202.device_id")


async def asserted(accounts: AccountService, service: AppService, request: Request) -> TokenOwner:
    """Whom a request is made for: the user (and device) that it names, else the service's own. Raises MatrixError."""
    named = request.query("user_id")
    try:
        user_id = service.sender if named is None else parse_user_id(named)
    except InvalidId as error:
        raise invalid(f"user_id: {error}") from error
    if not accounts.app_services.may_speak_as(service, user_id):
        raise MatrixError(403, "M_FORBIDDEN", "This service may not speak as that user: it is in no namespace of its")
    account = await accounts.account(user_id)
    if account is None:
        raise MatrixError(403, "M_FORBIDDEN", "There is no such user; register it first")
    if account.deactivated:
        raise AccountRefused(AccountRefusal.DEACTIVATED)
    if account.locked:
        raise AccountRefused(AccountRefusal.LOCKED)
    device_id = next((found for name in _DEVICE if (found := request.query(name))), None)
    if device_id is None:
        return TokenOwner(account, None, service=service)
    if not await accounts.has_device(user_id, device_id):
        raise MatrixError(400, "M_UNKNOWN_DEVICE", "That user has no such device")
    return TokenOwner(account, DeviceId(device_id), service=service)


def is_by_service(accounts: AccountService, call: Call) -> bool:
    """Whether an application service asks, where anybody may."""
    token = token_of(call.request)
    return token is not None and accounts.app_services.of_token(token) is not None


def check_own_name(call: Call, alias: RoomAlias) -> None:
    """M_EXCLUSIVE where an application service makes an alias that is in no namespace of its. spec: "Server admin style
    permissions" """
    service = call.caller.service
    if service is not None and not service.covers_alias(alias):
        raise MatrixError(400, "M_EXCLUSIVE", "That room name is in no namespace of this service")


def service_of(accounts: AccountService, call: Call) -> AppService:
    """The service that asks for m.login.application_service. M_MISSING_TOKEN, M_UNKNOWN_TOKEN."""
    token = token_of(call.request)
    if not token:
        raise MatrixError(401, "M_MISSING_TOKEN", "This is for application services: it needs an as_token")
    service = accounts.app_services.of_token(token)
    if service is None:
        raise AccountRefused(AccountRefusal.UNKNOWN_TOKEN, "This is no as_token of an application service")
    return service
