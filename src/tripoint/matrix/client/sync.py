"""GET /sync: its parameters. The work is in matrix/sync/."""

from collections import OrderedDict

from msgspec import Struct
from msgspec.structs import replace

from tripoint.accounts.ports import AccountService
from tripoint.matrix.errors import MatrixError, bytes_response, invalid
from tripoint.matrix.presence import DevicePresence
from tripoint.matrix.registry import Call, endpoint
from tripoint.matrix.sync.filters import NO_FILTER, SyncFilter, parse_filter_json, read_filter
from tripoint.matrix.sync.server import SyncServer
from tripoint.matrix.sync.tokens import SyncToken, parse_token
from tripoint.net.http import Response

# Clients ask for 30 s; proxies cut connections that are silent for a minute or two.
MAX_TIMEOUT_MS = 120_000
# Longer filters are read each time: they are rare, and ten thousand of them would fill the memory.
_KEPT_FILTER = 2048
# The same of whole queries, and how many of them are kept.
_KEPT_QUERY, _KEPT_QUERIES = 2048, 256


class _Asked(Struct, frozen=True):
    """The parameters of one sync. `filter`: as it was given, an id or JSON."""

    timeout_s: float
    since: SyncToken | None
    full_state: bool
    presence: str
    filter: str | None
    state_after: bool


class SyncEndpoints:
    def __init__(self, server: SyncServer, accounts: AccountService, presence: DevicePresence) -> None:
        self._server = server
        self._accounts = accounts
        self._presence = presence
        self._filters: dict[str, SyncFilter] = {}
        # All who were told of the same event, by the same client, come back with the same words.
        self._asked: OrderedDict[bytes, _Asked] = OrderedDict()

    @endpoint("GET", "/_matrix/client/v3/sync", "/_matrix/client/r0/sync", guests=True)
    async def sync(self, call: Call) -> Response:
        query = call.request.query_string
        asked = self._asked.get(query)
        if asked is None:
            asked = self._read(call)
            if len(query) <= _KEPT_QUERY and b"access_token" not in query:
                self._asked[query] = asked
                if len(self._asked) > _KEPT_QUERIES:
                    self._asked.popitem(last=False)
        wanted = NO_FILTER
        if asked.filter:
            key = asked.filter if asked.filter.startswith("{") else f"{call.user_id} {asked.filter}"
            wanted = self._filters.get(key) or await self._filter(call, asked.filter, key)
        if asked.state_after:
            wanted = replace(wanted, state_after=True)
        session = call.session
        self._presence.synced(call.user_id, session, asked.presence)
        body = await self._server.sync(
            call.user_id,
            call.known_device,
            asked.since,
            wanted,
            timeout_s=asked.timeout_s,
            full_state=asked.full_state,
        )
        return bytes_response(body)

    def _read(self, call: Call) -> _Asked:
        timeout_ms = call.number("timeout") or 0
        since_text = call.query("since")
        since = None if since_text is None else parse_token(since_text, self._server.start)
        if since is not None and since.position < 0:
            raise invalid("That is no token of /sync")
        presence = call.query("set_presence") or "online"
        if presence not in ("online", "unavailable", "offline"):
            raise invalid("set_presence is online, unavailable or offline")
        return _Asked(
            min(timeout_ms, MAX_TIMEOUT_MS) / 1000,
            since,
            _flag(call, "full_state"),
            presence,
            call.query("filter"),
            _flag(call, "use_state_after"),
        )

    async def _filter(self, call: Call, text: str, key: str) -> SyncFilter:
        """A filter that is not in memory yet, under its key from now on."""
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
