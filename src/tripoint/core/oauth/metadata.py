"""What this authorization server says of itself.

spec: Matrix client-server-api GET /auth_metadata, oauth-20-account-management; RFC8414 2; RFC9207 3
"""

from collections.abc import Sequence
from typing import Final

from tripoint.core.canonical_json import JsonObject
from tripoint.core.oauth.clients import GRANTS
from tripoint.core.oauth.requests import API_SCOPES, OPENID

WELL_KNOWN: Final = "/.well-known/openid-configuration"
AUTHORIZE: Final = "/oauth2/authorize"
TOKEN: Final = "/oauth2/token"
REVOKE: Final = "/oauth2/revoke"
KEYS: Final = "/oauth2/keys"
REGISTER: Final = "/oauth2/register"
DEVICE_AUTHORIZATION: Final = "/oauth2/device_authorization"
LINK: Final = "/link"
ACCOUNT: Final = "/account"
# An action of the account page that no specification has: what there is to accept.
TERMS: Final = "terms"
SSO: Final = "/sso"
PROVIDER: Final = "/oauth2/provider"
CALLBACK: Final = "/oauth2/callback"
CONFIRM: Final = "/confirm"
FALLBACK: Final = "/oauth2/fallback"
CONFIRM_MAIL: Final = "/mail/confirm"
LEAVE_MAIL: Final = "/mail/leave"
FORGOT: Final = "/mail/forgot"

# What the account page does, by the names of the specification; in the order of the page.
PROFILE: Final = "org.matrix.profile"
DEVICES: Final = "org.matrix.devices_list"
DEVICE_VIEW: Final = "org.matrix.device_view"
DEVICE_DELETE: Final = "org.matrix.device_delete"
CROSS_SIGNING: Final = "org.matrix.cross_signing_reset"
DEACTIVATE: Final = "org.matrix.account_deactivate"
ACTIONS: Final = (PROFILE, DEVICES, DEVICE_VIEW, DEVICE_DELETE, CROSS_SIGNING, DEACTIVATE)


def issuer_of(base: str) -> str:
    """The issuer's name for the address under which clients reach this server."""
    return f"{base.rstrip('/')}/"


def server_metadata(base: str, languages: Sequence[str], *, registration: bool) -> JsonObject:
    """`base`: where clients reach this server, without a slash; `registration`: people can make accounts."""
    return {
        "issuer": issuer_of(base),
        "authorization_endpoint": base + AUTHORIZE,
        "token_endpoint": base + TOKEN,
        "revocation_endpoint": base + REVOKE,
        "registration_endpoint": base + REGISTER,
        "device_authorization_endpoint": base + DEVICE_AUTHORIZATION,
        "response_types_supported": ["code"],
        "response_modes_supported": ["query", "fragment"],
        "grant_types_supported": list(GRANTS),
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint_auth_methods_supported": ["none"],
        "scopes_supported": [API_SCOPES[0], OPENID],
        "jwks_uri": base + KEYS,
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "prompt_values_supported": ["create"] if registration else [],
        "authorization_response_iss_parameter_supported": True,
        "account_management_uri": base + ACCOUNT,
        "account_management_actions_supported": list(ACTIONS),
        "ui_locales_supported": list(languages),
    }
