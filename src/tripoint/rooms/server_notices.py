"""What the server has to say to one of its people, on whichever protocol they are.

Each has one room with the server for it, tagged and read-only. Who is on IRC or XMPP is in it by himself, as in every
direct room; Matrix clients show the invitation, which cannot be declined. Who has left it is invited again.
spec: Matrix client-server module server-notices; docs/mapping.md 10.13
"""

from collections.abc import Awaitable, Callable
from typing import Final

from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import RoomId, ServerName, UserId, server_of
from tripoint.core.notices import notices_user
from tripoint.rooms.commands import CreateRoom, Done, Invite, SendEvent, SendNotice, StateDraft, Template
from tripoint.rooms.creation import Creation
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.membership import Membership, People
from tripoint.rooms.messages import Messages
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.room import Room, direct_pair
from tripoint.rooms.turns import Turns
from tripoint.store.interface import RoomStore

TAG: Final = "m.server_notice"
TOPIC: Final = "What the operators of this server have to tell you"
# Nobody answers here: the one who reads it has none of the rights, and the room is for two.
_LEVELS: Final[JsonObject] = {"events_default": 50, "invite": 100, "kick": 100, "ban": 100, "redact": 100}

PutTag = Callable[[UserId, RoomId, str], Awaitable[None]]


class ServerNotices:
    """The handler of SendNotice."""

    def __init__(
        self,
        server: ServerName,
        rooms: LoadedRooms,
        store: RoomStore,
        creation: Creation,
        membership: Membership,
        messages: Messages,
        people: People,
        put_tag: PutTag,
    ) -> None:
        self._server = server
        self._rooms = rooms
        self._store = store
        self._creation = creation
        self._membership = membership
        self._messages = messages
        self._people = people
        self._put_tag = put_tag
        self._turns = Turns()

    async def send(self, command: SendNotice) -> Done:
        """See commands.SendNotice."""
        target, writer = command.target, notices_user(self._server)
        if server_of(target) != self._server or not await self._people.exists(target):
            raise Refused(Refusal.NO_SUCH_USER)
        async with self._turns.of(target):
            room = await self._room(writer, target)
            if room.head_membership(target) not in ("join", "invite"):
                await self._membership.invite(
                    Invite(actor=writer, room_id=room.room_id, target=target, is_direct=True)
                )
            content: JsonObject = {"msgtype": "m.text", "body": command.text}
            return await self._messages.send_event(
                SendEvent(
                    actor=writer,
                    origin=command.origin,
                    room_id=room.room_id,
                    type="m.room.message",
                    content=content,
                )
            )

    async def _room(self, writer: UserId, target: UserId) -> Room:
        """The one room of this user, made if there is none."""
        for row in await self._store.load_direct_rooms(direct_pair(writer, target)):
            room = await self._rooms.get(row.room_id)
            if room.head_membership(writer) == "join" and not room.closing:
                return room
        made = await self._creation.create(
            CreateRoom(
                actor=writer,
                template=Template.PRIVATE_CHAT,
                nick=str(self._server),
                name=f"Notices of {self._server}",
                topic=TOPIC,
                creation_content={"m.federate": False},
                power_levels_override=_LEVELS,
                initial_state=(StateDraft("m.room.guest_access", "", {"guest_access": "can_join"}),),
            ),
            direct_with=target,
        )
        assert made.room_id is not None
        await self._put_tag(target, made.room_id, TAG)
        # IRC and XMPP show what was missed in the direct rooms that stand there (docs/mapping.md 15.2).
        await self._people.mark_direct(target, writer, made.room_id)
        return await self._rooms.get(made.room_id)
