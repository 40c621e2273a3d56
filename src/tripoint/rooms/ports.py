"""What front ends hold: RoomService for commands, RoomReader for questions. Types only; no code.

The implementation is service.py; front ends are given it by runtime and know these protocols alone. What is
`async` may read the store or wait for a commit; what is not answers from memory.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from tripoint.core.canonical_json import JsonObject
from tripoint.core.event import Event
from tripoint.core.ids import EventId, RoomAlias, RoomId, ServerName, UserId
from tripoint.core.power import PowerLevels, Rank
from tripoint.core.room_version import RoomVersion
from tripoint.core.stream_position import StreamPosition
from tripoint.rooms.blocking import BlockList
from tripoint.rooms.commands import Command, Done
from tripoint.rooms.history import (
    Bundle,
    HistoryItem,
    HistoryPage,
    HistoryQuery,
    RelationsQuery,
    SearchPage,
    SearchQuery,
    ThreadsQuery,
    ThreadUpdates,
    ThreadUpdatesQuery,
)

if TYPE_CHECKING:
    from tripoint.rooms.notified import NotificationPage
    from tripoint.rooms.sticky import Sticky
    from tripoint.rooms.unread import Unread

StateMap = Mapping[tuple[str, str], Event]


class Member(Struct, frozen=True):
    """One user's membership of one room, as its member event says."""

    user_id: UserId
    membership: str  # join | invite | leave | ban | knock
    displayname: str | None
    avatar_url: str | None
    event: Event


class RoomView(Protocol):
    """A room as it is now. A live view: it moves on with every commit, so do not keep what it returned.

    Cheap: every method answers from memory.
    """

    @property
    def room_id(self) -> RoomId: ...
    @property
    def version(self) -> RoomVersion: ...
    @property
    def last_position(self) -> int: ...
    @property
    def reset_position(self) -> int:
        """Where state changed last without an event of its own in the timeline (changes.StateReset)."""

    @property
    def completed_position(self) -> int:
        """Where the members came that were left out when this server entered the room; 0 if none were."""

    @property
    def recent(self) -> Sequence[HistoryItem]:
        """The newest events, oldest first: all of the room's after position `recent_from`."""

    @property
    def recent_from(self) -> int: ...

    @property
    def state_positions(self) -> Mapping[tuple[str, str], int]:
        """The stream position of each state event."""

    @property
    def state(self) -> StateMap: ...
    @property
    def power(self) -> PowerLevels: ...
    @property
    def name(self) -> str | None: ...
    @property
    def topic(self) -> str | None: ...
    @property
    def topic_event(self) -> Event | None: ...
    @property
    def canonical_alias(self) -> RoomAlias | None: ...
    @property
    def aliases(self) -> Sequence[RoomAlias]:
        """Local aliases of the room, the canonical one first."""

    @property
    def join_rule(self) -> str: ...
    @property
    def history_visibility(self) -> str: ...
    @property
    def guest_access(self) -> str: ...
    @property
    def direct_pair(self) -> tuple[UserId, UserId] | None:
        """The two users whose direct room this was made as (docs/mapping.md 15.1), in or not; equal: notes to self."""

    @property
    def encrypted(self) -> bool: ...
    @property
    def listed(self) -> bool: ...
    @property
    def locked(self) -> bool:
        """Made by a MUC join and not yet configured (XEP-0045 10.1.1)."""

    @property
    def created_ts_ms(self) -> int: ...
    def member(self, user_id: UserId) -> Member | None: ...
    def membership(self, user_id: UserId) -> str:
        """`leave` for somebody who never was there."""

    def joined(self) -> Mapping[UserId, Member]: ...
    def joined_count(self) -> int: ...
    def is_here(self, server: ServerName) -> bool:
        """Whether `server`, which keeps this room, takes part in it: entering it asks no other server."""

    def servers(self) -> Mapping[ServerName, int]:
        """The servers with joined members, and how many each has."""

    def allows_server(self, server: ServerName) -> bool:
        """Whether the room's access control list lets a server take part."""

    def user_rules(self) -> Sequence[Event]:
        """The room's own m.policy.rule.user events, those that were taken back too."""

    def members(self) -> Mapping[UserId, Member]:
        """Everybody with a member event, whatever it says."""

    def rank(self, user_id: UserId) -> Rank: ...
    def may_speak(self, user_id: UserId) -> bool: ...


