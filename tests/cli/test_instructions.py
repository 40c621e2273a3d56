"""What the server prints for the person who started it."""

from pathlib import Path

from tests.federation.servers import islands, server
from tests.support.middle import run
from tripoint.cli.serve import instructions
from tripoint.config.options import Listen
from tripoint.runtime.app import App
from tripoint.runtime.data_dir import DataDir

ONE, TWO = server("one.example"), server("two.example")
OTHERS = "other Matrix servers reach this one on port "


def test_only_what_is_on_is_named(tmp_path: Path) -> None:
    async def work() -> None:
        closed = Listen(http=("127.0.0.1:0",), irc=(), irc_tls=(), xmpp=(), xmpp_tls=(), federation=(), metrics=())
        async with islands(tmp_path, ONE) as made:
            app = made.apps[ONE]
            assert f"{OTHERS}{app.ports['federation'][0]}\n" in instructions(app)
            alone = App(made.config(TWO, listen=closed), DataDir(tmp_path / TWO))
            await alone.start()
            try:
                assert OTHERS not in instructions(alone)
                assert "XMPP" not in instructions(alone)
                assert "WebSocket" not in instructions(alone)
            finally:
                await alone.stop()

    run(work)
