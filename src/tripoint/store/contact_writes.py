"""What can be written about ways to reach people elsewhere (e-mail addresses of accounts, and letters that wait), and
about what they have accepted.

As in writes.py: frozen values; None in the field that says so deletes.
"""

from msgspec import Struct

from tripoint.core.ids import UserId


class PutThreePid(Struct, frozen=True):
    """A third-party identifier that is an account's: nobody else's at the same time. `user_id` None takes it away."""

    medium: str
    address: str
    user_id: UserId | None
    validated_ts_ms: int = 0
    added_ts_ms: int = 0


class PutValidation(Struct, frozen=True):
    """Somebody is to show that an address is theirs. `purpose` None deletes it.

    `secret_hash`: SHA-256 of what the client keeps to itself; `token_hash`: of what was sent to the address; None:
    nothing was that could confirm it. `attempt`: the client's number for the newest letter. `user_id`: the account for
    which it was asked, where that was known. `validated_ts_ms`: when it was shown.
    """

    sid: str
    purpose: str | None
    address: str = ""
    secret_hash: bytes = b""
    token_hash: bytes | None = None
    attempt: int = 0
    next_link: str | None = None
    user_id: UserId | None = None
    validated_ts_ms: int | None = None
    expires_ts_ms: int = 0


class TrimValidations(Struct, frozen=True):
    """Those that expired before `now_ms`."""

    now_ms: int


class PutDigest(Struct, frozen=True):
    """What a pusher's next letter waits for (fanout/digests.py). `content` None deletes it."""

    user_id: UserId
    app_id: str
    pushkey: str
    content: bytes | None


class PutAccepted(Struct, frozen=True):
    """Somebody has accepted a document, in this version (core/terms.py); nothing takes that back but the account's
    end as a row: a closed account keeps it."""

    user_id: UserId
    document: str
    version: str
    accepted_ts_ms: int


class PutBinding(Struct, frozen=True):
    """An identity server says whose an address is, because an account had it do so. `id_server` None takes it away."""

    user_id: UserId
    medium: str
    address: str
    id_server: str | None


ContactWrite = PutThreePid | PutValidation | TrimValidations | PutDigest | PutAccepted | PutBinding
