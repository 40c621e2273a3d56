"""One person with three real clients, one for each protocol: one member, one nick, one occupant.

Every message comes to each of the three once, in one order, whoever sends it; a one-to-one message comes to all of them
as well. The same password opens all three. spec: docs/mapping.md 4.6, 5.3, 15, 27.1
"""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from tests.interop.irc_peer import IrcPeer
from tests.interop.nio_peer import NioPeer
from tests.interop.peer import PASSWORD, until
from tests.interop.slix_peer import SlixPeer
from tests.support.server import Server, running_server

pytestmark = pytest.mark.interop


@dataclass
class Person:
    server: Server
    runner: asyncio.Runner
    nio: NioPeer
    irc: IrcPeer
    slix: SlixPeer
    other: SlixPeer

    @property
    def clients(self) -> list[NioPeer | IrcPeer | SlixPeer]:
        return [self.nio, self.irc, self.slix]


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    with ExitStack() as stack:
        server = stack.enter_context(running_server(tmp_path_factory.mktemp("one-account")))
        runner = stack.enter_context(asyncio.Runner())
        server.register("tara", PASSWORD)
        clients = [kind("tara", registers=False) for kind in (NioPeer, IrcPeer, SlixPeer)]
        here = Person(server, runner, *clients, SlixPeer("otto"))  # type: ignore[arg-type]
        stack.callback(lambda: runner.run(_stop(here)))
        runner.run(_enter(here))
        yield here


async def _enter(person: Person) -> None:
    await asyncio.gather(*(client.start(person.server) for client in (*person.clients, person.other)))
    await person.nio.create()
    for client in (person.irc, person.slix, person.other):
        await client.join()


async def _stop(person: Person) -> None:
    await asyncio.gather(*(client.stop() for client in (*person.clients, person.other)), return_exceptions=True)


def test_one_member_one_nick_one_occupant(person: Person) -> None:
    async def check() -> None:
        for client in (*person.clients, person.other):
            await until(
                lambda client=client: client.people() == {"tara", "otto"},  # type: ignore[misc]
                lambda client=client: f"{type(client).__name__} sees {client.people()}",  # type: ignore[misc]
            )

    person.runner.run(check())


def test_each_client_has_every_message_once_in_one_order(person: Person) -> None:
    texts = [f"says-{who}-{number}" for number in (1, 2) for who in ("nio", "irc", "slix", "otto")]

    async def talk() -> None:
        senders = {"nio": person.nio, "irc": person.irc, "slix": person.slix, "otto": person.other}
        for text in texts:
            await senders[text.split("-")[1]].say(text)
        for client in (*person.clients, person.other):
            await until(
                lambda client=client: len(client.seen()) >= len(texts),  # type: ignore[misc]
                lambda client=client: f"{type(client).__name__} has {client.seen()}",  # type: ignore[misc]
            )

    person.runner.run(talk())
    order = [(seen.text, seen.msgid) for seen in person.nio.seen()]
    assert sorted(text for text, _ in order) == sorted(texts)
    for client in (person.irc, person.slix, person.other):
        assert [(seen.text, seen.msgid) for seen in client.seen()] == order


def test_a_one_to_one_message_comes_to_every_client(person: Person) -> None:
    async def check() -> None:
        await person.other.tell("tara", "says-otto-9")
        await until(
            lambda: any(seen.text == "says-otto-9" for seen in person.irc.private),
            lambda: "irc: " + "\n".join(person.irc.lines[-10:]),
        )
        await until(
            lambda: any(seen.text == "says-otto-9" for seen in person.slix.private),
            lambda: f"slixmpp: {person.slix.private}",
        )
        await until(
            lambda: any(seen.text == "says-otto-9" for seen in person.nio.seen()), lambda: f"{person.nio.seen()[-3:]}"
        )
        await person.irc.tell("otto", "says-tara-10")
        await until(
            lambda: [seen.text for seen in person.other.private] == ["says-tara-10"],
            lambda: f"otto has {person.other.private}",
        )

    person.runner.run(check())


def test_each_client_is_a_device(person: Person) -> None:
    async def check() -> list[str]:
        answer = await person.nio.client.devices()
        return [device.display_name or device.id for device in answer.devices]

    names = person.runner.run(check())
    assert len(names) == 3, names


def test_a_wrong_password_opens_none(person: Person) -> None:
    async def check() -> None:
        wrong = NioPeer("tara", registers=False)
        with pytest.raises(AssertionError, match="Wrong user name or password"):
            await wrong.start_with(person.server, "not the password")
        await wrong.client.close()

    person.runner.run(check())


def test_nothing_went_wrong_inside(person: Person) -> None:
    assert [line for line in person.server.output if "Traceback" in line or "[error" in line] == []
