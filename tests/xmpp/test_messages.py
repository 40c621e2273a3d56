"""Message stanzas as content and back; names in a text. spec: docs/mapping.md 2.10, 10; XEP-0245, XEP-0393, XEP-0071"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tripoint.core.ids import UserId
from tripoint.core.message import MessageKind
from tripoint.core.richtext import Mention, RichText, from_plain, inline_text, to_plain, walk_inlines
from tripoint.xmpp.messages import PAYLOAD_KEY, THREAD_KEY, content_of, inside_of, is_words, text_of
from tripoint.xmpp.muc.mentions import link_mentions
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.stanza_facts import KEY, facts_between_two
from tripoint.xmpp.wire import CLIENT_NS, Element, parse_fragment, render

NAMES = {
    "bob": UserId("@bob:example.org"),
    "Alice in Wonderland": UserId("@alice:example.org"),
    "alice": UserId("@alice:example.org"),
    "x": UserId("@x:example.org"),
    "re.dot": UserId("@dot:example.org"),
}


def stanza(inside: str) -> Element:
    (element,) = parse_fragment(f"<message type='groupchat'>{inside}</message>")
    return element


def content(inside: str) -> dict:
    element = stanza(inside)
    said = text_of(element)
    assert said is not None
    return content_of(element, *said)


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        ("<body>hi</body>", {"msgtype": "m.text", "body": "hi"}),
        ("<body>/me waves</body>", {"msgtype": "m.emote", "body": "waves"}),
        ("<body>/meow</body>", {"msgtype": "m.text", "body": "/meow"}),
        ("<body>n</body><notice xmlns='https://tripoint.dev/ns#notice'/>", {"msgtype": "m.notice", "body": "n"}),
        (
            "<body>*b*</body>",
            {
                "msgtype": "m.text",
                "body": "b",
                "format": "org.matrix.custom.html",
                "formatted_body": "<strong>b</strong>",
            },
        ),
        ("<body>*b*</body><unstyled xmlns='urn:xmpp:styling:0'/>", {"msgtype": "m.text", "body": "*b*"}),
        (
            "<body>plain</body><html xmlns='http://jabber.org/protocol/xhtml-im'>"
            "<body xmlns='http://www.w3.org/1999/xhtml'>a <em>b</em></body></html>",
            {
                "msgtype": "m.text",
                "body": "a b",
                "format": "org.matrix.custom.html",
                "formatted_body": "a <em>b</em>",
            },
        ),
        ("<body>x</body><thread>t1</thread>", {"msgtype": "m.text", "body": "x", THREAD_KEY: "t1"}),
        (
            "<body>x</body><a xmlns='urn:x'>&lt;</a>",
            {"msgtype": "m.text", "body": "x", PAYLOAD_KEY: "<a xmlns='urn:x'>&lt;</a>"},
        ),
        ("<body>x</body><body>y</body>", {"msgtype": "m.text", "body": "x"}),
        (
            "<body>x</body><body xml:lang='de'>y</body>",
            {"msgtype": "m.text", "body": "x", PAYLOAD_KEY: "<body xml:lang='de'>y</body>"},
        ),
    ],
)
def test_in(inside, expected):
    assert content(inside) == expected | {"m.mentions": {}}


@pytest.mark.parametrize(
    "inside",
    [
        "<body>hi</body>",
        "<body>/me waves</body>",
        "<body>*b* _i_ ~s~ `c`</body>",
        "<body>a &lt;b&gt; &amp;\n\nc</body>",
        "<body>&gt; q\n&gt; r\nanswer</body>",
        "<body>```\ncode *x*\n```</body>",
        "<body>*not*</body><unstyled xmlns='urn:xmpp:styling:0'/>",
        "<body>n</body><notice xmlns='https://tripoint.dev/ns#notice'/>",
        "<body>x</body><thread>t1</thread><a xmlns='urn:x' b='c'><d/></a>",
    ],
)
def test_round_trip(inside):
    """docs/mapping.md 27.2: what XMPP said, XMPP reads."""
    assert inside_of(content(inside), lambda pill: pill.text) == inside


def test_no_body_says_nothing():
    assert text_of(stanza("<subject>x</subject>")) is None
    assert inside_of({"msgtype": "m.text"}, lambda pill: pill.text) is None


def test_too_much_beside_the_text():
    with pytest.raises(Problem) as problem:
        content(f"<body>x</body><a xmlns='urn:x'>{'y' * 8200}</a>")
    assert problem.value.condition == "policy-violation"


@pytest.mark.parametrize(
    ("text", "called"),
    [
        ("bob: hi", ["bob"]),
        ("bob, hi", ["bob"]),
        ("hi bob", ["bob"]),
        ("hi @bob!", ["bob"]),
        ("(bob)", ["bob"]),
        ("bob.", ["bob"]),
        ("ask re.dot", ["re.dot"]),
        ("Alice in Wonderland: hi", ["Alice in Wonderland"]),
        ("Alice in Wonderland hi", []),
        ("bobby bobs xbob", []),
        ("x marks x", []),  # one letter is no name in a sentence
        ("x: hi", ["x"]),
        ("bob alice bob", ["bob", "alice", "bob"]),
        ("nothing here", []),
        ("", []),
    ],
)
def test_names_in_a_text(text, called):
    linked = link_mentions(from_plain(text), NAMES)
    mentions = [inline for inline in walk_inlines(linked.blocks) if isinstance(inline, Mention)]
    assert [mention.text for mention in mentions] == called
    assert all(NAMES[mention.text] == mention.user_id for mention in mentions)


@given(st.text(alphabet="bob alice:,@!.x\n", max_size=60))
def test_linking_changes_no_letter(text):
    linked = link_mentions(from_plain(text), NAMES)
    shown = "".join(inline_text(block.inlines) for block in linked.blocks)
    plain = "".join(inline_text(block.inlines) for block in from_plain(text).blocks)
    # the @ before a name says that it is one, and goes
    assert shown.replace("@", "") == plain.replace("@", "")


@given(st.text(max_size=60))
def test_any_body_comes_out_as_xml(text):
    said = text_of(Element("message", "jabber:client", {}, [Element("body", "jabber:client", {}, [text])]))
    assert said is not None
    inside = inside_of(content_of(Element("message", "jabber:client"), *said), lambda pill: pill.text)
    assert inside is not None
    for element in parse_fragment(inside):
        render(element)


def test_kinds_are_told_apart():
    assert text_of(stanza("<body>/me</body>"))[0] is MessageKind.TEXT
    assert text_of(stanza("<body>/me </body>"))[0] is MessageKind.EMOTE


@pytest.mark.parametrize(
    ("kind", "stays", "kept"),
    [
        ("chat", True, {"resource": "balcony", "to": "orchard"}),
        ("normal", True, {"type": "normal", "resource": "balcony", "to": "orchard"}),
        ("chat", False, None),
        ("normal", False, {"type": "normal"}),
    ],
)
def test_between_which_clients_a_message_goes_is_not_told_to_other_matrix_servers(kind, stays, kept):
    stanza = Element("message", CLIENT_NS, {"type": kind})
    facts = facts_between_two(stanza, resource="balcony", to="orchard", stays=stays)
    assert facts.content() == ({} if kept is None else {KEY: kept})


def encrypted(clients: int, namespace: str = "eu.siacs.conversations.axolotl") -> str:
    """As clients say it to those who cannot read it, with a key for each client of everybody in the room."""
    keys = "".join([f"<key rid='{2**31 - number}'>{'k' * 140}</key>" for number in range(clients)])
    inside = f"<header>{keys}</header><payload>p</payload>"
    return f"<body>This is encrypted.</body><encrypted xmlns='{namespace}'>{inside}</encrypted>"


@pytest.mark.parametrize("namespace", ["eu.siacs.conversations.axolotl", "urn:xmpp:omemo:2"])
def test_what_is_encrypted_for_a_room_full_of_clients_is_kept_whole(namespace):
    inside = encrypted(240, namespace)
    kept = content(inside)
    assert len(kept[PAYLOAD_KEY]) > 8192 and kept["body"] == "This is encrypted."
    assert kept[PAYLOAD_KEY] in inside_of(kept, lambda pill: pill.text)


@pytest.mark.parametrize("inside", [encrypted(300), encrypted(60, "urn:example:other")])
def test_there_is_an_end_to_what_is_kept_beside_a_text(inside):
    with pytest.raises(Problem, match="KiB beside its text"):
        content(inside)


@given(
    st.text() | st.sampled_from(["/me waves", "> said", "*bold*", "a\r\nb\rc\n", "", "```", "/me *x*"]),
    st.sampled_from([{}, {"lang": "de"}, {"subject": "news", "to": "desk"}]),
    st.sampled_from([{}, {PAYLOAD_KEY: "<active xmlns='http://jabber.org/protocol/chatstates'/>"}, {PAYLOAD_KEY: "<"}]),
)
def test_words_alone_are_said_as_every_other_message_is(text: str, facts: dict, beside: dict) -> None:
    words = {"msgtype": "m.text", "body": text, "m.mentions": {}, KEY: facts, **beside}
    assert is_words(words)
    other = {**words, "org.example.key": 1}
    assert not is_words(other)
    assert inside_of(words, lambda pill: pill.text) == inside_of(other, lambda pill: pill.text)


@given(st.text())
def test_one_line_is_what_the_long_way_gives(text: str) -> None:
    rich = from_plain(text)
    longer = RichText((*rich.blocks, *from_plain("end").blocks))
    line = rich.line
    assert (line is None) == (not text or "\n" in text or "\r" in text)
    if line is not None:
        assert to_plain(rich) == line == text
        assert rich.is_plain
        assert to_plain(longer) == f"{line}\n\nend"
