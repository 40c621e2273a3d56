"""What rooms ask of other servers. Types only; federation implements it.

Everything that comes back has had its format, signatures and hashes checked (an event whose hash does not
fit comes redacted), but nothing else: accept.py judges it. Each question raises core.errors.RemoteFailed where
there is no usable answer; those that a server may refuse say in their text what a refusal becomes.
"""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from tripoint.core.canonical_json import JsonObject
from tripoint.core.event import Event
from tripoint.core.ids import EventId, RoomAlias, RoomId, ServerName, UserId
from tripoint.core.room_version import RoomVersion
from tripoint.rooms.refusals import Refusal, Refused


class Template(Struct, frozen=True):
    """A member event as another server proposes it: everything but our signature. Nothing of it was checked."""

    event: JsonObject
    version: RoomVersion


class Entered(Struct, frozen=True):
    """What the answer to our join tells of the room.

    `event` is the join with all its signatures. `state` is the state before it, `auth_chain` what permits that.
    With `members_omitted`, member events are left out of the state, and `servers` says who is in the room.
    """

    event: Event
    state: tuple[Event, ...]
    auth_chain: tuple[Event, ...]
    members_omitted: bool
    servers: tuple[ServerName, ...]


class NamedRoom(Struct, frozen=True):
    """Where a room alias of another server leads: the room, and servers through which it can be entered."""

    room_id: RoomId
    servers: tuple[ServerName, ...]


class RemoteServers(Protocol):
    """Questions about a room that both servers are in."""

    async def missing_events(
        self,
        server: ServerName,
        room_id: RoomId,
        earliest: Sequence[EventId],
        latest: Sequence[EventId],
        limit: int,
    ) -> Sequence[Event]:
        """Events between what we have (`earliest`) and what we were sent (`latest`), at most `limit`.

        spec: server-server-api POST /get_missing_events
        """

    async def state_ids(
        self, server: ServerName, room_id: RoomId, event_id: EventId
    ) -> tuple[Sequence[EventId], Sequence[EventId]]:
        """(state, auth chain) before an event. spec: server-server-api GET /state_ids"""

    async def state(
        self, server: ServerName, room_id: RoomId, event_id: EventId
    ) -> tuple[Sequence[Event], Sequence[Event]]:
        """(state, auth chain) before an event, whole. spec: server-server-api GET /state"""

    async def events(
        self, server: ServerName, room_id: RoomId, event_ids: Sequence[EventId]
    ) -> Sequence[Event]:
        """Single events; those that the server does not give are left out. spec: GET /event"""

    async def backfill(
        self, server: ServerName, room_id: RoomId, event_ids: Sequence[EventId], limit: int
    ) -> Sequence[Event]:
        """These events and those before them, at most `limit`, in no certain order. spec: GET /backfill"""


class RemoteRooms(Protocol):
    """Questions about rooms that this server is not in, or not yet.

    A refusal that another server would give too raises rooms.refusals.Refused, with its reason as the text;
    everything else RemoteFailed, and the next server is asked.
    """

    async def make_member(
        self, server: ServerName, room_id: RoomId, user_id: UserId, membership: str
    ) -> Template:
        """`membership`: join, knock or leave. spec: GET /make_join, /make_knock, /make_leave"""

    async def send_join(self, server: ServerName, event: Event, *, omit_members: bool) -> Entered:
        """spec: PUT /send_join"""

    async def send_knock(self, server: ServerName, event: Event) -> Sequence[JsonObject]:
        """State events by which the room can be recognised, unchecked. spec: PUT /send_knock"""

    async def send_leave(self, server: ServerName, event: Event) -> None:
        """spec: PUT /send_leave"""

    async def invite(self, server: ServerName, event: Event, state: Sequence[Event]) -> Event:
        """The invitation of one of the server's users, with its signature. spec: PUT /invite"""

    async def exchange(
        self, server: ServerName, room_id: RoomId, sender: UserId, target: UserId, content: JsonObject
    ) -> None:
        """Have `sender`'s server make an invitation of one by address, whose proof is in `content`.
        spec: PUT /exchange_third_party_invite"""

    async def resolve_alias(self, alias: RoomAlias) -> NamedRoom | None:
        """None: the server says that there is no such alias. spec: GET /query/directory"""

    async def profile(self, user_id: UserId) -> JsonObject:
        """A profile as its server gives it, unchecked. Refused(NO_SUCH_USER). spec: GET /query/profile"""

    async def hierarchy(self, server: ServerName, room_id: RoomId, *, suggested_only: bool) -> JsonObject:
        """A room and its children as a server describes them, unchecked. Refused(NO_SUCH_ROOM) where it does not.
        spec: GET /hierarchy"""

    async def policy_signatures(self, server: ServerName, event: Event) -> JsonObject:
        """Signatures by which a policy server recommends an event, unchecked: server to key id to signature.
        Refused(CANNOT_SPEAK) in its words where it does not. spec: POST /sign"""

    async def public_rooms(self, server: ServerName, wanted: JsonObject) -> JsonObject:
        """A page of a server's directory as it stands in its answer. spec: POST /publicRooms"""


class RemoteDoor:
    """The way to other servers. Closed until federation is there; Refused(NO_SUCH_ROOM) while it is closed."""

    def __init__(self) -> None:
        self._servers: RemoteServers | None = None
        self._rooms: RemoteRooms | None = None

    def open(self, servers: RemoteServers, rooms: RemoteRooms) -> None:
        self._servers, self._rooms = servers, rooms

    @property
    def servers(self) -> RemoteServers:
        if self._servers is None:
            raise Refused(Refusal.NO_SUCH_ROOM, "Rooms of other servers are not reachable from here")
        return self._servers

    @property
    def rooms(self) -> RemoteRooms:
        if self._rooms is None:
            raise Refused(Refusal.NO_SUCH_ROOM, "Rooms of other servers are not reachable from here")
        return self._rooms
