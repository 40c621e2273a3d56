"""What a reload of the configuration leaves as it was. spec: docs/operate/README.md; IRCv3 webpush (VAPID)"""

from dataclasses import replace
from pathlib import Path

from tests.cross.world import world
from tests.support.middle import run


def test_the_same_configuration_changes_nothing(tmp_path: Path) -> None:
    """What clients are told of the server, and what did not come from the file, is there after it too."""

    async def work() -> None:
        async with world(tmp_path / "data", sockets=False) as at:
            irc, xmpp = at.app.irc, at.app.xmpp
            options, tokens = irc.options, irc.network.isupport()
            of_xmpp = xmpp.options
            assert any(token.startswith("VAPID=") for token in tokens)
            await at.app.reload(at.app.config)
            assert irc.network.isupport() == tokens
            assert irc.options == irc.network.options == options
            assert xmpp.options == of_xmpp

    run(work)


def test_what_waits_for_a_restart_is_told_to_nobody_before(tmp_path: Path) -> None:
    """A policy of TLS (sts) names the port where this server listens, and not the one where it will."""

    async def work() -> None:
        async with world(tmp_path / "data", sockets=False) as at:
            config, irc = at.app.config, at.app.irc
            await at.app.reload(replace(config, irc=replace(config.irc, sts_duration_s=60, icon_url="https://x.example/i")))
            port, title = irc.options.sts_port, irc.network.title
            moved = replace(
                config,
                server=replace(config.server, name="other.example", motd="New tea"),
                listen=replace(config.listen, irc_tls=("127.0.0.1:7777",)),
                irc=replace(config.irc, sts_duration_s=90),
            )
            told = await at.app.reload(moved)
            assert told[-1] == "These wait for a restart: server.name, listen.irc_tls"
            assert (irc.options.sts_port, irc.network.title) == (port, title)
            assert (irc.options.sts_duration_s, irc.options.motd, irc.options.icon_url) == (90, "New tea", "")

    run(work)
