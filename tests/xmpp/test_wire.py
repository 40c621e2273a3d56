"""The XML of a stream: what is read, what is refused, and that chunking never shows.

spec: RFC6120 4.9.3, 11
"""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tripoint.xmpp import wire
from tripoint.xmpp.wire import Broken, Element, StreamClosed, StreamOpened, StreamParser

HEADER = (
    b"<?xml version='1.0'?><stream:stream to='example.org' xmlns='jabber:client' "
    b"xmlns:stream='http://etherx.jabber.org/streams' version='1.0' xml:lang='de'>"
)


def parse(data: bytes, limit: int = wire.MAX_STANZA_BYTES) -> list:
    return StreamParser(limit).receive(data)


def broken(data: bytes) -> str:
    last = parse(data)[-1]
    assert isinstance(last, Broken), last
    return last.condition


def test_header_stanza_close():
    events = parse(HEADER + b"<message to='a&amp;b'><body>x &lt; y</body></message> \n <iq/></stream:stream>")
    assert events == [
        StreamOpened("example.org", None, "1.0", "de", "jabber:client"),
        Element("message", "jabber:client", {"to": "a&b"}, [Element("body", "jabber:client", {}, ["x < y"])]),
        Element("iq", "jabber:client"),
        StreamClosed(),
    ]


def test_prefixes_and_foreign_attributes_survive_a_round_trip():
    stanza = b"<message><x xmlns='urn:b' xmlns:q='urn:q' q:a='1' xml:lang='en'>one<q:z/>two</x><e xmlns=''/></message>"
    element = parse(HEADER + stanza)[1]
    again = parse(HEADER + wire.render(element))[1]
    assert again == element
    assert element.child("x", "urn:b").attributes == {"{urn:q}a": "1", "xml:lang": "en"}
    assert element.child("x", "urn:b").text == "onetwo"


@pytest.mark.parametrize(
    ("data", "condition"),
    [
        # spec: RFC6120 11.1: the four forbidden features
        (HEADER + b"<!-- a comment --><iq/>", "restricted-xml"),
        (HEADER + b"<?php ?>", "restricted-xml"),
        (b"<!DOCTYPE a [<!ENTITY b 'c'>]>" + HEADER, "restricted-xml"),
        (HEADER + b"<message><body>&foo;</body></message>", "restricted-xml"),
        (HEADER + b"<message><body><!-- x --></body></message>", "restricted-xml"),
        # spec: RFC6120 4.9.3.13
        (HEADER + b"<a></b>", "not-well-formed"),
        (HEADER + b"<p:a/>", "not-well-formed"),
        (HEADER + b"<a b='1' b='2'/>", "not-well-formed"),
        (HEADER + b"<a>\x01</a>", "not-well-formed"),
        (HEADER + b"<a>&#1;</a>", "not-well-formed"),
        (b"GET / HTTP/1.1\r\n", "not-well-formed"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", "not-well-formed"),
        (HEADER + b"<?xml version='1.0'?>", "not-well-formed"),
        # spec: RFC6120 4.9.3.1, 4.9.3.10, 4.9.3.22
        (HEADER + b"text", "bad-format"),
        (HEADER + b"<xml:a/>", "bad-format"),
        (b"<stream xmlns='urn:x'>", "invalid-namespace"),
        (b"<stream:features xmlns:stream='http://etherx.jabber.org/streams'/>", "bad-format"),
        (HEADER + b"<a xmlns='urn: b'/>", "not-well-formed"),
        (b"<\x00s\x00", "unsupported-encoding"),
        (b"<?xml version='1.0' encoding='iso-8859-1'?>" + HEADER[21:], "unsupported-encoding"),
        (b"\xff\xfe<\x00", "unsupported-encoding"),
        (HEADER + b"<a>\xff\xfe</a>", "unsupported-encoding"),
        (HEADER + b"<a b='\xc3\xa9\xc0\x80'/>", "unsupported-encoding"),
        (HEADER + b"<a>\xed\xa0\x80</a>", "unsupported-encoding"),
        (HEADER + b"<a>\xe2\x82</a>", "unsupported-encoding"),
        (HEADER + b"<a>\xef\xbf\xbf</a>", "not-well-formed"),  # UTF-8, but no character of XML
        # limits
        (HEADER + b"<a>" * 100, "policy-violation"),
        (HEADER + b"<a " + b" ".join(b"a%d=''" % i for i in range(51)) + b"/>", "policy-violation"),
        (HEADER + b"<a>" + b"<b/>" * 5000 + b"</a>", "policy-violation"),
        (HEADER + b"<a>" + b"x" * 300_000, "policy-violation"),
        (HEADER + b"<a b='" + b"x" * 300_000, "policy-violation"),
        (HEADER + b"<" + b"x" * 2000 + b">", "policy-violation"),
        (b" " * 300_000, "policy-violation"),
    ],
)
def test_refused(data, condition):
    assert broken(data) == condition
    # the same byte by byte, where that is quick
    if len(data) < 2000:
        parser = StreamParser()
        events = [event for at in range(len(data)) for event in parser.receive(data[at : at + 1])]
        assert isinstance(events[-1], Broken) and events[-1].condition == condition


@pytest.mark.parametrize("most", [wire.MAX_NAMES, wire.MAX_NAMES_OF_SERVERS])
def test_names_of_a_stream_are_bounded(most):
    parser = StreamParser(max_names=most)
    parser.receive(HEADER)
    for i in range(0, most + 100, 100):
        events = parser.receive(b"".join([b"<n%d/>" % (i + number) for number in range(100)]))
        if isinstance(events[-1], Broken):
            assert events[-1].condition == "policy-violation" and i > 0.8 * most
            return
    raise AssertionError("the names were never counted")


TOO_MUCH = [
    b"<b>" * 60 + b"x" + b"</b>" * 60,
    b"<b/>" * 9000,
    b"<c><b " + b" ".join(b"a%d=''" % i for i in range(51)) + b"/>text</c>",
    b"<" + b"x" * 2000 + b"/>",
]


@pytest.mark.parametrize("inside", TOO_MUCH)
@pytest.mark.parametrize("step", [7, 10**6])
def test_a_server_pays_for_no_stanza_of_one_person(inside, step):
    parser = StreamParser(forgiving=True)
    sent = HEADER + b"<message to='a'>before" + inside + b"<c>behind</c></message><message to='b'><c>d</c></message>"
    events = [event for at in range(0, len(sent), step) for event in parser.receive(sent[at : at + step])]
    _, first, second = events
    assert first.get("to") == "a" and [one.name for one in first.children] == [wire.REFUSED]
    assert second == Element("message", "jabber:client", {"to": "b"}, [Element("c", "jabber:client", None, ["d"])])
    # A client does.
    assert isinstance(StreamParser().receive(sent)[-1], Broken)


@pytest.mark.parametrize("stanza", [TOO_MUCH[3], TOO_MUCH[2].removeprefix(b"<c>").removesuffix(b"text</c>")])
def test_a_stanza_that_is_too_much_by_itself_ends_any_stream(stanza):
    assert isinstance(StreamParser(forgiving=True).receive(HEADER + stanza)[-1], Broken)


def test_nothing_after_the_end():
    parser = StreamParser()
    parser.receive(HEADER + b"</stream:stream>")
    assert parser.receive(b"<iq/>") == []
    parser = StreamParser()
    assert isinstance(parser.receive(HEADER + b"<a></b>")[-1], Broken)
    assert parser.receive(b"<iq/>") == []


def test_whitespace_keeps_a_stream_alive_for_ever():
    # spec: RFC6120 4.6.1: whitespace between stanzas does not count towards anything
    parser = StreamParser(1000)
    parser.receive(HEADER)
    for _ in range(100):
        assert parser.receive(b" " * 500 + b"\n") == []
    assert parser.receive(b"<iq/>") == [Element("iq", "jabber:client")]


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("plain", "plain"),
        ("<a&b>", "&lt;a&amp;b&gt;"),
        ("a\r\nb", "a&#13;\nb"),
        ("a\x00\x01\x0b\ud800\ufffe\uffffb", "ab"),
        ("]]>", "]]&gt;"),
        ("🐈\tx", "🐈\tx"),
    ],
)
def test_text_goes_out_escaped(text, escaped):
    assert wire.escape_text(text) == escaped


