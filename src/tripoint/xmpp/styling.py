"""Message Styling and the neutral text: XEP-0393 bodies to core.richtext and back. Pure.

spec: XEP-0393 6; docs/mapping.md 10.5, 10.6. What styling cannot say (underline, colour, bold within a word)
is left out; tables and the like are text before they come here. Directives are not part of the neutral text:
they are read off and written again.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from tripoint.core.richtext import (
    BREAK,
    PLAIN,
    Block,
    Break,
    CodeBlock,
    Heading,
    Inline,
    ItemList,
    Mention,
    Paragraph,
    Quote,
    RichText,
    RoomPill,
    Run,
    Style,
    from_plain,
    merge_runs,
)

_BOLD, _ITALIC, _STRIKE, _CODE = "*", "_", "~", "`"
_MIGHT_BE_STYLED = re.compile(r"[*_~`]|^>", re.MULTILINE)
_FENCE: Final = "```"
_LANGUAGE = re.compile(r"[A-Za-z0-9+#._-]{1,32}\Z")
_MAX_QUOTES: Final = 16  # nobody reads deeper; what is deeper stays text

# -- reading


def parse_styling(body: str) -> RichText:
    """The text that a styled body stands for. Never fails; time is linear in the length."""
    if _MIGHT_BE_STYLED.search(body) is None:
        return from_plain(body)
    return RichText(_blocks(body.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 0))


def _blocks(lines: list[str], depth: int) -> tuple[Block, ...]:
    """spec: XEP-0393 6.1: preformatted text, quotations, and plain lines."""
    blocks: list[Block] = []
    plain: list[Inline] = []

    def end_plain() -> None:
        if plain:
            plain.pop()  # the break after the last line belongs to the block's end
            inlines = merge_runs(plain)
            # An empty line alone is a paragraph too: a break stands for it.
            blocks.append(Paragraph(inlines or (BREAK,)))
            plain.clear()

    at = 0
    while at < len(lines):
        line = lines[at]
        if line.startswith(_FENCE):
            end_plain()
            end = next((i for i in range(at + 1, len(lines)) if lines[i] == _FENCE), len(lines))
            note = line[len(_FENCE) :].strip()
            blocks.append(CodeBlock("\n".join(lines[at + 1 : end]), note if _LANGUAGE.match(note) else ""))
            at = end + 1
        elif line.startswith(">") and depth < _MAX_QUOTES:
            end_plain()
            end = at
            while end < len(lines) and lines[end].startswith(">"):
                end += 1
            inner = [_unquoted(quoted) for quoted in lines[at:end]]
            blocks.append(Quote(_blocks(inner, depth + 1)))
            at = end
        else:
            plain += _spans(line, PLAIN)
            plain.append(BREAK)
            at += 1
    end_plain()
    return tuple(blocks)


def _unquoted(line: str) -> str:
    # spec: XEP-0393 6.1.3: the first leading whitespace character is trimmed
    return line[2:] if len(line) > 1 and line[1].isspace() else line[1:]


def _spans(text: str, style: Style) -> list[Run]:
    """spec: XEP-0393 6.2: from the beginning, lazily matched; a directive that closes nothing is text."""
    runs: list[Run] = []
    start = at = 0
    hopeless: set[str] = set()  # directives that have no closing partner in the rest of this text
    while at < len(text):
        char = text[at]
        if char not in _STYLES or char in hopeless or not _may_open(text, at):
            at += 1
            continue
        end = _closing(text, at)
        if end is None:
            hopeless.add(char)
            at += 1
        elif end == at + 1:
            at += 2  # nothing between the two: neither is a directive
        else:
            if at > start:
                runs.append(Run(text[start:at], style))
            inner = text[at + 1 : end]
            inside = _STYLES[char](style)
            runs += [Run(inner, inside)] if char == _CODE else _spans(inner, inside)
            start = at = end + 1
    if start < len(text):
        runs.append(Run(text[start:], style))
    return runs


_STYLES: Final[dict[str, Callable[[Style], Style]]] = {
    _BOLD: lambda style: replace(style, bold=True),
    _ITALIC: lambda style: replace(style, italic=True),
    _STRIKE: lambda style: replace(style, strike=True),
    _CODE: lambda style: replace(style, code=True),
}


def _may_open(text: str, at: int) -> bool:
    before_ok = at == 0 or text[at - 1].isspace()
    return before_ok and at + 1 < len(text) and not text[at + 1].isspace()


def _closing(text: str, opening: int) -> int | None:
    char = text[opening]
    at = text.find(char, opening + 1)
    while at != -1 and text[at - 1].isspace():
        at = text.find(char, at + 1)
    return None if at == -1 else at


# -- writing


@dataclass(frozen=True, slots=True)
class StyledBody:
    """A body for XMPP. `unstyled`: it holds characters that would be read as directives and are none."""

    body: str
    unstyled: bool


Naming = Callable[[Mention | RoomPill], str]


def render_styling(text: RichText, name: Naming = lambda pill: pill.text) -> StyledBody:
    """The body for readers on XMPP; `name` is how a mention or a room is called for them."""
    if text.is_plain:
        return render_plain("\n".join(_plain_lines(text)))
    return StyledBody("\n".join(_lines(text.blocks, name)), False)


def render_plain(body: str) -> StyledBody:
    """A body that has no formatting, as it is."""
    return StyledBody(body, _MIGHT_BE_STYLED.search(body) is not None and not parse_styling(body).is_plain)


def _plain_lines(text: RichText) -> Iterable[str]:
    for block in text.blocks:
        if isinstance(block, Paragraph):
            yield "".join(inline.text if not isinstance(inline, Break) else "\n" for inline in block.inlines)


def _lines(blocks: tuple[Block, ...], name: Naming) -> list[str]:
    lines: list[str] = []
    previous: Block | None = None
    for block in blocks:
        if isinstance(block, Paragraph) and isinstance(previous, Paragraph):
            lines.append("")
        if isinstance(block, Paragraph):
            lines += _inline(block.inlines, name).split("\n")
        elif isinstance(block, Heading):
            bold = tuple(
                Run(i.text, replace(i.style, bold=True), i.link) if isinstance(i, Run) else i for i in block.inlines
            )
            lines += _inline(bold, name).split("\n")
        elif isinstance(block, CodeBlock):
            lines += [_FENCE + block.language, *block.text.split("\n"), _FENCE]
        elif isinstance(block, Quote):
            lines += [f"> {line}" for line in _lines(block.blocks, name)]
        elif isinstance(block, ItemList):
            for number, item in enumerate(block.items):
                sign = "- " if block.start is None else f"{block.start + number}. "
                lines += [(" " * len(sign) if at else sign) + line for at, line in enumerate(_lines(item, name))]
        else:
            lines.append("---")
        previous = block
    return lines


def _inline(inlines: Iterable[Inline], name: Naming) -> str:
    out: list[str] = []
    link: str | None = None
    shown = ""
    for inline in (*inlines, BREAK):
        if link is not None and (not isinstance(inline, Run) or inline.link != link):
            if shown.strip() not in (link, link.removeprefix("mailto:")):
                out.append(f" <{link}>")
            link, shown = None, ""
        if isinstance(inline, Run):
            out.append(_marked(inline, out[-1][-1:] if out else ""))
            if inline.link is not None:
                link, shown = inline.link, shown + inline.text
        elif isinstance(inline, Break):
            out.append("\n")
        else:
            out.append(name(inline))
    out.pop()
    return "".join(out)


def _marked(run: Run, before: str) -> str:
    """The run between its directives, if a reader would find them there; else the bare text."""
    style = run.style
    if style.code:
        marks = _CODE
    else:
        marks = (_BOLD if style.bold else "") + (_ITALIC if style.italic else "") + (_STRIKE if style.strike else "")
    core = run.text.strip()
    if not marks or not core:
        return run.text
    head = run.text[: len(run.text) - len(run.text.lstrip())]
    tail = run.text[len(run.text.rstrip()) :]
    may_open = bool(head) or not before or before.isspace()
    if not may_open or any(mark in core for mark in marks):
        return run.text
    return f"{head}{marks}{core}{marks[::-1]}{tail}"
