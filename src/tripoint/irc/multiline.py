"""Messages of several lines as one: what a client sends piece by piece, and the pieces of what it is sent. Pure.

Where a client has cut a long line (`cuts`) is kept with the message, so that others get the pieces that it made:
"Servers SHOULD maintain the line composition sent by the client".
spec: IRCv3 multiline, client-batch; docs/mapping.md 10.7, 10.8.  Read next: commands/batch.py, render.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tripoint.irc.refusals import Failed
from tripoint.irc.splitting import cut_at, fitting
from tripoint.irc.tables import MULTILINE_MAX_BYTES, MULTILINE_MAX_LINES, fold
from tripoint.irc.wire import Line

BATCH_TYPE: Final = "draft/multiline"
CONCAT_TAG: Final = "draft/multiline-concat"


class Whole(Line, frozen=True):
    """A message of several lines as one line of the client. `cuts`: indices in its text where a line was cut."""

    cuts: tuple[int, ...] = ()


@dataclass(slots=True)
class Collected:
    """A batch that a client has opened: `tags` and `label` are of the line that did, at `opened_ms`.

    After a mistake `failed` is set, and what is still to come of the batch counts for nothing. `answered`: its label
    is, by what was said of that.
    """

    reference: str
    target: str
    tags: Mapping[str, str]
    opened_ms: int
    command: str = ""
    parts: list[str] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    length: int = 0
    lines: int = 0
    size: int = 0
    utf8: bool = True
    failed: bool = False
    answered: bool = False

    def add(self, line: Line) -> None:
        """One PRIVMSG or NOTICE of the batch. Raises Failed with what the specification has for each mistake."""
        if line.command not in ("PRIVMSG", "NOTICE") or len(line.params) < 2 or line.command != (
            self.command or line.command
        ):
            raise Failed("MULTILINE_INVALID", text="A multiline batch is PRIVMSGs alone, or NOTICEs alone")
        target, text = line.params[0], line.params[1]
        if fold(target) != fold(self.target):
            raise Failed("MULTILINE_INVALID_TARGET", self.target, target, text="Invalid multiline target")
        joined = CONCAT_TAG in line.tags and bool(self.parts)
        if CONCAT_TAG in line.tags and not text:
            raise Failed("MULTILINE_INVALID", text="Invalid multiline batch with concatenated blank line")
        self.command = line.command
        self.utf8 = self.utf8 and line.utf8
        self.lines += 1
        self.size += len(text.encode("utf-8", "replace")) + (1 if self.parts and not joined else 0)
        if self.lines > MULTILINE_MAX_LINES:
            limit = str(MULTILINE_MAX_LINES)
            raise Failed("MULTILINE_MAX_LINES", limit, text="Multiline batch max-lines exceeded")
        if self.size > MULTILINE_MAX_BYTES:
            limit = str(MULTILINE_MAX_BYTES)
            raise Failed("MULTILINE_MAX_BYTES", limit, text="Multiline batch max-bytes exceeded")
        if joined:
            self.cuts.append(self.length)
            self.parts[-1] += text
        else:
            self.length += 1 if self.parts else 0
            self.parts.append(text)
        self.length += len(text)

    def message(self) -> Whole:
        """The whole as one line of the client. Raises Failed where there is nothing in it."""
        text = "\n".join(self.parts)
        if not text.strip("\n"):
            raise Failed("MULTILINE_INVALID", text="Invalid multiline batch with blank lines only")
        if text.startswith("\x01") and not text.startswith("\x01ACTION "):
            raise Failed("MULTILINE_INVALID", text="A CTCP has one line")
        return Whole(self.command, (self.target, text), "", self.tags, self.utf8, tuple(self.cuts))


def pieces(text: str, budget: int, cuts: Sequence[int] = ()) -> list[tuple[str, bool]] | None:
    """(text, whether it goes on with the line before) of a message; None if it is one line, or too much for a batch.

    Put together again the pieces are the text, blank lines too; spaces stay at the ends of pieces. Long lines are cut
    where their writer has cut them, at `cuts`, and what is still too long where it is best.
    """
    size = len(text.encode("utf-8", "replace"))
    if "\n" not in text and not cuts and size <= budget:
        return None
    if size > MULTILINE_MAX_BYTES or text.count("\n") + len(cuts) >= MULTILINE_MAX_LINES:
        return None
    found: list[tuple[str, bool]] = []
    at = 0
    for line in text.split("\n"):
        for number, part in enumerate(cut_at(line, cuts, at)):
            goes_on = number > 0
            while True:
                end = fitting(part, budget)
                found.append((part[:end], goes_on))
                part, goes_on = part[end:], True
                if not part:
                    break
        at += len(line) + 1
    return found
