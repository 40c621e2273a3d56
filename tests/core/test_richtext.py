"""The neutral text and Matrix HTML.  spec: Matrix m.room.message msgtypes; docs/mapping.md 10.5, 10.6, 2.10"""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tripoint.core.ids import RoomAlias, RoomId, UserId
from tripoint.core.richtext import (
    BREAK,
    Block,
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
    from_html,
    from_plain,
    inlines_of,
    is_safe_url,
    matrix_to,
    mentioned_users,
    merge_runs,
    to_html,
    to_plain,
    walk_inlines,
)
from tripoint.core.richtext.html_tokens import EndTag, StartTag, Text, tokens

BOLD, ITALIC, CODE = Style(bold=True), Style(italic=True), Style(code=True)
BOB = UserId("@bob:x.org")


def para(*inlines: Inline) -> Paragraph:
    return Paragraph(inlines)


def text(*blocks: Block) -> RichText:
    return RichText(blocks)


# Each HTML, what it means, and its plain text.
READ: list[tuple[str, RichText, str]] = [
    ("", text(), ""),
    ("hello", text(para(Run("hello"))), "hello"),
    ("a &lt;b&gt; &amp; &#39;c&#39;&nbsp;d", text(para(Run("a <b> & 'c'\u00a0d"))), "a <b> & 'c'\u00a0d"),
    ("<b>a</b><strong>b</strong> c", text(para(Run("ab", BOLD), Run(" c"))), "ab c"),
    ("<i>a</i><em>b</em>", text(para(Run("ab", ITALIC))), "ab"),
    ("<u>a</u><del>b</del><s>c</s>", text(para(Run("a", Style(underline=True)), Run("bc", Style(strike=True)))), "abc"),
    ("<b>a<i>b</i></b>", text(para(Run("a", BOLD), Run("b", Style(bold=True, italic=True)))), "ab"),
    # Tags closed in the wrong order end both.
    ("<b>a<i>b</b>c</i>d", text(para(Run("a", BOLD), Run("b", Style(bold=True, italic=True)), Run("cd"))), "abcd"),
    ("<code>x  y</code>", text(para(Run("x y", CODE))), "x y"),
    ("a<br>b<br/>c", text(para(Run("a"), BREAK, Run("b"), BREAK, Run("c"))), "a\nb\nc"),
    ("<p>a</p>\n<p>b</p>", text(para(Run("a")), para(Run("b"))), "a\n\nb"),
    ("<p>a<p>b", text(para(Run("a")), para(Run("b"))), "a\n\nb"),
    ("<h2>t</h2>x", text(Heading(2, (Run("t"),)), para(Run("x"))), "t\nx"),
    ("a<hr>b", text(para(Run("a")), Rule(), para(Run("b"))), "a\n---\nb"),
    (
        "<ul><li>one</li><li>two<ul><li>in</li></ul></li></ul>",
        text(ItemList(((para(Run("one")),), (para(Run("two")), ItemList(((para(Run("in")),),)))))),
        "- one\n- two\n  - in",
    ),
    ('<ol start="9"><li>a<li>b</ol>', text(ItemList(((para(Run("a")),), (para(Run("b")),)), 9)),
     "9. a\n10. b"),
    ("<ol><li>a</li></ol>", text(ItemList(((para(Run("a")),),), 1)), "1. a"),
    (
        "<blockquote>q<blockquote>r</blockquote></blockquote>s",
        text(Quote((para(Run("q")), Quote((para(Run("r")),)))), para(Run("s"))),
        "> q\n> > r\ns",
    ),
    ("<pre><code class='language-py'>a\n  b\n</code></pre>", text(CodeBlock("a\n  b", "py")), "a\n  b"),
    ("<pre>a<br>b <b>c</b></pre>", text(CodeBlock("a\nb c")), "a\nb c"),
    ("<mx-reply><blockquote>old</blockquote></mx-reply>new", text(para(Run("new"))), "new"),
    ("<script>x</script><style>y</style>z", text(para(Run("z"))), "z"),
    ("a<!-- hidden -->b<?php x?><!DOCTYPE y>c", text(para(Run("abc"))), "abc"),
    ("1 < 2 <3 <", text(para(Run("1 < 2 <3 <"))), "1 < 2 <3 <"),
    ("<unknown onclick='x'>t</unknown>", text(para(Run("t"))), "t"),
    ("<table><tr><th>a</th><th>b</th></tr><tr><td>c</td><td>d</td></tr></table>",
     text(para(Run("a\tb")), para(Run("c\td"))), "a\tb\n\nc\td"),
    ('<img src="mxc://x/y" alt=":cat:">!', text(para(Run(":cat:!"))), ":cat:!"),
    ('<span data-mx-color="#FF0000" data-mx-bg-color="#0000ff">r</span>',
     text(para(Run("r", Style(foreground=0xFF0000, background=0xFF)))), "r"),
    ('<font color="#00ff00">g</font><span data-mx-color="red">n</span>',
     text(para(Run("g", Style(foreground=0xFF00)), Run("n"))), "gn"),
    ("<span data-mx-spoiler>s</span><span data-mx-spoiler='why'>t</span>",
     text(para(Run("s", Style(spoiler="")), Run("t", Style(spoiler="why")))), "st"),
    ('<a href="https://x.org/?a=1&amp;b=2">here</a>',
     text(para(Run("here", link="https://x.org/?a=1&b=2"))), "here <https://x.org/?a=1&b=2>"),
    ('<a href="https://x.org">https://x.org</a>', text(para(Run("https://x.org", link="https://x.org"))),
     "https://x.org"),
    ('<a href="javascript:alert(1)">t</a><a href="/rel">u</a><a>v</a>', text(para(Run("tuv"))), "tuv"),
    ('<a href="https://x.org">a<p>b</a>',
     text(para(Run("a", link="https://x.org")), para(Run("b", link="https://x.org"))),
     "a <https://x.org>\n\nb <https://x.org>"),
    ('<a href="https://matrix.to/#/@bob:x.org">Bob</a>: hi', text(para(Mention(BOB, "Bob"), Run(": hi"))), "Bob: hi"),
    ('<a href="https://matrix.to/#/%40bob%3Ax.org">Bob</a>', text(para(Mention(BOB, "Bob"))), "Bob"),
    ('<a href="matrix:u/bob:x.org?action=chat"></a>', text(para(Mention(BOB, "@bob:x.org"))), "@bob:x.org"),
    ('<a href="https://matrix.to/#/%23tea:x.org?via=x.org">#tea</a>',
     text(para(RoomPill(RoomAlias("#tea:x.org"), "#tea"))), "#tea"),
    ('<a href="https://matrix.to/#/!abc">r</a>', text(para(RoomPill(RoomId("!abc"), "r"))), "r"),
    # A link to one message stays a link.
    ('<a href="https://matrix.to/#/!abc/$def">m</a>',
     text(para(Run("m", link="https://matrix.to/#/!abc/$def"))), "m <https://matrix.to/#/!abc/$def>"),
    ('<a href="https://matrix.to/#/@nobody">n</a>',
     text(para(Run("n", link="https://matrix.to/#/@nobody"))), "n <https://matrix.to/#/@nobody>"),
]  # fmt: skip


