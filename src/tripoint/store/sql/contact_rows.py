"""Writes of store.contact_writes to statements and rows. Joined to the others in rows.py."""

from collections.abc import Callable
from typing import Any

from tripoint.store.contact_writes import (
    PutAccepted,
    PutBinding,
    PutDigest,
    PutThreePid,
    PutValidation,
    TrimValidations,
)

Row = tuple[object, ...]

# Tables whose rows go with an account.
OF_ACCOUNT = ("threepids", "validations", "push_digests", "accepted_terms", "bindings")

PUT: dict[type, tuple[str, Callable[[Any], Row]]] = {
    PutThreePid: (
        "INSERT OR REPLACE INTO threepids (medium, address, user_id, validated_ts_ms, added_ts_ms) VALUES (?,?,?,?,?)",
        lambda w: (w.medium, w.address, w.user_id, w.validated_ts_ms, w.added_ts_ms),
    ),
    PutValidation: (
        "INSERT OR REPLACE INTO validations (sid, purpose, address, secret_hash, token_hash, attempt, next_link,"
        " user_id, validated_ts_ms, expires_ts_ms) VALUES (?,?,?,?,?,?,?,?,?,?)",
        lambda w: (
            *(w.sid, w.purpose, w.address, w.secret_hash, w.token_hash, w.attempt, w.next_link),
            *(w.user_id, w.validated_ts_ms, w.expires_ts_ms),
        ),
    ),
    PutDigest: (
        "INSERT OR REPLACE INTO push_digests (user_id, app_id, pushkey, content) VALUES (?,?,?,?)",
        lambda w: (w.user_id, w.app_id, w.pushkey, w.content),
    ),
    PutBinding: (
        "INSERT OR REPLACE INTO bindings (user_id, medium, address, id_server) VALUES (?,?,?,?)",
        lambda w: (w.user_id, w.medium, w.address, w.id_server),
    ),
    PutAccepted: (
        # The first time counts.
        "INSERT OR IGNORE INTO accepted_terms (user_id, document, version, accepted_ts_ms) VALUES (?,?,?,?)",
        lambda w: (w.user_id, w.document, w.version, w.accepted_ts_ms),
    ),
}

# Kind of write -> (the field that is None to delete, statement, row).
DELETE: dict[type, tuple[str, str, Callable[[Any], Row]]] = {
    PutThreePid: (
        "user_id",
        "DELETE FROM threepids WHERE medium = ? AND address = ?",
        lambda w: (w.medium, w.address),
    ),
    PutBinding: (
        "id_server",
        "DELETE FROM bindings WHERE user_id = ? AND medium = ? AND address = ?",
        lambda w: (w.user_id, w.medium, w.address),
    ),
    PutValidation: ("purpose", "DELETE FROM validations WHERE sid = ?", lambda w: (w.sid,)),
    PutDigest: (
        "content",
        "DELETE FROM push_digests WHERE user_id = ? AND app_id = ? AND pushkey = ?",
        lambda w: (w.user_id, w.app_id, w.pushkey),
    ),
}


def drops(write: Any) -> list[tuple[str, Row]] | None:
    """The statements of a write that clears several rows; None for any other."""
    if isinstance(write, TrimValidations):
        return [("DELETE FROM validations WHERE expires_ts_ms <= ?", (write.now_ms,))]
    return None
