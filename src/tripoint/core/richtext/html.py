"""Rich text and the HTML of Matrix messages.

spec: Matrix client-server-api m.room.message msgtypes, spoiler-messages, user-and-room-mentions; appendices
matrix.to navigation. Reading takes any HTML, keeps the suggested subset and turns the rest into its text; a
`mx-reply` goes with what is in it. Writing gives only the subset. Tokens: html_tokens.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from html import escape
from typing import Final
from urllib.parse import quote, unquote

from tripoint.core.ids import (
    InvalidId,
    RoomAlias,
    RoomId,
    UserId,
    parse_room_alias,
    parse_room_id,
    parse_user_id,
)
from tripoint.core.richtext.html_tokens import EndTag, StartTag, Text, tokens
from tripoint.core.richtext.model import (
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
    Rule,
    Run,
    Style,
    is_safe_url,
    merge_runs,
)

# spec: "Tags must not be nested more than 100 levels deep"; what is deeper is read as if it had no tags.
# Blocks within blocks are cut earlier: nobody can see the thirty-third quote, and every writer walks them.
_MAX_OPEN: Final = 100
_MAX_BLOCK_DEPTH: Final = 32
_MAX_BYTES: Final = 65536  # no event is larger

_STYLE_TAGS: Final[dict[str, Style]] = {
    "b": Style(bold=True), "strong": Style(bold=True),
    "i": Style(italic=True), "em": Style(italic=True),
    "u": Style(underline=True), "ins": Style(underline=True),
    "s": Style(strike=True), "del": Style(strike=True), "strike": Style(strike=True),
    "code": Style(code=True), "tt": Style(code=True), "kbd": Style(code=True),
}  # fmt: skip
_HEADINGS: Final = {f"h{level}": level for level in range(1, 7)}
# Tags that end the paragraph before and after them, and have no form of their own here.
_PARAGRAPHS: Final = frozenset(
    {"p", "div", "table", "thead", "tbody", "tr", "caption", "details", "summary", "section", "article"}
)
_UNSEEN: Final = frozenset({"mx-reply", "script", "style", "head", "title", "template"})
_VOID: Final = frozenset({"br", "hr", "img", "wbr", "input", "meta", "link"})
_CELLS: Final = frozenset({"td", "th"})
_COLOUR = re.compile(r"#([0-9a-fA-F]{6})\Z")
_SPACES = re.compile(r"[ \t\r\n\f]+")
_MATRIX_TO: Final = "https://matrix.to/#/"
_MATRIX_URI = re.compile(r"matrix:(u|r|roomid)/([^/?#]+)(?:\?[^#]*)?\Z")


def from_html(html: str) -> RichText:
    """The text of a formatted_body. Never raises; over 65,536 characters the rest is left out."""
    reader = _Reader()
    for token in tokens(html[:_MAX_BYTES]):
        if isinstance(token, Text):
            reader.text(token.text)
        elif isinstance(token, StartTag):
            reader.start(token)
        elif isinstance(token, EndTag):
            reader.end(token.name)
    return RichText(reader.finish())


@dataclass(slots=True)
class _Open:
    """An element that is open: what to do at its end, and the style outside it."""

    name: str
    outer: Style
    at_end: Callable[[], None] | None = None


@dataclass(slots=True)
class _Link:
    href: str
    begins: int  # index into the inlines of the block being read


@dataclass(slots=True)
class _Reader:
    """Builds blocks from tags and text. One level per quote, list and list item."""

    levels: list[list[Block]] = field(default_factory=lambda: [[]])
    lists: list[list[tuple[Block, ...]]] = field(default_factory=list)
    inlines: list[Inline] = field(default_factory=list)
    style: Style = PLAIN
    open: list[_Open] = field(default_factory=list)
    link: _Link | None = None
    unseen: int = 0
    pre: list[str] | None = None
    language: str = ""

    # -- text

    def text(self, text: str) -> None:
        if self.unseen:
            return
        if self.pre is not None:
            self.pre.append(text)
            return
        text = _SPACES.sub(" ", text)
        if text.startswith(" ") and self._at_line_start():
            text = text[1:]
        # What _words and _inlines_html made of spaces in a row and at the start of a line.
        if "\u00a0" in text:
            text = text.replace(" \u00a0", "  ")
            if text.startswith("\u00a0") and (not self.inlines or isinstance(self.inlines[-1], Break)):
                text = " " + text[1:]
        if text:
            self.inlines.append(Run(text, self.style))

    def _at_line_start(self) -> bool:
        if not self.inlines:
            return True
        last = self.inlines[-1]
        return isinstance(last, Break) or (isinstance(last, Run) and last.text.endswith(" "))

    # -- tags

    def start(self, tag: StartTag) -> None:
        name = tag.name
        if name in _VOID:
            self._void(tag)
            return
        if len(self.open) >= _MAX_OPEN:
            return
        if name in _UNSEEN:
            self.unseen += 1
            self._push(name, self._end_unseen)
        elif self.unseen:
            self._push(name)
        elif self.pre is not None:
            # Within <pre> only the text counts; <code class="language-x"> names the language.
            if name == "code" and not self.language:
                self._note_language(tag)
            self._push(name)
        elif name == "pre":
            self._end_paragraph()
            self.pre, self.language = [], ""
            self._push(name, self._end_pre)
        elif name in _STYLE_TAGS:
            self._push(name)
            self._add_style(_STYLE_TAGS[name])
        elif name in ("span", "font"):
            self._push(name)
            self._add_style(_span_style(tag))
        elif name == "a":
            self._start_link(tag)
        elif name in _HEADINGS:
            self._end_paragraph()
            self._push(name, lambda: self._end_heading(_HEADINGS[name]))
        elif name == "blockquote":
            self._start_level(name, self._end_quote)
        elif name in ("ul", "ol"):
            self._start_list(tag)
        elif name == "li" and self.lists:
            self._end_open_item()
            self._start_level(name, self._end_item)
        elif name in _PARAGRAPHS or name == "li":
            self._end_paragraph()
            self._push(name, self._end_paragraph)
        elif name in _CELLS:
            # spec: "could fall back to rendering tab-delimited text"
            if self.inlines:
                self.inlines.append(Run("\t", self.style))
            self._push(name)
        else:
            self._push(name)

    def end(self, name: str) -> None:
        if name == "br":
            # </br> is a line break to browsers as well.
            self._void(StartTag("br", {}))
            return
        for index in range(len(self.open) - 1, -1, -1):
            if self.open[index].name == name:
                while len(self.open) > index:
                    self._pop()
                return
        if name == "p" and self.pre is None and not self.unseen:
            self._end_paragraph()

    def finish(self) -> tuple[Block, ...]:
        while self.open:
            self._pop()
        self._end_paragraph()
        return tuple(self.levels[0])

    def _push(self, name: str, at_end: Callable[[], None] | None = None) -> None:
        self.open.append(_Open(name, self.style, at_end))

    def _pop(self) -> None:
        element = self.open.pop()
        if element.at_end is not None:
            element.at_end()
        self.style = element.outer

    def _void(self, tag: StartTag) -> None:
        if self.unseen:
            return
        if tag.name == "br":
            if self.pre is not None:
                self.pre.append("\n")
            else:
                self._trim_line_end()
                self.inlines.append(BREAK)
        elif tag.name == "hr" and self.pre is None:
            self._end_paragraph()
            self.levels[-1].append(Rule())
        elif tag.name == "img":
            # A custom emoji or a small picture: its alternative text stands for it.
            self.text(tag.attributes.get("alt") or tag.attributes.get("title") or "")

    def _add_style(self, more: Style) -> None:
        self.style = _with(self.style, more)

    def _end_unseen(self) -> None:
        self.unseen -= 1

    # -- links

    def _start_link(self, tag: StartTag) -> None:
        href = tag.attributes.get("href", "").strip()
        if self.link is None and is_safe_url(href):
            self.link = _Link(href, len(self.inlines))
            self._push("a", self._end_link)
        else:
            self._push("a")

    def _end_link(self) -> None:
        link, self.link = self.link, None
        if link is None:
            return
        inside = self.inlines[link.begins :]
        words = "".join(inline.text for inline in inside if isinstance(inline, Run))
        pill = _pill(link.href, words)
        if pill is not None:
            self.inlines[link.begins :] = [pill]
            return
        self.inlines[link.begins :] = [
            replace(inline, link=link.href) if isinstance(inline, Run) else inline for inline in inside
        ]

    # -- blocks

    def _trim_line_end(self) -> None:
        last = self.inlines[-1] if self.inlines else None
        if isinstance(last, Run) and last.text.endswith(" "):
            trimmed = last.text.rstrip(" ")
            if trimmed:
                self.inlines[-1] = replace(last, text=trimmed)
            else:
                self.inlines.pop()

    def _take_inlines(self) -> tuple[Inline, ...]:
        # A link that goes over a block's end is a link in each of the blocks.
        link = self.link
        if link is not None:
            self._end_link()
            self.link = _Link(link.href, 0)
        self._trim_line_end()
        inlines, self.inlines = merge_runs(self.inlines), []
        # One break at the end of a block shows nothing.
        return inlines[:-1] if inlines and isinstance(inlines[-1], Break) else inlines

    def _end_paragraph(self) -> None:
        inlines = self._take_inlines()
        if inlines:
            self.levels[-1].append(Paragraph(inlines))

    def _end_heading(self, level: int) -> None:
        inlines = self._take_inlines()
        if inlines:
            self.levels[-1].append(Heading(level, inlines))

    def _end_pre(self) -> None:
        text = "".join(self.pre or ()).replace("\r\n", "\n").replace("\r", "\n")
        self.pre = None
        # HTML drops a line feed right after <pre>; writers end the last line with one.
        text = text.removeprefix("\n").removesuffix("\n")
        self.levels[-1].append(CodeBlock(text, self.language))

    def _note_language(self, tag: StartTag) -> None:
        for word in tag.attributes.get("class", "").split():
            if word.startswith("language-"):
                self.language = word[len("language-") :]

    def _start_level(self, name: str, at_end: Callable[[], None]) -> None:
        self._end_paragraph()
        if len(self.levels) > _MAX_BLOCK_DEPTH:
            self._push(name, self._end_paragraph)
            return
        self.levels.append([])
        self._push(name, at_end)

    def _end_level(self) -> tuple[Block, ...]:
        self._end_paragraph()
        return tuple(self.levels.pop())

    def _end_quote(self) -> None:
        blocks = self._end_level()
        if blocks:
            self.levels[-1].append(Quote(blocks))

    def _start_list(self, tag: StartTag) -> None:
        start = None if tag.name == "ul" else _number(tag.attributes.get("start"))
        self._end_paragraph()
        if len(self.levels) > _MAX_BLOCK_DEPTH:
            self._push(tag.name, self._end_paragraph)
            return
        self.lists.append([])
        # Text in a list outside its items is an item, as browsers show it.
        self.levels.append([])
        self._push(tag.name, lambda: self._end_list(start))

    def _loose_item(self) -> None:
        self._end_paragraph()
        if self.levels[-1]:
            self.lists[-1].append(tuple(self.levels[-1]))
            self.levels[-1] = []

    def _end_open_item(self) -> None:
        # In HTML an item ends where the next of its list begins.
        for index in range(len(self.open) - 1, -1, -1):
            name = self.open[index].name
            if name in ("ul", "ol"):
                return
            if name == "li":
                while len(self.open) > index:
                    self._pop()
                return

    def _end_item(self) -> None:
        blocks = self._end_level()
        # What stood before this item, outside any.
        self._loose_item()
        self.lists[-1].append(blocks)

    def _end_list(self, start: int | None) -> None:
        self._loose_item()
        items = tuple(self.lists.pop())
        self.levels.pop()
        if items:
            self.levels[-1].append(ItemList(items, start))


def _with(style: Style, more: Style) -> Style:
    return Style(
        bold=style.bold or more.bold,
        italic=style.italic or more.italic,
        underline=style.underline or more.underline,
        strike=style.strike or more.strike,
        code=style.code or more.code,
        foreground=style.foreground if more.foreground is None else more.foreground,
        background=style.background if more.background is None else more.background,
        spoiler=style.spoiler if more.spoiler is None else more.spoiler,
    )


def _span_style(tag: StartTag) -> Style:
    found = tag.attributes
    return Style(
        foreground=_colour(found.get("data-mx-color") or found.get("color")),
        background=_colour(found.get("data-mx-bg-color")),
        spoiler=_SPACES.sub(" ", found["data-mx-spoiler"]) if "data-mx-spoiler" in found else None,
    )


def _colour(text: str | None) -> int | None:
    match = _COLOUR.match(text or "")
    return int(match[1], 16) if match else None


def _number(text: str | None) -> int:
    # Numbers of lists: what is no small number begins at 1.
    return int(text) if text is not None and re.fullmatch(r"-?[0-9]{1,9}", text, re.ASCII) else 1


def _pill(href: str, words: str) -> Mention | RoomPill | None:
    """The user or room that a matrix.to or matrix: link names; None for other links and for single
    messages."""
    if href.startswith(_MATRIX_TO):
        target = unquote(href[len(_MATRIX_TO) :].partition("?")[0])
    else:
        match = _MATRIX_URI.match(href)
        if match is None:
            return None
        target = {"u": "@", "r": "#", "roomid": "!"}[match[1]] + unquote(match[2])
    try:
        if target.startswith("@"):
            user_id = parse_user_id(target)
            return Mention(user_id, words.strip() or user_id)
        # A room id with a message behind it is a link to that message.
        if target.startswith("#") and "/$" not in target:
            return RoomPill(parse_room_alias(target), words.strip() or target)
        if target.startswith("!") and "/" not in target:
            return RoomPill(parse_room_id(target), words.strip() or target)
    except InvalidId:
        pass
    return None


def matrix_to(identifier: UserId | RoomAlias | RoomId) -> str:
    """The matrix.to URL of a user or room. spec: appendices matrix.to navigation"""
    return _MATRIX_TO + quote(identifier, safe="@:!$")


def to_html(text: RichText) -> str:
    """A formatted_body. One paragraph is written without <p>."""
    if len(text.blocks) == 1 and isinstance(text.blocks[0], Paragraph):
        return _inlines_html(text.blocks[0].inlines)
    return "".join(_block_html(block) for block in text.blocks)


def _block_html(block: Block) -> str:
    if isinstance(block, Paragraph):
        return f"<p>{_inlines_html(block.inlines)}</p>"
    if isinstance(block, Heading):
        return f"<h{block.level}>{_inlines_html(block.inlines)}</h{block.level}>"
    if isinstance(block, CodeBlock):
        kind = f' class="language-{escape(block.language)}"' if block.language else ""
        return f"<pre><code{kind}>{escape(block.text, quote=False)}\n</code></pre>"
    if isinstance(block, Quote):
        return f"<blockquote>{''.join(map(_block_html, block.blocks))}</blockquote>"
    if isinstance(block, ItemList):
        items = "".join(f"<li>{_item_html(item)}</li>" for item in block.items)
        if block.start is None:
            return f"<ul>{items}</ul>"
        return f"<ol>{items}</ol>" if block.start == 1 else f'<ol start="{block.start}">{items}</ol>'
    return "<hr>"


def _item_html(item: tuple[Block, ...]) -> str:
    if len(item) == 1 and isinstance(item[0], Paragraph):
        return _inlines_html(item[0].inlines)
    return "".join(map(_block_html, item))


def _inlines_html(inlines: tuple[Inline, ...]) -> str:
    parts: list[str] = []
    line_start = True
    for inline in inlines:
        if line_start and isinstance(inline, Run) and inline.text.startswith(" "):
            inline = replace(inline, text="\u00a0" + inline.text[1:])
        parts.append(_inline_html(inline))
        line_start = isinstance(inline, Break)
    return "".join(parts)


def _inline_html(inline: Inline) -> str:
    if isinstance(inline, Break):
        return "<br>"
    if isinstance(inline, Mention):
        return f'<a href="{escape(matrix_to(inline.user_id))}">{_words(inline.text)}</a>'
    if isinstance(inline, RoomPill):
        return f'<a href="{escape(matrix_to(inline.room))}">{_words(inline.text)}</a>'
    return _run_html(inline)


_BARE: Final = " data-mx-spoiler"


def _run_html(run: Run) -> str:
    html, style = _words(run.text), run.style
    if style is not PLAIN:
        for wanted, tag in (
            (style.code, "code"), (style.strike, "del"), (style.underline, "u"), (style.italic, "em"),
            (style.bold, "strong"),
        ):  # fmt: skip
            if wanted:
                html = f"<{tag}>{html}</{tag}>"
        attributes = ""
        if style.spoiler is not None:
            attributes += f' data-mx-spoiler="{escape(style.spoiler)}"' if style.spoiler else _BARE
        if style.foreground is not None:
            attributes += f' data-mx-color="#{style.foreground:06x}"'
        if style.background is not None:
            attributes += f' data-mx-bg-color="#{style.background:06x}"'
        if attributes:
            html = f"<span{attributes}>{html}</span>"
    if run.link is not None:
        html = f'<a href="{escape(run.link)}">{html}</a>'
    return html


def _words(text: str) -> str:
    # Spaces that HTML would swallow are made hard, so that IRC drawings and indentation survive.
    return escape(text, quote=False).replace("\t", "    ").replace("  ", " \u00a0")
