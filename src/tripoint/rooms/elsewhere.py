"""Memberships in rooms that live on other servers: joining, knocking, leaving, inviting by their hand.

A handshake begins with a template that a server in the room makes, goes on with our signature, and ends when that
server has taken the event. Servers are asked one after the other until one helps or says a no that others would
say too. spec: Matrix server-server-api "Joining Rooms", "Knocking upon a room", "Inviting to a room", "Leaving Rooms"
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import structlog

from tripoint.core.canonical_json import JsonObject
from tripoint.core.errors import PeerError, RemoteFailed
from tripoint.core.event import Event, EventDraft, build_event, parse_event, reference_text, sign_template
from tripoint.core.ids import EventId, InvalidId, RoomId, ServerName, UserId, parse_server_name, server_of
from tripoint.core.json_view import object_at, text_at
from tripoint.rooms.accept import Accept, Verdict
from tripoint.rooms.entering import Entering
from tripoint.rooms.loaded import LoadedRooms
from tripoint.rooms.outside import Outside
from tripoint.rooms.refusals import Refusal, Refused
from tripoint.rooms.remote import RemoteDoor, Template
from tripoint.rooms.room import Room
from tripoint.rooms.stripped import stripped_of
from tripoint.rooms.turns import Turns
from tripoint.rooms.writer import Writer

log = structlog.get_logger()

T = TypeVar("T")

# Servers that are asked for one join or knock, and how long all of it may take. Clients give up after some 90 s.
MAX_SERVERS = 10
HANDSHAKE_S = 80.0
# A leave that nobody takes within this becomes ours alone: who wants out is out.
LEAVE_S = 15.0
# Whoever comes back waits so long for what was said in between.
ABSENCE_S = 20.0
REMEMBERED_ROOMS = 1000


class Elsewhere:
    """Handshakes with servers that are in rooms where this one is not. Each runs to its end, whoever waits for it."""

    def __init__(
        self,
        rooms: LoadedRooms,
        writer: Writer,
        accept: Accept,
        entering: Entering,
        outside: Outside,
        door: RemoteDoor,
        turns: Turns,
    ) -> None:
        self._rooms = rooms
        self._writer = writer
        self._accept = accept
        self._entering = entering
        self._outside = outside
        self._door = door
        self._turns = turns
        # Told of rooms whose members are not all here; set where there is somebody to fetch them.
        self.entered_partly: Callable[[RoomId], None] = lambda room_id: None
        # Fetches what was said in a room while this server was out of it (CatchUp.fill_absence).
        self.coming_back: Callable[[Room, Event, ServerName], Awaitable[None]] | None = None
        self._running: set[asyncio.Task[Any]] = set()
        self._entering_now: dict[RoomId, asyncio.Future[None]] = {}
        self._ways: OrderedDict[RoomId, tuple[ServerName, ...]] = OrderedDict()

    def remember(self, room_id: RoomId, servers: Sequence[ServerName]) -> None:
        """Servers through which a room can be entered, as an alias or a link told."""
        self._ways[room_id] = tuple(servers[:MAX_SERVERS])
        self._ways.move_to_end(room_id)
        if len(self._ways) > REMEMBERED_ROOMS:
            self._ways.popitem(last=False)

    def ways_to(self, room_id: RoomId) -> Sequence[ServerName]:
        """What remember() was told of a room."""
        return self._ways.get(room_id, ())

    async def close(self) -> None:
        """End the handshakes that are running."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def present(self, room_id: RoomId) -> Room | None:
        """The room, if this server takes part in it."""
        room = await self._rooms.find(room_id)
        return room if room is not None and room.is_here(self._server) else None

    # -- joining

    async def join(
        self,
        room_id: RoomId,
        user_id: UserId,
        content: JsonObject,
        via: Sequence[ServerName],
        *,
        whole: bool = False,
    ) -> EventId | None:
        """Bring this server into a room, as a join of `user_id`; with `whole` with all of its members at once, who may
        come later otherwise. None: somebody else did it meanwhile.

        Refused: NO_SUCH_ROOM where no server is known that is in it, REMOTE_TIMEOUT, what a server in it says.
        """
        return await self._to_the_end(self._join(room_id, user_id, content, via, whole=whole))

    async def entered(self, room_id: RoomId) -> None:
        """Wait while this server is on its way into a room, whether it gets in or not. At once for any other."""
        entering = self._entering_now.get(room_id)
        if entering is not None:
            await asyncio.shield(entering)

    @asynccontextmanager
    async def _on_the_way(self, room_id: RoomId) -> AsyncIterator[None]:
        """The turn of a room that is being entered: its events wait for it, and find the room when they get it."""
        async with self._turns.of(room_id):
            done = self._entering_now[room_id] = asyncio.get_running_loop().create_future()
            try:
                yield
            finally:
                self._entering_now.pop(room_id, None)
                done.set_result(None)

    async def _join(
        self, room_id: RoomId, user_id: UserId, content: JsonObject, via: Sequence[ServerName], *, whole: bool
    ) -> EventId | None:
        async with self._on_the_way(room_id):
            known = await self._rooms.find(room_id)
            if known is not None and known.is_here(self._server):
                return None

            async def through(server: ServerName) -> EventId:
                event = await self._proposed(server, room_id, user_id, "join", content)
                # Who comes back has a state that would have to be told from the new one: it is had whole.
                new = known is None or known.outside
                entered = await self._door.rooms.send_join(server, event, omit_members=new and not whole)
                if known is not None and not known.outside:
                    await self._fill_absence(known, entered.event, server)
                try:
                    await self._entering.enter(entered)
                except Refused as refused:
                    if refused.refusal is Refusal.BAD_CONTENT:
                        raise RemoteFailed(server, refused.text) from refused
                    raise
                if entered.members_omitted:
                    self.entered_partly(room_id)
                log.info("room.entered", room_id=room_id, user_id=user_id, through=server)
                return event.event_id

            return await self._first_of(self._servers(room_id, known, user_id, via), through)

    async def _fill_absence(self, room: Room, join: Event, server: ServerName) -> None:
        if self.coming_back is None:
            return
        try:
            async with asyncio.timeout(ABSENCE_S):
                await self.coming_back(room, join, server)
        except (RemoteFailed, Refused, TimeoutError) as error:
            # We are in already, as the others see it: what is missing is a hole in the history and no more.
            log.info("room.absence_not_filled", room_id=room.room_id, server=server, reason=str(error))

    async def let_in(self, room: Room, user_id: UserId, content: JsonObject) -> EventId:
        """Join a room that this server is in and cannot let its own user into: a server that can signs for it.

        spec: "Restricted rooms": join_authorised_via_users_server is a user of the server that is asked.
        """
        power = room.head_power()
        able = [u for u in room.joined() if power.user(u) >= power.invite]
        known = () if room.partial is None else room.partial.servers
        servers = [s for s in dict.fromkeys((*map(server_of, able), *known)) if s != self._server]

        async def through(server: ServerName) -> EventId:
            event = await self._proposed(server, room.room_id, user_id, "join", content)
            entered = await self._door.rooms.send_join(server, event, omit_members=True)
            verdict = await self._accept.receive(entered.event)
            if verdict not in (Verdict.ACCEPTED, Verdict.KNOWN):
                raise RemoteFailed(server, "its join is not allowed in the room as we know it")
            return event.event_id

        return await self._to_the_end(self._first_of(servers, through))

    # -- knocking and leaving

    async def knock(
        self, room_id: RoomId, user_id: UserId, content: JsonObject, via: Sequence[ServerName]
    ) -> EventId:
        """Ask to be let into a room that this server is not in."""
        return await self._to_the_end(self._knock(room_id, user_id, content, via))

    async def _knock(
        self, room_id: RoomId, user_id: UserId, content: JsonObject, via: Sequence[ServerName]
    ) -> EventId:
        async with self._turns.of(room_id):

            async def through(server: ServerName) -> EventId:
                event = await self._proposed(server, room_id, user_id, "knock", content)
                told = await self._door.rooms.send_knock(server, event)
                await self._outside.take(event, told)
                self.remember(room_id, (server,))
                return event.event_id

            known = await self._rooms.find(room_id)
            return await self._first_of(self._servers(room_id, known, user_id, via), through)

    async def leave(self, room: Room, user_id: UserId, content: JsonObject) -> EventId:
        """Decline an invitation, take a knock back. Where no other server takes it, it counts here alone."""
        return await self._to_the_end(self._leave(room, user_id, content))

    async def _leave(self, room: Room, user_id: UserId, content: JsonObject) -> EventId:
        async with self._turns.of(room.room_id):

            async def through(server: ServerName) -> Event:
                event = await self._proposed(server, room.room_id, user_id, "leave", content)
                await self._door.rooms.send_leave(server, event)
                return event

            try:
                async with asyncio.timeout(LEAVE_S):
                    servers = self._servers(room.room_id, room, user_id, ())
                    event = await self._first_of(servers, through)
            except (Refused, TimeoutError) as error:
                log.info("room.left_alone", room_id=room.room_id, user_id=user_id, reason=str(error))
                event = self._own_leave(room, user_id, content)
            await self._outside.take(event)
            return event.event_id

    def _own_leave(self, room: Room, user_id: UserId, content: JsonObject) -> Event:
        """A leave that is in no graph but says to our own users what is so."""
        current = room.head_event("m.room.member", user_id)
        assert current is not None, "who is invited or knocks has a member event"
        return build_event(
            EventDraft("m.room.member", user_id, content, user_id),
            room.version,
            room_id=room.room_id,
            prev_events=[current.event_id],
            auth_events=[current.event_id],
            depth=current.depth + 1,
            origin_server_ts=self._writer.signer.clock_ms(),
            server=self._server,
            key=self._writer.signer.key,
            hashes={current.event_id: reference_text(current)},
        )

    # -- inviting

    async def invite(self, room: Room, actor: UserId, target: UserId, content: JsonObject) -> EventId:
        """Invite a user of another server into a room that this server is in. That server signs first.

        Refused: what its server says, REMOTE_TIMEOUT, POWER_TOO_LOW.
        """
        transaction = self._writer.begin(room)
        event = transaction.append(actor, "m.room.member", content, state_key=target)
        if self._writer.policy is not None:
            event = await self._writer.policy.signed(room, event)
        return await self._to_the_end(self._invite(room, event, server_of(target)))

    async def _invite(self, room: Room, event: Event, server: ServerName) -> EventId:
        try:
            signed = await self._door.rooms.invite(server, event, stripped_of(room.state, event.sender))
        except RemoteFailed as failed:
            log.info("room.not_invited", room_id=room.room_id, server=server, reason=failed.reason)
            raise _unreachable([failed]) from failed
        verdict = await self._accept.receive(signed)
        if verdict not in (Verdict.ACCEPTED, Verdict.KNOWN):
            raise Refused(Refusal.POWER_TOO_LOW, "The room has changed meanwhile: you may not invite them any more")
        return event.event_id

    # -- what all of these have in common

    @property
    def _server(self) -> ServerName:
        return self._writer.signer.server

    def _servers(
        self, room_id: RoomId, known: Room | None, user_id: UserId, via: Sequence[ServerName]
    ) -> list[ServerName]:
        """Whom to ask, the likeliest first."""
        found: list[ServerName] = []
        if known is not None:
            member = known.head_event("m.room.member", user_id)
            if member is not None and member.sender != user_id:
                found.append(server_of(member.sender))
        found += via
        found += self._ways.get(room_id, ())
        if known is not None:
            found += sorted(known.servers(), key=lambda server: -known.servers()[server])
        if ":" in room_id:
            # Ids before version 12 name the server that made the room; it may still be in it.
            found += _parsed_server(room_id.partition(":")[2])
        return [server for server in dict.fromkeys(found) if server != self._server][:MAX_SERVERS]

    async def _proposed(
        self, server: ServerName, room_id: RoomId, user_id: UserId, membership: str, content: JsonObject
    ) -> Event:
        """The signed event that a server's template becomes."""
        template = await self._door.rooms.make_member(server, room_id, user_id, membership)
        given = template.event
        if (
            given.get("type") != "m.room.member"
            or given.get("room_id") != room_id
            or not given.get("sender") == given.get("state_key") == user_id
            or object_at(given, "content").get("membership") != membership
        ):
            # spec: make_join: "the response MUST be treated as malformed and discarded".
            raise RemoteFailed(server, "its template is not the event that was asked for")
        authoriser = text_at(object_at(given, "content"), "join_authorised_via_users_server")
        if membership == "join" and authoriser is not None and template.version.restricted_join:
            content = {**content, "join_authorised_via_users_server": authoriser}
        try:
            return self._signed(template, room_id, user_id, content)
        except PeerError as error:
            raise RemoteFailed(server, f"its template cannot be used: {error}") from error

    def _signed(self, template: Template, room_id: RoomId, user_id: UserId, content: JsonObject) -> Event:
        """spec: make_join: the joining server adds or replaces origin_server_ts, event_id, hashes and signature. What
        the event says is ours too; of the template counts its place in the graph alone."""
        signer = self._writer.signer
        given = template.event
        prev_events, auth_events, depth = (given.get(k) for k in ("prev_events", "auth_events", "depth"))
        if type(depth) is not int or not isinstance(prev_events, list) or not isinstance(auth_events, list):
            raise PeerError("it has no place in the graph")
        pdu: JsonObject = {
            "prev_events": prev_events,
            "auth_events": auth_events,
            "depth": depth,
            "type": "m.room.member",
            "room_id": room_id,
            "sender": user_id,
            "state_key": user_id,
            "content": content,
            "origin_server_ts": signer.clock_ms(),
        }
        event = sign_template(pdu, template.version, server=signer.server, key=signer.key)
        # Its ids were not looked at yet.
        return parse_event(event.json, template.version)

    async def _first_of(
        self, servers: Iterable[ServerName], through: Callable[[ServerName], Awaitable[T]]
    ) -> T:
        """The answer of the first server that helps."""
        failures: list[RemoteFailed] = []
        deadline = asyncio.get_running_loop().time() + HANDSHAKE_S
        for server in servers:
            if asyncio.get_running_loop().time() > deadline:
                break
            try:
                return await through(server)
            except RemoteFailed as failed:
                log.info("room.server_did_not_help", server=server, reason=failed.reason)
                failures.append(failed)
        if not failures:
            raise Refused(Refusal.NO_SUCH_ROOM, "There is no such room here, and no server is known that is in it")
        raise _unreachable(failures)

    async def _to_the_end(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something that must not stop half-way because who asked for it has gone."""
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)


def _unreachable(failures: Sequence[RemoteFailed]) -> Refused:
    servers = ", ".join(dict.fromkeys(failed.host for failed in failures[:3]))
    return Refused(Refusal.REMOTE_TIMEOUT, f"No answer that helps came from {servers}")


def _parsed_server(text: str) -> list[ServerName]:
    try:
        return [parse_server_name(text)]
    except InvalidId:
        return []
