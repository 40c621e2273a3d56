"""The services as calls: what NickServ, ChanServ and their like do on IRC, for clients and tools.

An extension of this server: dev.tripoint.  docs/mapping.md 18.1
"""

from tripoint.accounts.ports import ServiceDesk
from tripoint.core.canonical_json import Json
from tripoint.core.vendor import V
from tripoint.matrix.errors import MatrixError, bad_json, json_response
from tripoint.matrix.registry import Call, endpoint
from tripoint.net.http import Response

_PATH = f"/_matrix/client/unstable/{V}/services"


class ServiceEndpoints:
    """`desk` None: there are no services."""

    def __init__(self, desk: ServiceDesk | None) -> None:
        self._desk = desk

    @endpoint("GET", _PATH)
    async def commands(self, call: Call) -> Response:
        """What this account may ask for: [{service, command, usage}]."""
        found = () if self._desk is None else self._desk.commands(call.caller.account)
        listed: list[Json] = [
            {"service": one.service, "command": one.name, "usage": one.usage} for one in found
        ]
        return json_response({"commands": listed})

    @endpoint("POST", f"{_PATH}/{{service}}/{{command}}")
    async def run(self, call: Call) -> Response:
        """{words} as on IRC; {lines} of the answer, refusals too."""
        words = call.json_or_empty().get("words", "")
        if not isinstance(words, str):
            raise bad_json("words is a string")
        wanted = (call.path["service"].lower(), call.path["command"].upper())
        account, desk = call.caller.account, self._desk
        for one in () if desk is None else desk.commands(account):
            if desk is not None and (one.service.lower(), one.name) == wanted:
                lines = await desk.run(
                    account,
                    one.service,
                    one.name,
                    words,
                    address=call.request.address,
                    secure=call.request.secure,
                )
                return json_response({"lines": [*lines]})
        raise MatrixError(404, "M_NOT_FOUND", "There is no such service, or it has no such command for you")
