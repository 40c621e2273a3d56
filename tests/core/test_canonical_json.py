"""Canonical JSON.  spec: Matrix appendices canonical-json"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.spec_text import spec_file

from tripoint.core.canonical_json import (
    MAX_DEPTH,
    CanonicalJsonError,
    canonicalise,
    decode,
    decode_lenient,
    decode_object,
    encode,
    encode_lenient,
)
from tripoint.core.errors import PeerError
from tripoint.core.json_view import int_at, list_at, object_at, text_at, texts_at

# The examples of the appendix, as printed there.
EXAMPLES = [
    ("{}", "{}"),
    ('{"one": 1, "two": "Two"}', '{"one":1,"two":"Two"}'),
    ('{"b": "2", "a": "1"}', '{"a":"1","b":"2"}'),
    ('{"b":"2","a":"1"}', '{"a":"1","b":"2"}'),
    (
        '{"auth": {"success": true, "mxid": "@john.doe:example.com", "profile": {"display_name": "John Doe", '
        '"three_pids": [{"medium": "email", "address": "john.doe@example.org"}, '
        '{"medium": "msisdn", "address": "123456789"}]}}}',
        '{"auth":{"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe","three_pids":'
        '[{"address":"john.doe@example.org","medium":"email"},{"address":"123456789","medium":"msisdn"}]},'
        '"success":true}}',
    ),
    ('{"a": "日本語"}', '{"a":"日本語"}'),
    ('{"本": 2, "日": 1}', '{"日":1,"本":2}'),
    ('{"a": "\\u65E5"}', '{"a":"日"}'),
    ('{"a": null}', '{"a":null}'),
    ('{"a": -0, "b": 1e10}', '{"a":0,"b":10000000000}'),
]


@pytest.mark.parametrize(("text", "canonical"), EXAMPLES)
def test_examples_of_the_appendix(text: str, canonical: str) -> None:
    assert canonicalise(text.encode()) == canonical.encode()
    if "1e10" not in text:
        assert encode(decode(text.encode())) == canonical.encode()


def test_examples_are_those_of_the_specification() -> None:
    text = spec_file("matrix/spec/content/appendices.md")
    section = text[text.index("#### Examples") : text.index("### Signing Details")]
    printed = re.findall(r"```json\n(.*?)\n```", section, re.S)
    assert len(printed) == 2 * len(EXAMPLES)
    for source, canonical in zip(printed[::2], printed[1::2], strict=True):
        assert canonicalise(source.encode()) == canonical.encode()


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        # The grammar: escapes of two characters where they exist, \u00xx for other controls, nothing else.
        ("\b\t\n\f\r\"\\", r'"\b\t\n\f\r\"\\"'),
        ("\x00\x07\x0b\x0e\x1f", r'"\u0000\u0007\u000b\u000e\u001f"'),
        ("\x7f/\u2028é", '"\x7f/\u2028é"'),
        (2**53 - 1, "9007199254740991"),
        (-(2**53) + 1, "-9007199254740991"),
        # By code point, not by UTF-16 unit: U+FF61 before U+1F600.
        ({"\U0001f600": 1, "｡": 2}, '{"｡":2,"\U0001f600":1}'),
        ([True, False, None], "[true,false,null]"),
    ],
)
def test_encoding(value: Any, encoded: str) -> None:
    assert encode(value) == encoded.encode()


@pytest.mark.parametrize(
    "value",
    [1.0, 1.5, -0.0, float("nan"), float("inf"), 2**53, -(2**53), 10**400, "\ud800", {"\udc00": 1}, {1: 2},
     {"a": [{"b": 0.5}]}, [[1e300]], b"bytes", {1, 2}, object(), (0.5,)],
)  # fmt: skip
def test_what_has_no_canonical_form(value: Any) -> None:
    with pytest.raises(CanonicalJsonError):
        encode(value)


def test_depth_is_bounded() -> None:
    value: Any = "x"
    for _ in range(MAX_DEPTH):
        value = [value]
    assert encode(value).startswith(b"[[[")
    assert encode_lenient(value) == encode(value)
    for deeper in ([value], [[[[[value]]]]], {"a": [0.5, value]}):
        with pytest.raises(CanonicalJsonError):
            encode(deeper)  # type: ignore[arg-type]
        with pytest.raises(CanonicalJsonError):
            encode_lenient(deeper)  # type: ignore[arg-type]
    with pytest.raises(CanonicalJsonError):
        decode(b"[" * 100_000)


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"{}x", b"nan", b"NaN", b"Infinity", b'"\\ud800"', b"\xff", b'"\xed\xa0\x80"', b"{'a':1}", b"01",
     b"[1,]", b'"\n"', b"\xef\xbb\xbf{}"],
)  # fmt: skip
def test_what_is_not_json(text: bytes) -> None:
    for read in (decode, decode_lenient, decode_object, canonicalise):
        with pytest.raises(CanonicalJsonError):
            read(text)


def test_of_equal_keys_the_last_counts() -> None:
    assert decode(b'{"a":1,"a":2}') == {"a": 2}
    assert decode_lenient(b'{"a":1.5,"a":2.5}') == {"a": 2.5}


def test_objects_only() -> None:
    assert decode_object(b'{"a":1}') == {"a": 1}
    with pytest.raises(CanonicalJsonError):
        decode_object(b"[]")


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        # Room versions 3 to 5: "Servers SHOULD be capable of handling JSON which is considered invalid".
        (b'{"b":1.5,"a":1180591620717411303424}', b'{"a":1180591620717411303424,"b":1.5}'),
        (b'{"depth":9223372036854775807}', b'{"depth":9223372036854775807}'),
        (b'{"a":1e10,"b":50.0}', b'{"a":10000000000.0,"b":50.0}'),
        (b'{"a":1}', b'{"a":1}'),
    ],
)
def test_lenient_form(text: bytes, canonical: bytes) -> None:
    assert encode_lenient(decode_lenient(text)) == canonical


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [0.5, "\ud800"], {"a": 0.5, 1: 2}, [0.5, b"x"]])
def test_lenient_has_limits(value: Any) -> None:
    with pytest.raises(CanonicalJsonError):
        encode_lenient(value)


@pytest.mark.parametrize("text", [b"1e400", b"[1.5, -1e999]"])
def test_numbers_beyond_a_double(text: bytes) -> None:
    with pytest.raises(CanonicalJsonError):
        encode_lenient(decode_lenient(text))


def test_endless_digits_are_refused_quickly() -> None:
    with pytest.raises(CanonicalJsonError):
        decode_lenient(b"9" * 60_000)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(values)
def test_encoding_is_the_sample_code_of_the_appendix(value: Any) -> None:
    try:
        expected = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
    except UnicodeEncodeError:
        with pytest.raises(CanonicalJsonError):
            encode(value)
        return
    assert encode(value) == encode_lenient(value) == expected
    assert decode(encode(value)) == value


@given(st.one_of(st.binary(), st.text(alphabet='{}[]",:0123456789.eE+-\\u"ntf ').map(str.encode)))
def test_decoders_give_a_value_or_say_no(data: bytes) -> None:
    for read in (decode, decode_lenient, canonicalise):
        try:
            read(data)
        except PeerError:
            pass


def test_views_trust_nothing() -> None:
    obj: Any = {"s": "x", "i": 1, "b": True, "f": 1.0, "o": {"k": 1}, "l": ["a", 1, "b"]}
    assert (text_at(obj, "s"), text_at(obj, "i"), text_at(obj, "none")) == ("x", None, None)
    assert (int_at(obj, "i"), int_at(obj, "b"), int_at(obj, "f")) == (1, None, None)
    assert (object_at(obj, "o"), object_at(obj, "l")) == ({"k": 1}, {})
    assert (list_at(obj, "l"), list_at(obj, "o"), texts_at(obj, "l")) == (["a", 1, "b"], [], ["a", "b"])
