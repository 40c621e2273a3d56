"""Every action of the administrators' API as a command, while the server runs and while it does not."""

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import structlog
from click.testing import CliRunner

from tests.support.server import Server, running_server
from tripoint.cli.main import main
from tripoint.runtime.control import NAME, address_of, connect_control

PASSWORD = "correct horse"


@pytest.fixture(autouse=True)
def logs_are_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The commands run in this process and say how it logs: for their time alone, and loggers keep nothing of it."""
    configure = structlog.configure

    def for_now(**how: Any) -> None:
        configure(**{**how, "cache_logger_on_first_use": False})

    monkeypatch.setattr(structlog, "configure", for_now)
    yield
    structlog.reset_defaults()


class Site:
    """A server on a folder, and the command line of whoever runs it."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "tripoint.toml"
        self.server: Server | None = None
        self.tokens: dict[str, str] = {}

    def do(self, *arguments: str, status: int = 0, text: str = "") -> str:
        """What a command prints; errors too."""
        done = CliRunner().invoke(main, [*arguments, "--config", str(self.config)], input=text)
        assert done.exit_code == status, (arguments, done.output, done.exception)
        assert "Traceback" not in done.output
        return done.output.strip()

    def ask(self, name: str, method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
        """A request of somebody's client, while the server runs."""
        assert self.server is not None
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        headers = {"content-type": kind, "authorization": f"Bearer {self.tokens.get(name, '')}"}
        request = urllib.request.Request(f"{self.server.http}/_matrix/{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read())

    def log_in(self, name: str, password: str = PASSWORD) -> None:
        who = {"type": "m.id.user", "user": name}
        body = {"type": "m.login.password", "identifier": who, "password": password}
        self.tokens[name] = self.ask("", "POST", "client/v3/login", body)["access_token"]

    def refused(self, name: str, method: str, path: str, body: Any = None) -> str:
        with pytest.raises(urllib.error.HTTPError) as raised:
            self.ask(name, method, path, body)
        answer = json.loads(raised.value.read())
        return str(answer["errcode"])


@contextmanager
def site(folder: Path, work: Callable[[Site], None]) -> Iterator[Site]:
    """Of a server on which `work` has been done, running or stopped again."""
    made = Site(folder)
    made.config.write_text(f'[server]\ndata_dir = "{folder / "data"}"\n')
    with running_server(folder) as server:
        made.server = server
        for name in ("alice", "bob"):
            made.do("user", "add", name, "--password", PASSWORD)
            made.log_in(name)
        work(made)
        yield made


@pytest.fixture(params=["running", "stopped"])
def on_site(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., None]:
    """Do `before` while the server runs, `test` then or when it is stopped, and `after` while it runs again."""

    def go(
        before: Callable[[Site], None], test: Callable[[Site], None], after: Callable[[Site], None] = lambda _: None
    ) -> None:
        with site(tmp_path, before) as made:
            if request.param == "running":
                assert ", running" in made.do("status")
                test(made)
                after(made)
        if request.param == "stopped":
            made.server = None
            assert "not running" in made.do("status")
            test(made)
            with running_server(tmp_path) as server:
                made.server = server
                after(made)

    return go


def test_accounts(on_site: Callable[..., None]) -> None:
    def before(s: Site) -> None:
        room = s.ask("bob", "POST", "client/v3/createRoom", {"preset": "public_chat", "name": "Tea"})
        s.tokens["room"] = room["room_id"]
        path = f"client/v3/rooms/{quote(room['room_id'])}/send/m.room.message/1"
        s.tokens["event"] = s.ask("bob", "PUT", path, {"msgtype": "m.text", "body": "rubbish"})["event_id"]

    def test(s: Site) -> None:
        assert "in good standing" in s.do("user", "show", "bob")
        assert s.do("user", "admin", "alice") == "@alice:localhost is an administrator."
        for word, state in (("lock", "locked"), ("suspend", "suspended"), ("shadow-ban", "shadow-banned")):
            s.do("user", word, "@bob:localhost")
            assert state in s.do("user", "show", "bob")
            s.do("user", word, "bob", "--off")
            assert state not in s.do("user", "show", "bob")
        s.do("user", "rename", "bob", "Bobby")
        assert s.do("user", "show", "bob").splitlines()[0] == "@bob:localhost Bobby"
        assert f"{s.tokens['room']}: join" in s.do("user", "rooms", "bob")
        assert s.do("user", "sessions", "bob").endswith("1 session.")
        assert s.do("user", "limit", "bob") == "@bob:localhost has the limit of everybody."
        told = s.do("user", "limit", "bob", "--per-second", "5", "--burst", "9")
        assert told == "@bob:localhost may say 5 a second, 9 at once."
        assert s.do("user", "limit", "bob", "--per-second", "0") == "@bob:localhost has no limit."
        assert s.do("user", "limit", "bob", "--off") == "@bob:localhost has the limit of everybody."
        assert s.do("user", "notice", "bob", "tea at five") == "@bob:localhost is told."
        assert s.do("user", "redact", "bob") == "What @bob:localhost said is taken back."
        assert "content\":{}" in s.do("room", "event", s.tokens["event"])
        assert len(s.do("user", "log-in-as", "bob")) > 20
        assert s.do("user", "sessions", "bob", "--end", "all") == "2 sessions are ended."
        assert s.do("user", "password", "bob", text="battery staple\nbattery staple\n").endswith("has a new password.")
        token = s.do("user", "invite", "--uses", "2")
        assert "used 0 times" in s.do("user", "invitation", token, "--uses", "7", "--days", "0")
        assert s.do("user", "invitation", token) == f"{token}: 7 times, for ever; used 0 times."
        assert s.do("user", "close", "bob", "--erase", text="n\n", status=1).endswith("Aborted!")
        assert s.do("user", "close", "bob", "--erase", "--yes") == "@bob:localhost is closed."
        assert "deactivated, erased" in s.do("user", "show", "bob")
        assert s.do("user", "reopen", "bob", "--password", "battery staple") == "@bob:localhost is open again."

    def after(s: Site) -> None:
        s.log_in("bob", "battery staple")
        assert s.ask("alice", "GET", "client/v3/account/whoami")["user_id"] == "@alice:localhost"

    on_site(before, test, after)


def test_rooms(on_site: Callable[..., None]) -> None:
    def before(s: Site) -> None:
        for key, alias in (("tea", "tea"), ("spam", "spam")):
            body = {"preset": "public_chat", "name": key.title(), "room_alias_name": alias, "topic": "what is hot"}
            s.tokens[key] = s.ask("alice", "POST", "client/v3/createRoom", body)["room_id"]
        for number in range(3):
            path = f"client/v3/rooms/{quote(s.tokens['tea'])}/send/m.room.message/{number}"
            body = {"msgtype": "m.text", "body": f"cup {number}"}
            s.tokens[str(number)] = s.ask("alice", "PUT", path, body)["event_id"]
        s.ask("bob", "POST", f"client/v3/join/{quote(s.tokens['spam'])}", {})

    def test(s: Site) -> None:
        tea, spam = s.tokens["tea"], s.tokens["spam"]
        shown = s.do("room", "show", "#tea:localhost")
        assert shown.splitlines()[:2] == [f"{tea} #tea:localhost Tea", "  what is hot"]
        assert "1 member, 1 of this server" in shown and "not encrypted, made by @alice:localhost" in shown
        assert s.do("room", "show", tea) == shown
        assert s.do("room", "join", "#tea:localhost", "bob") == "@bob:localhost is in the room."
        assert s.do("room", "members", tea) == "@alice:localhost\n@bob:localhost\n2 members."
        assert s.do("room", "admin", tea, "bob") == "@bob:localhost has it."
        power = json.loads(s.do("room", "state", tea, "--type", "m.room.power_levels"))
        assert power["content"]["users"]["@bob:localhost"] >= 100
        said = [line.rpartition("alice:localhost: ")[2] for line in s.do("room", "messages", tea).splitlines()]
        assert said == ["cup 0", "cup 1", "cup 2"]
        assert s.do("room", "purge", tea, "--before", s.tokens["1"], "--own") == "It is deleted."
        assert "cup 0" not in s.do("room", "messages", tea) and "cup 1" in s.do("room", "messages", tea)
        assert s.do("room", "block", tea) == "Nobody of this server gets in any more."
        assert "blocked" in s.do("room", "show", tea)
        assert s.do("room", "block", tea, "--off") == "The room is open again."
        told = s.do("room", "delete", spam, "--block", "--message", "no spam", "--successor", "alice", "--yes")
        assert told.startswith("The room is deleted; 2 people left it.\nThe new room is !")

    def after(s: Site) -> None:
        rooms = s.ask("bob", "GET", "client/v3/joined_rooms")["joined_rooms"]
        assert s.tokens["tea"] in rooms and s.tokens["spam"] not in rooms

    on_site(before, test, after)


def test_files(on_site: Callable[..., None]) -> None:
    def before(s: Site) -> None:
        for name in ("one", "two", "three"):
            answer = s.ask("bob", "POST", f"media/v3/upload?filename={name}.txt", name.encode(), "text/plain")
            s.tokens[name] = answer["content_uri"]

    def test(s: Site) -> None:
        one, two, three = (s.tokens[name] for name in ("one", "two", "three"))
        listed = s.do("media", "list", "--user", "bob").splitlines()
        assert len(listed) == 4 and f"{one} text/plain one.txt, 3 bytes, " in "\n".join(listed)
        assert s.do("media", "usage").splitlines() == ["@bob:localhost: 3 files, 11 bytes", "3 files, 11 bytes."]
        assert s.do("media", "protect", one) == f"{one} is protected."
        assert s.do("media", "quarantine", "--user", "bob") == "2 files given out to nobody any more."
        shown = s.do("media", "show", two)
        assert "(quarantined by @_server:localhost)" in shown and "of @bob:localhost" in shown
        assert s.do("media", "quarantine", two, "--release") == f"{two} is given out again."
        assert s.do("media", "protect", one, "--off") == f"{one} is not protected any more."
        assert s.do("media", "delete", three, "--yes") == "1 file is deleted."
        assert s.do("media", "delete", "--unused", "1", "--yes") == "0 files are deleted."
        assert s.do("media", "delete", "--unused", "0", "--larger", "1000", "--yes") == "0 files are deleted."
        assert s.do("media", "delete", "--user", "bob", "--yes") == "2 files are deleted."
        assert s.do("media", "list", "--user", "bob") == "0 files."
        assert s.do("media", "forget", "30") == "0 files are forgotten."
        assert s.do("media", "check").startswith("0 missing; 0 without a name")

    on_site(before, test)


def test_other_servers_need_a_running_one(on_site: Callable[..., None]) -> None:
    def test(s: Site) -> None:
        if s.server is None:
            assert s.do("server", "list", status=1) == "That can be asked of a running server alone: start it first"
        else:
            assert s.do("server", "list") == "0 servers."
            assert s.do("server", "retry", "far.example", status=1) == "Nothing is known of that server"
            assert s.do("server", "show", "no name!", status=1)

    on_site(lambda s: None, test)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("user", "show", "nobody"), "There is no such user"),
        (("user", "lock", "nobody"), "There is no such user"),
        (("user", "show", "@bob:elsewhere.example"), "That user does not belong to this server"),
        (("user", "password", "alice", "--password", ""), None),
        (("user", "invitation", "none"), "There is no such token"),
        (("room", "show", "!nowhere:localhost"), None),
        (("room", "show", "#nowhere:localhost"), "There is no room whose main alias is #nowhere:localhost"),
        (("room", "event", "$nothing"), None),
        (("media", "show", "one"), "one is no name of a file (mxc://server/id)"),
        (("media", "protect", "mxc://elsewhere.example/a"), "mxc://elsewhere.example/a is not a file of this server"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(tmp_path: Path, arguments: tuple[str, ...], said: str | None) -> None:
    s = Site(tmp_path)
    s.config.write_text(f'[server]\ndata_dir = "{tmp_path / "data"}"\n')
    assert s.do(*arguments, status=1).startswith("There is no database in ")
    s.do("user", "add", "alice", "--password", PASSWORD)
    told = s.do(*arguments, status=1)
    assert told and "\n" not in told
    if said is not None:
        assert told == said


@pytest.mark.parametrize(
    "arguments",
    [
        ("media", "list"),
        ("media", "delete", "--yes"),
        ("media", "quarantine"),
        ("room", "purge", "!a:b"),
        ("user", "show"),
    ],
)
def test_what_is_not_whole_explains_itself(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    s = Site(tmp_path)
    s.config.write_text("")
    assert "Usage:" in s.do(*arguments, status=2)


def test_the_socket_is_for_the_owner_and_for_the_administrators_api_alone(tmp_path: Path) -> None:
    with site(tmp_path, lambda s: None) as s:
        path = tmp_path / "data" / NAME
        assert path.is_socket() and path.stat().st_mode & 0o777 == 0o600
        for target, status in (("/_synapse/admin/v1/server_version", 200), ("/_matrix/client/versions", 404)):
            sock = connect_control(tmp_path / "data", 10)
            assert sock is not None
            with sock:
                sock.sendall(f"GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
                assert sock.makefile("rb").readline().split()[1] == str(status).encode()
        # Over the network the same needs a token.
        assert s.server is not None
        request = urllib.request.Request(f"{s.server.http}/_synapse/admin/v1/server_version")
        with pytest.raises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(request, timeout=10)
        assert raised.value.code == 401
    assert connect_control(tmp_path / "data", 10) is None


def test_a_socket_deep_in_folders(tmp_path: Path) -> None:
    deep = tmp_path / ("a" * 90) / ("b" * 90)
    deep.mkdir(parents=True)
    with address_of(deep) as address, socket.socket(socket.AF_UNIX) as sock:
        sock.bind(address)
        assert (deep / NAME).is_socket()


def test_what_somebody_has_accepted(tmp_path: Path) -> None:
    terms = (
        '[accounts]\nregistration = "open"\n[[accounts.terms]]\nid = "rules"\nversion = "1.2"\n'
        '[[accounts.terms.text]]\nlanguage = "en"\nname = "Rules"\nurl = "https://x.example/rules"\n'
    )
    made = Site(tmp_path)
    with running_server(tmp_path, more=terms) as server:
        made.server = server
        body: dict[str, Any] = {"username": "carol", "password": PASSWORD}
        with pytest.raises(urllib.error.HTTPError) as raised:
            made.ask("", "POST", "client/v3/register", body)
        session = json.loads(raised.value.read())["session"]
        auth = {"type": "m.login.terms", "session": session}
        made.ask("", "POST", "client/v3/register", {**body, "auth": auth})
        assert "  accepted rules 1.2, " in made.do("user", "show", "carol")


def test_greetings(on_site: Callable[..., None]) -> None:
    """docs/mapping.md 10.15"""

    def test(s: Site) -> None:
        assert "As the configuration says." in s.do("motd")
        assert "Closed today." in s.do("motd", "Closed today.")
        assert "Closed today." in s.do("motd")
        assert "Nothing is said." in s.do("motd", "--none")
        assert "As the configuration says." in s.do("motd", "--configured")
        assert "Hello" in s.do("welcome", "Hello, you")
        assert "Nothing is said." in s.do("welcome", "--none")

    on_site(lambda _: None, test)
