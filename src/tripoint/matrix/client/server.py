"""What this server is and can: versions, .well-known, capabilities.

spec: Matrix client-server "Server Discovery", "Capabilities negotiation"
"""

from tripoint.core.canonical_json import JsonObject
from tripoint.core.room_version import DEFAULT, SUPPORTED
from tripoint.matrix.errors import MatrixError, json_response
from tripoint.matrix.registry import Auth, Call, endpoint
from tripoint.net.http import Response

# Versions whose endpoints exist here or answer M_UNRECOGNIZED as they may; docs/specs.toml has the list.
VERSIONS = ("v1.1", "v1.2", "v1.3", "v1.4", "v1.5", "v1.6", "v1.7", "v1.8", "v1.9", "v1.10", "v1.11", "v1.12")

# Sliding sync as it was deployed before it was merged; clients that want it look for this (MSC4186 "Unstable prefix").
UNSTABLE = ("org.matrix.simplified_msc3575",)


class ServerInfo:
    """`public_url`: what .well-known gives out; empty gives 404, as the specification asks."""

    def __init__(self, public_url: str, default_room_version: str = DEFAULT) -> None:
        self._public_url = public_url
        self._versions = json_response({"versions": list(VERSIONS), "unstable_features": dict.fromkeys(UNSTABLE, True)})
        capabilities: JsonObject = {
            "m.change_password": {"enabled": True},
            "m.room_versions": {"default": default_room_version, "available": dict.fromkeys(SUPPORTED, "stable")},
            "m.profile_fields": {"enabled": True},
            "m.set_displayname": {"enabled": True},
            "m.set_avatar_url": {"enabled": True},
            "m.3pid_changes": {"enabled": False},
            "m.get_login_token": {"enabled": False},
        }
        self._capabilities = json_response({"capabilities": capabilities})
        moderation: JsonObject = {"m.account_moderation": {"suspend": True, "lock": True}}
        self._capabilities_of_admins = json_response({"capabilities": {**capabilities, **moderation}})

    @endpoint("GET", "/_matrix/client/versions", auth=Auth.NONE)
    async def versions(self, call: Call) -> Response:
        return self._versions

    @endpoint("GET", "/.well-known/matrix/client", auth=Auth.NONE)
    async def well_known(self, call: Call) -> Response:
        if not self._public_url:
            raise MatrixError(404, "M_NOT_FOUND", "This server gives out no address")
        return json_response({"m.homeserver": {"base_url": self._public_url}})

    @endpoint("GET", "/_matrix/client/v3/capabilities")
    async def capabilities(self, call: Call) -> Response:
        return self._capabilities_of_admins if call.caller.account.admin else self._capabilities
