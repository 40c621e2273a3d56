"""weechat, irssi and profanity, typed at and read like a person would."""

import re
import shutil
import subprocess
from pathlib import Path

from tests.interop.peer import PASSWORD, PATIENCE_S, ROOM, Seen, marked, must_have, until
from tests.interop.terminal import Look, Terminal
from tests.support.server import Server

CHANNEL = f"#{ROOM}"
_TIME = re.compile(r"\d\d:\d\d")


class ScreenPeer:
    """What the three have in common: what is on the screen is what they have seen."""

    program = ""
    shows_ids = False
    shows_own_at_once = True
    terminal: Terminal

    def __init__(self, account: str, home: Path) -> None:
        self.account = account
        self.home = home

    @classmethod
    def check(cls) -> None:
        must_have(shutil.which(cls.program) and shutil.which("tmux"), f"{cls.program} (in tmux)")

    async def say(self, text: str) -> None:
        self.terminal.type(text)

    def seen(self) -> list[Seen]:
        found = []
        for line in self.terminal.screen().splitlines():
            found.extend(Seen(text, line.partition(text)[0], None) for text in marked(line))
        return found

    def lines(self) -> list[str]:
        """What the program has written so far: its lines begin with the time, its bars do not. Columns may move."""
        screen = self.terminal.screen().splitlines()
        return [" ".join(line.split()) for line in screen if _TIME.match(line) and "Day changed" not in line]

    def line(self, text: str) -> str:
        """The one line that has this mark in it."""
        (line,) = (line for line in self.lines() if text in marked(line))
        return line

    def looks(self, text: str) -> set[Look]:
        """The looks in the one line that has this mark in it."""
        (number,) = (at for at, line in enumerate(self.terminal.screen().splitlines()) if text in marked(line))
        return self.terminal.looks()[number]

    def topic(self) -> str:
        return self.terminal.shown()

    def people(self) -> set[str] | None:
        return None

    async def set_topic(self, topic: str) -> None:
        self.terminal.type(f"/topic {topic}")

    async def stop(self) -> None:
        self.terminal.end()


class WeechatPeer(ScreenPeer):
    """WeeChat, with SASL PLAIN over TLS."""

    program = "weechat"

    async def start(self, server: Server) -> None:
        server.register(self.account, PASSWORD)
        self.home.mkdir()
        tls = self._word_for_tls()
        commands = (
            "/mouse disable",
            # Lines that are typed as fast as these are would be taken for a paste.
            "/set weechat.look.paste_max_lines -1",
            "/set weechat.bar.nicklist.hidden on",
            "/set weechat.bar.buflist.hidden on",
            "/set irc.look.smart_filter off",
            "/filter disable",
            f"/server add tri 127.0.0.1/{server.ports['irc_tls']} -{tls}",
            f"/set irc.server.tri.{tls}_verify off",
            f"/set irc.server.tri.nicks {self.account}",
            "/set irc.server.tri.sasl_mechanism plain",
            f"/set irc.server.tri.sasl_username {self.account}",
            f"/set irc.server.tri.sasl_password {PASSWORD}",
            "/connect tri",
        )
        run = [word for command in commands for word in ("--run-command", command)]
        self.terminal = Terminal(self.home, ["weechat", "--dir", str(self.home / "weechat"), *run])
        await self.terminal.wait_for("SASL authentication successful")
        await self.terminal.wait_for("Welcome")

    def _word_for_tls(self) -> str:
        """Versions before 4 say ssl."""
        version = subprocess.run(["weechat", "--version"], capture_output=True, text=True, timeout=10, check=True)
        return "ssl" if int(version.stdout.split(".")[0]) < 4 else "tls"

    async def join(self) -> None:
        self.terminal.type(f"/join {CHANNEL}")
        await self.terminal.wait_for(f"Channel {CHANNEL}:")

    def in_room(self) -> bool:
        return "You have been kicked" not in self.terminal.screen()

    async def leave(self) -> None:
        self.terminal.type("/part enough tea")
        await self.terminal.wait_for("has left #tea")

    async def go_away(self) -> None:
        self.terminal.type("/disconnect tri")
        await self.terminal.wait_for("disconnected from server")

    async def come_back(self) -> None:
        """The server puts the account back into its channels."""
        count = self.terminal.screen().count(f"Channel {CHANNEL}:")
        self.terminal.type("/connect tri")
        await until(lambda: self.terminal.screen().count(f"Channel {CHANNEL}:") > count, self.terminal.shown)