def test_attributes_go_out_escaped():
    assert wire.escape_attribute("'\"<&>\n\t\x00x") == "&apos;&quot;&lt;&amp;&gt;&#10;&#9;x"


def test_fragment():
    assert wire.parse_fragment("<a xmlns='u'>x</a><b/>") == [
        Element("a", "u", {}, ["x"]),
        Element("b", "jabber:client"),
    ]
    for wrong in ("</stream:stream><a/>", "<a>", "<!-- -->", "text", "\ud800"):
        with pytest.raises(wire.StreamError):
            if not wire.parse_fragment(wrong):
                raise wire.StreamError("nothing", "")


names = st.from_regex(r"[a-z][a-z0-9]{0,5}", fullmatch=True)
texts = st.text(max_size=20)
elements = st.deferred(
    lambda: st.builds(
        Element,
        names,
        st.sampled_from(["jabber:client", "urn:x", "urn:y"]),
        st.dictionaries(names | st.just("xml:lang") | st.just("{urn:q}a"), texts, max_size=3),
        st.lists(texts | elements, max_size=3),
    )
)


def normal(element: Element) -> Element:
    """Text joined and cleaned as the wire would have it."""
    children: list = []
    for child in element.children:
        if not isinstance(child, str):
            children.append(normal(child))
        elif wire.drop_illegal(child):
            if children and isinstance(children[-1], str):
                children[-1] += wire.drop_illegal(child)
            else:
                children.append(wire.drop_illegal(child))
    return Element(
        element.name,
        element.namespace,
        {key: wire.drop_illegal(value) for key, value in element.attributes.items()},
        children,
    )


@given(elements)
def test_what_is_rendered_reads_back_the_same(element):
    events = parse(HEADER + wire.render(element))
    assert events[1:] == [normal(element)]


def how(event):
    """Text between stanzas and a byte that ends all parsing may be noticed in either order."""
    return "broken" if isinstance(event, Broken) else event


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(c % (len(data) + 1) for c in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(places)]


@given(st.lists(elements, max_size=3), st.binary(max_size=20), st.lists(st.integers(0, 10**6), max_size=8))
def test_chunking_does_not_show(stanzas, garbage, cuts):
    data = HEADER + b" ".join(wire.render(e) for e in stanzas) + garbage
    whole = parse(data)
    parser = StreamParser()
    pieces = [event for chunk in cut(data, cuts) for event in parser.receive(chunk)]
    assert [how(event) for event in pieces] == [how(event) for event in whole]


@settings(max_examples=300)
@given(st.binary(max_size=300) | st.text(alphabet="<>/='\"&;!-?[] astrmiq:", max_size=120).map(str.encode))
def test_garbage_gives_only_events(data):
    for prefix in (b"", HEADER):
        for event in parse(prefix + data):
            assert isinstance(event, StreamOpened | StreamClosed | Broken | Element)
