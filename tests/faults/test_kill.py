"""Nothing that was acknowledged is lost: the server is killed under load, again and again.

An acknowledgement is the answer to a PUT on Matrix, the echo on IRC, the reflected stanza on XMPP. After each
restart every acknowledged message is in the history once, and the database is whole. (DESIGN "Safe by default")
"""

import asyncio
import os
import random
import re
import signal
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest

from tests.cross.world import IrcPerson, Wire, XmppPerson
from tests.support.server import Server, start_server

UNLIMITED = """
[accounts]
registration = "open"
scram_iterations = 10000
[limits]
events_per_s = 0
state_per_s = 0
membership_per_s = 0
registrations_per_s = 0
irc_commands_per_s = 0
xmpp_stanzas_per_s = 0
connections_per_address = 0
"""
NAMES = ("alice", "bob", "carol")
PASSWORD = "correct horse"
ROOM = "#tea:localhost"


class Http:
    """A keep-alive HTTP connection of one sender."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def call(self, method: str, path: str, body: Any = None, token: str = "") -> tuple[int, Any]:
        data = b"" if body is None else orjson.dumps(body)
        head = f"{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(data)}\r\n"
        auth = f"authorization: Bearer {token}\r\n" if token else ""
        self._writer.write(head.encode() + auth.encode() + b"\r\n" + data)
        top = await self._reader.readuntil(b"\r\n\r\n")
        length = int(re.search(rb"content-length: (\d+)", top.lower())[1])  # type: ignore[index]
        return int(top.split(b" ", 2)[1]), orjson.loads(await self._reader.readexactly(length))

    def close(self) -> None:
        self._writer.close()


async def http(server: Server) -> Http:
    return Http(*await asyncio.open_connection("127.0.0.1", server.ports["http"]))


async def log_in(server: Server, name: str) -> tuple[Http, str]:
    connection = await http(server)
    body = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": name},
        "password": PASSWORD,
        "device_id": name.upper(),
    }
    status, answer = await connection.call("POST", "/_matrix/client/v3/login", body)
    assert status == 200, answer
    return connection, answer["access_token"]


async def matrix_load(server: Server, tag: str, acknowledged: set[str]) -> None:
    connection, token = await log_in(server, "carol")
    _, found = await connection.call("GET", f"/_matrix/client/v3/directory/room/{quote(ROOM, safe='')}")
    room_id = quote(found["room_id"], safe="")
    number = 0
    while True:
        number += 1
        text = f"{tag} matrix {number}"
        path = f"/_matrix/client/v3/rooms/{room_id}/send/m.room.message/{tag}-{number}"
        status, _ = await connection.call("PUT", path, {"msgtype": "m.text", "body": text}, token)
        if status == 200:
            acknowledged.add(text)


async def wire(server: Server, protocol: str) -> Wire:
    made = Wire()
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: made, "127.0.0.1", server.ports[protocol])
    return made


async def irc_load(server: Server, tag: str, acknowledged: set[str]) -> None:
    person = IrcPerson(await wire(server, "irc"))
    await person.log_in("alice", ["echo-message"])
    await person.send("JOIN #tea")
    number = 0
    while True:
        number += 1
        text = f"{tag} irc {number}"
        await person.send(f"PRIVMSG #tea :{text}")
        while True:
            line = await person.next()
            if line.startswith(":alice!") and line.endswith(f":{text}"):
                acknowledged.add(text)
                break


async def xmpp_load(server: Server, tag: str, acknowledged: set[str]) -> None:
    person = XmppPerson(await wire(server, "xmpp"), "localhost")
    await person.log_in("bob", [])
    await person.send("<presence to='tea@rooms.localhost/bob'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
    number = 0
    while True:
        number += 1
        text = f"{tag} xmpp {number}"
        await person.send(
            f"<message to='tea@rooms.localhost' type='groupchat' id='{tag}-{number}'><body>{text}</body></message>"
        )
        while True:
            stanza = await person.next()
            if f"<body>{text}</body>" in stanza and "/bob'" in stanza:
                acknowledged.add(text)
                break


async def history(server: Server) -> list[str]:
    """The text of every message in the room, as its creator reads it."""
    connection, token = await log_in(server, "alice")
    _, found = await connection.call("GET", f"/_matrix/client/v3/directory/room/{quote(ROOM, safe='')}")
    path = f"/_matrix/client/v3/rooms/{quote(found['room_id'], safe='')}/messages?dir=f&limit=1000"
    texts: list[str] = []
    start = ""
    while True:
        status, page = await connection.call("GET", path + start, token=token)
        assert status == 200, page
        texts += [e["content"]["body"] for e in page["chunk"] if e["type"] == "m.room.message"]
        if "end" not in page:
            return texts
        start = f"&from={page['end']}"


async def load_until_killed(server: Server, tag: str, delay_s: float, acknowledged: set[str]) -> None:
    """All three protocols at work, then SIGKILL in the middle of it."""
    senders = [
        asyncio.create_task(load(server, tag, acknowledged)) for load in (matrix_load, irc_load, xmpp_load)
    ]
    before = len(acknowledged)
    while len(acknowledged) < before + 3 and not any(sender.done() for sender in senders):  # noqa: ASYNC110  # bounded by the senders' patience
        await asyncio.sleep(0.005)
    await asyncio.sleep(delay_s)
    os.kill(server.process.pid, signal.SIGKILL)
    results = await asyncio.wait_for(asyncio.gather(*senders, return_exceptions=True), 30)
    server.process.wait()
    for result in results:
        assert isinstance(result, OSError | EOFError), f"the load ended before the server did: {result!r}"


def check_database(data: Path) -> None:
    connection = sqlite3.connect(data / "tripoint.db")
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    # Every event's state group and every room's head are there.
    lost = connection.execute(
        "SELECT count(*) FROM events WHERE state_group NOT IN (SELECT state_group FROM state_groups)"
    ).fetchone()
    assert lost == (0,)
    heads = connection.execute("SELECT extremities FROM rooms").fetchall()
    for (extremities,) in heads:
        for event_id, _, _ in orjson.loads(extremities):
            assert connection.execute("SELECT 1 FROM events WHERE event_id = ?", (event_id,)).fetchone()
    connection.close()


async def _kill_many_times(folder: Path, times: int, seed: int) -> None:
    dice = random.Random(seed)
    acknowledged: set[str] = set()
    server = start_server(folder, more=UNLIMITED)
    try:
        for name in NAMES:
            server.register(name, PASSWORD)
        connection, token = await log_in(server, "alice")
        body = {"preset": "public_chat", "room_alias_name": "tea"}
        status, answer = await connection.call("POST", "/_matrix/client/v3/createRoom", body, token)
        assert status == 200, answer
        room = quote(answer["room_id"], safe="")
        for name in NAMES[1:]:
            connection, token = await log_in(server, name)
            status, answer = await connection.call("POST", f"/_matrix/client/v3/join/{room}", {}, token)
            assert status == 200, answer
        for turn in range(times):
            before = len(acknowledged)
            await load_until_killed(server, f"turn{turn}", dice.uniform(0, 0.3), acknowledged)
            assert len(acknowledged) > before
            check_database(server.data)
            server = start_server(folder, more=UNLIMITED)
            # The whole history is read at the end and now and then; it grows with every turn.
            if turn == times - 1 or turn % 10 == 9:
                counts = Counter(await history(server))
                missing = [text for text in acknowledged if counts[text] != 1]
                assert not missing, f"turn {turn}: {len(missing)} of {len(acknowledged)}: {missing[:5]}"
                assert max(counts.values()) == 1
    finally:
        if server.process.poll() is None:
            server.stop()


@pytest.mark.timeout(300)
def test_killed_ten_times_under_load(tmp_path: Path) -> None:
    asyncio.run(_kill_many_times(tmp_path, 10, seed=1))


@pytest.mark.soak
@pytest.mark.timeout(4 * 3600)
def test_killed_a_thousand_times_under_load(tmp_path: Path) -> None:
    asyncio.run(_kill_many_times(tmp_path, 1000, seed=2))


@pytest.mark.timeout(120)
def test_a_file_that_cannot_grow_gives_clear_errors_and_loses_nothing(tmp_path: Path) -> None:
    """A real server whose files may not grow beyond a limit, as on a full disk: 503 on Matrix, and what was
    acknowledged before is there afterwards."""

    async def run() -> None:
        server = start_server(tmp_path, more=UNLIMITED)
        server.register("alice", PASSWORD)
        connection, token = await log_in(server, "alice")
        body = {"room_alias_name": "tea"}
        status, answer = await connection.call("POST", "/_matrix/client/v3/createRoom", body, token)
        assert status == 200, answer
        server.stop()
        limit = (server.data / "tripoint.db").stat().st_size + 200_000
        server = start_server(tmp_path, more=UNLIMITED, file_limit_bytes=limit)
        try:
            acknowledged = []
            connection, token = await log_in(server, "alice")
            room = quote(answer["room_id"], safe="")
            refused: tuple[int, Any] | None = None
            for number in range(5000):
                path = f"/_matrix/client/v3/rooms/{room}/send/m.room.message/{number}"
                content = {"msgtype": "m.text", "body": f"{number} " + "x" * 500}
                status, sent = await connection.call("PUT", path, content, token)
                if status != 200:
                    refused = status, sent
                    break
                acknowledged.append(content["body"])
            assert refused is not None and refused[0] == 503, refused
            assert "nothing was changed" in refused[1]["error"]
            # Reading still works.
            status, _ = await connection.call("GET", f"/_matrix/client/v3/rooms/{room}/state", token=token)
            assert status == 200
        finally:
            os.kill(server.process.pid, signal.SIGKILL)
            server.process.wait()
        check_database(server.data)
        server = start_server(tmp_path, more=UNLIMITED)
        try:
            assert await history(server) == acknowledged
        finally:
            server.stop()

    asyncio.run(run())