@pytest.mark.parametrize(("html", "meaning", "plain"), READ, ids=[html for html, _, _ in READ])
def test_reading_html(html: str, meaning: RichText, plain: str) -> None:
    read = from_html(html)
    assert read == meaning
    assert to_plain(read) == plain


WRITTEN: list[tuple[RichText, str]] = [
    (text(para(Run("a < b & c"))), "a &lt; b &amp; c"),
    (text(para(Run("x", BOLD), BREAK, Run("y"))), "<strong>x</strong><br>y"),
    (text(para(Run("x", Style(bold=True, italic=True, code=True)))), "<strong><em><code>x</code></em></strong>"),
    (text(para(Run("a")), para(Run("b"))), "<p>a</p><p>b</p>"),
    (text(CodeBlock("a<b\n", "c")), '<pre><code class="language-c">a&lt;b\n\n</code></pre>'),
    (text(Quote((para(Run("q")),))), "<blockquote><p>q</p></blockquote>"),
    (text(ItemList(((para(Run("a")),),), 3)), '<ol start="3"><li>a</li></ol>'),
    (text(para(Mention(BOB, "B<ob"))), '<a href="https://matrix.to/#/@bob:x.org">B&lt;ob</a>'),
    (text(para(RoomPill(RoomAlias("#tea room:x.org"), "tea"))),
     '<a href="https://matrix.to/#/%23tea%20room:x.org">tea</a>'),
    (text(para(Run("l", link='https://x.org/?"'))), '<a href="https://x.org/?&quot;">l</a>'),
    (text(para(Run("s", Style(spoiler='a"b', foreground=0xFF)))),
     '<span data-mx-spoiler="a&quot;b" data-mx-color="#0000ff">s</span>'),
]  # fmt: skip


