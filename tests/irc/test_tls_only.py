"""+S: sessions with TLS set it and stay, those without go and are not shown the room at login.

spec: docs/mapping.md 8.10
"""

import asyncio
from pathlib import Path

from tests.cross.world import IrcPerson, Pipe, Wire, World, world


async def secure_person(at: World, name: str) -> IrcPerson:
    """A client of the port with TLS."""
    wire = Wire()
    served = at.app.irc.protocol(secure=True)
    to_server, to_client = Pipe(served), Pipe(wire)
    to_server.other, to_client.other = to_client, to_server
    wire.connection_made(to_server)
    served.connection_made(to_client)
    person = IrcPerson(wire)
    await person.log_in(name, [])
    return person


def test_whoever_has_tls_stays(tmp_path: Path) -> None:
    async def work() -> None:
        async with world(tmp_path / "data", sockets=False) as at:
            plain = await at.person("alice", "irc", "account", [])
            await at.person("bob", "irc", "account", [])
            safe = await secure_person(at, "bob")
            await safe.send("JOIN #tea")
            await safe.pending()
            await plain.send("JOIN #tea")
            await plain.pending()
            await safe.pending()
            await safe.send("MODE #tea +S")
            assert await safe.pending() == [":bob!bob@example.org MODE #tea +S"]
            lines = await plain.pending()
            assert lines[0] == ":bob!bob@example.org MODE #tea +S"
            assert lines[-1] == ":alice!alice@example.org PART #tea :TLS only"
            # The account is a member still: a session of hers with TLS is put into the room at login, others are not.
            await safe.send("PRIVMSG #tea :secret")
            assert await plain.pending() == []
            hers = await secure_person(at, "alice")
            assert any(" JOIN #tea" in line for line in await hers.pending())
            again = await at.person("alice", "irc", "account", [])
            assert not any("#tea" in line for line in await again.pending())
            await safe.send("MODE #tea -S")
            assert await safe.pending() == [":bob!bob@example.org MODE #tea -S"]

    asyncio.run(asyncio.wait_for(work(), 30))
