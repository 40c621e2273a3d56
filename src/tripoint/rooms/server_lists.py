"""Policy lists that the server itself follows, because its operator says so: who is kept out of all rooms here.

A rule about a user: he is invited nowhere here, invites nobody and enters no room, on whatever protocol. About a
server: the same of its users, and its requests are refused. About a room: nobody enters it from here, nor is invited to
it. Who is in a room already stays: to put him out is for the room. What a list takes back holds no more at once.

Administrators of this server are kept out by no list, nor is this server, nor those servers whose people write the
list, which could not be taken back otherwise.
spec: Matrix client-server-api "Moderation policy lists", m.ban "applied to a server"; docs/mapping.md 9.14
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence

import structlog

from tripoint.core.ids import RoomId, ServerName, UserId, server_of
from tripoint.core.notices import writes_notices
from tripoint.core.server_acl import host_of
from tripoint.rooms.policy_lists import Rules
from tripoint.rooms.refusals import Refusal, Refused

log = structlog.get_logger()


class ServerLists:
    """`rules_of` gives the rules of a list, `is_admin` whether a local user runs this server."""

    def __init__(
        self,
        server: ServerName,
        rules_of: Callable[[RoomId], Awaitable[Rules]],
        is_admin: Callable[[UserId], Awaitable[bool]],
    ) -> None:
        self.lists: Sequence[RoomId] = ()
        self._server = server
        self._rules_of = rules_of
        self._is_admin = is_admin

    async def against_user(self, user_id: UserId) -> str | None:
        """Why somebody is kept out; None where no list is about him."""
        for list_id in self.lists:
            reason = (await self._rules_of(list_id)).against(user_id, self._server)
            if reason is not None:
                return None if await self._is_ours(user_id) else reason
        server = server_of(user_id)
        return None if server == self._server else await self.against_server(server)

    async def _is_ours(self, user_id: UserId) -> bool:
        if server_of(user_id) != self._server:
            return False
        return writes_notices(user_id, self._server) or await self._is_admin(user_id)

    async def against_server(self, server: ServerName) -> str | None:
        """Why a server is not spoken to."""
        found, authors = None, {self._server}
        for list_id in self.lists:
            rules = await self._rules_of(list_id)
            authors |= rules.authors
            found = found or rules.servers.about(host_of(server)[0]) or rules.servers.about(server)
        return None if server in authors else found

    async def against_room(self, names: Iterable[str]) -> str | None:
        """Why nobody enters a room from here, by its id and its aliases."""
        for list_id in self.lists:
            rooms = (await self._rules_of(list_id)).rooms
            for name in names:
                reason = rooms.about(name)
                if reason is not None:
                    return reason
        return None

    async def check_enters(self, user_id: UserId, room_id: RoomId, aliases: Iterable[str] = ()) -> None:
        """Refused(BANNED) for who is kept out, and for rooms that are."""
        if not self.lists:
            return
        reason = await self.against_user(user_id)
        if reason is not None:
            raise Refused(Refusal.BANNED, f"You are banned from the rooms of this server: {reason}")
        reason = await self.against_room((room_id, *aliases))
        if reason is not None:
            raise Refused(Refusal.BANNED, f"Nobody enters that room from this server: {reason}")

    async def check_invites(self, sender: UserId, target: UserId, room_id: RoomId | None = None) -> None:
        """Refused(BANNED) where one of the two is kept out, or the room."""
        if not self.lists:
            return
        if await self.against_user(sender) is not None:
            raise Refused(Refusal.BANNED, "You are banned from the rooms of this server")
        reason = await self.against_user(target)
        if reason is not None:
            raise Refused(Refusal.BANNED, f"{target} is banned from the rooms of this server: {reason}")
        if room_id is not None and (reason := await self.against_room((room_id,))) is not None:
            raise Refused(Refusal.BANNED, f"That room is banned from this server: {reason}")