class IrssiPeer(ScreenPeer):
    """irssi, with SASL PLAIN, in plain text on loopback."""

    program = "irssi"

    async def start(self, server: Server) -> None:
        server.register(self.account, PASSWORD)
        self.home.mkdir()
        config = self.home / "irssi"
        config.mkdir()
        (config / "config").write_text(
            f"""
            servers = ( {{ address = "127.0.0.1"; chatnet = "tri"; port = "{server.ports["irc"]}"; }} );
            chatnets = {{ tri = {{ type = "IRC"; nick = "{self.account}"; sasl_mechanism = "PLAIN";
              sasl_username = "{self.account}"; sasl_password = "{PASSWORD}"; }}; }};
            settings = {{ core = {{ real_name = "{self.account}"; user_name = "{self.account}"; }};
              "fe-common/core" = {{ autolog = "no"; }};
              # What it asks about a channel goes out at once, instead of a line every two seconds.
              "irc/core" = {{ cmd_queue_speed = "10msec"; cmds_max_at_once = "100"; }}; }};
            """
        )
        self.terminal = Terminal(self.home, ["irssi", f"--home={config}"])
        await self.terminal.wait_for("Irssi")
        self.terminal.type("/connect tri")
        await self.terminal.wait_for("SASL authentication succe")
        await self.terminal.wait_for("Welcome")

    async def join(self) -> None:
        self.terminal.type(f"/join {CHANNEL}")
        await self.terminal.wait_for(f"Irssi: Join to {CHANNEL} was synced")

    def in_room(self) -> bool:
        return "You have been kicked" not in self.terminal.screen()

    async def leave(self) -> None:
        self.terminal.type("/part enough tea")
        await until(lambda: f"tri/{CHANNEL}" not in self.terminal.screen(), self.terminal.shown, PATIENCE_S)

    async def go_away(self) -> None:
        self.terminal.type("/disconnect")
        await until(lambda: f"tri/{CHANNEL}" not in self.terminal.screen(), self.terminal.shown)

    async def come_back(self) -> None:
        """The server puts the account back into its channels."""
        count = self.terminal.screen().count("was synced")
        self.terminal.type("/connect tri")
        await until(lambda: self.terminal.screen().count("was synced") > count, self.terminal.shown)


class ProfanityPeer(ScreenPeer):
    """Profanity, over STARTTLS with the server's self-made certificate trusted."""

    program = "profanity"

    async def start(self, server: Server) -> None:
        server.register(self.account, PASSWORD)
        self.home.mkdir()
        self.room = f"{ROOM}@rooms.{server.name}"
        self.terminal = Terminal(self.home, ["profanity", "--log", "DEBUG"])
        await self.terminal.wait_for("Profanity")
        settings = ("/splash off", "/occupants default hide", "/wrap off", "/history off", "/intype off")
        # Who comes and goes is shown, as the terminal clients of IRC do.
        for line in (*settings, "/presence room online"):
            self.terminal.type(line)
        address = f"server 127.0.0.1 port {server.ports['xmpp']}"
        self._connect = f"/connect {self.account}@{server.name} {address} tls trust"
        self.terminal.type(self._connect)
        await self.terminal.wait_for("Enter password:")
        self.terminal.type(PASSWORD)
        await self.terminal.wait_for("logged in successfully")

    async def join(self) -> None:
        self.terminal.type(f"/join {self.room} nick {self.account}")
        await self.terminal.wait_for("You have joined the room")

    def in_room(self) -> bool:
        return "Kicked from room" not in self.terminal.screen()

    async def leave(self) -> None:
        self.terminal.type("/leave")

    async def correct(self, text: str) -> None:
        """What was said last, in other words. spec: XEP-0308"""
        self.terminal.type(f"/correct {text}")

    async def set_topic(self, topic: str) -> None:
        self.terminal.type(f"/subject set {topic}")

    async def go_away(self) -> None:
        self.terminal.type("/disconnect")
        await self.terminal.wait_for("logged out successfully")

    async def come_back(self) -> None:
        """It enters what is bookmarked by itself: the rooms of the account."""
        self.terminal.type(self._connect)
        await self.terminal.wait_for("Enter password:")
        self.terminal.type(PASSWORD)
        await self.terminal.wait_for(f"Autojoined {self.room}")
        self.terminal.type("/win 2")
        await self.terminal.wait_for("You have joined the room")
