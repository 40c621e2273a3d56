"""What has happened: frozen, serialisable values, told to every session alike after the commit.

Room changes go to whoever watches the room; user changes to whoever serves that user. The order in which a
room's changes are delivered is the order of their positions, for all protocols.
"""

from msgspec import Struct

from tripoint.core.canonical_json import Json, JsonObject
from tripoint.core.event import Event
from tripoint.core.ids import EventId, RoomId, ServerName, UserId
from tripoint.core.nodes import NodeConfig, NodeItem, Subscription
from tripoint.rooms.commands import Origin, Secret


class EventCommitted(Struct, frozen=True, tag=True, tag_field="kind_of_change"):
    """An event is in the room's history. `position` is its place in the server's stream.

    `replaced` is the state event that stood under the same key before (None: there was none, or the event is
    not state). `origin` is set on the process where the session lives, so it can recognise its echo. `relayed`:
    the event is another server's, and this server is the one that spreads it (it came by send_join or its kin).
    `outlier`: this server is not in the room, and others spread the event, if anybody does (outside.py).
    `redacted`: of a redaction, the event that it took the content of, as it was. `only_for`: the event is in no history
    and is shown to its sender alone, who is not to know (rooms/shadows.py); only those who watch the room hear of it.
    """

    position: int
    room_id: RoomId
    event: Event
    replaced: Event | None = None
    origin: Origin | None = None
    relayed: bool = False
    redacted: Event | None = None
    outlier: bool = False
    only_for: UserId | None = None


class StateReset(Struct, frozen=True, tag=True, tag_field="kind_of_change"):
    """State that changed without an event of its own in the timeline: a resolution of forks decided so.

    `changed` holds (before, after) of each key; None where there is nothing. A state event that was told as
    EventCommitted and lost the resolution is among them with itself as `before` (docs/mapping.md 5.5). `completes`:
    nothing changed, but what was so all the time is known now (partial.py).
    """

    position: int
    room_id: RoomId
    changed: tuple[tuple[Event | None, Event | None], ...]
    completes: bool = False


class PassedOn(Struct, frozen=True, tag=True, tag_field="kind_of_change"):
    """Somebody shows something that is not kept (commands.PassOn)."""

    room_id: RoomId
    sender: UserId
    payload: str
    token: str | None


class TypingChanged(Struct, frozen=True, tag=True, tag_field="kind_of_change"):
    """Who is typing now: the whole set, and who it was before."""

    room_id: RoomId
    user_ids: frozenset[UserId]
    before: frozenset[UserId]


class ReceiptMoved(Struct, frozen=True, tag=True, tag_field="kind_of_change"):
    """A read marker moved. Private kinds go to sessions of `user_id` alone."""

    position: int
    room_id: RoomId
    user_id: UserId
    event_id: EventId
    kind: str
    thread_id: str | None
    ts_ms: int


class DirectoryChanged(Struct, frozen=True, tag=True, tag_field="kind_of_change"):
    """Aliases of the room or its place in the directory changed. `by` and `origin`: who asked for that place."""

    room_id: RoomId
    by: UserId | None = None
    origin: Origin | None = None


class RoomClosed(Struct, frozen=True, tag=True, tag_field="kind_of_change"):
    """The room is being closed (rooms/closing.py): everybody is about to go, for this reason.

    `replacement`: the room that takes its place; `venue`, `venue_password`: see commands.CloseRoom.
    """

    room_id: RoomId
    reason: str | None
    replacement: RoomId | None
    venue: str | None = None
    venue_password: Secret | None = None


class Swept(Struct, frozen=True, tag=True, tag_field="kind_of_change"):
    """What one member sent is taken back without an event for each of it: because of the event that put him out.

    `gone` are the newest messages among it as they were, in their order; `count` is how many there were.
    """

    room_id: RoomId
    because: Event
    gone: tuple[Event, ...]
    count: int


RoomChange = (
    EventCommitted | StateReset | PassedOn | TypingChanged | ReceiptMoved | DirectoryChanged | RoomClosed | Swept
)


class MembershipChanged(Struct, frozen=True, tag=True, tag_field="kind_of_change"):
    """A local user's own membership changed. `change` is what the room is told next, and says the same."""

    user_id: UserId
    room_id: RoomId
    membership: str  # join | invite | leave | ban | knock
    before: str  # the same, "leave" where there was none
    change: EventCommitted | StateReset


