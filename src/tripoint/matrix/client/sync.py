"""GET /sync: its parameters. The work is in matrix/sync/."""

from msgspec.structs import replace

from tripoint.accounts.ports import AccountService
from tripoint.matrix.errors import MatrixError, bytes_response, invalid
from tripoint.matrix.presence import DevicePresence
from tripoint.matrix.registry import Call, endpoint
from tripoint.matrix.sync.filters import NO_FILTER, SyncFilter, parse_filter_json, read_filter
from tripoint.matrix.sync.server import SyncServer
from tripoint.matrix.sync.tokens import parse_token
from tripoint.net.http import Response

# Clients ask for 30 s; proxies cut connections that are silent for a minute or two.
MAX_TIMEOUT_MS = 120_000
# Longer filters are read each time: they are rare, and ten thousand of them would fill the memory.
_KEPT_FILTER = 2048


class SyncEndpoints:
    def __init__(self, server: SyncServer, accounts: AccountService, presence: DevicePresence) -> None:
        self._server = server
        self._accounts = accounts
        self._presence = presence
        self._filters: dict[str, SyncFilter] = {}

    @endpoint("GET", "/_matrix/client/v3/sync", "/_matrix/client/r0/sync", guests=True)
    async def sync(self, call: Call) -> Response:
        timeout_ms = call.number("timeout") or 0
        since_text = call.query("since")
        since = None if since_text is None else parse_token(since_text, self._server.start)
        if since is not None and since.position < 0:
            raise invalid("That is no token of /sync")
        full_state = _flag(call, "full_state")
        presence = call.query("set_presence") or "online"
        if presence not in ("online", "unavailable", "offline"):
            raise invalid("set_presence is online, unavailable or offline")
        wanted = await self._filter(call)
        if _flag(call, "use_state_after"):
            wanted = replace(wanted, state_after=True)
        self._presence.synced(call.user_id, call.session, presence)
        body = await self._server.sync(
            call.user_id,
            call.known_device,
            since,
            wanted,
            timeout_s=min(timeout_ms, MAX_TIMEOUT_MS) / 1000,
            full_state=full_state,
        )
        return bytes_response(body)

    async def _filter(self, call: Call) -> SyncFilter:
        text = call.query("filter")
        if not text:
            return NO_FILTER
        key = text if text.startswith("{") else f"{call.user_id} {text}"
        known = self._filters.get(key)
        if known is not None:
            return known
        if text.startswith("{"):
            definition = parse_filter_json(text)
        else:
            found = await self._accounts.filter(call.user_id, text)
            if found is None:
                raise MatrixError(400, "M_INVALID_PARAM", "There is no such filter")
            definition = found
        read = read_filter(definition)
        if len(key) <= _KEPT_FILTER:
            if len(self._filters) > 10_000:
                self._filters.clear()
            self._filters[key] = read
        return read


def _flag(call: Call, name: str) -> bool:
    value = call.query(name) or "false"
    if value not in ("true", "false"):
        raise invalid(f"{name} is true or false")
    return value == "true"
