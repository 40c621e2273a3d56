"""A client of sliding sync for tests: its connection, and what it puts together from the answers."""

from typing import Any

import orjson

from tests.matrix.client import Client

UNSTABLE = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync"
STABLE = "/_matrix/client/v4/sync"
EVERYTHING = [["*", "*"]]


class Sliding:
    """One connection. `body` is what it asks for, `pos` how far it has come."""

    def __init__(self, client: Client, body: dict[str, Any], *, stable: bool = False) -> None:
        self.client = client
        self.body = body
        self.stable = stable
        self.pos: str | None = None

    async def ask(self, pos: str | None = None, timeout: int = 0) -> tuple[int, Any]:  # noqa: ASYNC109
        """(status, body) of a request at `pos`."""
        server, token = self.client.server, self.client.token
        if self.stable:
            body = {**self.body, "timeout": timeout} | ({} if pos is None else {"pos": pos})
            answer = await server.request("POST", STABLE, body, token=token)
        else:
            query = {"timeout": str(timeout)} | ({} if pos is None else {"pos": pos})
            answer = await server.request("POST", UNSTABLE, self.body, token=token, **query)
        return answer.status, orjson.loads(answer.body)

    async def sync(self, timeout: int = 0) -> Any:  # noqa: ASYNC109  # the API's own parameter
        status, answer = await self.ask(self.pos, timeout)
        assert status == 200, answer
        self.pos = answer["pos"]
        return answer

    async def refused(self, pos: str | None = None) -> tuple[int, str]:
        status, answer = await self.ask(self.pos if pos is None else pos)
        assert status >= 400 and answer["error"], answer
        return status, answer["errcode"]


def one_list(
    *, state: Any = (), limit: int = 10, last: int = 99, filters: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """A request with one list named `all`."""
    wanted: dict[str, Any] = {"ranges": [[0, last]], "required_state": list(state), "timeline_limit": limit}
    if filters is not None:
        wanted["filters"] = filters
    return {"lists": {"all": wanted}, **more}


def bodies(room: dict[str, Any]) -> list[str]:
    """What is said in a room's timeline."""
    return [event["content"]["body"] for event in room["timeline"] if event["type"] == "m.room.message"]
