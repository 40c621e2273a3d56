"""The room service: the one door through which rooms are changed (rooms.ports.RoomService).

It only dispatches: limits first, then the handler of the command, then what every command of that kind sets
in motion. The handlers are membership.py, messages.py, creation.py, direct.py, naming.py, ephemeral.py,
profiles.py; the events they build are committed by writer.py.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from tripoint.core.ids import ServerName, UserId
from tripoint.core.stand_ins import stand_in_address
from tripoint.core.token_bucket import TokenBuckets
from tripoint.rooms.blocking import Blocks
from tripoint.rooms.closing import Closing
from tripoint.rooms.commands import (
    AcceptDirect,
    AllowInvites,
    Ban,
    BlockUsers,
    CloseRoom,
    Command,
    CreateRoom,
    DeleteAlias,
    Done,
    FollowList,
    FollowRoom,
    Forced,
    Forget,
    Invite,
    InviteByAddress,
    Join,
    KeepRoom,
    Kick,
    Knock,
    Leave,
    OpenDirect,
    PassOn,
    Redact,
    RedeemInvite,
    RenameRoom,
    Report,
    SendEvent,
    SendNotice,
    SendState,
    SetAlias,
    SetLevels,
    SetListed,
    SetMask,
    SetNetworkListed,
    SetPassword,
    SetProfile,
    SetRanks,
    SetReceipt,
    SetRoomNick,
    SetTopic,
    SetTyping,
    Template,
    Unban,
    UnlockRoom,
    UpgradeRoom,
)
from tripoint.rooms.creation import Creation
from tripoint.rooms.direct import Direct
from tripoint.rooms.direct_invitations import DirectInvitations
from tripoint.rooms.ephemeral import Passing, Receipts, Typing
from tripoint.rooms.following import Following
from tripoint.rooms.forcing import Forcing
from tripoint.rooms.keeping import Keeping
from tripoint.rooms.limits import Limits
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.masks import Masks
from tripoint.rooms.membership import Membership, People
from tripoint.rooms.messages import Messages
from tripoint.rooms.naming import Names
from tripoint.rooms.network_rooms import NetworkRooms
from tripoint.rooms.policy_lists import PolicyLists
from tripoint.rooms.profiles import Profiles
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.removal import Removal
from tripoint.rooms.reports import Reports
from tripoint.rooms.room_passwords import RoomPasswords
from tripoint.rooms.server_notices import ServerNotices
from tripoint.rooms.shadows import WITHOUT_A_TRACE, in_the_shadow
from tripoint.rooms.third_party_invites import ThirdPartyInvites
from tripoint.rooms.upgrading import Upgrading
from tripoint.store.interface import StoreError

# `Any`: each handler takes the command it is registered for, and the table's keys say which.
Handler = Callable[[Any], Awaitable[Done]]


# What a suspended account may do, and one that has something to accept first; of redactions those of what it said
# itself (messages.py).
# spec: client-server "Account suspension"; docs/mapping.md 18.3
WHILE_SUSPENDED = (Leave, Forget, Redact, SetReceipt, BlockUsers, AllowInvites, Report, FollowRoom)


class Service:
    """Carries out commands. Made and wired by runtime."""

    def __init__(
        self,
        server: ServerName,
        rooms: LoadedRooms,
        *,
        membership: Membership,
        messages: Messages,
        masks: Masks,
        policy_lists: PolicyLists,
        passwords: RoomPasswords,
        closing: Closing,
        blocks: Blocks,
        keeping: Keeping,
        creation: Creation,
        direct: Direct,
        names: Names,
        network_rooms: NetworkRooms,
        typing: Typing,
        passing: Passing,
        receipts: Receipts,
        profiles: Profiles,
        removal: Removal,
        upgrading: Upgrading,
        following: Following,
        direct_invitations: DirectInvitations,
        reports: Reports,
        notices: ServerNotices,
        third_party: ThirdPartyInvites,
        people: People,
        limits: Limits,
    ) -> None:
        self.refusals: dict[str, int] = {}  # how often each refusal was given, for the metrics
        self._typing = typing
        self._removal = removal
        self._server = server
        self._people = people
        # Refused(TERMS_NOT_ACCEPTED) for who has something to accept; set where accounts that exist are asked.
        self.check_terms: Callable[[UserId], Awaitable[None]] | None = None
        self._limits = limits
        self._closing = closing
        forcing = Forcing(server, rooms, self._carry_out)
        said, state, moved = limits.events, limits.state, limits.membership
        self._handlers: dict[type[Command], tuple[Handler, TokenBuckets | None]] = {
            CreateRoom: (creation.create, state),
            UnlockRoom: (creation.unlock, None),
            OpenDirect: (direct.open, None),
            Join: (membership.join, moved),
            Leave: (membership.leave, None),
            Invite: (membership.invite, moved),
            InviteByAddress: (third_party.invite, moved),
            RedeemInvite: (third_party.redeem, moved),
            Kick: (membership.kick, moved),
            Ban: (membership.ban, moved),
            Unban: (membership.unban, moved),
            Knock: (membership.knock, moved),
            SetRoomNick: (membership.set_room_nick, state),
            Forget: (removal.forget, None),
            SendEvent: (messages.send_event, said),
            Redact: (messages.redact, said),
            SendState: (messages.send_state, state),
            SetTopic: (messages.set_topic, state),
            SetRanks: (messages.set_ranks, state),
            SetLevels: (messages.set_levels, state),
            CloseRoom: (closing.close, state),
            KeepRoom: (keeping.keep, state),
            UpgradeRoom: (upgrading.upgrade, state),
            AcceptDirect: (direct_invitations.accept, None),
            FollowRoom: (following.follow, None),
            BlockUsers: (blocks.change, state),
            AllowInvites: (blocks.allow_invites, state),
            SetPassword: (passwords.set, state),
            SetMask: (masks.set, state),
            FollowList: (policy_lists.follow, state),
            SetAlias: (names.set_alias, state),
            DeleteAlias: (names.delete_alias, state),
            RenameRoom: (names.rename, state),
            SetListed: (names.set_listed, state),
            SetNetworkListed: (network_rooms.set_listed, state),
            PassOn: (passing.pass_on, said),
            SetTyping: (typing.set, None),
            SetReceipt: (receipts.set, None),
            SetProfile: (profiles.set, state),
            Forced: (forcing.do, None),
            Report: (reports.report, state),
            SendNotice: (notices.send, None),
        }

    async def do(self, command: Command) -> Done:
        """See rooms.ports.RoomService.do."""
        try:
            return await self._do(command)
        except Refused as refused:
            name = refused.refusal.name
            self.refusals[name] = self.refusals.get(name, 0) + 1
            raise

    async def do_without_limits(self, command: Command) -> Done:
        """For work that an administrator has asked for: as often as need be, of suspended accounts too."""
        return await self._carry_out(command)

    async def _do(self, command: Command) -> Done:
        bucket = self._handlers[type(command)][1]
        if self._people.is_suspended(command.actor) and not isinstance(command, WHILE_SUSPENDED):
            raise Refused(Refusal.ACCOUNT_SUSPENDED)
        if self.check_terms is not None and not isinstance(command, WHILE_SUSPENDED):
            await self.check_terms(command.actor)
        if self._people.is_shadow_banned(command.actor):
            if isinstance(command, WITHOUT_A_TRACE):
                return Done(getattr(command, "room_id", None))
            command = in_the_shadow(command)
        if isinstance(command, CreateRoom):
            self._check_may_create(command)
        if isinstance(command, UpgradeRoom) and self._people.is_guest(command.actor):
            raise Refused(Refusal.GUESTS_FORBIDDEN)
        if bucket is not None:
            self._closing.check(command)  # what cannot be costs nothing
            if command.origin is None or not command.origin.unlimited:
                self._limits.take(bucket, command.actor)
        return await self._carry_out(command)

    async def _carry_out(self, command: Command) -> Done:
        """A command within the limits."""
        self._closing.check(command)
        try:
            done = await self._handlers[type(command)][0](command)
        except StoreError as error:
            raise Refused(Refusal.SERVER_BUSY) from error
        if isinstance(command, SendEvent):
            # Who has said it is not typing any more (docs/mapping.md 13.1); Matrix clients say so themselves.
            self._typing.stop(command.room_id, command.actor)
        elif isinstance(command, Leave | CloseRoom):
            self._typing.stop(command.room_id, command.actor)
            await self._removal.left(command.room_id)
        elif isinstance(command, Kick | Ban):
            self._typing.stop(command.room_id, command.target)
            await self._removal.left(command.room_id)
        return done

    def _check_may_create(self, command: CreateRoom) -> None:
        """docs/mapping.md 1.9: guests make temporary channels and nothing else, and not too many."""
        if self._people.is_guest(command.actor):
            if command.template is not Template.TEMPORARY:
                raise Refused(Refusal.GUESTS_FORBIDDEN)
            wait_s = self._people.guest_room_wait_s(command.actor)
            if wait_s > 0:
                raise Refused(Refusal.RATE_LIMITED, retry_after_ms=int(wait_s * 1000) + 1)
        if stand_in_address(command.actor, self._server) is not None:
            # docs/mapping.md 23.1
            raise Refused(Refusal.FOREIGNERS_FORBIDDEN, "People of other XMPP servers make no rooms here")
