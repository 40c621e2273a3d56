"""The reads of store.contact_store on SQLite; a part of sqlite.SqliteStore."""

from collections.abc import Sequence
from typing import Any

from tripoint.core.ids import UserId
from tripoint.store.contact_writes import PutAccepted, PutBinding, PutDigest, PutThreePid, PutValidation

_THREEPID = "SELECT medium, address, user_id, validated_ts_ms, added_ts_ms FROM threepids "
_VALIDATION = (
    "SELECT sid, purpose, address, secret_hash, token_hash, attempt, next_link, user_id, validated_ts_ms,"
    " expires_ts_ms FROM validations "
)


class ContactReads:
    """Abstract: queries go through _all and _one, which the store that is made of this defines."""

    def _all(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        raise NotImplementedError

    def _one(self, sql: str, *parameters: object) -> tuple[Any, ...] | None:
        raise NotImplementedError

    async def load_threepid(self, medium: str, address: str) -> PutThreePid | None:
        row = self._one(_THREEPID + "WHERE medium = ? AND address = ?", medium, address)
        return None if row is None else PutThreePid(*row)

    async def load_threepids(self, user_id: UserId) -> Sequence[PutThreePid]:
        found = self._all(_THREEPID + "WHERE user_id = ? ORDER BY medium, address", user_id)
        return [PutThreePid(*row) for row in found]

    async def load_validation(self, sid: str) -> PutValidation | None:
        row = self._one(_VALIDATION + "WHERE sid = ?", sid)
        return None if row is None else PutValidation(*row)

    async def load_validations_of(self, address: str) -> Sequence[PutValidation]:
        return [PutValidation(*row) for row in self._all(_VALIDATION + "WHERE address = ? ORDER BY sid", address)]

    async def count_validations(self) -> int:
        row = self._one("SELECT count(*) FROM validations")
        return 0 if row is None else int(row[0])

    async def load_digests(self) -> Sequence[PutDigest]:
        return [PutDigest(*row) for row in self._all("SELECT user_id, app_id, pushkey, content FROM push_digests")]

    async def load_accepted(self, user_id: UserId) -> Sequence[PutAccepted]:
        found = self._all(
            "SELECT user_id, document, version, accepted_ts_ms FROM accepted_terms WHERE user_id = ?"
            " ORDER BY accepted_ts_ms, document, version",
            user_id,
        )
        return [PutAccepted(*row) for row in found]

    async def load_bindings(self, user_id: UserId) -> Sequence[PutBinding]:
        found = self._all(
            "SELECT user_id, medium, address, id_server FROM bindings WHERE user_id = ? ORDER BY medium, address",
            user_id,
        )
        return [PutBinding(*row) for row in found]
