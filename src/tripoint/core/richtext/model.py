"""Rich text: the one neutral form of a message's text, between Matrix HTML, IRC codes and XMPP styling.

spec: docs/mapping.md 10.5, 10.6, 2.10. A text is blocks; a block of words is a row of inlines: runs with a
style, mentions, rooms, line breaks. Values only: reading and writing HTML is in html.py, plain text
here, IRC codes and XMPP styling in their front ends. Tables and images have no form of their own: they are
turned into text when HTML is read, and the event keeps the HTML for Matrix readers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from tripoint.core.ids import RoomAlias, RoomId, UserId


@dataclass(frozen=True, slots=True)
class Style:
    """How a run looks. Colours are 0xRRGGBB. `spoiler` is the reason for hiding it, "" for none given."""

    bold: bool = False
    italic: bool = False
    underline: bool = False
    strike: bool = False
    code: bool = False
    foreground: int | None = None
    background: int | None = None
    spoiler: str | None = None


PLAIN: Final = Style()


@dataclass(frozen=True, slots=True)
class Run:
    """Text of one style on one line (no line feeds outside code blocks), perhaps a link.

    `link` is an absolute URL of a permitted scheme (is_safe_url).
    """

    text: str
    style: Style = PLAIN
    link: str | None = None


@dataclass(frozen=True, slots=True)
class Mention:
    """A user, named as the writer named them. Each reader is shown the name his client highlights on."""

    user_id: UserId
    text: str


@dataclass(frozen=True, slots=True)
class RoomPill:
    """A room, by alias or id, named as the writer named it."""

    room: RoomAlias | RoomId
    text: str


@dataclass(frozen=True, slots=True)
class Break:
    """The end of a line within a paragraph."""


BREAK: Final = Break()

Inline: TypeAlias = Run | Mention | RoomPill | Break


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Words."""

    inlines: tuple[Inline, ...]


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of level 1 to 6."""

    level: int
    inlines: tuple[Inline, ...]


@dataclass(frozen=True, slots=True)
class CodeBlock:
    """Preformatted text, lines separated by line feeds; `language` may be empty."""

    text: str
    language: str = ""


@dataclass(frozen=True, slots=True)
class Quote:
    """What somebody else said."""

    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class ItemList:
    """A list. `start` is the number of the first item, None for one without numbers."""

    items: tuple[tuple[Block, ...], ...]
    start: int | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """A line across."""


Block: TypeAlias = Paragraph | Heading | CodeBlock | Quote | ItemList | Rule


@dataclass(frozen=True, slots=True)
class RichText:
    """A message's text."""

    blocks: tuple[Block, ...] = ()

    @property
    def line(self) -> str | None:
        """The words, where they are one line without anything to it, as most texts are; else None."""
        if len(self.blocks) != 1:
            return None
        block = self.blocks[0]
        if type(block) is not Paragraph or len(block.inlines) != 1:
            return None
        run = block.inlines[0]
        return run.text if type(run) is Run and run.style is PLAIN and run.link is None else None

    @property
    def is_plain(self) -> bool:
        """Whether from_plain(to_plain(text)) gives the same: nothing but words and line ends."""
        if not self.blocks or self.line is not None:
            return True
        first = self.blocks[0]
        return (
            len(self.blocks) == 1
            and isinstance(first, Paragraph)
            and all(
                isinstance(i, Break) or (isinstance(i, Run) and i.style == PLAIN and i.link is None)
                for i in first.inlines
            )
        )


# What a reader's client may be told to open. Relative URLs and javascript: never. `xmpp` and `matrix`, `geo`
# and `irc` name what our own users write. spec: Matrix m.room.message msgtypes, `a`
_SCHEMES: Final = (
    "https://", "http://", "ftp://", "mailto:", "magnet:", "xmpp:", "matrix:", "geo:", "irc://", "ircs://"
)  # fmt: skip


def is_safe_url(url: str) -> bool:
    """Whether a link may carry this URL: a permitted scheme, no white space, controls or quotes."""
    return url.lower().startswith(_SCHEMES) and not any(
        char.isspace() or char in '<>"' or not char.isprintable() for char in url
    )