class RoomMoved(Struct, frozen=True, tag=True, tag_field="kind_of_change"):
    """For a local user, a member of both, room `old` is room `new` from now on (docs/mapping.md 21.4): what he has
    kept about the one is kept about the other. Told once for each user and pair of rooms."""

    user_id: UserId
    old: RoomId
    new: RoomId


class MoveRefused(Struct, frozen=True, tag=True, tag_field="kind_of_change"):
    """A local user did not get from a room that was replaced into the one that took its place; `text` says why.

    `stays`: it may not have been replaced at all, or it cannot be known now: the old room is still what he has.
    """

    user_id: UserId
    old: RoomId
    new: RoomId
    text: str
    stays: bool


class PresenceChanged(Struct, frozen=True, tag=True, tag_field="kind_of_change"):
    """A user's aggregated presence (docs/mapping.md 13.7)."""

    user_id: UserId
    presence: str  # online | unavailable | offline
    status_msg: str | None
    last_active_ts_ms: int


class ProfileChanged(Struct, frozen=True, tag=True, tag_field="kind_of_change"):
    user_id: UserId
    field: str
    value: Json | None


class AccountDataChanged(Struct, frozen=True, tag=True, tag_field="kind_of_change"):
    """Global (`room_id` None) or per-room account data of a user was written."""

    position: int
    user_id: UserId
    room_id: RoomId | None
    type: str
    content: JsonObject


class RosterChanged(Struct, frozen=True, tag=True, tag_field="kind_of_change"):
    """One item of a user's roster changed: push it (RFC 6121 2.1.6)."""

    user_id: UserId
    jid: str


class SessionsEnded(Struct, frozen=True, tag=True, tag_field="kind_of_change"):
    """Devices of a user are gone: their connections close. Empty `device_ids` means all of them.

    `kept`: they are not gone, but nobody gets in with them now (docs/mapping.md 18.3).
    """

    user_id: UserId
    device_ids: tuple[str, ...]
    reason: str
    kept: bool = False


class NodeChanged(Struct, frozen=True, tag=True, tag_field="kind_of_change"):
    """What a user publishes changed (accounts/nodes.py); `config` is the node's, of a deleted one as it was.

    `published` are new items, the newest last, `retracted` ids of items that are gone. `purged`: all items are gone;
    `deleted`: the node is, `redirect` says where to look instead, if anywhere, and `subscribers` who had subscribed.
    """

    user_id: UserId
    node: str
    config: NodeConfig
    published: tuple[NodeItem, ...] = ()
    retracted: tuple[str, ...] = ()
    purged: bool = False
    deleted: bool = False
    redirect: str = ""
    subscribers: tuple[Subscription, ...] = ()


class DeviceListChanged(Struct, frozen=True, tag=True, tag_field="kind_of_change"):
    """What is known of a user's devices or cross-signing keys changed at `position`, for whoever shares a room.

    `device_id` is "" for the cross-signing keys, and for anything of another server's user. `viewer`: whom alone it
    concerns. `replaced`: the position of the change of the same device before this, 0 where there was none.
    """

    user_id: UserId
    position: int
    device_id: str
    viewer: UserId | None = None
    replaced: int = 0


class KeyCountsChanged(Struct, frozen=True, tag=True, tag_field="kind_of_change"):
    """Somebody took a one-time key of a device, or its fallback key for the first time."""

    user_id: UserId
    position: int
    device_id: str


class DeviceMessage(Struct, frozen=True, tag=True, tag_field="kind_of_change"):
    """A message for a local user's devices was stored (accounts/to_device.py)."""

    user_id: UserId
    position: int
    device_ids: tuple[str, ...]


class MessagesQueued(Struct, frozen=True, tag=True, tag_field="kind_of_change"):
    """A local user has sent something to devices of other servers; it waits for them in the store."""

    user_id: UserId
    servers: tuple[ServerName, ...]


class Reported(Struct, frozen=True, tag=True, tag_field="kind_of_change"):
    """`user_id` told the administrators of something; `about` says of what, for people."""

    user_id: UserId
    about: str
    reason: str


UserChange = (
    MembershipChanged
    | RoomMoved
    | MoveRefused
    | PresenceChanged
    | ProfileChanged
    | AccountDataChanged
    | RosterChanged
    | SessionsEnded
    | NodeChanged
    | DeviceListChanged
    | KeyCountsChanged
    | DeviceMessage
    | MessagesQueued
    | Reported
)
