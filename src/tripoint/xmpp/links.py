"""Addresses of rooms of this server in a text become room pills. Pure.

spec: RFC 5122, XEP-0147 3, XEP-0045 16.7.1 (query type "join"); docs/mapping.md 3.8
"""

import re
from typing import Final

from tripoint.core.ids import RoomAlias, RoomId
from tripoint.core.richtext import Block, Inline, Paragraph, RichText, RoomPill, Run
from tripoint.xmpp.jid import Domains, InvalidJid, parse_jid, parse_room_jid

# An address without a resource, with "?join" or without a query.
_URI: Final = re.compile(r"xmpp:([^\s<>\"?#/@]+@[\w.-]*\w)(?:\?join)?(?![\w?/#@-])", re.IGNORECASE)


def link_rooms(text: RichText, domains: Domains) -> RichText:
    """`text` with pills where it gives the address of a room that is had through this server."""
    line = text.line
    if line is not None and "xmpp:" not in line.lower():
        return text
    blocks: list[Block] = []
    changed = False
    for block in text.blocks:
        inlines = tuple(_linked(block.inlines, domains)) if isinstance(block, Paragraph) else ()
        if isinstance(block, Paragraph) and inlines != block.inlines:
            changed = True
            block = Paragraph(inlines)
        blocks.append(block)
    return RichText(tuple(blocks)) if changed else text


def _linked(inlines: tuple[Inline, ...], domains: Domains) -> list[Inline]:
    linked: list[Inline] = []
    for inline in inlines:
        if isinstance(inline, Run) and not inline.style.code and "xmpp:" in inline.text.lower():
            linked += _pills(inline, domains)
        else:
            linked.append(inline)
    return linked


def _pills(run: Run, domains: Domains) -> list[Inline]:
    parts: list[Inline] = []
    start = 0
    for match in _URI.finditer(run.text):
        room = _room(match[1], domains)
        if room is None:
            continue
        if match.start() > start:
            parts.append(Run(run.text[start : match.start()], run.style))
        parts.append(RoomPill(room, room))
        start = match.end()
    if not start:
        return [run]
    if start < len(run.text):
        parts.append(Run(run.text[start:], run.style))
    return parts


def _room(address: str, domains: Domains) -> RoomAlias | RoomId | None:
    try:
        jid = parse_jid(address)
        return parse_room_jid(jid, domains) if jid.local else None
    except InvalidJid:
        return None
