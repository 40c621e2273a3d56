"""Names that a view gave and must give again (rooms.ports.NameTable): nickmap, slugmap."""

from collections.abc import Callable, Mapping

from tripoint.store.interface import RoomStore, StoreError
from tripoint.store.stream import Stream
from tripoint.store.writes import PutName


class StoredNames:
    """`lost(error)` hears of a name that could not be kept; it is made anew after a restart."""

    def __init__(self, store: RoomStore, stream: Stream, lost: Callable[[StoreError], None]) -> None:
        self._store = store
        self._stream = stream
        self._lost = lost

    async def load_names(self, kind: str, scope: str) -> Mapping[str, str]:
        return await self._store.load_names(kind, scope)

    def put_name(self, kind: str, scope: str, key: str, value: str | None) -> None:
        self._stream.submit([PutName(kind, scope, key, value)], self._done)

    def _done(self, error: StoreError | None) -> None:
        if error is not None:
            self._lost(error)
