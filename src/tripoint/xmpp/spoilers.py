"""Messages that are hidden until their readers want to see them, both ways between XMPP and the neutral text. Pure.

XMPP hides a whole message, Matrix any part of one: a text of which all is hidden for one reason is a spoiler message,
of any other the hidden words are shown as the rest. spec: XEP-0382 3; docs/mapping.md 10.6
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from tripoint.core.richtext.model import (
    Block,
    CodeBlock,
    Heading,
    Inline,
    ItemList,
    Paragraph,
    Quote,
    RichText,
    Run,
    Style,
    inlines_of,
)
from tripoint.xmpp.tables import SPOILER_NS
from tripoint.xmpp.wire import Element, escape_text

MAX_HINT: Final = 200


def hint_in(stanza: Element) -> str | None:
    """Why a message is hidden, "" without a reason; None: it is not. Of several languages the first."""
    spoiler = stanza.child("spoiler", SPOILER_NS)
    return None if spoiler is None else " ".join(spoiler.text.split())[:MAX_HINT]


def hidden(text: RichText, hint: str) -> RichText:
    """The same words, all hidden; names of people and rooms among them stay what they are."""
    return RichText(tuple(_hide(block, hint) for block in text.blocks))


def spoiler_xml(text: RichText) -> str:
    """The <spoiler/> of a text of which everything is hidden for one reason; nothing for any other."""
    reasons = set(_reasons(text.blocks))
    if len(reasons) != 1 or None in reasons:
        return ""
    hint = reasons.pop()
    opening = f"<spoiler xmlns='{SPOILER_NS}'"
    return f"{opening}>{escape_text(hint)}</spoiler>" if hint else f"{opening}/>"


def _hide(block: Block, hint: str) -> Block:
    if isinstance(block, Paragraph | Heading):
        return replace(block, inlines=tuple(_hide_inline(one, hint) for one in block.inlines))
    if isinstance(block, Quote):
        return Quote(tuple(_hide(one, hint) for one in block.blocks))
    if isinstance(block, ItemList):
        return replace(block, items=tuple(tuple(_hide(one, hint) for one in item) for item in block.items))
    if isinstance(block, CodeBlock):
        # No other protocol hides one.
        return Paragraph(inlines_of(block.text, Style(code=True, spoiler=hint)))
    return block


def _hide_inline(inline: Inline, hint: str) -> Inline:
    return replace(inline, style=replace(inline.style, spoiler=hint)) if isinstance(inline, Run) else inline


def _reasons(blocks: tuple[Block, ...]) -> Iterator[str | None]:
    for block in blocks:
        if isinstance(block, Paragraph | Heading):
            for inline in block.inlines:
                if isinstance(inline, Run):
                    yield inline.style.spoiler
        elif isinstance(block, Quote):
            yield from _reasons(block.blocks)
        elif isinstance(block, ItemList):
            for item in block.items:
                yield from _reasons(item)
        elif isinstance(block, CodeBlock):
            yield None
