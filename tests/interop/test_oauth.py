"""matrix-js-sdk logs in by OAuth 2.0 through the pages of this server in Chromium.

spec: Matrix client-server-api oauth-20-api
"""

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from tests.interop.browser_peer import CHROMIUM
from tests.interop.js_peer import FOLDER
from tests.interop.peer import PASSWORD, must_have
from tests.support.server import running_server

pytestmark = pytest.mark.interop


def test_a_web_client_is_let_in_refreshes_and_logs_out(tmp_path: Path) -> None:
    installed = (FOLDER / "node_modules" / "matrix-js-sdk").is_dir()
    must_have(shutil.which("node") and installed and CHROMIUM, "matrix-js-sdk and Chromium")
    (tmp_path / "server").mkdir()
    with running_server(tmp_path / "server") as server:

        async def work() -> tuple[bytes, bytes]:
            assert CHROMIUM is not None
            homeserver = f"http://localhost:{server.ports['http']}"
            process = await asyncio.create_subprocess_exec(
                *("node", "oauth.mjs", homeserver, "olga", PASSWORD, CHROMIUM, str(tmp_path)),
                cwd=FOLDER,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            try:
                return await asyncio.wait_for(process.communicate(), 90)
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()

        output, errors = asyncio.run(work())
        assert output, errors.decode()
        told = json.loads(output)
        issuer = f"http://localhost:{server.ports['http']}/"
        assert told["issuer"] == told["iss"] == issuer
        assert told["keys"] == 1
        assert told["whoami"] == {"user_id": f"@olga:{server.name}", "device_id": told["device"], "is_guest": False}
        assert told["subject"] == f"@olga:{server.name}"
        assert told["refreshed"] and told["synced"]
        assert told["listed"] >= 1 and told["left"] == 0
        assert (told["revoked"], told["after"]) == (200, "M_UNKNOWN_TOKEN")
        assert not told["wide"] and told["complaints"] == []
