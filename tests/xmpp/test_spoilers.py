"""Messages that are hidden, both ways.  spec: XEP-0382 3; docs/mapping.md 10.6"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tripoint.core.message import MessageKind, message_content, view_message
from tripoint.core.richtext import from_html, from_plain
from tripoint.xmpp.messages import text_of
from tripoint.xmpp.spoilers import hidden, spoiler_xml
from tripoint.xmpp.styling import parse_styling
from tripoint.xmpp.wire import parse_fragment

NS = "urn:xmpp:spoiler:0"


def said(inside: str) -> tuple[str, str]:
    """The plain text and the HTML of the event for a message."""
    (stanza,) = parse_fragment(f"<message xmlns='jabber:client'>{inside}</message>")
    found = text_of(stanza)
    assert found is not None
    content = message_content(*found)
    return str(content["body"]), str(content.get("formatted_body"))


@pytest.mark.parametrize(
    ("inside", "plain", "html"),
    [
        (f"<body>They die</body><spoiler xmlns='{NS}'/>", "[Spoiler]", "<span data-mx-spoiler>They die</span>"),
        (
            f"<body>They die</body><spoiler xmlns='{NS}'>Love story  end</spoiler>",
            "[Spoiler for Love story end]",
            '<span data-mx-spoiler="Love story end">They die</span>',
        ),
        # example 5: of several languages the first
        (
            f"<body>x</body><spoiler xml:lang='en' xmlns='{NS}'>Trip</spoiler>"
            f"<spoiler xml:lang='ca' xmlns='{NS}'>Viatge</spoiler>",
            "[Spoiler for Trip]",
            '<span data-mx-spoiler="Trip">x</span>',
        ),
    ],
)
def test_from_xmpp(inside: str, plain: str, html: str) -> None:
    assert said(inside) == (plain, html)


@pytest.mark.parametrize(
    ("html", "xml"),
    [
        ("<span data-mx-spoiler>They die</span>", f"<spoiler xmlns='{NS}'/>"),
        (
            '<span data-mx-spoiler="The &lt;end&gt;">They <b>die</b></span>',
            f"<spoiler xmlns='{NS}'>The &lt;end&gt;</spoiler>",
        ),
        ("In the end <span data-mx-spoiler>they die</span>", ""),
        ("<span data-mx-spoiler='a'>x</span><span data-mx-spoiler='b'>y</span>", ""),
        ("They die", ""),
    ],
)
def test_from_matrix(html: str, xml: str) -> None:
    assert spoiler_xml(from_html(html)) == xml


WORDS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Zs")), min_size=1)


@given(WORDS, st.sampled_from(["", "why"]))
def test_everything_that_is_hidden_stays_hidden(text: str, hint: str) -> None:
    for written in (from_plain(text), parse_styling(text), parse_styling(f"> {text}\n\n```\n{text}\n```")):
        if not written.blocks:
            continue
        there = view_message(message_content(MessageKind.TEXT, hidden(written, hint)))
        assert there is not None
        assert spoiler_xml(there.text).startswith(f"<spoiler xmlns='{NS}'") or not there.text.blocks
