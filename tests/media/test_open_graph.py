"""What pages say of themselves, whatever they are written in and whoever wrote them.

spec: Matrix client-server-api GET /media/preview_url
"""

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tripoint.media.open_graph import MAX_DESCRIPTION, MAX_TAGS, MAX_VALUE, PAGE_BYTES, decoded, read_page

URL = "https://site.example/blog/post"


def read(html: str | bytes, charset: str | None = None) -> dict[str, object]:
    return read_page(html.encode() if isinstance(html, str) else html, charset, URL)


def tags_of(html: str) -> dict[str, str]:
    tags = read(html)["tags"]
    assert isinstance(tags, dict)
    return tags


@pytest.mark.parametrize(
    ("html", "tags"),
    [
        ("", {}),
        ("plain words", {}),
        ("<title> A  title\n of two lines </title>", {"og:title": "A title of two lines"}),
        ("<title>one</title><title>two</title>", {"og:title": "one"}),
        ('<meta property="og:title" content="said"><title>shown</title>', {"og:title": "said"}),
        ('<title>shown</title><meta property="og:title" content="said">', {"og:title": "said"}),
        ('<meta property="og:title" content=""><title>shown</title>', {"og:title": "shown"}),
        ("<meta name=og:title content='by name'>", {"og:title": "by name"}),
        ("<META PROPERTY=OG:TITLE CONTENT=loud>", {"og:title": "loud"}),
        ('<meta name="twitter:title" content="a bird">', {"og:title": "a bird"}),
        ('<meta name="description" content="for machines">', {"og:description": "for machines"}),
        ('<meta property="og:title" content="a"><meta property="og:title" content="b">', {"og:title": "a"}),
        ('<meta property="og:site_name" content="Site">', {"og:site_name": "Site"}),
        ('<meta property="og:video:width" content="640">', {"og:video:width": "640"}),
        # What is none of Open Graph, and what the server says itself.
        ('<meta property="fb:admins" content="1"><meta property="og:image:width" content="9">', {}),
        ('<meta property="matrix:image:size" content="1"><meta property="og:x y" content="1">', {}),
        ("<h1>A heading</h1><title></title>", {"og:title": "A heading"}),
        ("<p>short<p>words enough to be said<p>and some more of them", {
            "og:description": "words enough to be said and some more of them"
        }),
        ("<p>what is shown <script>not(this)</script>is shown</p>", {"og:description": "what is shown is shown"}),
        ("<title>&lt;b&gt; &amp; \u202e\x07 bell</title>", {"og:title": "<b> & bell"}),
        ("<!-- <title>hidden</title> --><title>seen</title>", {"og:title": "seen"}),
        ("<meta property='og:title' content='unclosed", {}),
    ],
)  # fmt: skip
def test_texts(html: str, tags: dict[str, str]) -> None:
    assert tags_of(html) == tags


@pytest.mark.parametrize(
    ("html", "image"),
    [
        ("<meta property=og:image content='https://cdn.example/a.png'>", "https://cdn.example/a.png"),
        ("<meta property=og:image content='/a.png'>", "https://site.example/a.png"),
        ("<meta property=og:image content='a.png'>", "https://site.example/blog/a.png"),
        ("<base href='https://other.example/x/'><meta property=og:image content='a.png'>", "https://other.example/x/a.png"),
        ("<meta property=og:image:secure_url content='/b.png'>", "https://site.example/b.png"),
        ("<meta name=twitter:image content='/t.png'><link rel=image_src href='/l.png'>", "https://site.example/t.png"),
        ("<link rel=image_src href='/l.png'>", "https://site.example/l.png"),
        ("<meta property=og:image content='data:image/png;base64,AAAA'>", None),
        ("<meta property=og:image content='file:///etc/passwd'>", None),
        ("<meta property=og:image content='http://[::1'>", None),
        (f"<meta property=og:image content='/{'a' * 3000}'>", None),
        ("<img src='/not/asked.png'>", None),
    ],
)
def test_pictures(html: str, image: str | None) -> None:
    assert read(html)["image"] == image


def test_oembed() -> None:
    link = "<link rel=alternate type='application/json+oembed' href='/oembed?url=x'>"
    assert read(link)["oembed"] == "https://site.example/oembed?url=x"
    assert read(link.replace("json", "xml"))["oembed"] is None


@pytest.mark.parametrize(
    ("data", "charset", "text"),
    [
        ("zärtlich ☕".encode(), None, "zärtlich ☕"),
        ("zärtlich".encode("latin-1"), None, "zärtlich"),
        ("zärtlich €".encode("cp1252"), "iso-8859-1", "zärtlich €"),
        ("日本語".encode("shift_jis"), "Shift_JIS", "日本語"),
        (b"<meta charset=euc-kr>" + "한국어".encode("euc-kr"), None, "<meta charset=euc-kr>한국어"),
        (b'<meta content="text/html; charset=koi8-r">' + "чай".encode("koi8-r"), None, "чай"),
        (codecs.BOM_UTF8 + "é".encode(), "latin-1", "é"),
        (codecs.BOM_UTF16_LE + "é".encode("utf-16-le"), None, "é"),
        # What is no charset, or none for text.
        ("é".encode(), "nonsense", "é"),
        ("é".encode(), "rot13", "é"),
        (b"zip", "zlib", "zip"),
    ],
)
def test_whatever_a_page_is_written_in(data: bytes, charset: str | None, text: str) -> None:
    assert decoded(data, charset).endswith(text)


@pytest.mark.parametrize(
    "data",
    [
        b"<meta property='og:title' content='x'>" * 100_000,
        b"<div>" * 250_000,
        b"<title>" + b"x" * 2_000_000,
        b"<p>" + b"x" * 2_000_000,
        b"<a <a <a " * 100_000,
        b"<meta " + b"x=1 " * 200_000,
        b"<table>" * 150_000,
        b"<!--" * 250_000,
        b"&lt;" * 250_000,
        b"\0" * 1_000_000,
        bytes(range(256)) * 4_000,
        b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a 'b'><!ENTITY c SYSTEM 'file:///etc/passwd'>]><title>&a;&c;</title>",
        b"<meta property='og:%d' content='x'>" % 1 + b"".join(
            b"<meta property='og:a:%c%c' content='y'>" % (97 + n // 26 % 26, 97 + n % 26) for n in range(600)
        ),
    ],
)  # fmt: skip
def test_pages_that_mean_harm(data: bytes) -> None:
    found = read(data)
    tags = found["tags"]
    assert isinstance(tags, dict) and len(tags) <= MAX_TAGS + 2
    assert all(len(value) <= MAX_VALUE for value in tags.values())
    assert len(tags.get("og:description", "")) <= MAX_DESCRIPTION
    assert "root:" not in str(found)


def test_a_page_that_is_cut_off_in_a_letter() -> None:
    data = b"<title>tea</title>" + b"x" * (PAGE_BYTES - 19) + "é".encode()
    assert len(data[:PAGE_BYTES]) == PAGE_BYTES
    assert decoded(data[:PAGE_BYTES], None).startswith("<title>tea")
    assert "\u00c3" not in decoded(data[:PAGE_BYTES], None)


@given(st.binary(max_size=500), st.sampled_from([None, "utf-8", "utf-16", "shift_jis", "x"]))
def test_nothing_makes_it_fail(data: bytes, charset: str | None) -> None:
    for html in (data, b"<title>" + data, b"<meta property='og:title' content='" + data + b"'>"):
        assert read(html, charset).keys() == {"tags", "image", "oembed"}
