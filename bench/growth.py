"""What an operation costs as the server and a room's history grow: no more than before, or something is wrong.

Run: .venv/bin/python -m bench.growth [rooms|events] [SMALLER]. Servers in processes of their own, SQLite, no limits:
three with 10, 1,000 and 10,000 rooms, then two with a room of 1,000 and 100,000 events (SMALLER divides both, to try
the script). Each operation is done by one client after the other and waited for, in turns on each of the servers; the
figures are the median of the server's CPU for one, in microseconds, of all its threads.
"""

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from urllib.parse import quote

from tests.cross.world import IrcPerson, XmppPerson
from tests.faults.test_kill import PASSWORD, UNLIMITED, Http, log_in, wire
from tests.support.server import Server, start_server

C = "/_matrix/client/v3"
ROUNDS, TIMES = 11, 30
PAGE = 20
LIMITS = UNLIMITED.replace("[limits]", "[limits]\nrooms_per_account = 1000000")


def cpu_us(pid: int) -> float:
    """CPU time of a process so far."""
    return sum(int(task.joinpath("schedstat").read_text().split()[0]) for task in _tasks(pid)) / 1000


def _tasks(pid: int) -> Iterator[Path]:
    return Path(f"/proc/{pid}/task").iterdir()


class People:
    """One person on each protocol, in #tea."""

    server: Server
    matrix: Http
    token: str
    other: Http
    other_token: str
    room: str
    irc: IrcPerson
    xmpp: XmppPerson
    since: str

    def __init__(self, server: Server) -> None:
        self.server = server
        self.number = 0

    async def arrive(self) -> None:
        for name in ("alice", "bob", "carol", "dora", "erin"):
            self.server.register(name, PASSWORD)
        await self.connect()
        made = await self.ask("POST", f"{C}/createRoom", {"preset": "public_chat", "room_alias_name": "tea"})
        self.room = quote(str(made["room_id"]), safe="")
        self.irc = IrcPerson(await wire(self.server, "irc"))
        await self.irc.log_in("alice", ["echo-message", "batch", "draft/chathistory", "message-tags"])
        await self.irc.send("JOIN #tea")
        await self.irc.pending()
        self.xmpp = XmppPerson(await wire(self.server, "xmpp"), "localhost")
        await self.xmpp.log_in("bob", [])
        await self.enter()
        self.since = str((await self.ask("GET", f"{C}/sync?timeout=0"))["next_batch"])

    async def connect(self) -> None:
        """On Matrix; also where it took so long to fill other servers that the connections were closed."""
        self.matrix, self.token = await log_in(self.server, "carol")
        self.other, self.other_token = await log_in(self.server, "erin")

    async def ask(self, method: str, path: str, body: object = None) -> dict[str, object]:
        status, answer = await self.matrix.call(method, path, body, self.token)
        assert status == 200, (method, path, answer)
        found: dict[str, object] = answer
        return found

    async def enter(self) -> None:
        join = "<x xmlns='http://jabber.org/protocol/muc'><history maxstanzas='0'/></x>"
        await self.xmpp.send(f"<presence to='tea@rooms.localhost/bob'>{join}</presence>")
        while "<subject" not in await self.xmpp.next():
            pass

    # -- the operations

    async def say_matrix(self) -> None:
        self.number += 1
        await self.ask(
            "PUT", f"{C}/rooms/{self.room}/send/m.room.message/{self.number}", {"msgtype": "m.text", "body": "tea?"}
        )

    async def say_irc(self) -> None:
        self.number += 1
        await self.irc.send(f"PRIVMSG #tea :number {self.number}")
        while not (await self.irc.next()).endswith(f":number {self.number}"):
            pass

    async def say_xmpp(self) -> None:
        self.number += 1
        await self.xmpp.send(
            f"<message to='tea@rooms.localhost' type='groupchat' id='n{self.number}'><body>more tea</body></message>"
        )
        while f"id='n{self.number}'" not in await self.xmpp.next():
            pass

    async def sync(self) -> None:
        self.since = str((await self.ask("GET", f"{C}/sync?timeout=0&since={self.since}"))["next_batch"])

    async def page_matrix(self) -> None:
        await self.ask("GET", f"{C}/rooms/{self.room}/messages?dir=b&limit={PAGE}")

    async def page_irc(self) -> None:
        await self.irc.send(f"CHATHISTORY LATEST #tea * {PAGE}")
        await self.irc.pending()

    async def page_xmpp(self) -> None:
        self.number += 1
        page = f"<set xmlns='http://jabber.org/protocol/rsm'><max>{PAGE}</max><before/></set>"
        await self.xmpp.send(
            f"<iq type='set' id='m{self.number}' to='tea@rooms.localhost'>"
            f"<query xmlns='urn:xmpp:mam:2'>{page}</query></iq>"
        )
        while f"id='m{self.number}'" not in await self.xmpp.next():
            pass

    async def rejoin_irc(self) -> None:
        await self.irc.send("PART #tea\r\nJOIN #tea")
        await self.irc.pending()

    async def reenter_xmpp(self) -> None:
        await self.xmpp.send("<presence to='tea@rooms.localhost/bob' type='unavailable'/>")
        await self.enter()

    async def topic(self) -> None:
        self.number += 1
        await self.ask("PUT", f"{C}/rooms/{self.room}/state/m.room.topic", {"topic": f"number {self.number}"})

    async def receipt(self) -> None:
        said = await self.ask("GET", f"{C}/rooms/{self.room}/messages?dir=b&limit=1")
        event: object = said["chunk"][0]["event_id"]  # type: ignore[index]  # the answer is JSON
        await self.ask("POST", f"{C}/rooms/{self.room}/receipt/m.read/{quote(str(event), safe='')}", {})

    async def log_in_matrix(self) -> None:
        """Somebody who is in no room: login and the first sync."""
        connection, token = await log_in(self.server, "dora")
        status, _ = await connection.call("GET", f"{C}/sync?timeout=0", None, token)
        assert status == 200
        await connection.call("POST", f"{C}/logout", {}, token)
        connection.close()

    async def make_room(self) -> None:
        status, _ = await self.other.call("POST", f"{C}/createRoom", {"preset": "private_chat"}, self.other_token)
        assert status == 200


