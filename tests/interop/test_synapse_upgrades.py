"""A room of matrix-synapse and tripoint people is upgraded from either side, with IRC and XMPP clients in it.

spec: docs/mapping.md 21.4; Matrix client-server "Room Upgrades"
"""

from collections.abc import Iterator

import pytest
from tests.interop.irc_peer import IrcPeer
from tests.interop.matrix_person import quoted
from tests.interop.peer import until
from tests.interop.slix_peer import SlixPeer
from tests.interop.two_servers import SYNAPSE, TRIPOINT, World, two_servers

pytestmark = pytest.mark.interop

UPGRADED = "This room was upgraded"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with two_servers(tmp_path_factory.mktemp("upgrades")) as made:
        yield made


def _has(texts: list[str], *parts: str) -> bool:
    return any(all(part in text for part in parts) for text in texts)


@pytest.mark.parametrize("version", ["11", "12"])
@pytest.mark.parametrize("preset", ["public_chat", "private_chat"])
def test_a_synapse_user_upgrades_a_room_with_irc_and_xmpp_users(world: World, preset: str, version: str) -> None:
    async def story() -> None:
        nora = await world.person("synapse", "nora")
        name = nora.user_id[1:].partition(":")[0]
        names = [f"ivan{name}", f"sam{name}"]
        old = await nora.create("10", room_alias_name=name, name="Tea", preset=preset)
        channel = f"#{name}:{SYNAPSE}"
        irc, slix = IrcPeer(names[0], channel=channel), SlixPeer(names[1], room=f"{name}%{SYNAPSE}")
        try:
            for peer in (irc, slix):
                await peer.start(world.tripoint.process)
                if preset == "private_chat":
                    await nora.call("POST", f"/rooms/{quoted(old)}/invite", {"user_id": f"@{peer.account}:{TRIPOINT}"})
                    await until(
                        lambda: _has(irc.lines, " INVITE ") or _has(slix.stanzas, "<invite"), lambda: "no invitation"
                    )
                await peer.join()
            await nora.send(old, "before")
            await until(lambda: _has(irc.lines, "PRIVMSG", ":before"), lambda: "\n".join(irc.lines[-10:]))
            done = await nora.call("POST", f"/rooms/{quoted(old)}/upgrade", {"new_version": version})
            new = done["replacement_room"]
            if preset == "private_chat":
                # Element does the same for who upgrades.
                for account in names:
                    await nora.call("POST", f"/rooms/{quoted(new)}/invite", {"user_id": f"@{account}:{TRIPOINT}"})
            await until(lambda: _has(irc.lines, f"NOTICE {channel} ", UPGRADED), lambda: "\n".join(irc.lines[-20:]))
            await until(lambda: _has(slix.stanzas, "code=\"104\""), lambda: "\n".join(slix.stanzas[-20:]))
            people = {f"@{account}:{TRIPOINT}" for account in names}
            await nora.until(lambda: _joined(nora.timeline.get(new, [])) >= people)
            said = await nora.send(new, "after")
            await until(lambda: _has(irc.lines, f"PRIVMSG {channel} :after"), lambda: "\n".join(irc.lines[-20:]))
            await until(lambda: _has(slix.stanzas, "<body>after</body>"), lambda: "\n".join(slix.stanzas[-20:]))
            assert said
            irc.connection.privmsg(channel, "and from here")
            await nora.until(lambda: any(_body(event) == "and from here" for event in nora.timeline[new]))
        finally:
            for peer in (irc, slix):
                await peer.stop()

    world.run(story())


def _joined(events: list[dict[str, object]]) -> set[object]:
    return {
        event["state_key"]
        for event in events
        if event["type"] == "m.room.member" and isinstance(event["content"], dict)
        and event["content"].get("membership") == "join"
    }  # fmt: skip


def _body(event: dict[str, object]) -> object:
    content = event.get("content")
    return content.get("body") if isinstance(content, dict) else None


@pytest.mark.parametrize("version", ["11", "12"])
def test_a_tripoint_user_upgrades_a_room_with_synapse_and_irc_users(world: World, version: str) -> None:
    async def story() -> None:
        host, nora = await world.pair("tripoint")
        name = host.user_id[1:].partition(":")[0]
        old = await host.create("10", room_alias_name=name, name="Tea", topic="Kettle on")
        channel = f"#{name}"
        irc = IrcPeer(f"ivan{name}", channel=channel)
        try:
            await irc.start(world.tripoint.process)
            await irc.join()
            await nora.join(f"#{name}:{TRIPOINT}")
            await until(lambda: _has(irc.lines, f"{nora.user_id[1:]}", "JOIN"), lambda: "\n".join(irc.lines[-10:]))
            done = await host.call("POST", f"/rooms/{quoted(old)}/upgrade", {"new_version": version})
            new = done["replacement_room"]
            await until(lambda: _has(irc.lines, f"NOTICE {channel} ", UPGRADED), lambda: "\n".join(irc.lines[-20:]))
            await nora.until(lambda: any(event["type"] == "m.room.tombstone" for event in nora.timeline[old]))
            # Synapse lets its people in, moves what they have kept, and knows where the room comes from.
            await nora.join(new, via=TRIPOINT)
            assert (await nora.state_content(new, "m.room.create"))["predecessor"]["room_id"] == old
            assert (await nora.state_content(new, "m.room.topic"))["topic"] == "Kettle on"
            assert await nora.join(f"#{name}:{TRIPOINT}") == new
            await nora.send(new, "here I am")
            await until(lambda: _has(irc.lines, f"PRIVMSG {channel} :here I am"), lambda: "\n".join(irc.lines[-20:]))
            irc.connection.privmsg(channel, "welcome")
            await nora.until(lambda: any(_body(event) == "welcome" for event in nora.timeline[new]))
        finally:
            await irc.stop()

    world.run(story())
