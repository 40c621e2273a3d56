"""Policy servers: a server that a room names signs every event that it recommends; others count as soft-failed.

A room that has one in its current state, with somebody of that server inside, asks it before a local event is sent and
before an event of another server that lacks its signature is shown. The key is the room's, not the server's own.
spec: Matrix server-server-api "Policy Servers", POST /sign; client-server m.room.policy
"""

import asyncio
from dataclasses import dataclass

import structlog

from tripoint.core.errors import PeerError, RemoteFailed
from tripoint.core.event import Event, verify_event_signature, with_signatures
from tripoint.core.ids import InvalidId, ServerName, parse_server_name
from tripoint.core.json_view import object_at, text_at
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.remote import RemoteDoor
from tripoint.rooms.room import Room

log = structlog.get_logger()

POLICY = ("m.room.policy", "")
# spec: "The Key ID for the ed25519 key in m.room.policy is always ed25519:policy_server."
KEY_ID = "ed25519:policy_server"
# The room waits meanwhile: its events are asked about one after the other.
ASK_S = 10.0


@dataclass(frozen=True, slots=True)
class PolicyServer:
    """Whom a room asks, and the key with which it signs."""

    server: ServerName
    public_key: str


def policy_server_of(room: Room) -> PolicyServer | None:
    """The policy server that a room uses. spec: "Determining if a Policy Server is enabled in a room"."""
    event = room.state.get(POLICY)
    if event is None:
        return None
    via, key = text_at(event.content, "via"), text_at(object_at(event.content, "public_keys"), "ed25519")
    if via is None or key is None:
        return None
    try:
        server = parse_server_name(via)
    except InvalidId:
        return None
    return PolicyServer(server, key) if server in room.servers() else None


class Policy:
    """Asks policy servers."""

    def __init__(self, door: RemoteDoor) -> None:
        self._door = door

    async def recommended(self, room: Room, event: Event) -> Event | None:
        """An event of another server as it is to be kept: signed by the room's policy server, where it has one and
        the event needs that. None: it is not recommended, or nobody says so."""
        policy = policy_server_of(room)
        if policy is None or _exempt(event) or _is_signed(policy, event):
            return event
        try:
            return await self._ask(policy, event)
        except (Refused, RemoteFailed) as failed:
            log.info("room.not_recommended", room_id=room.room_id, event_id=event.event_id, reason=str(failed))
            return None

    async def signed(self, room: Room, event: Event) -> Event:
        """A local event with the signature that it needs. Refused where the policy server refuses, in its words, or
        does not answer."""
        policy = policy_server_of(room)
        if policy is None or _exempt(event):
            return event
        try:
            return await self._ask(policy, event)
        except RemoteFailed as failed:
            text = f"This room asks {policy.server} about every message, and it does not answer"
            raise Refused(Refusal.REMOTE_TIMEOUT, text) from failed

    async def _ask(self, policy: PolicyServer, event: Event) -> Event:
        try:
            async with asyncio.timeout(ASK_S):
                given = await self._door.rooms.policy_signatures(policy.server, event)
        except TimeoutError:
            raise RemoteFailed(policy.server, f"no answer within {ASK_S:g} s") from None
        signature = text_at(object_at(given, policy.server), KEY_ID)
        if signature is None:
            raise RemoteFailed(policy.server, "its answer has no signature")
        signed = with_signatures(event, policy.server, {KEY_ID: signature})
        if not _is_signed(policy, signed):
            raise RemoteFailed(policy.server, "its signature is not by the key that the room names")
        return signed


def _exempt(event: Event) -> bool:
    """spec: the policy server is not asked about the event that makes it one."""
    return event.is_state and event.key == POLICY


def _is_signed(policy: PolicyServer, event: Event) -> bool:
    try:
        verify_event_signature(event, policy.server, {KEY_ID: policy.public_key})
    except PeerError:
        return False
    return True
