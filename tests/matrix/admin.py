"""An administrator's client for tests: requests below /_synapse/admin."""

from typing import Any

import orjson

from tests.matrix.client import PASSWORD, Client, Server


async def admin_of(server: Server, name: str = "ada") -> "Admin":
    """An administrator, logged in."""
    await server.party.middle.accounts.add_account(name, PASSWORD, admin=True)
    body = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": name}, "password": PASSWORD}
    response = await server.request("POST", "/_matrix/client/v3/login", body)
    return Admin(server, orjson.loads(response.body))


class Admin(Client):
    """`ask` gives status and body, `done` the body of what is answered with 200."""

    async def ask(self, method: str, path: str, body: Any = None, **query: str) -> tuple[int, Any]:
        response = await self.server.request(method, f"/_synapse/admin{path}", body, token=self.token, **query)
        return response.status, orjson.loads(response.body)

    async def done(self, method: str, path: str, body: Any = None, **query: str) -> Any:
        status, answer = await self.ask(method, path, body, **query)
        assert status == 200, (status, answer)
        return answer

    async def no(self, method: str, path: str, body: Any = None, **query: str) -> tuple[int, str]:
        """(status, errcode) of a request that is refused."""
        status, answer = await self.ask(method, path, body, **query)
        assert status >= 400 and answer["error"], (status, answer)
        return status, answer["errcode"]


async def as_admin(client: Client, method: str, path: str, body: Any = None) -> tuple[int, str]:
    """(status, errcode) of what somebody gets who is none."""
    response = await client.server.request(method, f"/_synapse/admin{path}", body, token=client.token)
    return response.status, orjson.loads(response.body)["errcode"]
