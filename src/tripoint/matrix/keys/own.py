"""This server's own keys as others see them: the document of GET /_matrix/key/v2/server, renewed in time.

spec: Matrix server-server-api publishing-keys, getServerKey. The files with the keys are runtime's (data_dir.py).
"""

from collections.abc import Callable, Sequence
from typing import Final

from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import ServerName
from tripoint.core.signing import SigningKey, sign_json
from tripoint.matrix.errors import json_response
from tripoint.matrix.keys.document import KeyDocument, OldKey, make_key_document, parse_key_document
from tripoint.matrix.registry import Auth, Call, endpoint
from tripoint.net.http import Response

# spec: "should avoid returning responses that expire in less than an hour": ours is never older than this.
RENEW_MS: Final = 3600 * 1000


class OwnKeys:
    """The keys of this process's server. `now_ms`: wall clock; `same_identity`: see make_key_document."""

    def __init__(
        self,
        server: ServerName,
        key: SigningKey,
        old_keys: Sequence[OldKey],
        now_ms: Callable[[], int],
        *,
        same_identity: bool = False,
    ) -> None:
        self.server = server
        self.key = key
        self._old_keys = tuple(old_keys)
        self._now_ms = now_ms
        self._same_identity = same_identity
        self._document: KeyDocument | None = None

    def document(self) -> KeyDocument:
        """What this server publishes now."""
        now = self._now_ms()
        made = self._document
        # A clock that was set back makes a new one too.
        if made is None or not 0 <= now - made.fetched_ts_ms < RENEW_MS:
            json = make_key_document(
                self.server, self.key, self._old_keys, now, same_identity=self._same_identity
            )
            made = self._document = parse_key_document(json, self.server, now)
        return made

    def sign(self, obj: JsonObject) -> JsonObject:
        """A copy of an object with this server's signature added."""
        return sign_json(obj, self.server, self.key)


class KeyEndpoints:
    """Our own keys for whoever asks."""

    def __init__(self, own: OwnKeys) -> None:
        self._own = own

    @endpoint("GET", "/_matrix/key/v2/server", auth=Auth.NONE)
    async def server_keys(self, call: Call) -> Response:
        return json_response(self._own.document().json)