@pytest.mark.parametrize(("meaning", "html"), WRITTEN, ids=[html for _, html in WRITTEN])
def test_writing_html(meaning: RichText, html: str) -> None:
    assert to_html(meaning) == html


words = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=6)
styles = st.builds(
    Style, st.booleans(), st.booleans(), st.booleans(), st.booleans(), st.booleans(),
    st.none() | st.integers(0, 0xFFFFFF), st.none() | st.integers(0, 0xFFFFFF), st.none() | st.just("") | words,
)  # fmt: skip
links = st.none() | st.sampled_from(["https://x.org/a?b=c&d", "mailto:a@b", "xmpp:r@s?join"])
inlines = st.one_of(
    st.builds(Run, words, styles, links),
    st.builds(Mention, st.sampled_from([BOB, UserId("@a b/ü?#%:x.org:80")]), words),
    st.builds(RoomPill, st.sampled_from([RoomAlias("#ä/b?:x"), RoomId("!hash"), RoomId("!a:x")]), words),
)


def _line(parts: list[Inline]) -> tuple[Inline, ...]:
    return merge_runs(parts)


lines = st.lists(inlines, min_size=1, max_size=4).map(_line)
# Breaks between lines, none at the ends, where HTML shows nothing.
rows = st.lists(lines, min_size=1, max_size=3).map(
    lambda parts: tuple(inline for at, part in enumerate(parts) for inline in ((BREAK, *part) if at else part))
)
code_lines = st.text(st.characters(codec="utf-8", exclude_characters="\r\0", exclude_categories=["Cc"]), max_size=8)
leaf_blocks = st.one_of(
    st.builds(Paragraph, rows), st.builds(Heading, st.integers(1, 6), rows),
    st.builds(CodeBlock, code_lines.filter(lambda code: not code.startswith("\n")), st.sampled_from(["", "py", "c++"])),
    st.just(Rule()),
)  # fmt: skip
blocks = st.recursive(
    leaf_blocks,
    lambda inner: st.one_of(
        st.builds(Quote, st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.builds(
            ItemList,
            st.lists(st.lists(inner, max_size=2).map(tuple), min_size=1, max_size=3).map(tuple),
            st.none() | st.integers(-5, 99),
        ),
    ),
    max_leaves=6,
)


@given(st.lists(blocks, max_size=4).map(tuple))
def test_html_there_and_back(parts: tuple[Block, ...]) -> None:
    assert from_html(to_html(RichText(parts))) == RichText(parts)


def test_spaces_survive() -> None:
    for line in ("a  b", "  indented", "a   b", "x    y"):
        written = to_html(text(para(Run(line), BREAK, Run(line))))
        assert to_plain(from_html(written)) == f"{line}\n{line}"


@given(st.text(st.characters(exclude_characters="\r")))
def test_plain_text_there_and_back(plain: str) -> None:
    rich = from_plain(plain)
    assert rich.is_plain
    assert to_plain(rich) == plain


def test_line_ends() -> None:
    assert from_plain("a\r\nb\rc") == from_plain("a\nb\nc")
    assert inlines_of("a\n\nb", BOLD) == (Run("a", BOLD), BREAK, BREAK, Run("b", BOLD))
    assert from_plain("") == RichText()


def test_what_is_plain() -> None:
    assert text(para(Run("a"), BREAK, Run("b"))).is_plain and RichText().is_plain
    for rich in (text(para(Run("a", BOLD))), text(para(Run("a", link="https://x"))), text(CodeBlock("a")),
                 text(para(Mention(BOB, "b"))), text(para(Run("a")), para(Run("b")))):  # fmt: skip
        assert not rich.is_plain


def test_spoilers_are_not_in_the_body() -> None:
    rich = from_html("see <span data-mx-spoiler='the end'>he dies</span><span data-mx-spoiler>x</span>")
    assert to_plain(rich, spoilers=False) == "see [Spoiler for the end][Spoiler]"
    assert to_plain(rich) == "see he diesx"


def test_mentions_outside_quotes() -> None:
    quoted = Quote((para(Mention(UserId("@q:x"), "q")),))
    listed = ItemList(((para(Mention(UserId("@l:x"), "l")),),))
    rich = text(quoted, para(Mention(BOB, "b"), Mention(BOB, "again")), listed)
    assert mentioned_users(rich) == (BOB, "@l:x")
    assert len(list(walk_inlines(rich.blocks))) == 4


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://x.org", True), ("HTTP://X", True), ("mailto:a@b", True), ("magnet:?x", True), ("ftp://x", True),
        ("javascript:x", False), ("data:text/html,x", False), ("//x.org", False), ("/x", False), ("", False),
        ("https://x.org/a b", False), ("https://x\n", False), ('https://x"', False), ("java\0script:x", False),
        ("https://x/\u202e", False), ("https://x/ü", True),
    ],
)  # fmt: skip
def test_urls(url: str, safe: bool) -> None:
    assert is_safe_url(url) is safe


