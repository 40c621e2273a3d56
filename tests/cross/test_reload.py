"""What a reload of the configuration leaves as it was. spec: docs/operate/README.md; IRCv3 webpush (VAPID)"""

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