def with_line_feeds(text: str) -> str:
    """The text with a line feed at each end of a line, where there may be CR LF or CR."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def inlines_of(text: str, style: Style = PLAIN, link: str | None = None) -> tuple[Inline, ...]:
    """Runs for the lines of `text`, with breaks between them. CR LF and CR end lines as LF does."""
    found: list[Inline] = []
    for number, line in enumerate(with_line_feeds(text).split("\n")):
        if number:
            found.append(BREAK)
        if line:
            found.append(Run(line, style, link))
    return tuple(found)


def from_plain(text: str) -> RichText:
    """Text without any formatting: one paragraph, a break for each line feed."""
    inlines = inlines_of(text)
    return RichText((Paragraph(inlines),)) if inlines else RichText()


def merge_runs(inlines: Iterable[Inline]) -> tuple[Inline, ...]:
    """Neighbouring runs of one style and link made one; empty runs left out."""
    merged: list[Inline] = []
    for inline in inlines:
        if isinstance(inline, Run):
            if not inline.text:
                continue
            last = merged[-1] if merged else None
            if isinstance(last, Run) and last.style == inline.style and last.link == inline.link:
                merged[-1] = Run(last.text + inline.text, inline.style, inline.link)
                continue
        merged.append(inline)
    return tuple(merged)


def to_plain(text: RichText, *, spoilers: bool = True) -> str:
    """The text without formatting, as for `body`: code-free, links as `text <url>`, lists `- `, quotes `> `.

    `spoilers=False` writes [Spoiler] in place of what is hidden.
    """
    line = text.line
    return "\n".join(_lines(text.blocks, spoilers)) if line is None else line


def _lines(blocks: tuple[Block, ...], spoilers: bool) -> Iterator[str]:
    previous: Block | None = None
    for block in blocks:
        if isinstance(block, Paragraph) and isinstance(previous, Paragraph):
            yield ""
        if isinstance(block, (Paragraph, Heading)):
            yield from inline_text(block.inlines, spoilers=spoilers).split("\n")
        elif isinstance(block, CodeBlock):
            yield from block.text.split("\n")
        elif isinstance(block, Quote):
            for line in _lines(block.blocks, spoilers):
                yield f"> {line}"
        elif isinstance(block, ItemList):
            for number, item in enumerate(block.items):
                sign = "- " if block.start is None else f"{block.start + number}. "
                for at, line in enumerate(_lines(item, spoilers)):
                    yield (" " * len(sign) if at else sign) + line
        else:
            yield "---"
        previous = block


def inline_text(inlines: Iterable[Inline], *, spoilers: bool = True) -> str:
    """The words of one block, line feeds for breaks."""
    parts: list[str] = []
    link, shown = None, ""
    for inline in (*inlines, BREAK):
        if link is not None and (not isinstance(inline, Run) or inline.link != link):
            # The link ends here: its address, unless the words are the address.
            if shown.strip() not in (link, link.removeprefix("mailto:")):
                parts.append(f" <{link}>")
            link, shown = None, ""
        if isinstance(inline, Run):
            hidden = inline.style.spoiler is not None and not spoilers
            words = _spoiler_note(inline.style.spoiler) if hidden else inline.text
            parts.append(words)
            if inline.link is not None and not hidden:
                link, shown = inline.link, shown + inline.text
        elif isinstance(inline, Break):
            parts.append("\n")
        else:
            parts.append(inline.text)
    parts.pop()
    return "".join(parts)


def _spoiler_note(reason: str | None) -> str:
    return f"[Spoiler for {reason}]" if reason else "[Spoiler]"


def walk_inlines(blocks: Iterable[Block]) -> Iterator[Inline]:
    """Every inline of these blocks in reading order, those within quotes and lists too."""
    for block in blocks:
        if isinstance(block, (Paragraph, Heading)):
            yield from block.inlines
        elif isinstance(block, Quote):
            yield from walk_inlines(block.blocks)
        elif isinstance(block, ItemList):
            for item in block.items:
                yield from walk_inlines(item)


def mentioned_users(text: RichText) -> tuple[UserId, ...]:
    """The users mentioned outside quotes, each once, in order: what m.mentions lists for this text."""
    if text.line is not None:
        return ()
    unquoted = (block for block in text.blocks if not isinstance(block, Quote))
    return tuple(
        dict.fromkeys(inline.user_id for inline in walk_inlines(unquoted) if isinstance(inline, Mention))
    )