def test_matrix_to() -> None:
    # spec: appendices matrix.to navigation, its examples
    assert matrix_to(RoomAlias("#somewhere:example.org")) == "https://matrix.to/#/%23somewhere:example.org"
    assert matrix_to(UserId("@alice:example.org")) == "https://matrix.to/#/@alice:example.org"


def test_tokens() -> None:
    found = list(tokens("a<B C='d' c=x e>f</b >&amp;<1><a <b>"))
    assert found == [
        Text("a"), StartTag("b", {"c": "d", "e": ""}), Text("f"), EndTag("b"), Text("&<1><a "), StartTag("b", {}),
    ]  # fmt: skip


@given(st.one_of(st.text(), st.text(alphabet="<>/!?-= \"'&;#apbulicodr\n")))
def test_any_html_gives_a_text(html: str) -> None:
    rich = from_html(html)
    # What we write of it is read the same, up to white space at the ends of runs.
    assert from_html(to_html(rich)) is not None
    to_plain(rich)


HOSTILE = ["<", "<!", "<!--", "<a ", "<![", "&", "</", "<?", '<a href="', "<a b='", "&#", "<a/", "</a ", "<a a=",
           '<a"', "<b>", "<li>", "<ul>", "<ul><li>", "<blockquote>", "<a href='http://x'>", "</b>", "<br>", " <br> ",
           "a<wbr>", "<b a a a a a a a", "<pre>", "<mx-reply>", "<td>", "x<b></b>", "<!-->", "<p>a"]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_time_is_linear(piece: str) -> None:
    # A quadratic reader takes seconds for 64 KiB of these; this one some tens of milliseconds.
    html = piece * (65536 // len(piece))
    began = time.process_time()
    rich = from_html(html)
    to_html(rich)
    to_plain(rich)
    assert time.process_time() - began < 2


def test_depth_is_bounded() -> None:
    deep = from_html("<blockquote>" * 500 + "x" + "</blockquote>" * 500)
    levels, blocks_here = 0, deep.blocks
    while isinstance(blocks_here[0], Quote):
        levels += 1
        blocks_here = blocks_here[0].blocks
    assert levels == 32 and to_plain(deep).endswith("x")
    assert from_html("<b>" * 500 + "x") == text(para(Run("x", BOLD)))


def test_size_is_bounded() -> None:
    assert len(to_plain(from_html("x" * 100_000))) == 65536


def test_merging() -> None:
    parts: list[Any] = [Run("a"), Run(""), Run("b"), Run("c", BOLD), BREAK, Run("d", BOLD)]
    assert merge_runs(parts) == (Run("ab"), Run("c", BOLD), BREAK, Run("d", BOLD))
