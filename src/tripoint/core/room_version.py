"""Room versions as data: each is the version before it with a few choices changed.

spec: Matrix rooms/v1 to v12. Code asks for the choice (`if version.restricted_join`), never for the number.
Read next: event_format.py, auth_rules/.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from types import MappingProxyType
from typing import Final

from tripoint.core import redaction
from tripoint.core.redaction import RedactionRules


class EventFormat(Enum):
    """How events refer to others: V1 as (id, hash) pairs beside an `event_id` of their own, V3 by ids."""

    V1 = 1
    V3 = 3


class EventIdFormat(Enum):
    """Where an event's id comes from."""

    GIVEN = "given"  # a key of the event: $opaque:server
    HASH = "hash"  # reference hash, unpadded base64 (it may hold / and +)
    URLSAFE_HASH = "urlsafe_hash"  # reference hash, URL-safe unpadded base64


class StateRes(Enum):
    """Which state resolution algorithm. core/state_res/"""

    V1 = "1"
    V2 = "2"
    V2_1 = "2.1"


@dataclass(frozen=True, slots=True)
class RoomVersion:
    """The rule set a room was created with, one field per difference between versions."""

    id: str
    event_format: EventFormat
    event_id_format: EventIdFormat
    state_res: StateRes
    redaction: RedactionRules
    # Events must be strict canonical JSON; else floats and large integers are taken and hashed (until v5).
    strict_json: bool
    # The largest depth an event may have.
    max_depth: int
    # valid_until_ts of signing keys is enforced against origin_server_ts (from v5).
    enforce_key_validity: bool
    # Redactions are decided by the authorisation rules (v1, v2) instead of when they are applied.
    redaction_in_auth_rules: bool
    # m.room.aliases has its own authorisation rule (until v5).
    aliases_auth_rule: bool
    # The rules for m.room.power_levels look at `notifications` as at `events` (from v6).
    notifications_in_auth_rules: bool
    # Power levels may be decimal strings or floats (until v9), else must be integers.
    lenient_power_levels: bool
    # Join rules that exist.
    knock_join: bool  # from v7
    restricted_join: bool  # from v8
    knock_restricted_join: bool  # from v10
    # m.room.create names its maker in content.creator (until v10), else it is the sender.
    creator_in_content: bool
    # m.room.redaction names its target in content (from v11), else at the top level.
    redacts_in_content: bool
    # The room id is the create event's id with another sigil; m.room.create is no auth event (from v12).
    room_id_is_create_hash: bool
    # Creators have infinite power, content.additional_creators too, and none is in `users` (from v12).
    privileged_creators: bool


V1: Final = RoomVersion(
    id="1",
    event_format=EventFormat.V1,
    event_id_format=EventIdFormat.GIVEN,
    state_res=StateRes.V1,
    redaction=redaction.REDACTION_V1,
    strict_json=False,
    max_depth=2**63 - 1,
    enforce_key_validity=False,
    redaction_in_auth_rules=True,
    aliases_auth_rule=True,
    notifications_in_auth_rules=False,
    lenient_power_levels=True,
    knock_join=False,
    restricted_join=False,
    knock_restricted_join=False,
    creator_in_content=True,
    redacts_in_content=False,
    room_id_is_create_hash=False,
    privileged_creators=False,
)
V2: Final = replace(V1, id="2", state_res=StateRes.V2)
V3: Final = replace(
    V2,
    id="3",
    event_format=EventFormat.V3,
    event_id_format=EventIdFormat.HASH,
    redaction_in_auth_rules=False,
)
V4: Final = replace(V3, id="4", event_id_format=EventIdFormat.URLSAFE_HASH)
V5: Final = replace(V4, id="5", enforce_key_validity=True)
V6: Final = replace(
    V5,
    id="6",
    strict_json=True,
    max_depth=2**53 - 1,
    redaction=redaction.REDACTION_V6,
    aliases_auth_rule=False,
    notifications_in_auth_rules=True,
)
V7: Final = replace(V6, id="7", knock_join=True)
V8: Final = replace(V7, id="8", restricted_join=True, redaction=redaction.REDACTION_V8)
V9: Final = replace(V8, id="9", redaction=redaction.REDACTION_V9)
V10: Final = replace(V9, id="10", knock_restricted_join=True, lenient_power_levels=False)
V11: Final = replace(
    V10, id="11", redaction=redaction.REDACTION_V11, creator_in_content=False, redacts_in_content=True
)
V12: Final = replace(
    V11, id="12", state_res=StateRes.V2_1, room_id_is_create_hash=True, privileged_creators=True
)

ROOM_VERSIONS: Final[Mapping[str, RoomVersion]] = MappingProxyType(
    {version.id: version for version in (V1, V2, V3, V4, V5, V6, V7, V8, V9, V10, V11, V12)}
)
# In which rooms this server can be: those of every version that it knows.
SUPPORTED: Final = tuple(ROOM_VERSIONS)
DEFAULT: Final = "12"


class UnknownRoomVersion(LookupError):
    """A room version that this server does not know."""


def get_room_version(version_id: str) -> RoomVersion:
    """The record of a room version. Raise UnknownRoomVersion where it is not known."""
    version = ROOM_VERSIONS.get(version_id)
    if version is None:
        raise UnknownRoomVersion("this room version is not supported here")
    return version
