"""matrix-synapse's own script makes accounts here, with the shared secret of the configuration; they work at once.

docs/operate/administration.md
"""

import json
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from tests.agreement.synapse_peer import PYTHON
from tests.interop.peer import must_have
from tests.support.server import running_server

pytestmark = pytest.mark.interop

SECRET = "hush, hush"


def _call(address: str, body: Any = None, token: str | None = None) -> Any:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(address, data, headers), timeout=20) as answer:
        return json.loads(answer.read())


def test_register_new_matrix_user(tmp_path: Path) -> None:
    script = PYTHON.parent / "register_new_matrix_user"
    must_have(script.exists(), "matrix-synapse is not installed (make peers)")
    more = f'[accounts]\nregistration = "closed"\nregistration_shared_secret = "{SECRET}"\n'
    with running_server(tmp_path, more=more) as server:

        def register(*words: str) -> subprocess.CompletedProcess[str]:
            asked = [str(script), *words, "-p", "correct horse", server.http]
            return subprocess.run(asked, capture_output=True, text=True, timeout=60)

        done = register("-u", "ada", "-a", "-k", SECRET)
        assert done.returncode == 0 and "Success" in done.stdout, done.stdout + done.stderr
        done = register("-u", "bob", "--no-admin", "-k", SECRET)
        assert done.returncode == 0, done.stdout + done.stderr
        assert register("-u", "bob", "--no-admin", "-k", SECRET).returncode != 0
        assert register("-u", "eve", "--no-admin", "-k", "another").returncode != 0
        log_in = {"type": "m.login.password", "user": "ada", "password": "correct horse"}
        token = _call(f"{server.http}/_matrix/client/v3/login", log_in)["access_token"]
        listed = _call(f"{server.http}/_synapse/admin/v2/users", token=token)
        assert [(user["name"], user["admin"]) for user in listed["users"]] == [
            ("@ada:localhost", True),
            ("@bob:localhost", False),
        ]