class PublicRoom(Struct, frozen=True):
    """A row of the directory (docs/mapping.md 6.1)."""

    room_id: RoomId
    alias: RoomAlias | None
    name: str | None
    topic: str | None
    joined: int
    join_rule: str
    world_readable: bool
    guest_can_join: bool
    avatar_url: str | None
    room_type: str | None
    created_ts_ms: int
    topic_ts_ms: int | None


class Listing(Struct, frozen=True):
    """Which directories rooms are looked for in: the server's own, those of networks that application services reach
    (one of them: its service, `|`, its id), or all."""

    own: bool = True
    networks: bool = False
    network: str | None = None


OWN = Listing()


class FoundUser(Struct, frozen=True):
    """Somebody whom a search for people found, as they call themselves."""

    user_id: UserId
    displayname: str | None
    avatar_url: str | None


class UsersFound(Struct, frozen=True):
    """`more`: there are further ones, who did not fit."""

    users: tuple[FoundUser, ...]
    more: bool


class Presence(Struct, frozen=True):
    presence: str  # online | unavailable | offline
    status_msg: str | None
    last_active_ts_ms: int


class Receipt(Struct, frozen=True):
    user_id: UserId
    event_id: EventId
    kind: str
    thread_id: str | None
    ts_ms: int
    position: int


class RoomService(Protocol):
    """The one door to change anything in rooms."""

    async def do(self, command: Command) -> Done:
        """Carry out one command; returns after its transaction is on disk.

        Raises Refused, and then nothing was changed. The change is told to all sessions, the asking one too,
        before this returns.
        """


