"""Rooms of another server that does not answer at once, or has what is not known here; and too many rooms.

# rows: 4.10, 25 room version unsupported, 25 full / too many rooms
spec: docs/mapping.md 4.10, 25; XEP-0045 7.2, XEP-0249 2; Matrix server-server make_join
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cross.test_scripts import play
from tests.cross.world import LIMITS, SERVER, World, world, worlds
from tripoint.irc import joining as irc_joining
from tripoint.matrix.federation import handshakes
from tripoint.xmpp.muc import joining as xmpp_joining

REMOTE = "remote.org"
SCRIPTS = Path(__file__).parent / "abroad"


def _script(name: str) -> str:
    return (SCRIPTS / f"{name}.txt").read_text("utf-8")


def _play_on_two(folder: Path, name: str) -> None:
    async def work() -> None:
        async with worlds(folder, [SERVER, REMOTE], sockets=False) as made:
            others: Mapping[str, World] = made
            await play(made[SERVER], _script(name), others)

    asyncio.run(asyncio.wait_for(work(), 60))


def test_a_slow_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five seconds on IRC and fifty-five on XMPP, made shorter."""
    monkeypatch.setattr(irc_joining, "NOTE_AFTER_S", 0.1)
    monkeypatch.setattr(xmpp_joining, "PATIENCE_S", 0.2)
    _play_on_two(tmp_path, "slow")


def test_a_room_of_a_version_that_is_not_known_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshakes, "SUPPORTED", ("1", "2"))
    _play_on_two(tmp_path, "incompatible")


def test_too_many_rooms(tmp_path: Path) -> None:
    async def work() -> None:
        async with world(tmp_path, sockets=False, limits=replace(LIMITS, rooms_per_account=1)) as at:
            await play(at, _script("too_many"))

    asyncio.run(asyncio.wait_for(work(), 60))
