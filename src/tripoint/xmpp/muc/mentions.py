"""Names in a text that call somebody: words that are a member's nick or handle become mentions. Pure.

spec: docs/mapping.md 2.10. A word counts with `@` before it and punctuation behind it; a nick of several words
counts at the beginning, before `:` or `,`.
"""

import re
from collections.abc import Mapping

from tripoint.core.ids import UserId
from tripoint.core.richtext import Block, Inline, Mention, Paragraph, RichText, Run

_WORD = re.compile(r"@?([^\s,:;!?()]+)")
_TRAILING = ".'\""


def link_mentions(text: RichText, names: Mapping[str, UserId]) -> RichText:
    """`text` with mentions where it names somebody; quotes and code are left alone."""
    if not names:
        return text
    blocks: list[Block] = []
    changed = False
    for number, block in enumerate(text.blocks):
        if isinstance(block, Paragraph):
            inlines = tuple(_linked(block.inlines, names, first=number == 0))
            changed = changed or inlines != block.inlines
            blocks.append(Paragraph(inlines))
        else:
            blocks.append(block)
    return RichText(tuple(blocks)) if changed else text


def _linked(inlines: tuple[Inline, ...], names: Mapping[str, UserId], *, first: bool) -> list[Inline]:
    linked: list[Inline] = []
    for number, inline in enumerate(inlines):
        if not isinstance(inline, Run) or inline.style.code or inline.link is not None:
            linked.append(inline)
            continue
        rest = inline.text
        if first and number == 0:
            called = _called(rest, names)
            if called is not None:
                linked.append(Mention(names[called], called))
                rest = rest[len(called) :]
        linked += _words(Run(rest, inline.style), names)
    return linked


def _called(text: str, names: Mapping[str, UserId]) -> str | None:
    """The longest name before the first `:` or `,` of the text, if that is what stands there."""
    head = re.split(r"[:,]", text, maxsplit=1)[0]
    return head if head in names and head != text else None


def _words(run: Run, names: Mapping[str, UserId]) -> list[Inline]:
    parts: list[Inline] = []
    start = 0
    for match in _WORD.finditer(run.text):
        word = match.group(1)
        name = word if word in names else word.rstrip(_TRAILING)
        # A word of one letter is nobody's name in a sentence.
        if len(name) < 2 or name not in names:
            continue
        if match.start() > start:
            parts.append(Run(run.text[start : match.start()], run.style))
        parts.append(Mention(names[name], name))
        start = match.start(1) + len(name)
    if start < len(run.text):
        parts.append(Run(run.text[start:], run.style))
    return parts
