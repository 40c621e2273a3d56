"""m.room.message contents.  spec: Matrix instant-messaging, user-and-room-mentions, rich-replies"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import UserId
from tripoint.core.message import Mentions, MessageKind, call_everybody, message_content, read_mentions, view_message
from tripoint.core.richtext import RichText, from_html, from_plain, to_plain

BOB = UserId("@bob:x.org")


@pytest.mark.parametrize(
    ("msgtype", "kind"),
    [("m.text", MessageKind.TEXT), ("m.notice", MessageKind.NOTICE), ("m.emote", MessageKind.EMOTE),
     ("m.image", MessageKind.OTHER), ("", MessageKind.OTHER), (5, MessageKind.OTHER)],
)  # fmt: skip
def test_kinds(msgtype: Any, kind: MessageKind) -> None:
    view = view_message({"msgtype": msgtype, "body": "x"})
    assert view is not None and view.kind is kind and view.body == "x" and view.text == from_plain("x")


@pytest.mark.parametrize("content", [{}, {"msgtype": "m.text"}, {"msgtype": "m.text", "body": 5}])
def test_nothing_said(content: Any) -> None:
    assert view_message(content) is None


def test_html_is_preferred() -> None:
    content: Any = {
        "msgtype": "m.text", "body": "*x*", "format": "org.matrix.custom.html", "formatted_body": "<b>x</b>",
    }  # fmt: skip
    view = view_message(content)
    assert view is not None and view.text == from_html("<b>x</b>")
    for other in ({**content, "format": "x"}, {**content, "formatted_body": 5}):
        plain = view_message(other)
        assert plain is not None and plain.text == from_plain("*x*")


def test_the_old_reply_fallback_is_cut() -> None:
    # The example of rich-replies as clients wrote it until v1.12 of the specification.
    reply = {"m.relates_to": {"m.in_reply_to": {"event_id": "$x"}}}
    old: Any = {"msgtype": "m.text", "body": "> <@alice:example.org> This is\n> the original body\n\nthis is the reply"}
    view = view_message({**old, **reply})
    assert view is not None and to_plain(view.text) == "this is the reply"
    # Without a reply it is what somebody wrote; with one, quotes of one's own stay.
    view = view_message(old)
    assert view is not None and to_plain(view.text) == old["body"]
    view = view_message({"msgtype": "m.text", "body": "> I said\nthat", **reply})  # type: ignore[dict-item]
    assert view is not None and to_plain(view.text) == "> I said\nthat"


def test_mentions() -> None:
    content: Any = {"m.mentions": {"user_ids": [BOB, 5, "x", BOB, "@a:y"], "room": True}}
    assert read_mentions(content) == Mentions((BOB, UserId("@a:y")), room=True)
    for none in ({}, {"m.mentions": 5}, {"m.mentions": {"user_ids": BOB, "room": 1}}):
        assert read_mentions(none) == Mentions()
    many: Any = {"m.mentions": {"user_ids": [f"@u{n}:x" for n in range(500)]}}
    assert len(read_mentions(many).user_ids) == 100


def test_writing() -> None:
    # spec: "m.mentions": an empty object says that nobody is mentioned.
    assert message_content(MessageKind.TEXT, from_plain("a\nb")) == {
        "msgtype": "m.text", "body": "a\nb", "m.mentions": {},
    }  # fmt: skip
    rich = from_html('<b>x</b> <a href="https://matrix.to/#/@bob:x.org">Bob</a> <span data-mx-spoiler>s</span>')
    assert message_content(MessageKind.EMOTE, rich, Mentions((BOB,), room=True)) == {
        "msgtype": "m.emote",
        "body": "x Bob [Spoiler]",
        "format": "org.matrix.custom.html",
        "formatted_body": '<strong>x</strong> <a href="https://matrix.to/#/@bob:x.org">Bob</a> '
        "<span data-mx-spoiler>s</span>",
        "m.mentions": {"user_ids": [BOB], "room": True},
    }
    with pytest.raises(ValueError, match="only text"):
        message_content(MessageKind.OTHER, RichText())


@given(st.text(), st.sampled_from([MessageKind.TEXT, MessageKind.NOTICE, MessageKind.EMOTE]))
def test_there_and_back(body: str, kind: MessageKind) -> None:
    content = message_content(kind, from_plain(body))
    view = view_message(content)
    assert view is not None and view.kind is kind and view.text == from_plain(body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["user_ids", "room", "x"]), inner),
    max_leaves=5,
)


@given(
    st.dictionaries(
        st.sampled_from(["body", "msgtype", "format", "formatted_body", "m.mentions", "m.relates_to"]), json_values
    )
)
def test_any_content_can_be_viewed(content: Any) -> None:
    view = view_message(content)
    assert (view is None) == (type(content.get("body")) is not str)


@pytest.mark.parametrize(
    ("body", "everybody"),
    [
        ("@room", True),
        ("tea, @room!", True),
        ("@rooms", False),
        ("me@room.example", False),
        ("@room-service", False),
        ("@@room", False),
        ("", False),
    ],
)
def test_everybody_is_called_by_a_word(body: str, everybody: bool) -> None:
    content: JsonObject = {"body": body, "m.mentions": {"user_ids": ["@a:b"]}}
    call_everybody(content)
    assert content["m.mentions"] == {"user_ids": ["@a:b"]} | ({"room": True} if everybody else {})
