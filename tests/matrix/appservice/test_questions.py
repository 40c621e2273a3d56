"""Names that a service has for itself and that are not here yet: it is asked, and makes what they stand for.

spec: Matrix application-service-api "Querying"
"""

import asyncio
from pathlib import Path
from typing import Any

from tests.matrix.appservice.test_identity import GHOST, ask, ghost
from tests.matrix.client import Server, matrix, q
from tests.support.app_service import HS_TOKEN, URL, Asked, Service, registered
from tests.support.middle import run

ALIAS = "#irc_tea:example.org"
USER_PATH = f"/_matrix/app/v1/users/{q(GHOST)}"
ROOM_PATH = f"/_matrix/app/v1/rooms/{q(ALIAS)}"


class Bridge(Service):
    """Makes what it is asked for, where it has it."""

    def __init__(self, *, has: bool = True) -> None:
        super().__init__()
        self.server: Server | None = None
        self.has = has
        self.answer = self.made

    async def made(self, asked: Asked) -> tuple[int, Any]:
        if "/users/" not in asked.path and "/rooms/" not in asked.path:
            return 200, {}
        if not self.has or not asked.path.startswith("/_matrix/"):
            return 404, {"errcode": "NOT_HERE"}
        assert self.server is not None
        if "/users/" in asked.path:
            await ghost(self.server)
        else:
            # As bridges do: a look whether it is there already, which is no question to the bridge itself.
            await ask(self.server, "GET", f"/directory/room/{q(ALIAS)}", status=404)
            await ask(self.server, "POST", "/createRoom", {"room_alias_name": "irc_tea", "preset": "public_chat"})
        return 200, {}

    def questions(self) -> list[str]:
        return [asked.path for asked in self.asked if asked.method == "GET"]


def test_a_user_is_made_when_somebody_wants_it(tmp_path: Path) -> None:
    async def work() -> None:
        bridge = Bridge()
        async with matrix(registered(tmp_path, url=URL), ask=bridge.ask) as server:
            bridge.server = server
            alice = await server.register("alice")
            profile = await alice.call("GET", f"/profile/{q(GHOST)}")
            assert profile["displayname"] == "_irc_bob"
            assert bridge.questions() == [USER_PATH]
            asked = next(asked for asked in bridge.asked if asked.method == "GET")
            assert asked.authorization == f"Bearer {HS_TOKEN}"
            # Once it is here nobody is asked.
            room_id = await alice.create(invite=[GHOST])
            member = await alice.call("GET", f"/rooms/{q(room_id)}/state/m.room.member/{q(GHOST)}")
            assert member["membership"] == "invite"
            assert bridge.questions() == [USER_PATH]

    run(work)


def test_an_invitation_asks_too_and_others_are_nobodys_question(tmp_path: Path) -> None:
    async def work() -> None:
        bridge = Bridge()
        async with matrix(registered(tmp_path, url=URL), ask=bridge.ask) as server:
            bridge.server = server
            alice = await server.register("alice")
            room_id = await alice.create()
            assert await alice.refused("GET", f"/profile/{q('@nobody:example.org')}") == (404, "M_NOT_FOUND")
            assert await alice.refused("GET", f"/directory/room/{q('#none:example.org')}") == (404, "M_NOT_FOUND")
            assert bridge.questions() == []
            await alice.call("POST", f"/rooms/{q(room_id)}/invite", {"user_id": GHOST})
            assert bridge.questions() == [USER_PATH]

    run(work)


def test_a_room_is_made_when_somebody_joins_it(tmp_path: Path) -> None:
    async def work() -> None:
        bridge = Bridge()
        async with matrix(registered(tmp_path, url=URL), ask=bridge.ask) as server:
            bridge.server = server
            alice, bob = await server.register("alice"), await server.register("bob")
            # Both at once: one question.
            await asyncio.gather(alice.join(ALIAS), bob.join(ALIAS))
            assert bridge.questions() == [ROOM_PATH]
            found = await alice.call("GET", f"/directory/room/{q(ALIAS)}")
            assert (await alice.call("GET", "/joined_rooms"))["joined_rooms"] == [found["room_id"]]

    run(work)


def test_what_is_not_there_is_remembered_for_a_while(tmp_path: Path) -> None:
    async def work() -> None:
        bridge = Bridge(has=False)
        async with matrix(registered(tmp_path, url=URL), ask=bridge.ask) as server:
            bridge.server = server
            alice = await server.register("alice")
            for _ in range(3):
                assert await alice.refused("GET", f"/profile/{q(GHOST)}") == (404, "M_NOT_FOUND")
                assert await alice.refused("POST", f"/join/{q(ALIAS)}", {}) == (404, "M_NOT_FOUND")
            assert bridge.questions() == [USER_PATH, ROOM_PATH]
            bridge.has = True
            server.party.clock.now += 61
            await alice.join(ALIAS)
            # What it makes by itself is there at once.
            bridge.has = False
            await ghost(server)
            assert (await alice.call("GET", f"/profile/{q(GHOST)}"))["displayname"] == "_irc_bob"

    run(work)


def test_old_services_are_asked_by_the_old_path(tmp_path: Path) -> None:
    async def work() -> None:
        service = Service()

        async def old(asked: Asked) -> tuple[int, Any]:
            return 404, b"<html>no such page</html>" if asked.path.startswith("/_matrix/") else {}

        service.answer = old
        async with matrix(registered(tmp_path, url=URL), ask=service.ask) as server:
            alice = await server.register("alice")
            assert await alice.refused("GET", f"/profile/{q(GHOST)}") == (404, "M_NOT_FOUND")
            paths = [asked.path for asked in service.asked]
            assert paths == [USER_PATH, f"/users/{q(GHOST)}?access_token={HS_TOKEN}"]

    run(work)


def test_who_waits_does_not_wait_for_long(tmp_path: Path) -> None:
    """spec: "This should result in an HTTP status 408"; a user who cannot be asked for is none."""

    async def work() -> None:
        service = Service()

        async def never(asked: Asked) -> tuple[int, Any]:
            await asyncio.Event().wait()
            return 200, {}

        service.answer = never
        async with matrix(registered(tmp_path, url=URL), ask=service.ask, patience_s=0.2) as server:
            alice = await server.register("alice")
            assert await alice.refused("POST", f"/join/{q(ALIAS)}", {}) == (408, "M_UNKNOWN")
            # At once, for some seconds.
            assert await alice.refused("POST", f"/join/{q(ALIAS)}", {}) == (408, "M_UNKNOWN")
            assert await alice.refused("GET", f"/profile/{q(GHOST)}") == (404, "M_NOT_FOUND")
            assert len(service.asked) == 2
            service.answer, service.gone = None, True
            server.party.clock.now += 6
            assert await alice.refused("POST", f"/join/{q(ALIAS)}", {}) == (408, "M_UNKNOWN")

    run(work)


def test_a_service_without_an_address_is_not_asked(tmp_path: Path) -> None:
    async def work() -> None:
        service = Service()
        async with matrix(registered(tmp_path, url=None), ask=service.ask) as server:
            alice = await server.register("alice")
            assert await alice.refused("POST", f"/join/{q(ALIAS)}", {}) == (404, "M_NOT_FOUND")
            assert await alice.refused("GET", f"/profile/{q(GHOST)}") == (404, "M_NOT_FOUND")
            assert service.asked == []

    run(work)
