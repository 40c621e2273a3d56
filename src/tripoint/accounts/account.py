"""An account, as everybody but the store sees it. What can be asked of accounts is in ports.py."""

from msgspec import Struct

from tripoint.core.ids import UserId


class Account(Struct, frozen=True):
    """A login of this server. `name` is the localpart; a guest has no password and ends with its session."""

    user_id: UserId
    name: str
    guest: bool
    admin: bool
    created_ts_ms: int
    deactivated: bool = False
    locked: bool = False
    suspended: bool = False
    shadow_banned: bool = False
    erased: bool = False
