"""Lines in and out.  spec: RFC2812 2.3, IRCv3 message-tags"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tripoint.irc.wire import (
    MAX_BODY_BYTES,
    MAX_PENDING_BYTES,
    MAX_TAG_DATA_BYTES,
    Line,
    LineReader,
    Malformed,
    TooLong,
    Unbuildable,
    build_line,
    build_tags,
    escape_tag_value,
    parse_line,
    parse_tags,
    unescape_tag_value,
)

PARSED = [
    (b"PING", Line("PING")),
    (b"ping :a b", Line("PING", ("a b",))),
    (b"NICK alice\r", Line("NICK", ("alice",))),
    (b":src CMD a b :c d", Line("CMD", ("a", "b", "c d"), "src")),
    (b":src  CMD  a   b  :", Line("CMD", ("a", "b", ""), "src")),
    (b"CMD a:b c", Line("CMD", ("a:b", "c"))),
    (b"CMD ::", Line("CMD", (":",))),
    (b"CMD a :b :c", Line("CMD", ("a", "b :c"))),
    (b"CMD a ", Line("CMD", ("a",))),
    (b"@a=b;c;d= CMD x", Line("CMD", ("x",), "", {"a": "b", "c": "", "d": ""})),
    (b"@+draft/reply=1 :s CMD", Line("CMD", (), "s", {"+draft/reply": "1"})),
    # spec: RFC2812 2.3.1: 14 middles, and then the colon is optional.
    (b"C 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16", Line("C", (*map(str, range(1, 15)), "15 16"))),
    (b"C 1 2 3 4 5 6 7 8 9 10 11 12 13 14 :15 16", Line("C", (*map(str, range(1, 15)), "15 16"))),
    (b"PRIVMSG #t :caf\xe9 \x80", Line("PRIVMSG", ("#t", "café €"), utf8=False)),
    (b"PRIVMSG #t :\x81\xe9", Line("PRIVMSG", ("#t", "\x81é"), utf8=False)),
]


@pytest.mark.parametrize(("raw", "line"), PARSED)
def test_a_line_is_parsed(raw: bytes, line: Line) -> None:
    assert parse_line(raw) == line


@pytest.mark.parametrize(
    ("raw", "result"),
    [
        (b"", None),
        (b"\r", None),
        (b"   ", None),
        (b"@a=b", Malformed("A line must begin with a command")),
        (b":src", Malformed("A line must begin with a command")),
        (b"PRI\0VMSG", Malformed("A line must not hold NUL or CR")),
        (b"A\rB", Malformed("A line must not hold NUL or CR")),
        (b"\xff\xfe x", Malformed("A line must begin with a command")),
        (b"A" * (MAX_BODY_BYTES + 1), TooLong("body")),
        (b"@" + b"a" * (MAX_TAG_DATA_BYTES + 1) + b" PING", TooLong("tags")),
    ],
)
def test_what_is_no_line(raw: bytes, result: object) -> None:
    assert parse_line(raw) == result


def test_the_longest_lines_pass() -> None:
    tags = b"@a=" + b"x" * (MAX_TAG_DATA_BYTES - 2)
    body = b"PRIVMSG #t :" + b"y" * (MAX_BODY_BYTES - 12)
    line = parse_line(tags + b" " + body)
    assert isinstance(line, Line)
    assert len(line.tags["a"]) == MAX_TAG_DATA_BYTES - 2
    assert len(line.params[1]) == MAX_BODY_BYTES - 12


# spec: IRCv3 message-tags "Escaping values"
@pytest.mark.parametrize(
    ("wire", "value"),
    [(r"a\:b", "a;b"), (r"a\sb", "a b"), (r"a\\b", "a\\b"), (r"a\rb\n", "a\rb\n")],
)
def test_tag_values_are_escaped(wire: str, value: str) -> None:
    assert unescape_tag_value(wire) == value
    assert escape_tag_value(value) == wire


@pytest.mark.parametrize(("wire", "value"), [("test\\", "test"), (r"\b", "b"), ("", "")])
def test_invalid_escapes_lose_their_backslash(wire: str, value: str) -> None:
    assert unescape_tag_value(wire) == value


@pytest.mark.parametrize(
    ("data", "tags"),
    [
        # spec: of several equal keys all but the last are disregarded
        (b"a=1;a=2", {"a": "2"}),
        (b";;a;=x", {"a": ""}),
        (b"a=\xff;b=1", {"b": "1"}),
        (b"a=b=c", {"a": "b=c"}),
    ],
)
def test_odd_tags(data: bytes, tags: dict[str, str]) -> None:
    assert parse_tags(data) == tags


@given(st.dictionaries(st.from_regex(r"[+]?[a-z]{1,5}", fullmatch=True), st.text().filter(lambda v: "\0" not in v)))
def test_tags_survive_the_wire(tags: dict[str, str]) -> None:
    cleaned = {key: value.encode("utf-8", "replace").decode() for key, value in tags.items()}
    assert parse_tags(build_tags(cleaned.items()).encode()) == cleaned


@given(st.lists(st.binary(max_size=600) | st.just(b"\r\n") | st.just(b"@a PING :x\n"), max_size=12), st.data())
def test_chunks_do_not_matter(parts: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(parts)
    whole = LineReader().receive(stream)
    reader = LineReader()
    pieces = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        pieces += reader.receive(stream[:size])
        stream = stream[size:]
    assert pieces == whole
    assert all(isinstance(found, Line | TooLong | Malformed) for found in whole)


def test_a_flood_without_end_of_line_is_not_kept() -> None:
    reader = LineReader()
    for _ in range(100):
        assert reader.receive(b"x" * 4096) == []
        assert len(reader._pending) <= MAX_PENDING_BYTES
    assert reader.receive(b"\nPING a\n") == [TooLong("body"), Line("PING", ("a",))]


@given(st.binary(max_size=5000))
def test_garbage_never_raises(raw: bytes) -> None:
    for found in LineReader().receive(raw + b"\n"):
        assert isinstance(found, Line | TooLong | Malformed)
        if isinstance(found, Line):
            assert found.command == found.command.upper()
            assert len(found.params) <= 15
            assert not any(c in param for param in found.params for c in "\r\n\0")


@pytest.mark.parametrize(
    ("words", "wire"),
    [
        (("PING", "a"), b"PING a\r\n"),
        (("PING", "a b"), b"PING :a b\r\n"),
        (("PING", ""), b"PING :\r\n"),
        (("PING", ":a"), b"PING ::a\r\n"),
        (("001", "a", "Welcome"), b"001 a Welcome\r\n"),
    ],
)
def test_a_line_is_built(words: tuple[str, ...], wire: bytes) -> None:
    assert build_line(*words) == wire


@pytest.mark.parametrize(
    "params",
    [("a\nb",), ("a\rQUIT",), ("a\0",), ("a b", "c"), ("", "c"), (":a", "c"), ("x" * 600,), ("#a", "b\r\nQUIT")],
)
def test_injection_has_no_place_to_happen(params: tuple[str, ...]) -> None:
    with pytest.raises(Unbuildable):
        build_line("PRIVMSG", *params)


def test_a_line_break_in_the_source_or_a_tag_is_refused() -> None:
    with pytest.raises(Unbuildable):
        build_line("PRIVMSG", "a", source="x\nQUIT")
    with pytest.raises(Unbuildable):
        build_line("PRIVMSG", "a", tags="a=b c")


def test_a_lone_surrogate_becomes_a_question_mark() -> None:
    assert build_line("PRIVMSG", "#t", "\ud800") == b"PRIVMSG #t ?\r\n"


@given(st.text(st.characters(blacklist_characters="\r\n\0", blacklist_categories=("Cs",)), max_size=100))
def test_built_lines_parse_back(text: str) -> None:
    line = parse_line(build_line("PRIVMSG", "#t", text, source="a!b@c").removesuffix(b"\r\n"))
    assert line == Line("PRIVMSG", ("#t", text), "a!b@c")
