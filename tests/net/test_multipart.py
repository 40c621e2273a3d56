"""multipart/mixed of two parts, in any pieces. spec: RFC2046 5.1, Matrix server-server-api getContent"""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tripoint.net.multipart import BadMultipart, MultipartReader, boundary_of


def message(body: bytes, *, preamble: bytes = b"", head: bytes = b"Content-Type: image/png\r\n") -> bytes:
    facts = b"Content-Type: application/json\r\n\r\n{}"
    return preamble + b"--b\r\n" + facts + b"\r\n--b\r\n" + head + b"\r\n" + body + b"\r\n--b--\r\nepilogue"


def read(data: bytes, *cuts: int) -> tuple[dict[str, str] | None, bytes]:
    reader = MultipartReader(b"b")
    ends = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    body = b"".join(reader.feed(data[start:end]) for start, end in pairwise(ends))
    reader.end()
    return reader.headers, body


@given(st.binary(max_size=200).filter(lambda body: b"\r\n--b" not in body), st.lists(st.integers(0, 1000), max_size=8))
def test_the_second_part_comes_out_whole_in_any_pieces(body: bytes, cuts: list[int]) -> None:
    assert read(message(body), *cuts) == ({"content-type": "image/png"}, body)


@pytest.mark.parametrize(
    "data",
    [
        message(b"x", preamble=b"This is multipart\r\n"),
        b"--b\r\n\r\n{}\r\n--b\r\nContent-Type: image/png\r\n\r\nx\r\n--b--",
        b"--b  \r\n\r\n\r\n--b\t\r\nCONTENT-TYPE:image/png\r\n\r\nx\r\n--b--",
        b"--bx\r\n--b\r\n\r\n{}\r\n--by\r\n\r\n--b\r\nContent-Type: image/png\r\n\r\nx\r\n--b--",
    ],
)
def test_forms_that_servers_write(data: bytes) -> None:
    for cut in range(len(data)):
        assert read(data, cut) == ({"content-type": "image/png"}, b"x")


def test_a_part_without_headers_or_bytes() -> None:
    assert read(message(b"", head=b"")) == ({}, b"")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not multipart at all",
        b"--b\r\n\r\n{}\r\n--b--",
        b"--b\r\n\r\n{}\r\n--b\r\nContent-Type: image/png\r\n\r\nhalf",
        message(b"x")[: -len(b"--\r\nepilogue")].replace(b"x\r\n--b", b"x\r\n--"),
        b"--b\r\n" + b"a" * 20_000,
        b"a" * 70_000 + b"\r\n--b",
        b"--b\r\n\r\n" + b"a" * 70_000 + b"\r\n--b",
    ],
)
def test_what_is_none(data: bytes) -> None:
    with pytest.raises(BadMultipart):
        read(data)


def test_nothing_grows_without_bound() -> None:
    reader = MultipartReader(b"b")
    with pytest.raises(BadMultipart):
        for _ in range(1000):
            reader.feed(b"a" * 1000)


@given(st.binary(max_size=300), st.lists(st.integers(0, 1000), max_size=5))
def test_garbage_gives_only_its_own_error(data: bytes, cuts: list[int]) -> None:
    try:
        read(data, *cuts)
    except BadMultipart:
        pass


@pytest.mark.parametrize(
    ("kind", "boundary"),
    [
        ("multipart/mixed; boundary=abc", b"abc"),
        ('Multipart/Mixed; charset=x; BOUNDARY="a b:c"', b"a b:c"),
        ("multipart/mixed", None),
        ("multipart/mixed; boundary=", None),
        ("application/json; boundary=abc", None),
        ("", None),
    ],
)
def test_boundaries(kind: str, boundary: bytes | None) -> None:
    if boundary is not None:
        assert boundary_of(kind) == boundary
        return
    with pytest.raises(BadMultipart):
        boundary_of(kind)
