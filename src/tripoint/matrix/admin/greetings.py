"""What the server says to everybody who comes, as administrators read and set it (accounts/greetings.py).

This project's own: other servers have no such call. docs/operate/administration.md
"""

from tripoint.accounts.greetings import Greeting, TooLong
from tripoint.accounts.ports import AccountService
from tripoint.matrix.admin.asking import V1, not_found
from tripoint.matrix.body import needed_text
from tripoint.matrix.errors import invalid, json_response
from tripoint.matrix.registry import Auth, Call, endpoint
from tripoint.net.http import Response

PATH = f"{V1}/greetings/{{which}}"


class GreetingEndpoints:
    def __init__(self, accounts: AccountService) -> None:
        self._greetings = accounts.greetings

    @endpoint("GET", PATH, auth=Auth.ADMIN)
    async def show(self, call: Call) -> Response:
        """`text`: what was set; null: nothing was, and the configuration holds."""
        return json_response({"text": self._greetings.text(_which(call))})

    @endpoint("PUT", PATH, auth=Auth.ADMIN)
    async def put(self, call: Call) -> Response:
        """`text`: what is said from now on; an empty one: nothing."""
        return await self._put(_which(call), needed_text(call.json(), "text"))

    @endpoint("DELETE", PATH, auth=Auth.ADMIN)
    async def drop(self, call: Call) -> Response:
        """What the configuration says holds again."""
        return await self._put(_which(call), None)

    async def _put(self, which: Greeting, text: str | None) -> Response:
        try:
            await self._greetings.put(which, text)
        except TooLong as error:
            raise invalid(str(error)) from None
        return json_response({"text": self._greetings.text(which)})


def _which(call: Call) -> Greeting:
    try:
        return Greeting(call.path["which"])
    except ValueError:
        raise not_found("There is motd, and welcome") from None
