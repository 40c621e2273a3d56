"""Mentions that say whom they mean.  spec: XEP-0513 3, XEP-0372 3.1; docs/mapping.md 2.10, 2.11"""

import pytest

from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import UserId
from tripoint.core.message import Mentions
from tripoint.xmpp.muc.explicit import MAX_MENTIONS, Called, add_called, called_in, mentions_xml
from tripoint.xmpp.wire import Element

ALICE, BOB = UserId("@alice:x.org"), UserId("@bob:x.org")
NS = "urn:xmpp:mentions:0"
PEOPLE = {ALICE: ("Al", "a'1"), BOB: ("bob", "b2")}


def stanza(*children: Element) -> Element:
    return Element("message", "jabber:client", {}, list(children))


def mention(**attributes: str) -> Element:
    return Element("mention", NS, attributes, [])


def modified(modifier: str, **attributes: str) -> Element:
    """spec: XEP-0513 3.5"""
    return Element("mention", NS, attributes, [Element(modifier, NS)])


def reference(**attributes: str) -> Element:
    return Element("reference", "urn:xmpp:reference:0", attributes, [])


@pytest.mark.parametrize(
    ("child", "called"),
    [
        # XEP-0513 example 1
        (mention(begin="7", end="12", occupantid="a1"), Called(("a1",), (), False)),
        (mention(jid="bob@x.org"), Called((), ("bob@x.org",), False)),
        # example 2
        (mention(mentions=f"{NS}#channel"), Called((), (), True)),
        (mention(mentions=f"{NS}#channel", uri="xmpp:other@rooms.x.org"), Called((), (), False)),
        (mention(mentions=f"{NS}#moderators", occupantid="a1"), Called((), (), False, frozenset({"moderators"}))),
        (mention(mentions=f"{NS}#owner", uri="xmpp:other@rooms.x.org"), Called((), (), False)),
        (mention(mentions=f"{NS}#space"), Called((), (), False)),
        (modified("noping", occupantid="a1"), Called((), (), False, quiet=("a1",))),
        (modified("active", mentions=f"{NS}#channel"), Called((), (), False, frozenset({"channel"}), active=True)),
        (mention(), Called((), (), False)),
        (reference(type="mention", uri="xmpp:tea@rooms.x.org/bob?x"), Called((), ("tea@rooms.x.org/bob",), False)),
        (reference(type="mention", uri="https://x.org"), Called((), (), False)),
        (reference(type="data", uri="xmpp:bob@x.org"), Called((), (), False)),
        (Element("mention", "urn:other", {"occupantid": "a1"}, []), Called((), (), False)),
    ],
)
def test_who_is_called(child: Element, called: Called) -> None:
    assert called_in(stanza(child)) == called


def test_so_many_are_read() -> None:
    assert len(called_in(stanza(*(mention(occupantid=str(n)) for n in range(500)))).occupant_ids) == MAX_MENTIONS


def test_they_are_added_to_whom_the_text_names() -> None:
    content: JsonObject = {"m.mentions": {"user_ids": [ALICE]}}
    add_called(content, [BOB, ALICE], everybody=True)
    assert content["m.mentions"] == {"user_ids": [ALICE, BOB], "room": True}
    content = {}
    add_called(content, [], everybody=False)
    assert content["m.mentions"] == {}


def test_where_somebody_is_named() -> None:
    xml = mentions_xml(Mentions((ALICE, BOB)), "Also bobby: Al!", PEOPLE.get)
    assert xml == (
        f"<mention xmlns='{NS}' begin='12' end='14' occupantid='a&apos;1'/><mention xmlns='{NS}' occupantid='b2'/>"
    )
    assert mentions_xml(Mentions((UserId("@gone:x.org"),)), "gone", PEOPLE.get) == ""
    assert mentions_xml(Mentions(room=True), "@room", PEOPLE.get) == f"<mention xmlns='{NS}' mentions='{NS}#channel'/>"
