"""What this server is and can: versions, .well-known, capabilities.

spec: Matrix client-server "Server Discovery" (with support details), "Capabilities negotiation"
"""

from collections.abc import Callable, Sequence
from urllib.parse import unquote

from tripoint.core.canonical_json import Json, JsonObject
from tripoint.core.room_version import DEFAULT, SUPPORTED
from tripoint.matrix.client.calls import rtc_transports
from tripoint.matrix.errors import MatrixError, json_response
from tripoint.matrix.registry import Auth, Call, endpoint
from tripoint.net.http import Response
from tripoint.rooms.delayed import MAX_DELAY_MS, MAX_SCHEDULED

# Versions whose endpoints exist here or answer M_UNRECOGNIZED as they may; docs/specs.toml has the list.
VERSIONS = tuple(f"v1.{number}" for number in range(1, 20))

# Sliding sync as it was deployed before it was merged; clients that want it look for this (MSC4186 "Unstable prefix").
UNSTABLE = ("org.matrix.simplified_msc3575", "org.matrix.msc4140", "org.matrix.msc4354", "dev.tripoint.sync_socket")
# And where OAuth is: letting a device in by a QR code (rendezvous.py).
WITH_OAUTH = (*UNSTABLE, "org.matrix.msc4108")


class ServerInfo:
    """`public_url`: what .well-known gives out; empty gives 404, as the specification asks. `has_mail`: whether people
    can show e-mail addresses; `has_oauth`: whether there is OAuth."""

    def __init__(
        self,
        public_url: str,
        default_room_version: str = DEFAULT,
        contacts: Sequence[tuple[str, str]] = (),
        livekit: Sequence[str] = (),
        has_mail: Callable[[], bool] = lambda: False,
        has_oauth: Callable[[], bool] = lambda: False,
    ) -> None:
        self._has_oauth = has_oauth
        self._has_mail = has_mail
        self._livekit = livekit
        self._public_url = public_url
        self._support = _support(contacts)
        self._versions = {
            oauth: json_response({"versions": list(VERSIONS), "unstable_features": dict.fromkeys(features, True)})
            for oauth, features in ((False, UNSTABLE), (True, WITH_OAUTH))
        }
        capabilities: JsonObject = {
            "m.change_password": {"enabled": True},
            "m.room_versions": {"default": default_room_version, "available": dict.fromkeys(SUPPORTED, "stable")},
            "m.profile_fields": {"enabled": True},
            "m.set_displayname": {"enabled": True},
            "m.set_avatar_url": {"enabled": True},
            "m.get_login_token": {"enabled": True},
            "org.matrix.msc4140.delayed_events": {"max_delay_ms": MAX_DELAY_MS, "max_scheduled": MAX_SCHEDULED},
        }
        moderation: JsonObject = {"m.account_moderation": {"suspend": True, "lock": True}}
        # spec: oauth-20-api: what asks for the password is not for clients that came in by OAuth.
        no_password: JsonObject = {
            key: {"enabled": False} for key in ("m.change_password", "m.get_login_token", "m.3pid_changes")
        }
        self._capabilities = {
            (admin, by_oauth, mail): json_response(
                {
                    "capabilities": {
                        **capabilities,
                        "m.3pid_changes": {"enabled": mail},
                        **(moderation if admin else {}),
                        **(no_password if by_oauth else {}),
                    }
                }
            )
            for admin in (False, True)
            for by_oauth in (False, True)
            for mail in (False, True)
        }

    @endpoint("GET", "/_matrix/client/versions", auth=Auth.NONE)
    async def versions(self, call: Call) -> Response:
        return self._versions[self._has_oauth()]

    @endpoint("GET", "/.well-known/matrix/client", auth=Auth.NONE)
    async def well_known(self, call: Call) -> Response:
        if not self._public_url:
            raise MatrixError(404, "M_NOT_FOUND", "This server gives out no address")
        told: JsonObject = {"m.homeserver": {"base_url": self._public_url}}
        if self._livekit:
            # COMPAT: where clients look for it who do not ask for rtc/transports (MSC4158).
            told["org.matrix.msc4143.rtc_foci"] = rtc_transports(self._livekit)
        return json_response(told)

    @endpoint("GET", "/.well-known/matrix/support", auth=Auth.NONE)
    async def support(self, call: Call) -> Response:
        if not self._support:
            raise MatrixError(404, "M_NOT_FOUND", "This server gives out no contacts")
        return json_response(self._support)

    @endpoint("GET", "/_matrix/client/v3/capabilities")
    async def capabilities(self, call: Call) -> Response:
        admin, by_oauth = call.caller.account.admin, call.caller.client_id is not None
        return self._capabilities[admin, by_oauth, self._has_mail()]


# spec: GET /.well-known/matrix/support: m.role.admin is for whatever has no role of its own.
_ROLES = {"security": "m.role.security"}
_MATRIX_TO = "https://matrix.to/#/"


def _support(contacts: Sequence[tuple[str, str]]) -> JsonObject:
    """What .well-known says of whom to ask: Matrix users, e-mail addresses, and one page; the same addresses as
    XEP-0157 gives out, as far as there is a form for them here."""
    people: list[Json] = []
    answer: JsonObject = {}
    for kind, uri in contacts:
        role = _ROLES.get(kind, "m.role.admin")
        if uri.startswith("mailto:"):
            entry: JsonObject = {"role": role, "email_address": unquote(uri[len("mailto:") :].partition("?")[0])}
        elif uri.startswith("matrix:u/"):
            entry = {"role": role, "matrix_id": "@" + unquote(uri[len("matrix:u/") :].partition("?")[0])}
        elif uri.startswith((_MATRIX_TO + "@", _MATRIX_TO + "%40")):
            entry = {"role": role, "matrix_id": unquote(uri[len(_MATRIX_TO) :].partition("?")[0])}
        elif kind == "support" and uri.startswith(("https:", "http:")):
            answer.setdefault("support_page", uri)
            continue
        else:
            continue
        if entry not in people:
            people.append(entry)
    if people:
        answer["contacts"] = people
    return answer
