"""Addresses of rooms in a text.  spec: docs/mapping.md 3.8; XEP-0147"""

import pytest

from tripoint.core.ids import RoomAlias, ServerName
from tripoint.core.richtext import RoomPill, Run, walk_inlines
from tripoint.xmpp.jid import Domains
from tripoint.xmpp.links import link_rooms
from tripoint.xmpp.styling import parse_styling

DOMAINS = Domains.of(ServerName("example.org"))
TEA = RoomAlias("#tea:example.org")


def parts(body: str) -> list[str | RoomAlias]:
    found = walk_inlines(link_rooms(parse_styling(body), DOMAINS).blocks)
    return [i.room if isinstance(i, RoomPill) else i.text for i in found if isinstance(i, (RoomPill, Run))]


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("xmpp:tea@rooms.example.org?join", [TEA]),
        ("see xmpp:tea@rooms.example.org?join.", ["see ", TEA, "."]),
        ("(XMPP:tea@rooms.example.org), now", ["(", TEA, "), now"]),
        ("xmpp:tea@rooms.example.org xmpp:room%remote.org@rooms.example.org?join", [TEA, " ", "#room:remote.org"]),
    ],
)
def test_a_room_of_this_server_is_a_pill(body: str, wanted: list[str]) -> None:
    assert parts(body) == wanted


@pytest.mark.parametrize(
    "body",
    [
        "xmpp:tea@rooms.other.org?join",
        "xmpp:bob@example.org",
        "xmpp:tea@rooms.example.org/bob",
        "xmpp:tea@rooms.example.org?message;body=x",
        "xmpp:@rooms.example.org?join",
        "`xmpp:tea@rooms.example.org?join`",
        "tea@rooms.example.org",
    ],
)
def test_anything_else_stays_text(body: str) -> None:
    assert "".join(parts(body)) == body.strip("`")
