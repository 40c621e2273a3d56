"""A program in a terminal: tmux runs it, keys go in, the screen comes out.

Each has a tmux server of its own on a socket of its own, and its own home folder; both end with it. The screen is
tall and wide enough that nothing of a test scrolls away or is wrapped.
"""

import os
import re
import subprocess
from pathlib import Path

from tests.interop.peer import until

WIDTH, HEIGHT = 240, 200

# How a letter looks: its colour, what is behind it, bold and so on, as far as these are not the usual ones.
Look = frozenset[tuple[str, str]]
_WHAT = {"3": "colour", "4": "behind"}
_SEQUENCE = re.compile(r"\x1b\[([0-9;]*)m")


def _after(look: dict[str, str], codes: str) -> dict[str, str]:
    """How letters look after one sequence of Select Graphic Rendition (ECMA-48 8.3.117), as tmux writes them."""
    if codes.startswith(("38;", "48;")):
        return look | {_WHAT[codes[:1]]: codes}
    now = dict(look)
    for code in codes.split(";"):
        if code in ("", "0"):
            now = {}
        elif code in ("39", "49"):
            now.pop(_WHAT[code[:1]], None)
        elif len(code) == 1:
            now[code] = code
        else:
            now[_WHAT["4" if code.startswith(("4", "10")) else "3"]] = code
    return now


class Terminal:
    """One program. `home` becomes its home folder; nothing of the person who runs the tests is read."""

    def __init__(self, home: Path, command: list[str]) -> None:
        self._socket = str(home / "tmux.sock")
        env = {"HOME": str(home), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TERM": "xterm-256color"}
        env |= {f"XDG_{name}_HOME": str(home / f"xdg-{name.lower()}") for name in ("CONFIG", "DATA", "CACHE")}
        self._env = env
        size = ("-x", str(WIDTH), "-y", str(HEIGHT))
        self._tmux("-f", "/dev/null", "new-session", "-d", "-s", "test", *size, *command)

    def _tmux(self, *arguments: str) -> str:
        command = ["tmux", "-S", self._socket, *arguments]
        done = subprocess.run(command, env=self._env, capture_output=True, text=True, timeout=10, check=False)
        assert done.returncode == 0, f"tmux {arguments[0]}: {done.stderr}"
        return done.stdout

    def type(self, line: str) -> None:
        """Type a line and press Enter."""
        self._tmux("send-keys", "-t", "test", "-l", line)
        self._tmux("send-keys", "-t", "test", "Enter")

    def screen(self) -> str:
        return self._tmux("capture-pane", "-p", "-t", "test")

    def looks(self) -> list[set[Look]]:
        """For each line of the screen how its letters look, in whatever order."""
        look: dict[str, str] = {}
        lines = []
        for line in self._tmux("capture-pane", "-p", "-e", "-t", "test").splitlines():
            found: set[Look] = set()
            first, *rest = _SEQUENCE.split(line)
            for codes, text in [(None, first), *zip(rest[::2], rest[1::2], strict=True)]:
                look = look if codes is None else _after(look, codes)
                if text.strip():
                    found.add(frozenset(look.items()))
            lines.append(found)
        return lines

    async def wait_for(self, text: str, patience_s: float = 20.0) -> None:
        """Until `text` is on the screen; fails with the screen."""
        await until(lambda: text in self.screen(), lambda: f"no {text!r} on the screen:\n{self.shown()}", patience_s)

    def shown(self) -> str:
        """The screen without its empty lines."""
        return "\n".join(line.rstrip() for line in self.screen().splitlines() if line.strip())

    def end(self) -> None:
        """End the program and its tmux server. Never fails."""
        command = ["tmux", "-S", self._socket, "kill-server"]
        subprocess.run(command, env=self._env, capture_output=True, timeout=10, check=False)