OPERATIONS: dict[str, Callable[[People], Awaitable[None]]] = {
    "a message, Matrix": People.say_matrix,
    "a message, IRC": People.say_irc,
    "a message, XMPP": People.say_xmpp,
    "/sync with nothing new": People.sync,
    f"the last {PAGE}, Matrix": People.page_matrix,
    f"the last {PAGE}, IRC": People.page_irc,
    f"the last {PAGE}, XMPP": People.page_xmpp,
    "PART and JOIN, IRC": People.rejoin_irc,
    "leave and enter, XMPP": People.reenter_xmpp,
    "a topic": People.topic,
    "a read receipt": People.receipt,
    "login, first sync, logout": People.log_in_matrix,
    "a new room": People.make_room,
}


async def measure(grown: list[People]) -> list[dict[str, float]]:
    """CPU of each operation on each server, side by side: a machine that others use too is as fast for all of them."""
    found: list[dict[str, list[float]]] = [{name: [] for name in OPERATIONS} for _ in grown]
    for _ in range(ROUNDS):
        for name, operation in OPERATIONS.items():
            for people, columns in zip(grown, found, strict=True):
                await operation(people)
                await people.irc.pending()
                await people.xmpp.pending()
                before = cpu_us(people.server.process.pid)
                for _ in range(TIMES):
                    await operation(people)
                columns[name].append((cpu_us(people.server.process.pid) - before) / TIMES)
    return [{name: median(times) for name, times in columns.items()} for columns in found]


async def fill_rooms(people: People, wanted: int) -> None:
    """Rooms of another account, each with some words."""
    connection, token = people.other, people.other_token
    for number in range(wanted):
        status, answer = await connection.call("POST", f"{C}/createRoom", {"name": f"room {number}"}, token)
        assert status == 200, answer
        room = quote(answer["room_id"], safe="")
        body = {"msgtype": "m.text", "body": "hello"}
        await connection.call("PUT", f"{C}/rooms/{room}/send/m.room.message/{number}", body, token)


async def fill_events(people: People, wanted: int) -> None:
    for start in range(0, wanted, 100):
        lines = "\r\n".join(f"PRIVMSG #tea :word {number}" for number in range(start, min(wanted, start + 100)))
        await people.irc.send(lines)
        await people.irc.pending()
        await people.xmpp.pending()


@contextmanager
def server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as folder:
        made = start_server(Path(folder), more=LIMITS)
        try:
            yield made
        finally:
            made.stop()


async def grow(what: str, stages: list[int], fill: Callable[[People, int], Awaitable[None]]) -> None:
    with ExitStack() as servers:
        grown = []
        for stage in stages:
            people = People(servers.enter_context(server()))
            await people.arrive()
            await fill(people, stage)
            grown.append(people)
        for people in grown:
            await people.connect()
        await measure(grown)  # what filling has left to be done is not the operations'
        columns = await measure(grown)
        print(f"{'us of CPU each, with so many ' + what:34}" + "".join(f"{stage:>10,}" for stage in stages))
        for name in OPERATIONS:
            print(f"{name:34}" + "".join(f"{column[name]:10.0f}" for column in columns))


def main() -> None:
    words = [word for word in sys.argv[1:] if not word.isdigit()]
    smaller = max([1, *(int(word) for word in sys.argv[1:] if word.isdigit())])
    print(f"commit {subprocess.run(['git', 'describe', '--always'], capture_output=True, text=True).stdout.strip()}")
    if not words or "rooms" in words:
        asyncio.run(grow("rooms", [10, 1000 // smaller, 10_000 // smaller], fill_rooms))
    if not words or "events" in words:
        asyncio.run(grow("events in the room", [1000 // smaller, 100_000 // smaller], fill_events))


if __name__ == "__main__":
    main()
