"""Direct rooms: the one canonical room of two users, found or made.

spec: docs/mapping.md 15.1, 15.2, 15.4, 15.5, 1.9; Matrix client-server module "Direct Messaging"
"""

from tripoint.core.ids import UserId, server_of
from tripoint.core.stand_ins import stand_in_address
from tripoint.rooms.blocking import Blocks
from tripoint.rooms.commands import CreateRoom, Done, Join, OpenDirect, StateDraft, Template
from tripoint.rooms.creation import Creation
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.membership import Membership, People
from tripoint.rooms.membership_index import MembershipIndex
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.room import Room, direct_pair
from tripoint.rooms.succession import newest
from tripoint.store.interface import RoomStore


class Direct:
    """The handler of OpenDirect."""

    def __init__(
        self,
        rooms: LoadedRooms,
        store: RoomStore,
        creation: Creation,
        membership: Membership,
        people: People,
        index: MembershipIndex,
        blocks: Blocks,
    ) -> None:
        self._rooms = rooms
        self._store = store
        self._creation = creation
        self._membership = membership
        self._people = people
        self._index = index
        self._blocks = blocks

    async def open(self, command: OpenDirect) -> Done:
        actor, target = command.actor, command.target
        if self._blocks.blocks(actor, target):
            raise Refused(Refusal.BLOCKED)
        encrypted = False
        for row in await self._store.load_direct_rooms(direct_pair(actor, target)):
            room = await self._rooms.get(row.room_id)
            if not self._both_inside(room, actor, target):
                continue
            if room.encrypted:
                encrypted = True
                continue
            if await newest(room, self._rooms.find) is not room:
                continue
            for user_id in (actor, target):
                await self._let_in(room, user_id)
            return Done(room.room_id)
        if encrypted and not command.plain:
            raise Refused(Refusal.ENCRYPTED, f"Your direct room with {target} is end-to-end encrypted")
        return await self._make(command)

    def _both_inside(self, room: Room, actor: UserId, target: UserId) -> bool:
        """Both are joined or invited, and nobody else is (docs/mapping.md 15.1)."""
        return all(room.head_membership(user_id) in ("join", "invite") for user_id in (actor, target)) and (
            room.joined_count() <= len({actor, target})
        )

    async def _let_in(self, room: Room, user_id: UserId) -> None:
        """docs/mapping.md 15.5: local targets join direct rooms of local users by themselves."""
        local = server_of(user_id) == self._creation.server
        if local and room.head_membership(user_id) == "invite":
            await self._membership.join(Join(actor=user_id, room_id=room.room_id))

    async def _make(self, command: OpenDirect) -> Done:
        actor, target = command.actor, command.target
        local = server_of(target) == self._creation.server
        if local and not await self._people.exists(target):
            address = stand_in_address(target, self._creation.server)
            if address is None or self._people.stand_in is None or self._people.is_guest(actor):
                raise Refused(Refusal.NO_SUCH_USER)
            await self._people.stand_in(address)
        if self._people.is_shadow_banned(actor) and actor != target:
            # rooms/shadows.py: what would be refused to anybody now and then tells nothing.
            raise Refused(Refusal.RATE_LIMITED, retry_after_ms=60_000)
        if local and target != actor and self._people.refuses_invites(target):
            raise Refused(Refusal.INVITES_BLOCKED)
        foreign = any(stand_in_address(one, self._creation.server) is not None for one in (actor, target))
        with_guest = self._people.is_guest(actor) or self._people.is_guest(target)
        if self._people.is_guest(actor) and target != actor:  # docs/mapping.md 1.9: notes to oneself trouble nobody
            await self._index.load(actor)
            await self._index.load(target)
            if not self._index.share_room(actor, target):
                raise Refused(Refusal.GUESTS_FORBIDDEN, "Guests may write only to people they share a room with")
        made = await self._creation.create(
            CreateRoom(
                actor=actor,
                template=Template.TEMPORARY if with_guest else Template.TRUSTED_PRIVATE_CHAT,
                invite=() if target == actor else (target,),
                is_direct=True,
                # docs/mapping.md 15.8: other servers could not tell by whom a stand-in is moved
                creation_content={"m.federate": False} if foreign else {},
                initial_state=(
                    StateDraft("m.room.join_rules", "", {"join_rule": "invite"}),
                    StateDraft("m.room.history_visibility", "", {"history_visibility": "shared"}),
                ),
            ),
            direct_with=target,
        )
        assert made.room_id is not None
        if target != actor:
            await self._let_in(await self._rooms.get(made.room_id), target)
        # docs/mapping.md 15.2: m.direct of both.
        await self._people.mark_direct(actor, target, made.room_id)
        if target != actor and local:
            await self._people.mark_direct(target, actor, made.room_id)
        return Done(made.room_id, created=True)
