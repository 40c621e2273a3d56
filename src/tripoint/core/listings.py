"""What an administrator asks of long lists: which part of them, and in which order. Pure values.

The stores answer them (store/admin_store.py); front ends make them out of their own words.
"""

from typing import Final, Literal, get_args

from msgspec import Struct

from tripoint.core.ids import ServerName, UserId

AccountOrder = Literal[
    "name", "displayname", "guest", "admin", "deactivated", "avatar_url", "shadow_banned", "creation_ts",
    "last_seen_ts", "locked",
]  # fmt: skip
ACCOUNT_ORDERS: Final[tuple[AccountOrder, ...]] = get_args(AccountOrder)

RoomOrder = Literal[
    "name", "canonical_alias", "joined_members", "joined_local_members", "version", "creator", "encryption",
    "federatable", "public", "join_rules", "guest_access", "history_visibility", "state_events",
]  # fmt: skip
ROOM_ORDERS: Final[tuple[RoomOrder, ...]] = get_args(RoomOrder)

MediaOrder = Literal[
    "media_id", "upload_name", "created_ts", "last_access_ts", "media_length", "media_type",
    "quarantined_by", "safe_from_quarantine",
]  # fmt: skip
MEDIA_ORDERS: Final[tuple[MediaOrder, ...]] = get_args(MediaOrder)


class Page(Struct, frozen=True):
    """`limit` rows from number `start` on (the first is 0)."""

    start: int
    limit: int


class AccountQuery(Struct, frozen=True):
    """Which accounts. Texts are parts of a name, lower and upper case alike; None: whatever it is.

    `user_id`: a part of the user id. `name`: of the localpart or the display name. `guests`, `locked` False: without
    those. `deactivated`, `admins`: those alone (True), or without them (False).
    """

    page: Page
    user_id: str | None = None
    name: str | None = None
    guests: bool = True
    locked: bool = True
    deactivated: bool | None = None
    admins: bool | None = None
    order: AccountOrder = "name"
    backward: bool = False


class RoomQuery(Struct, frozen=True):
    """Which rooms. `text`: a part of the name or of an alias, or the whole room id. `public`: in the directory, or not;
    `empty`: without anybody of this server, or not."""

    page: Page
    text: str | None = None
    public: bool | None = None
    empty: bool | None = None
    order: RoomOrder = "name"
    backward: bool = False


class MediaQuery(Struct, frozen=True):
    """Which files that somebody uploaded."""

    page: Page
    uploader: UserId
    order: MediaOrder = "created_ts"
    backward: bool = True


class OldMediaQuery(Struct, frozen=True):
    """Files that may go: of this server (`local`) or of others, at least as large, used last before a time. None
    that is quarantined (it would be fetched again), protected, or on its way; without `pictures` none that is the
    picture of a profile or a room of this server."""

    server: ServerName
    local: bool
    before_ms: int
    larger_than: int = 0
    pictures: bool = False
    limit: int = 100


MediaUseOrder = Literal["user_id", "displayname", "media_length", "media_count"]
MEDIA_USE_ORDERS: Final[tuple[MediaUseOrder, ...]] = get_args(MediaUseOrder)


class MediaUseQuery(Struct, frozen=True):
    """How much accounts have uploaded between two times. `name`: a part of the user id or the display name."""

    page: Page
    from_ms: int = 0
    until_ms: int | None = None
    name: str | None = None
    order: MediaUseOrder = "user_id"
    backward: bool = False


class MediaUse(Struct, frozen=True):
    """What one account has uploaded."""

    user_id: UserId
    displayname: str | None
    count: int
    size: int
