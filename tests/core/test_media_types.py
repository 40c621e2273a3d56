"""Names and kinds of files as headers and people have them.

spec: RFC6266 4; Matrix client-server-api "Serving inline content", "Matrix Content (mxc://) URIs"
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tripoint.core.ids import InvalidId
from tripoint.core.media_types import (
    MAX_FILENAME,
    clean_filename,
    clean_type,
    content_disposition,
    disposition_filename,
    readable_size,
)
from tripoint.core.mxc import parse_mxc


@pytest.mark.parametrize(
    ("given_", "clean"),
    [
        ("image/png", "image/png"),
        (" Image/PNG ", "image/png"),
        ("text/plain; charset=UTF-8", "text/plain; charset=utf-8"),
        ('text/plain; format=flowed; charset="utf-8"', "text/plain; charset=utf-8"),
        ("image/png; charset=utf-8", "image/png"),
        ("video/mp4; codecs=avc1", "video/mp4"),
        (None, "application/octet-stream"),
        ("", "application/octet-stream"),
        ("image", "application/octet-stream"),
        ("image/png\r\nset-cookie: x", "application/octet-stream"),
        ("image/pn g", "application/octet-stream"),
        ("image/" + "x" * 128, "application/octet-stream"),
        ("bild/größe", "application/octet-stream"),
    ],
)
def test_types(given_: str | None, clean: str) -> None:
    assert clean_type(given_) == clean
    assert clean_type(clean) == clean


@pytest.mark.parametrize(
    ("given_", "clean"),
    [
        ("tea.png", "tea.png"),
        ("/etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("..", None),
        ("a/..", None),
        ("", None),
        (None, None),
        ("  ", None),
        ("a\r\nb\0c", "abc"),
        ("evil\u202egnp.exe", "evilgnp.exe"),
        ("thé ☕.png", "thé ☕.png"),
        ("x" * 400, "x" * MAX_FILENAME),
    ],
)
def test_filenames(given_: str | None, clean: str | None) -> None:
    assert clean_filename(given_) == clean


@pytest.mark.parametrize(
    ("kind", "name", "header"),
    [
        ("image/png", "tea.png", 'inline; filename="tea.png"'),
        ("image/png", None, "inline"),
        ("text/plain; charset=utf-8", None, "inline"),
        ("image/svg+xml", "x.svg", 'attachment; filename="x.svg"'),
        ("text/html", None, "attachment"),
        ("image/png", 'a"b\\c', "inline; filename=\"a_b_c\"; filename*=utf-8''a%22b%5Cc"),
        ("image/png", "thé.png", "inline; filename=\"th_.png\"; filename*=utf-8''th%C3%A9.png"),
    ],
)
def test_dispositions(kind: str, name: str | None, header: str) -> None:
    assert content_disposition(kind, name) == header


@pytest.mark.parametrize(
    ("header", "name"),
    [
        (None, None),
        ("inline", None),
        ("attachment; filename=genome.jpeg", "genome.jpeg"),
        ('INLINE; FILENAME= "an example.html"', "an example.html"),
        ("attachment; filename*= UTF-8''%e2%82%ac%20rates", "€ rates"),
        ("attachment; filename=\"EURO rates\"; filename*=utf-8''%e2%82%ac%20rates", "€ rates"),
        ("attachment; filename=\"fallback\"; filename*=nonsense''%ff", "fallback"),
        ("attachment; filename*=utf-8''%ff", None),
        (r'attachment; filename="a \"b\".png"', 'a "b".png'),
        ('attachment; filename="../../x"', "x"),
        ('attachment; filename="th\u00c3\u00a9.png"', "thé.png"),
    ],
)
def test_names_in_headers(header: str | None, name: str | None) -> None:
    """The examples of RFC6266 5, and what servers really send."""
    assert disposition_filename(header) == name


@given(st.text(max_size=300))
def test_a_name_comes_through_a_header_unchanged(text: str) -> None:
    name = clean_filename(text)
    header = content_disposition("image/png", name)
    header.encode("ascii")
    assert "\r" not in header and "\n" not in header
    assert disposition_filename(header) == name


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (100_000, "98 KiB"),
        (1_048_575, "1.0 MiB"),
        (1_363_149, "1.3 MiB"),
        (52_428_800, "50.0 MiB"),
        (10_737_418_240, "10.0 GiB"),
    ],
)
def test_sizes(size: int, text: str) -> None:
    assert readable_size(size) == text


def test_mxc_names() -> None:
    mxc = parse_mxc("mxc://example.org:8448/AQwafuaFswefuhsfAFAgsw")
    assert (mxc.server, mxc.media_id) == ("example.org:8448", "AQwafuaFswefuhsfAFAgsw")
    assert str(mxc) == "mxc://example.org:8448/AQwafuaFswefuhsfAFAgsw"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://example.org/a",
        "mxc://example.org",
        "mxc://example.org/",
        "mxc://example.org/a/b",
        "mxc://127.0.0.1/../../../some_service/etc/passwd",
        "mxc://example.org/a%2Fb",
        "mxc://example.org/a.b",
        "mxc://exa mple.org/a",
        "mxc:///a",
        "mxc://example.org/a\n",
        "mxc://example.org/" + "a" * 256,
    ],
)
def test_what_is_no_mxc_name(text: str) -> None:
    with pytest.raises(InvalidId):
        parse_mxc(text)
