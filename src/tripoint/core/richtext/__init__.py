"""The neutral text between the protocols: values in model.py, Matrix HTML in html.py.

spec: docs/mapping.md 10.5, 10.6. Each front end turns its own codes into these values and back. Start with
model.py; message.py (one up) has the content of m.room.message.
"""

from tripoint.core.richtext.html import from_html, matrix_to, to_html
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
    from_plain,
    inline_text,
    inlines_of,
    is_safe_url,
    mentioned_users,
    merge_runs,
    to_plain,
    walk_inlines,
)

__all__ = [
    "BREAK",
    "PLAIN",
    "Block",
    "Break",
    "CodeBlock",
    "Heading",
    "Inline",
    "ItemList",
    "Mention",
    "Paragraph",
    "Quote",
    "RichText",
    "RoomPill",
    "Rule",
    "Run",
    "Style",
    "from_html",
    "from_plain",
    "inline_text",
    "inlines_of",
    "is_safe_url",
    "matrix_to",
    "mentioned_users",
    "merge_runs",
    "to_html",
    "to_plain",
    "walk_inlines",
]
