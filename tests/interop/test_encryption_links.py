"""People of a Synapse and of a tripoint in one encrypted room, with matrix-js-sdk and its encryption.

They read each other, verify each other by emoji, and see each other's devices come and go.
spec: Matrix server-server-api end-to-end-encryption, send-to-device-messaging, device-management
"""

import asyncio
from pathlib import Path

import pytest
from tests.interop.crypto_peer import CryptoPeer, verify
from tests.interop.two_servers import SIDES, World, two_servers

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]


@pytest.mark.parametrize("home", SIDES)
def test_an_encrypted_room_of_two_servers(tmp_path: Path, home: str) -> None:
    CryptoPeer.check()
    with two_servers(tmp_path) as world:
        world.run(_story(world, home))


async def _story(world: World, home: str) -> None:
    (away,) = (side for side in SIDES if side != home)
    host, guest, second = CryptoPeer("hanna", "HANNA1"), CryptoPeer("greta", "GRETA1"), CryptoPeer("greta", "GRETA2")
    started: list[CryptoPeer] = []

    async def open_(peer: CryptoPeer, side: str, how: str) -> None:
        started.append(peer)
        await peer.start(world.servers[side], how)

    try:
        await open_(host, home, "register")
        await open_(guest, away, "register")
        for peer in (host, guest):
            await peer.ask("bootstrap")
        room = (await host.ask("create", invite=[guest.user]))["room"]
        await guest.ask("join", room=room)
        await host.becomes("user", {"identity": True}, user=guest.user)
        await guest.becomes("user", {"identity": True}, user=host.user)
        await host.ask("say", room=room, text="one")
        await guest.ask("say", room=room, text="two")
        for peer in (host, guest):
            await peer.reads("one", "two")
        await host.becomes("devices", {"devices": ["GRETA1"]}, user=guest.user)
        await guest.becomes("devices", {"devices": ["HANNA1"]}, user=host.user)
        await verify(host, guest)
        await host.becomes("user", {"verified": True}, user=guest.user)
        await guest.becomes("user", {"verified": True}, user=host.user)
        await open_(second, away, "login")
        await host.becomes("device", {"signed": False, "verified": False}, user=guest.user, device="GRETA2")
        for peer in (guest, second):
            await peer.becomes("devices", {"devices": ["GRETA1", "GRETA2"]}, user=guest.user)
        await verify(second, guest)
        # The signature of the new device comes over, and it is somebody verified who has it.
        await host.becomes("device", {"signed": True, "verified": True}, user=guest.user, device="GRETA2")
        await host.ask("say", room=room, text="three")
        await second.ask("say", room=room, text="four")
        for peer in started:
            await peer.reads("three", "four")
        await second.ask("logout")
        await host.becomes("devices", {"devices": ["GRETA1"]}, user=guest.user)
    finally:
        await asyncio.gather(*(peer.stop() for peer in started), return_exceptions=True)
