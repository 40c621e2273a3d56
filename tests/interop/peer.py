"""What every real client can do in these tests, whatever it is made of.

A message of the tests is `says-WHO-NUMBER`; such words are found again in what a library hands out and on the
screen of a terminal. Each wait has a bound and says what was there instead.
"""

import asyncio
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import pytest
from tests.support.server import Server

ROOM = "tea"
PATIENCE_S = 40.0
PASSWORD = "correct-horse-5-battery"
_MARK = re.compile(r"says-[a-z]+-\d+")


@dataclass(frozen=True, slots=True)
class Seen:
    """One message as a client has it. `msgid` is the event id, None where the client shows none."""

    text: str
    sender: str
    msgid: str | None


class Peer(Protocol):
    """A client with one account in the room #tea. `account` is its localpart, and nick everywhere."""

    account: str
    shows_ids: bool
    # It shows its own messages when they are typed, not when the server has given them their place.
    shows_own_at_once: bool

    async def start(self, server: Server) -> None:
        """Connect and log in; the account exists or the client makes it."""

    async def join(self) -> None:
        """Enter the room; returns when the client says that it is in."""

    async def say(self, text: str) -> None: ...

    def seen(self) -> list[Seen]:
        """The marked messages so far, in the order in which the client has them."""

    def topic(self) -> str:
        """The room's topic as the client has it, or the screen it is on."""

    def people(self) -> set[str] | None:
        """Accounts (or nicks) in the room; None where the client cannot be asked."""

    def in_room(self) -> bool: ...

    async def leave(self) -> None: ...

    async def stop(self) -> None:
        """End the client. Never fails."""


def marked(text: str) -> list[str]:
    """The words of the tests in a text, in order."""
    return _MARK.findall(text)


def must_have(found: object, what: str) -> None:
    """Skip, or fail where TRIPOINT_PEERS=required, if a client is not on this machine."""
    if not found:
        if os.environ.get("TRIPOINT_PEERS") == "required":
            pytest.fail(f"{what} is not installed, and TRIPOINT_PEERS=required")
        pytest.skip(f"{what} is not installed")


def is_here(check: Callable[[], None]) -> bool:
    """Whether a client's `check` finds it on this machine, where its absence is told elsewhere."""
    try:
        check()
    except (pytest.skip.Exception, pytest.fail.Exception):
        return False
    return True


async def until(fact: Callable[[], object], what: Callable[[], str], patience_s: float = PATIENCE_S) -> None:
    """Wait until `fact` is true of a program that can only be looked at. Fails with `what` it was."""
    loop = asyncio.get_running_loop()
    end = loop.time() + patience_s
    while not fact():
        if loop.time() > end:
            pytest.fail(what())
        await asyncio.sleep(0.1)


P = TypeVar("P", bound=Peer)


async def becomes(peer: P, fact: Callable[[P], object], what: str) -> None:
    """Wait until something is true of a client; fails with what it has instead."""
    await until(
        lambda: fact(peer),
        lambda: f"{peer.account}: not {what}\npeople: {peer.people()}\ntopic or screen: {peer.topic()[-4000:].strip()}",
    )


async def all_see(peers: Sequence[Peer], texts: Sequence[str]) -> None:
    """Until everybody has seen each of these."""
    for peer in peers:
        await becomes(peer, lambda peer: {one.text for one in peer.seen()} >= set(texts), f"all of {texts}")
