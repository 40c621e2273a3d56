"""IRC text to the project's rich text and back. Pure.

spec: docs/mapping.md 2.10, 3.8, 10.5, 10.6.  The codes themselves are formatting.py's.  What IRC cannot show
(headings, tables, images) is shown as text, links as ``text <url>``, spoilers as text on its own colour.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from tripoint.core.ids import UserId
from tripoint.core.richtext import (
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
)
from tripoint.irc import formatting as codes
from tripoint.irc.formatting import parse_codes, render_codes

Mentions = Callable[[str], UserId | None]
NickOf = Callable[[UserId, str], str]
ChannelOf = Callable[[RoomPill], str]

# Words that could be nicks, from where a word can begin; `:` and `,` after one end it (MAPPING 2.10).
# People of other XMPP servers have a `|` in theirs; other nicks may stand beside one.
_WORD = re.compile(r"(?<![\w#/:.@-])@?([\w\[\]{}^\\`][\w\[\]{}^\\`.~:/=-]*(?:\|[\w.-]+)?)", re.ASCII)
_SPOILER = "000000"


# --- in ------------------------------------------------------------------------------------------------


def mentioned(text: str, mentions: Mentions) -> list[tuple[int, int, UserId]]:
    """Where `text` names members: (start, end, who) of each, in order."""
    found = []
    at = 0
    while (match := _WORD.search(text, at)) is not None:
        word = match[1]
        user = mentions(word)
        at = match.end()
        while user is None and "|" in word and word[-1] in ".-":
            word = word[:-1]
            user = mentions(word)
        if user is None and "|" in word:
            word = word.partition("|")[0]
            user = mentions(word)
            at = match.start(1) + len(word)
        while user is None and word and word[-1] in ".:-~/=":
            word = word[:-1]
            user = mentions(word) if word else None
        if user is not None:
            found.append((match.start(), match.start(1) + len(word), user))
    return found


def from_irc(text: str, found: Sequence[tuple[int, int, UserId]] = ()) -> RichText:
    """Rich text of a message. `found` are mentions by place in the text without codes."""
    inlines: list[Inline] = []
    at = 0
    spans = list(found)
    for part, style in parse_codes(text):
        neutral = _neutral(style)
        start, end = 0, len(part)
        while start < end:
            if spans and spans[0][0] <= at + start:
                # A name may begin in one run and end in the next; it is one mention all the same.
                first, last, user = spans[0]
                if first == at + start:
                    inlines.append(Mention(user, ""))
                taken = min(end, last - at)
                mention = inlines[-1]
                assert isinstance(mention, Mention)
                inlines[-1] = Mention(mention.user_id, mention.text + part[start:taken])
                if taken == last - at:
                    spans.pop(0)
                start = taken
                continue
            stop = min(end, spans[0][0] - at) if spans else end
            for number, line in enumerate(part[start:stop].split("\n")):
                if number:
                    inlines.append(Break())
                if line:
                    inlines.append(Run(line, neutral))
            start = stop
        at += end
    return RichText((Paragraph(tuple(inlines)),)) if inlines else RichText()


def _neutral(style: codes.Style) -> Style:
    foreground, background = style.foreground, style.background
    if style.reverse:
        foreground, background = background, foreground
    return Style(
        bold=style.bold,
        italic=style.italic,
        underline=style.underline,
        strike=style.strike,
        code=style.monospace,
        foreground=int(foreground, 16) if foreground else None,
        background=int(background, 16) if background else None,
    )


# --- out -----------------------------------------------------------------------------------------------


def to_irc(text: RichText, nick_of: NickOf, channel_of: ChannelOf) -> str:
    """Text with codes, lines separated by line feeds. `nick_of` gets a user and how the writer named them."""
    return "\n".join(render_codes(line) for line in _lines(text.blocks, nick_of, channel_of))


def _lines(blocks: Sequence[Block], nick_of: NickOf, channel_of: ChannelOf) -> Iterator[list[codes.Run]]:
    for block in blocks:
        if isinstance(block, Paragraph):
            yield from _words(block.inlines, nick_of, channel_of)
        elif isinstance(block, Heading):
            for line in _words(block.inlines, nick_of, channel_of):
                yield [(part, codes.Style(bold=True)) for part, _ in line]
        elif isinstance(block, CodeBlock):
            for words in block.text.split("\n"):
                yield [(words, codes.Style(monospace=True))] if words else []
        elif isinstance(block, Quote):
            for line in _lines(block.blocks, nick_of, channel_of):
                yield [("> ", codes.PLAIN), *line]
        elif isinstance(block, ItemList):
            for number, item in enumerate(block.items):
                sign = "- " if block.start is None else f"{block.start + number}. "
                for at, line in enumerate(_lines(item, nick_of, channel_of)):
                    yield [(" " * len(sign) if at else sign, codes.PLAIN), *line]
        else:
            yield [("---", codes.PLAIN)]


def _words(inlines: Sequence[Inline], nick_of: NickOf, channel_of: ChannelOf) -> Iterator[list[codes.Run]]:
    line: list[codes.Run] = []
    link, shown = None, ""
    for inline in (*inlines, Break()):
        if link is not None and (not isinstance(inline, Run) or inline.link != link):
            if shown.strip() not in (link, link.removeprefix("mailto:")):
                line.append((f" <{link}>", codes.PLAIN))
            link, shown = None, ""
        if isinstance(inline, Run):
            if inline.style.spoiler is not None:
                line.append(("[spoiler] ", codes.PLAIN))
            line.append((_coded(inline.text), _shown(inline.style)))
            if inline.link is not None:
                link, shown = inline.link, shown + inline.text
        elif isinstance(inline, Mention):
            line.append((nick_of(inline.user_id, inline.text), codes.PLAIN))
        elif isinstance(inline, RoomPill):
            line.append((channel_of(inline), codes.PLAIN))
        else:
            yield line
            line = []


def _coded(text: str) -> str:
    """Control codes that came in as characters are not ours to send on as codes."""
    return codes.strip_codes(text)


def _shown(style: Style) -> codes.Style:
    if style.spoiler is not None:
        # spec: docs/mapping.md 10.6: foreground on the same background; clients show it when selected.
        return codes.Style(foreground=_SPOILER, background=_SPOILER)
    return codes.Style(
        bold=style.bold,
        italic=style.italic,
        underline=style.underline,
        strike=style.strike,
        monospace=style.code,
        foreground="" if style.foreground is None else f"{style.foreground:06x}",
        background="" if style.background is None else f"{style.background:06x}",
    )
