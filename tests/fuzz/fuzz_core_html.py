"""Coverage-guided fuzzing of message HTML.

Run: python tests/fuzz/fuzz_core_html.py -max_total_time=60 tests/fuzz/corpus/core_html

Checks that any HTML gives a text, that what we write has none but the permitted tags, and that it reads back. Needs
atheris.
"""

import re
import sys

import atheris

with atheris.instrument_imports():
    from tripoint.core.richtext import from_html, is_safe_url, mentioned_users, to_html, to_plain
    from tripoint.core.richtext.html_tokens import StartTag, tokens

WRITTEN = {"a", "blockquote", "br", "code", "del", "em", "hr", "li", "ol", "p", "pre", "span", "strong", "u", "ul"}
HEADING = re.compile(r"h[1-6]\Z")


def test_one_input(data: bytes) -> None:
    """The entry of libFuzzer."""
    rich = from_html(data.decode("utf-8", "replace"))
    html = to_html(rich)
    for token in tokens(html):
        if isinstance(token, StartTag):
            assert token.name in WRITTEN or HEADING.match(token.name), token
            assert token.name != "a" or is_safe_url(token.attributes["href"])
    from_html(html)
    to_plain(rich)
    to_plain(rich, spoilers=False)
    mentioned_users(rich)


if __name__ == "__main__":
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
