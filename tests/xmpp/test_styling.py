"""Message Styling against the examples of XEP-0393, and there and back."""

import re
import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tripoint.core.ids import UserId
from tripoint.core.richtext import (
    BREAK,
    CodeBlock,
    Mention,
    Paragraph,
    Quote,
    RichText,
    Run,
    Style,
    from_html,
    from_plain,
    to_html,
    to_plain,
)
from tripoint.xmpp.styling import parse_styling, render_styling

B, EM, S, C = Style(bold=True), Style(italic=True), Style(strike=True), Style(code=True)


# spec: XEP-0393 6.2, the list of examples
@pytest.mark.parametrize(
    ("body", "runs"),
    [
        ("*strong span*", [Run("strong span", B)]),
        ("plain _emphasis_ plain", [Run("plain "), Run("emphasis", EM), Run(" plain")]),
        ("`pre` plain *strong*", [Run("pre", C), Run(" plain "), Run("strong", B)]),
        ("*strong*plain*", [Run("strong", B), Run("plain*")]),
        ("* plain *strong*", [Run("* plain "), Run("strong", B)]),
        ("This is *`monospace and bold`*", [Run("This is "), Run("monospace and bold", Style(bold=True, code=True))]),
        ("This is `*monospace*`", [Run("This is "), Run("*monospace*", C)]),
        ("Everyone ~dis~likes cake.", [Run("Everyone "), Run("dis", S), Run("likes cake.")]),
        ("*_both_*", [Run("both", Style(bold=True, italic=True))]),
        ("not strong*", [Run("not strong*")]),
        ("*not strong", [Run("*not strong")]),
        ("*not \n strong*", [Run("*not "), BREAK, Run(" strong*")]),
        ("*not *strong", [Run("*not *strong")]),
        ("**", [Run("**")]),
        ("***", [Run("***")]),
        ("****", [Run("****")]),
        ("2*3*4", [Run("2*3*4")]),
        ("snake_case_name", [Run("snake_case_name")]),
    ],
)
def test_spans(body, runs):
    assert parse_styling(body) == RichText((Paragraph(tuple(runs)),))


def test_blocks():
    # spec: XEP-0393 6.1.2, 6.1.3
    body = '```ignored\n(println "Hello, world!")\n```\n\nThis'
    assert parse_styling(body).blocks == (
        CodeBlock('(println "Hello, world!")', "ignored"),
        Paragraph((BREAK, Run("This"))),
    )
    body = "> ```\n> (println)\n\nThe entire"
    assert parse_styling(body).blocks == (
        Quote((CodeBlock("(println)"),)),
        Paragraph((BREAK, Run("The entire"))),
    )
    assert parse_styling(">> That that is, is.\n> Said *he*").blocks == (
        Quote((Quote((Paragraph((Run("That that is, is."),)),)), Paragraph((Run("Said "), Run("he", B))))),
    )


def test_deep_quotes_and_many_directives_take_no_time():
    begin = time.process_time()
    parse_styling(">" * 60_000)
    parse_styling(" *a" * 20_000)
    parse_styling(" *a _b ~c" * 8_000)
    parse_styling("```\n" * 20_000)
    assert time.process_time() - begin < 3


@pytest.mark.parametrize(
    ("html", "body", "unstyled"),
    [
        ("plain", "plain", False),
        ("2 *3* 4", "2 *3* 4", True),
        ("&gt; not a quote", "> not a quote", True),
        ("<b>a</b> and <i>b</i> <del>c</del> <code>d</code>", "*a* and _b_ ~c~ `d`", False),
        ("w<b>or</b>d", "word", False),
        ("x <b> a </b> y", "x *a* y", False),
        ("<u>u</u> <font color='#ff0000'>r</font>", "u r", False),
        ("<blockquote>q</blockquote>a", "> q\na", False),
        ("<pre><code>x\ny</code></pre>", "```\nx\ny\n```", False),
        ("<ul><li>a</li><li>b</li></ul>", "- a\n- b", False),
        ("<ol start='3'><li>a</li></ol>", "3. a", False),
        ("<h1>T</h1>", "*T*", False),
        ('<a href="https://x.example/">site</a>', "site <https://x.example/>", False),
    ],
)
def test_out(html, body, unstyled):
    styled = render_styling(from_html(html))
    assert (styled.body, styled.unstyled) == (body, unstyled)


def test_mentions_are_named_for_the_reader():
    text = RichText((Paragraph((Mention(UserId("@bob:example.org"), "bob"), Run(": hi *you*"))),))
    styled = render_styling(text, lambda pill: "Bobby")
    assert styled.body == "Bobby: hi *you*"


words = st.text(alphabet="ab*_~` >\n", max_size=60)


@given(words)
def test_nothing_but_directives_is_lost(body):
    """What is read off a body are directives and quote signs; every other character is still there.

    The line that opens a preformatted block is a directive to its end (XEP-0393 6.1.2), whatever stands in it.
    """
    assume(not re.search("```[^\n]", body))
    text = to_plain(parse_styling(body))
    for char in "ab":
        assert text.count(char) == body.count(char)


@given(words)
def test_there_and_back_is_stable(body):
    """What was written reads as what it was written from, once the first reading is done."""
    once = render_styling(parse_styling(body))
    again = render_styling(from_plain(once.body) if once.unstyled else parse_styling(once.body))
    assert again == render_styling(from_plain(again.body) if again.unstyled else parse_styling(again.body))


@given(st.text(max_size=200))
def test_any_text_is_taken(body):
    text = parse_styling(body)
    to_html(text)
    render_styling(text)
