"""Identity providers by which people log in here, as they are configured.

spec: Matrix client-server-api sso-login (identity_providers)
"""

from msgspec import Struct

from tripoint.core.canonical_json import JsonObject


class Provider(Struct, frozen=True):
    """A provider of OpenID Connect. `localpart_claim`: what of an account there a name here is made from."""

    provider_id: str
    name: str
    issuer: str
    oauth_client_id: str
    oauth_client_secret: str
    scopes: tuple[str, ...] = ("openid", "profile")
    localpart_claim: str = "preferred_username"
    display_name_claim: str = "name"
    brand: str = ""
    icon: str = ""
    registers: bool = True

    def for_clients(self) -> JsonObject:
        """As GET /login lists it."""
        shown: JsonObject = {"id": self.provider_id, "name": self.name}
        if self.brand:
            shown["brand"] = self.brand
        if self.icon:
            shown["icon"] = self.icon
        return shown