class RoomReader(Protocol):
    """Questions about rooms. Refused(NO_SUCH_ROOM) where a room is not known here."""

    async def room(self, room_id: RoomId) -> RoomView: ...
    def peek(self, room_id: RoomId) -> RoomView | None:
        """The room if it is in memory (it is, while anybody watches it)."""

    async def resolve_alias(self, alias: RoomAlias, *, ask: bool = True) -> RoomId | None:
        """The room that an alias names; one of another server is asked for there. None: there is no such alias.

        An application service that has a local name for itself is asked (unless `ask` is off), and may make the room
        then. Refused: REMOTE_TIMEOUT where that server gives no usable answer, BRIDGE_TIMEOUT where that service does.
        """

    async def ways_to(self, room_id: RoomId) -> Sequence[ServerName]:
        """Servers through which a room can be entered, as far as is known here, this one among them if it can."""

    async def is_here(self, room_id: RoomId) -> bool:
        """Whether this server takes part in a room, so that it knows what the room is like now."""

    async def newest(self, room_id: RoomId) -> RoomId:
        """The room that has taken the place of this one, and so on, as far as this server takes part in them; this one
        itself where nothing has (rooms/succession.py, docs/mapping.md 21.4). Nobody is joined to anything."""

    async def lineage(self, room_id: RoomId) -> Sequence[RoomView]:
        """A room and those whose place it has taken, one after the other, the newest first: where its history goes on.
        What of them somebody may read is decided at each."""

    async def remote_space(
        self, room_id: RoomId, via: Sequence[ServerName], *, suggested_only: bool
    ) -> JsonObject:
        """A room and what lies below it, as one of these servers, or of those known to be in it, describes it
        (server-server GET /hierarchy). Refused: NO_SUCH_ROOM, REMOTE_TIMEOUT."""

    async def remote_rooms(self, server: ServerName, wanted: JsonObject) -> JsonObject:
        """A page of another server's directory as that server gives it (client-server "Listing rooms").
        Refused(REMOTE_TIMEOUT)."""

    async def remote_profile(self, user_id: UserId) -> JsonObject:
        """The profile of another server's user, asked for there. Refused: NO_SUCH_USER, REMOTE_TIMEOUT."""

    async def own_room(self, user_id: UserId, alias: RoomAlias) -> RoomId | None:
        """The room with this canonical alias, among those that a local user is in.

        For rooms of other servers, which keep their names here while those do not answer.
        """

    async def memberships(self, user_id: UserId) -> Mapping[RoomId, str]:
        """Rooms of a local user with `join`, `invite`, `knock`, `ban` or `leave` (not forgotten)."""

    async def membership_positions(self, user_id: UserId) -> Mapping[RoomId, tuple[str, int]]:
        """As memberships(), with the stream position of the event that made it so."""

    async def own_memberships(self, room_id: RoomId, user_id: UserId) -> Sequence[tuple[int, str]]:
        """(position, membership) of every member event of a user in a room, oldest first."""

    def stream_position(self) -> StreamPosition:
        """How far the stream is committed: everything up to it can be read."""

    def joined_rooms(self, user_id: UserId) -> Sequence[RoomId]:
        """Joined rooms of a user whose memberships were loaded once (await memberships() at log-in)."""

    def blocks(self, viewer: UserId, sender: UserId) -> bool:
        """Whether `viewer` is not to hear of what `sender` says and does (docs/mapping.md 16)."""

    def refuses_invites(self, user_id: UserId) -> bool:
        """Whether an account wants no invitations (docs/mapping.md 16.4)."""

    def hides_invitation(self, user_id: UserId, sender: UserId) -> bool:
        """Whether an invitation of `sender` is not shown to a user who has it."""

    def blockers(self, sender: UserId) -> frozenset[UserId]:
        """The accounts that have blocked this user; nearly always none."""

    def address_blockers(self, addresses: Iterable[str]) -> frozenset[UserId]:
        """The accounts that have blocked one of these addresses of XMPP; nearly always none."""

    def block_list(self, user_id: UserId) -> BlockList: ...
    def lagging(self, room: RoomView) -> Mapping[ServerName, int]:
        """The servers of a room that do not answer, and since when (ms). What is said waits for them (docs/mapping.md
        21.1)."""

    def shares_room(self, one: UserId, other: UserId) -> bool:
        """Whether somebody whose memberships were loaded is joined to a room with another, of this server or of
        another one; of who was not loaded, as far as rooms are in memory. sharing() looks further."""

    async def sharing(
        self, user_id: UserId, others: Collection[UserId], *, encrypted: bool = False
    ) -> frozenset[UserId]:
        """Those of `others`, of any server, who are joined to a room together with a local user (`encrypted`: to an
        encrypted one). Looks at the user's own rooms until all are found."""

    async def history(self, query: HistoryQuery) -> HistoryPage: ...
    async def search(self, query: SearchQuery) -> SearchPage: ...
    async def bundles(
        self, room_id: RoomId, viewer: UserId, items: Sequence[HistoryItem]
    ) -> Mapping[EventId, Bundle]:
        """What of their children goes with events of one room; of those alone that have any."""

    async def relations(self, query: RelationsQuery) -> HistoryPage:
        """Events that are about another. Refused(NO_SUCH_EVENT) where the viewer may not see that one."""

    async def threads(self, query: ThreadsQuery) -> HistoryPage:
        """Roots of threads."""

    async def thread_updates(self, query: ThreadUpdatesQuery) -> ThreadUpdates:
        """Threads of all rooms of somebody in which something is new."""

    def sticky_rooms(self) -> Collection[RoomId]:
        """Rooms in which events are sticky now (core/sticky.py); nearly always few."""

    def sticky_in(self, room_id: RoomId, after: int, upto: int) -> Sequence[Sticky]:
        """What is sticky in a room, at after < position <= upto, by position."""

    def sticky_left_ms(self, event_id: EventId) -> int | None:
        """How long an event is sticky yet; None: it is not."""

    async def sticky_events(
        self, room_id: RoomId, viewer: UserId, found: Sequence[Sticky]
    ) -> Sequence[HistoryItem]:
        """These as somebody who is joined sees them: whatever the history visibility, and nothing of whom he has
        blocked. spec: MSC4354"""

    async def displayname_at(self, room_id: RoomId, user_id: UserId, position: int) -> str | None:
        """What a member was called in the room when the event at this position was sent."""

    async def member_at(self, room_id: RoomId, user_id: UserId, position: int) -> Event | None:
        """The m.room.member event that stood when the event at this position was sent."""

    async def state_changes(
        self, room_id: RoomId, type: str, state_key: str, *, after: int
    ) -> Sequence[Event]:
        """The event that stood under this key at this position, and all that took its place, oldest first."""

    async def position_before(self, room_id: RoomId, ts_ms: int) -> int:
        """The position of the last event before this time (ms since 1970), for ByPosition; 0 without one."""

    async def event(self, room_id: RoomId, event_id: EventId, viewer: UserId) -> HistoryItem:
        """One event that `viewer` may see; Refused(NO_SUCH_EVENT) otherwise."""

    async def event_at(self, room_id: RoomId, ts_ms: int, viewer: UserId, *, forward: bool) -> HistoryItem:
        """The event nearest to a time, at or after it (`forward`) or at or before it; Refused(NO_SUCH_EVENT) where
        there is none that `viewer` may see."""

    async def find_users(self, searcher: UserId, term: str, limit: int) -> UsersFound:
        """People in whose user id or display name a text stands, upper and lower case alike, the best match first:
        those who share a room with the searcher and those who are in public rooms (rooms/user_directory.py)."""

    async def public_rooms(
        self, *, search: str | None, limit: int, offset: int, listing: Listing = OWN
    ) -> Sequence[PublicRoom]:
        """Directory rows by falling number of members."""

    async def direct_room(self, one: UserId, other: UserId) -> RoomId | None:
        """The canonical direct room of two users (docs/mapping.md 15.1), if there is one."""

    async def readable_state(self, room_id: RoomId, viewer: UserId, at: int | None = None) -> StateMap:
        """The state that `viewer` may read: as it is for members and in world-readable rooms, as it was when
        they left for former members. Refused(NOT_JOINED) for everybody else.

        With `at`, the state at that stream position instead, as far as the viewer may look back; for former
        members no later than when they left.
        """

    async def event_by_token(self, room_id: RoomId, sender: UserId, token: str) -> EventId | None:
        """The event that `sender` sent with this kept token (the newest, if the token was used again)."""

    async def unread(self, room_id: RoomId, user_id: UserId) -> Unread:
        """What a joined local user has not read of a room, by the user's push rules."""

    async def notified(
        self, user_id: UserId, *, before: int | None, limit: int, highlights_only: bool
    ) -> NotificationPage:
        """What a local user was notified of, from before a position; the newest first."""

    def typing(self, room_id: RoomId) -> frozenset[UserId]: ...
    async def receipts(self, room_id: RoomId) -> Sequence[Receipt]: ...
    async def own_receipts(self, room_id: RoomId, user_id: UserId) -> Sequence[Receipt]:
        """The receipts of one user in a room."""

    def presence(self, user_id: UserId) -> Presence: ...
    async def profile(self, user_id: UserId) -> Mapping[str, str]:
        """What rooms show of a local user's profile: displayname and avatar_url, where they are set."""

    async def whole_profile(self, user_id: UserId) -> JsonObject:
        """Every field of a local user's profile (core/profile.py)."""



class PresenceService(Protocol):
    """What live sessions tell of their user; the aggregate comes back as PresenceChanged.

    spec: docs/mapping.md 13.6, 13.7: best of all sessions, active > online > unavailable > offline.
    """

    def session_up(self, user_id: UserId, session: str) -> None:
        """`session` begins with its protocol and a dash: `irc-`, `xmpp-`."""

    def session_down(self, user_id: UserId, session: str) -> None: ...
    def set(self, user_id: UserId, session: str, presence: str, status_msg: str | None) -> None:
        """`presence` is online, unavailable, or offline: as if the session were not there.

        Every session has its own; an unknown session is added.
        """


class NameTable(Protocol):
    """Names that a view gave and must give again: nickmap, slugmap (docs/mapping.md 0). Local, persistent.

    `kind` is the table (`muc_nick`, `irc_nick`, `slug`), `scope` a room or an account.
    """

    async def load_names(self, kind: str, scope: str) -> Mapping[str, str]: ...
    def put_name(self, kind: str, scope: str, key: str, value: str | None) -> None:
        """Kept with the next commit; a lost one is made anew. `value` None: it is kept no more."""
