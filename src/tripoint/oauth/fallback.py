"""Logging in to a client that knows no way of its own: its web view shows this page and hears what came of it.

The script is the specification's: it calls a function that is there in such web views alone; no other page hears of it.
spec: Matrix client-server-api "Login Fallback"
"""

from typing import Final

import orjson

from tripoint.accounts.ports import AccountService, LogIn
from tripoint.accounts.refusals import AccountRefused
from tripoint.net.http import Response
from tripoint.oauth.gate import Gate, other_account
from tripoint.oauth.visitor import Visitor, button, paragraph, say

GO_ON: Final = "go-on"


class FallbackPage:
    """/oauth2/fallback; `device_id`, `initial_device_display_name` and `refresh_token` are those of POST /login."""

    def __init__(self, accounts: AccountService, gate: Gate) -> None:
        self._accounts = accounts
        self._gate = gate

    async def handle(self, visitor: Visitor) -> Response:
        instead = await self._gate.check(visitor)
        if instead is not None:
            return instead
        words, problem = visitor.words, None
        if visitor.posted and visitor.field("do") == GO_ON:
            try:
                opened = await self._accounts.log_in(
                    visitor.account,
                    protocol="matrix",
                    device_id=visitor.query("device_id") or None,
                    display_name=visitor.query("initial_device_display_name"),
                    tokens=True,
                    refreshable=visitor.query("refresh_token") == "true",
                )
                script = call_of(opened, self._accounts.server_name)
                return visitor.page(words("uia_done"), paragraph(words("uia_done_text")), script=script)
            except AccountRefused as refused:
                problem = visitor.refused(refused)
        return visitor.page(
            words("fallback_title"),
            say(problem, alarm=True),
            paragraph(words("fallback_text", user=visitor.account.user_id)),
            visitor.form(button(words("uia_go_on")), do=GO_ON),
            other_account(visitor),
            status=400 if problem else 200,
        )


def call_of(opened: LogIn, server: str) -> str:
    """What the web view is told. Nothing in it can end the script: JSON within a script has no "<"."""
    answer = orjson.dumps(opened.body(server)).decode().replace("<", "\\u003c")
    return f"if(window.matrixLogin&&window.matrixLogin.onLogin){{window.matrixLogin.onLogin({answer})}}"
