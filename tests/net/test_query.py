"""Query parameters mean what the standard library takes them for."""

from urllib.parse import parse_qsl

from hypothesis import given
from hypothesis import strategies as st

from tripoint.net.http import MAX_FIELDS, Request


def request(query: bytes) -> Request:
    return Request("GET", "/", query, [], b"", "127.0.0.1", False)


@given(st.text(st.sampled_from("ab=&+%2Cé ;#%C3%A9%zz"), max_size=60))
def test_as_parse_qsl(text: str) -> None:
    raw = text.encode("latin-1", "replace")
    wanted: dict[str, list[str]] = {}
    for key, value in parse_qsl(raw.decode("latin-1"), keep_blank_values=True, errors="replace"):
        wanted.setdefault(key, []).append(value)
    assert request(raw).queries() == wanted


def test_a_filter_twice_and_too_many() -> None:
    raw = b"filter=%7B%22room%22%3A%7B%7D%7D&since=s1_2&timeout=0"
    for _ in range(2):
        assert request(raw).query("filter") == '{"room":{}}'
    long = b"a=%41" + b"b" * 5000
    assert request(long).query("a") == "A" + "b" * 5000
    assert len(request(b"&".join([b"a=1"] * MAX_FIELDS)).queries()["a"]) == MAX_FIELDS
    assert request(b"&".join([b"a=1"] * (MAX_FIELDS + 1))).queries() == {}
