"""Accounts of other servers, with hashes that those have made, brought here as docs/operate/migrating.md says."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from tests.interop.peer import PASSWORD, must_have
from tests.interop.slix_peer import SlixPeer
from tests.support.server import ROOT, Server, running_server

pytestmark = pytest.mark.interop

GUIDE = ROOT / "docs" / "operate" / "migrating.md"
SYNAPSE = ROOT / ".peers" / "synapse" / "bin" / "hash_password"


def bring(server: Server, folder: Path, lines: str) -> str:
    """What the command says."""
    path = folder / "accounts.jsonl"
    path.write_text(lines)
    config = str(folder / "tripoint.toml")
    command = [sys.executable, "-m", "tripoint", "user", "import", str(path), "--config", config]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def logs_in(server: Server, name: str, password: str) -> bool:
    """By Matrix' login with a password."""
    body = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": name}, "password": password}
    request = urllib.request.Request(f"{server.http}/_matrix/client/v3/login", json.dumps(body).encode())
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status == 200
    except urllib.error.HTTPError as error:
        assert error.code == 403
        return False


def test_from_prosody(tmp_path: Path) -> None:
    """Its own command makes the account, the guide's script reads it, and an XMPP client logs in by SCRAM."""
    must_have(shutil.which("prosodyctl"), "prosody")
    there = tmp_path / "prosody"
    (there / "data").mkdir(parents=True)
    (there / "certs").mkdir()
    config = there / "prosody.cfg.lua"
    config.write_text(
        f'data_path = "{there}/data"\nauthentication = "internal_hashed"\nrun_as_root = true\nVirtualHost "localhost"\n'
    )
    command = ["prosodyctl", "--root", "--config", str(config), "register", "piet", "localhost", PASSWORD]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=there)
    found = list((there / "data").glob("*/accounts/piet.dat"))
    assert found, done.stdout + done.stderr
    script = re.search(r"<<'END'\n(.*?)\n    END\n", GUIDE.read_text("utf-8"), re.DOTALL)
    assert script is not None
    text = "\n".join(line.removeprefix("    ") for line in script[1].splitlines())
    command = [sys.executable, "-", *map(str, found)]
    read = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60)
    assert read.returncode == 0, read.stderr
    (tmp_path / "server").mkdir()
    with running_server(tmp_path / "server") as server:
        assert "1 made, 0 here already, 0 refused." in bring(server, tmp_path / "server", read.stdout)

        async def work() -> None:
            piet = SlixPeer("piet", registers=False)
            await piet.start(server)
            await piet.client.disconnect()

        asyncio.run(work())
        assert logs_in(server, "piet", PASSWORD)
        assert not logs_in(server, "piet", PASSWORD + "!")


def test_from_synapse(tmp_path: Path) -> None:
    """A hash by its own command, with a pepper."""
    must_have(SYNAPSE.exists(), "matrix-synapse")
    config = tmp_path / "homeserver.yaml"
    config.write_text("bcrypt_rounds: 6\npassword_config:\n  pepper: a secret of its own\n")
    command = [str(SYNAPSE), "-c", str(config), "-p", PASSWORD]
    hash = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
    lines = [
        {"name": "sina", "hash": hash, "pepper": "a secret of its own", "displayname": "Sina"},
        {"name": "9lives", "hash": hash, "pepper": "a secret of its own"},
    ]
    text = "\n".join(map(json.dumps, lines))
    (tmp_path / "server").mkdir()
    with running_server(tmp_path / "server") as server:
        assert "2 made" in bring(server, tmp_path / "server", text)
        assert "0 made, 2 here already" in bring(server, tmp_path / "server", text)
        for name in ("sina", "9lives"):
            assert not logs_in(server, name, PASSWORD + "!")
            assert logs_in(server, name, PASSWORD)
            assert logs_in(server, name, PASSWORD)
