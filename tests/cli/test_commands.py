"""`tripoint` as somebody at a terminal uses it."""

import hashlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path

import pytest

from tests.media.stores import s3_server
from tests.support.server import ROOT, Server, running_server, start_server


def tripoint(*arguments: str, folder: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tripoint", *arguments],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT / "src"), "LC_ALL": "C.UTF-8"},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_files_go_to_a_bucket_and_back(tmp_path: Path) -> None:
    secret = "s3cret"
    with s3_server() as address:
        (tmp_path / "tripoint.toml").write_text(
            f'[server]\ndata_dir = "data"\n[media_s3]\nbucket = "files"\nendpoint = "{address}"\n'
            f'access_key_id = "AK"\nsecret_access_key = "{secret}"\n'
        )
        done = tripoint("media", "move", folder=tmp_path)
        assert (done.returncode, done.stderr) == (1, "There is no database in data\n")
        assert tripoint("user", "add", "alice", "--password", "correct horse", folder=tmp_path).returncode == 0
        content = hashlib.sha256(b"tea").hexdigest()
        path = tmp_path / "data" / "media" / "content" / content[:2] / content
        path.parent.mkdir(parents=True)
        path.write_bytes(b"tea")
        done = tripoint("media", "move", folder=tmp_path)
        assert (done.returncode, done.stdout) == (0, "1 file is in the bucket (3 bytes).\n"), done.stderr
        assert not path.exists()
        done = tripoint("media", "check", folder=tmp_path)
        expected = f"without a name: {content} (3 bytes)\n0 missing; 1 without a name (3 bytes).\n"
        assert (done.returncode, done.stdout) == (0, expected)
        done = tripoint("media", "move", "--to-disk", "--keep", folder=tmp_path)
        assert done.returncode == 0 and path.read_bytes() == b"tea"
        assert "1 deleted (3 bytes)" in tripoint("media", "check", "--delete", folder=tmp_path).stdout
        assert "0 missing; 0 without a name" in tripoint("media", "check", folder=tmp_path).stdout
    done = tripoint("media", "check", folder=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr and secret not in done.stderr
    assert done.stderr.count("\n") == 1 and "<bucket files at http" in done.stderr
    (tmp_path / "tripoint.toml").write_text('[server]\ndata_dir = "data"\n')
    assert tripoint("media", "move", folder=tmp_path).returncode == 2


def test_config_check_and_example(tmp_path: Path) -> None:
    assert "fine: server localhost, registration open" in tripoint("config", "check", folder=tmp_path).stdout
    (tmp_path / "tripoint.toml").write_text(tripoint("config", "example", folder=tmp_path).stdout)
    assert tripoint("config", "check", folder=tmp_path).returncode == 0
    (tmp_path / "tripoint.toml").write_text('[server]\nnmae = "x"\n')
    for command in (("config", "check"), ("run",), ("user", "add", "alice", "--password", "x")):
        done = tripoint(*command, folder=tmp_path)
        assert done.returncode == 2
        assert "tripoint.toml:2: unknown option nmae" in done.stderr
        assert "Traceback" not in done.stderr


def test_accounts_are_made_before_and_beside_a_running_server(tmp_path: Path) -> None:
    config = ("--config", str(tmp_path / "tripoint.toml"))
    (tmp_path / "tripoint.toml").write_text(f'[server]\ndata_dir = "{tmp_path / "data"}"\n')
    done = tripoint("user", "add", "alice", *config, folder=tmp_path, stdin="secret one\nsecret one\n")
    assert done.returncode == 0, done.stderr
    assert "@alice:localhost is made" in done.stdout
    with running_server(tmp_path, more='[accounts]\nregistration = "token"\n') as server:
        done = tripoint("user", "add", "bob", "--password", "secret two", "--admin", *config, folder=tmp_path)
        assert done.returncode == 0, done.stderr
        again = tripoint("user", "add", "bob", "--password", "secret two", *config, folder=tmp_path)
        assert (again.returncode, again.stderr.strip()) == (1, "That name is taken")
        listed = tripoint("user", "list", *config, folder=tmp_path).stdout
        assert listed == "@alice:localhost\n@bob:localhost (admin)\n2 accounts.\n"
        token = tripoint("user", "invite", *config, folder=tmp_path).stdout.strip()
        other = tripoint("user", "invite", "--uses", "0", "--days", "0", *config, folder=tmp_path).stdout.strip()
        listed = tripoint("user", "invitations", *config, folder=tmp_path).stdout
        assert f"{token}: 1 use, 29 days" in listed or f"{token}: 1 use, 30 days" in listed
        assert f"{other}: any number of uses, for ever" in listed
        assert tripoint("user", "invitations", "--drop", other, *config, folder=tmp_path).returncode == 0
        assert tripoint("user", "invitations", "--drop", other, *config, folder=tmp_path).returncode == 1
        for name, password in (("alice", "secret one"), ("bob", "secret two")):
            log_in(server.http, name, password)
        register(server.http, "carol", token)
        log_in(server.http, "carol", "secret three")


def test_accounts_of_another_server_are_taken_in(tmp_path: Path) -> None:
    """What cannot be used is named by its line; what is here already is passed over."""
    config = ("--config", str(tmp_path / "tripoint.toml"))
    (tmp_path / "tripoint.toml").write_text(f'[server]\ndata_dir = "{tmp_path / "data"}"\n')
    lines = [
        '{"name": "alice", "hash": "$2b$04$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "admin": true}',
        "",
        '{"name": "bob", "hash": "hunter2"}',
        '{"name": "nickserv"}',
        '{"name": "guest-7"}',
        '{"name": "Carol"}',
        '{"name": "dave", "shoe_size": 43}',
        '{"name": 5}',
        "not json",
        '{"name": "x=y"}',
    ]
    (tmp_path / "accounts.jsonl").write_text("\n".join(lines))
    done = tripoint("user", "import", "accounts.jsonl", *config, folder=tmp_path)
    assert (done.returncode, done.stdout) == (1, "2 made, 0 here already, 7 refused.\n")
    said = done.stderr.splitlines()
    assert [line.split(":")[1] for line in said] == ["3", "4", "5", "6", "7", "8", "9"]
    assert "accounts.jsonl:3: This hash cannot be used: none of bcrypt, Argon2, PBKDF2 and SCRAM" in said
    assert "hunter2" not in done.stderr + done.stdout
    listed = tripoint("user", "list", *config, folder=tmp_path).stdout
    assert listed.startswith("@alice:localhost (admin)\n@x=y:localhost")
    (tmp_path / "accounts.jsonl").write_text(lines[0])
    done = tripoint("user", "import", "accounts.jsonl", *config, folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, "0 made, 1 here already, 0 refused.\n")


def test_a_file_is_taken_away_from_a_running_server_and_given_back(tmp_path: Path) -> None:
    config = ("--config", str(tmp_path / "tripoint.toml"))
    with running_server(tmp_path) as server:
        server.register("alice", "correct horse")
        account = b64encode(b"alice:correct horse").decode()
        request = urllib.request.Request(f"{server.http}/upload", b"bad", {"Authorization": f"Basic {account}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            url = answer.headers["Location"]
        assert url.startswith(f"http://localhost:{server.ports['http']}/m/")
        database = sqlite3.connect(server.data / "tripoint.db")
        (mxc,) = database.execute("SELECT 'mxc://' || server || '/' || media_id FROM media").fetchone()
        database.close()
        statuses = []
        for more in ((), ("--release",)):
            statuses.append(tripoint("media", "quarantine", mxc, *more, *config, folder=tmp_path).returncode)
            try:
                with urllib.request.urlopen(url.replace("localhost", "127.0.0.1"), timeout=10) as answer:
                    statuses.append(answer.status)
            except urllib.error.HTTPError as error:
                statuses.append(error.code)
        assert statuses == [0, 404, 0, 200]
        for wrong, said in (("mxc://localhost/none", "not known here"), ("nonsense", "no name of a file")):
            done = tripoint("media", "quarantine", wrong, *config, folder=tmp_path)
            assert done.returncode != 0 and said in done.stderr and "Traceback" not in done.stderr


def log_in(base: str, name: str, password: str) -> None:
    status, answer = post(
        base,
        "/_matrix/client/v3/login",
        {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": name}, "password": password},
    )
    assert status == 200, answer


def register(base: str, name: str, token: str) -> None:
    auth = {"type": "m.login.registration_token", "token": token}
    body = {"username": name, "password": "secret three", "auth": auth}
    assert post(base, "/_matrix/client/v3/register", body)[0] == 200
    status, answer = post(base, "/_matrix/client/v3/register", {**body, "username": "dave"})
    assert (status, answer["errcode"]) == (401, "M_UNAUTHORIZED")


def post(base: str, path: str, body: object) -> tuple[int, dict[str, object]]:
    import http.client

    import orjson

    connection = http.client.HTTPConnection(base.removeprefix("http://"), timeout=10)
    connection.request("POST", path, orjson.dumps(body))
    response = connection.getresponse()
    answer = orjson.loads(response.read())
    connection.close()
    return response.status, answer


def test_one_folder_one_server_one_name(tmp_path: Path) -> None:
    with running_server(tmp_path):
        done = tripoint("run", "--config", str(tmp_path / "tripoint.toml"), folder=tmp_path)
        assert done.returncode == 1
        assert "is in use by another tripoint" in done.stderr
    text = (tmp_path / "tripoint.toml").read_text()
    (tmp_path / "tripoint.toml").write_text(text.replace('name = "localhost"', 'name = "other.org"'))
    done = tripoint("run", "--config", str(tmp_path / "tripoint.toml"), folder=tmp_path)
    assert done.returncode == 1
    assert "belongs to the server localhost" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_taken_port_is_said(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with running_server(tmp_path / "one") as server:
        config = tmp_path / "two" / "tripoint.toml"
        config.write_text(f'[listen]\nhttp = []\nirc = ["127.0.0.1:{server.ports["irc"]}"]\n')
        done = tripoint("run", "--config", str(config), folder=tmp_path / "two")
        assert done.returncode == 1
        assert str(server.ports["irc"]) in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    server = start_server(tmp_path)
    os.kill(server.process.pid, number)
    assert server.process.wait(20) == 0
    # Cleanly: the log is folded into the database.
    assert (server.data / "tripoint.db").stat().st_size > 50_000
    assert not (server.data / "tripoint.db-wal").exists()


def test_secrets_are_for_the_owner_alone(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        for name in ("signing.key", "secret", "self-made.key", "tripoint.db"):
            assert (server.data / name).stat().st_mode & 0o077 == 0, name


def test_hangup_reloads_and_goes_on(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        before = server.certificate.read_bytes()
        os.kill(server.process.pid, signal.SIGHUP)
        server.register("alice", "secret one")
        log_in(server.http, "alice", "secret one")
        assert server.certificate.read_bytes() == before


def test_nothing_secret_is_logged(tmp_path: Path) -> None:
    with running_server(tmp_path, more='[log]\nlevel = "debug"\n') as server:
        server.register("alice", "very secret words")
        log_in(server.http, "alice", "very secret words")
        output = server.output
    assert "very secret words" not in "".join(output)
    assert "tp_" not in "".join(output)


def test_hangup_takes_up_what_can_change(tmp_path: Path) -> None:
    with running_server(tmp_path, more='[accounts]\nregistration = "open"\n') as server:
        server.register("alice", "secret one")
        path = tmp_path / "tripoint.toml"
        text = path.read_text()
        path.write_text(text.replace('registration = "open"', 'registration = "closed"\nscram_iterations = 20000'))
        hang_up(server, "config.reloaded")
        body = {"username": "bob", "password": "secret two", "auth": {"type": "m.login.dummy"}}
        status, answer = post(server.http, "/_matrix/client/v3/register", body)
        assert (status, answer["errcode"]) == (403, "M_FORBIDDEN")
        assert any("accounts.scram_iterations" in line for line in server.output)
        # A mistake leaves everything as it is, and is told.
        path.write_text(text + "\n[accuonts]\n")
        hang_up(server, "config.not_reloaded")
        assert any("did you mean accounts?" in line for line in server.output)
        path.write_text(text)
        hang_up(server, "config.reloaded")
        assert post(server.http, "/_matrix/client/v3/register", body)[0] == 200


def test_an_operator_has_the_configuration_read_again(tmp_path: Path) -> None:
    config = ("--config", str(tmp_path / "tripoint.toml"))
    hashed = tripoint("config", "hash", folder=tmp_path, stdin="open sesame\nopen sesame\n").stdout.splitlines()[-1]
    operator = f'[[irc.operator]]\naccount = "alice"\npassword = "{hashed}"\n'
    with running_server(tmp_path, more=operator) as server:
        assert tripoint("user", "add", "alice", "--password", "secret one", *config, folder=tmp_path).returncode == 0
        with socket.create_connection(("127.0.0.1", server.ports["irc"]), 10) as irc, irc.makefile("rw") as lines:
            lines.write("PASS :alice:secret one\nNICK alice\nUSER a 0 * :a\nOPER alice :open sesame\n")
            path = tmp_path / "tripoint.toml"
            path.write_text(path.read_text() + '[server]\nmotd = "New."\n')
            lines.write("REHASH\nQUIT\n")
            lines.flush()
            told = lines.read()
        assert " 381 alice " in told
        assert " 382 alice " in told
        # A second [server] is a mistake: it is told, and nothing changes.
        assert "the options stay as they are" in told
        assert "not TOML" in told


def hang_up(server: Server, until: str) -> None:
    """SIGHUP, and wait for its word in the log."""
    seen = sum(until in line for line in server.output)
    os.kill(server.process.pid, signal.SIGHUP)
    deadline = time.monotonic() + 10
    while sum(until in line for line in server.output) == seen:
        assert time.monotonic() < deadline, "".join(server.output)
        time.sleep(0.02)  # the log of another process: there is nothing to await


def test_rooms_are_shown_and_the_database_made_smaller(tmp_path: Path) -> None:
    config = ("--config", str(tmp_path / "tripoint.toml"))
    (tmp_path / "tripoint.toml").write_text(f'[server]\ndata_dir = "{tmp_path / "data"}"\n')
    assert tripoint("room", "list", *config, folder=tmp_path).returncode == 1
    done = tripoint("db", "compact", *config, folder=tmp_path)
    assert done.returncode == 1 and "There is no database" in done.stderr
    assert tripoint("user", "add", "bob", "--password", "secret", *config, folder=tmp_path).returncode == 0
    assert tripoint("room", "list", *config, folder=tmp_path).stdout == "0 rooms.\n"
    database = tmp_path / "data" / "tripoint.db"
    connection = sqlite3.connect(database)
    connection.execute("CREATE TABLE filler (words TEXT)")
    connection.execute("INSERT INTO filler VALUES (hex(randomblob(2000000)))")
    connection.execute("DROP TABLE filler")
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    before = database.stat().st_size
    done = tripoint("db", "compact", *config, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert database.stat().st_size < before - 3_000_000
    with running_server(tmp_path):
        done = tripoint("db", "compact", *config, folder=tmp_path)
        assert done.returncode == 1 and done.stderr
        assert tripoint("user", "list", *config, folder=tmp_path).stdout.endswith("1 account.\n")
