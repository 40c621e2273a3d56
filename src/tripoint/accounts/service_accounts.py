"""Accounts of application services: which names are theirs alone, and how their users come to be.

spec: Matrix application-service-api "Registration", "Server admin style permissions". Whose a name is:
core/app_services.py. Read next: service.py.
"""

from collections.abc import Callable

from tripoint.accounts.administration import Administration, ImportedAccount
from tripoint.accounts.refusals import AccountRefusal, AccountRefused
from tripoint.core.app_services import AppService, AppServices
from tripoint.core.ids import InvalidId, ServerName, UserId, make_user_id
from tripoint.core.stand_ins import stand_in_address


class ServiceAccounts:
    """Raises AccountRefused. `looks_taken`: whether a name is taken, or looks like one that is."""

    def __init__(
        self,
        server: ServerName,
        services: AppServices,
        administration: Administration,
        looks_taken: Callable[[str], bool],
    ) -> None:
        self._looks_taken = looks_taken
        self._server = server
        self._services = services
        self._administration = administration

    def check_free(self, name: str) -> None:
        """NAME_EXCLUSIVE where a name is a service's alone: no human has it, and no other service."""
        try:
            owner = self._services.owner_of(make_user_id(name, self._server)) if self._services.all else None
        except InvalidId:
            return  # what is no user id at all is refused for that
        if owner is not None:
            raise AccountRefused(AccountRefusal.NAME_EXCLUSIVE)

    async def make(self, service: AppService, name: str) -> UserId:
        """A user of a service, without a password. As names that came from other servers, these may be such as nobody
        could register; their capitals would be another account's elsewhere. BAD_NAME, NAME_TAKEN, NAME_EXCLUSIVE."""
        try:
            user_id = make_user_id(name, self._server)
        except InvalidId as error:
            raise AccountRefused(AccountRefusal.BAD_NAME, f"Not a name for an account: {error}") from error
        if stand_in_address(user_id, self._server) is not None:
            raise AccountRefused(AccountRefusal.BAD_NAME, "Names like this stand for people of other XMPP servers")
        if not self._services.may_speak_as(service, user_id):
            text = "That name is in no namespace of this service, or it is another service's alone"
            raise AccountRefused(AccountRefusal.NAME_EXCLUSIVE, text)
        if not service.owns_user(user_id) and self._looks_taken(name):
            # Among people's names it is one of theirs.
            raise AccountRefused(AccountRefusal.NAME_TAKEN)
        return await self._administration.take_in(ImportedAccount(name))
