"""Logging in by an identity provider that nobody here wrote, in Chromium.

spec: Matrix client-server-api sso-login; OpenID Connect Core 3.1
"""

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from tests.interop.browser_peer import CHROMIUM
from tests.interop.js_peer import FOLDER
from tests.interop.peer import must_have
from tests.support.ports import free_port
from tests.support.server import running_server

from tripoint.net.tls import make_self_signed

pytestmark = pytest.mark.interop

_MORE = """
[[sso.provider]]
id = "prov"
name = "Prov"
issuer = "https://127.0.0.1:{port}"
client_id = "this server"
client_secret = "a secret: with+signs"
[tls]
extra_authorities = ["{certificate}"]
[outbound]
allow_networks = ["127.0.0.0/8"]
"""


async def run_node(*arguments: str, seconds: float = 110) -> tuple[bytes, bytes]:
    process = await asyncio.create_subprocess_exec(
        "node", *arguments, cwd=FOLDER, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        return await asyncio.wait_for(process.communicate(), seconds)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def test_people_come_in_by_a_provider(tmp_path: Path) -> None:
    installed = (FOLDER / "node_modules" / "oidc-provider").is_dir()
    must_have(shutil.which("node") and installed and CHROMIUM, "oidc-provider and Chromium")
    certificate, key = tmp_path / "provider.crt", tmp_path / "provider.key"
    make_self_signed(["127.0.0.1"], certificate, key)
    port = free_port()
    (tmp_path / "server").mkdir()
    with running_server(tmp_path / "server", more=_MORE.format(port=port, certificate=certificate)) as server:
        server.register("kim", "correct horse")
        homeserver = f"http://localhost:{server.ports['http']}"

        async def work() -> tuple[bytes, bytes]:
            assert CHROMIUM is not None
            provider = await asyncio.create_subprocess_exec(
                *("node", "provider.mjs", str(port), str(certificate), str(key)),
                *("this server", "a secret: with+signs", f"{homeserver}/oauth2/callback"),
                cwd=FOLDER,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
            assert provider.stdout is not None
            try:
                while await asyncio.wait_for(provider.stdout.readline(), 30) not in (b"ready\n", b""):
                    pass
                return await run_node("sso.mjs", homeserver, "prov", CHROMIUM, str(tmp_path))
            finally:
                provider.kill()
                await provider.wait()

        output, errors = asyncio.run(work())
        assert output, errors.decode() + "".join(server.output[-20:])
        told = json.loads(output)
        assert told["suggested"] == "zoe"
        assert told["new"] == told["again"] == f"@zoe:{server.name}"
        assert told["profile"] == "Zoë of the provider"
        assert told["stages"] == [["m.login.sso"]]
        assert (told["early"], told["deleted"]) == (401, 200)
        assert "taken" in told["taken"]
        assert told["linked"] == f"@kim:{server.name}"
        assert "Prov did not let you in: access_denied" in told["cancelled"]
