"""A whole server with a mail server beside it: what the configuration says is what happens.

spec: Matrix client-server POST /account/password/email/requestToken
"""

import asyncio
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.net.https import make_certificate
from tests.support.mail import PASSWORD, USER, mail_house
from tests.support.middle import run
from tests.support.server import Server, start_server


def ask(server: Server, method: str, path: str, body: Any = None, token: str | None = None) -> tuple[int, Any]:
    headers = {"Content-Type": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{server.http}{path}", data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_a_server_writes_letters(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path, "localhost")
    (tmp_path / "password").write_text(PASSWORD)

    async def work() -> None:
        async with mail_house(certificate.context()) as house:
            more = (
                f'[mail]\nhost = "localhost"\nport = {house.port}\nuser = "{USER}"\nsender = "chat@example.org"\n'
                f'password_file = "{tmp_path / "password"}"\n[tls]\nextra_authorities = ["{certificate.path}"]\n'
            )
            server = await asyncio.to_thread(start_server, tmp_path, more=more)
            try:
                body = {"client_secret": "s", "email": "alice@home.example", "send_attempt": 1}
                path = "/_matrix/client/v3/register/email/requestToken"
                status, answer = await asyncio.to_thread(ask, server, "POST", path, body)
                assert status == 200, answer
                assert house.recipients == [["alice@home.example"]] and house.encrypted == [True]
                assert house.link("/mail/confirm").startswith(f"http://localhost:{server.ports['http']}/mail/confirm?")
            finally:
                status = await asyncio.to_thread(server.stop)
            assert status == 0
            said = "".join(server.output)
            assert "mail.sent" in said and "alice@" not in said and PASSWORD not in said

    run(work, timeout_s=60)
