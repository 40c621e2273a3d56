"""What rooms ask of identity servers. Types only; federation implements it.

spec: Matrix identity-service-api
"""

from typing import Protocol

from tripoint.core.canonical_json import JsonObject
from tripoint.core.errors import RemoteFailed
from tripoint.core.ids import UserId
from tripoint.core.third_party import StoredInvite, ThirdPartyId


class IdentityRefused(RemoteFailed):
    """An identity server answered, and the answer is no; it is for the client who named it.

    `status`, `errcode` and `error` as it said them; `errcode` "": it is no Matrix error.
    """

    def __init__(self, host: str, status: int, errcode: str, error: str) -> None:
        self.status = status
        self.errcode = errcode
        self.error = error
        super().__init__(host, f"{status} {errcode}".strip())


class IdentityServers(Protocol):
    """Questions to identity servers that users name, with the access token that such a user has there.

    Each raises IdentityRefused or RemoteFailed where there is no usable answer.
    """

    def trusts(self, server: str) -> bool:
        """Whether this server speaks to it at all."""

    async def lookup(self, server: str, access_token: str, of: ThirdPartyId) -> UserId | None:
        """Whose an address is; None: nobody's, as far as it says. spec: POST /lookup"""

    async def store_invite(self, server: str, access_token: str, wanted: JsonObject) -> StoredInvite:
        """Have somebody written to. spec: POST /store-invite"""

    async def is_valid(self, url: str, public_key: str) -> bool:
        """Whether a key counts still, as its key_validity_url says. spec: GET /pubkey/isvalid"""
