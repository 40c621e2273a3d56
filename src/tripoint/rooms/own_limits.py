"""Limits that administrators give single accounts, for what they say (docs/mapping.md 24)."""

from typing import Final

import orjson

from tripoint.core.ids import UserId
from tripoint.core.token_bucket import Rate
from tripoint.rooms.limits import Limits
from tripoint.rooms.writer import Writer
from tripoint.store.interface import RoomStore
from tripoint.store.writes import PutName

# The kind of names under which they are written down.
KEPT_AS: Final = "limit"


class OwnLimits:
    """start() before anything else."""

    def __init__(self, store: RoomStore, writer: Writer, limits: Limits) -> None:
        self._store = store
        self._writer = writer
        self._limits = limits

    async def start(self) -> None:
        for user_id, value in (await self._store.load_names(KEPT_AS, "")).items():
            burst, per_s = orjson.loads(value)
            self._limits.set_own(UserId(user_id), Rate(burst, per_s))

    def of(self, user_id: UserId) -> Rate | None:
        """What somebody was given; None: they have what everybody has."""
        own = self._limits.own.get(user_id)
        return None if own is None else own.rate

    async def give(self, user_id: UserId, rate: Rate | None) -> None:
        """`per_s` 0: no limit at all. None: as everybody. Refused(SERVER_BUSY)."""
        value = None if rate is None else orjson.dumps((rate.burst, rate.per_s)).decode()
        await self._writer.write(
            [PutName(KEPT_AS, "", user_id, value)], lambda: self._limits.set_own(user_id, rate)
        )
