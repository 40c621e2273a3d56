"""X-Matrix headers: read as RFC 9110 and older servers write them, and signatures that hold for one request alone.

spec: Matrix server-server-api request-authentication
"""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tripoint.core.canonical_json import JsonObject
from tripoint.core.ids import ServerName
from tripoint.core.signing import BadSignature, SigningKey, sign_json
from tripoint.matrix.federation.auth import (
    BadAuthorization,
    XMatrix,
    check_request,
    parse_credentials,
    parse_x_matrix,
    sign_request,
)

ORIGIN, HERE = ServerName("origin.hs.example.com"), ServerName("destination.hs.example.com")
OTHER = ServerName("other.example.com")
KEY = SigningKey("ed25519:key1", bytes(range(32)))
KEYS = {KEY.key_id: KEY.verify_key_b64}
WHOLE = XMatrix(ORIGIN, HERE, "ed25519:key1", "ABCDEF...")

READ = {
    "the specification's example": (
        'X-Matrix origin="origin.hs.example.com",destination="destination.hs.example.com",key="ed25519:key1",'
        'sig="ABCDEF..."',
        WHOLE,
    ),
    "order, case and spaces": (
        'x-mAtRiX   SIG="ABCDEF..." ,\t KEY = "ed25519:key1",Origin="origin.hs.example.com", '
        'destination="destination.hs.example.com" ',
        WHOLE,
    ),
    "tokens without quotes, a colon in them too": (
        "X-Matrix origin=origin.hs.example.com,destination=destination.hs.example.com,key=ed25519:key1,sig=ABCDEF...",
        WHOLE,
    ),
    "a colon in a server name": (
        'X-Matrix origin=example.com:8448,key=ed25519:1,sig="a/b+c"',
        XMatrix(ServerName("example.com:8448"), None, "ed25519:1", "a/b+c"),
    ),
    "no destination, from before version 1.3": (
        'X-Matrix origin="origin.hs.example.com",key="ed25519:key1",sig="ABCDEF..."',
        XMatrix(ORIGIN, None, "ed25519:key1", "ABCDEF..."),
    ),
    "backslashes": (
        'X-Matrix origin="origin\\.hs.example.com",key="ed25519:\\k\\e\\y1",sig="a\\"b\\\\c"',
        XMatrix(ORIGIN, None, "ed25519:key1", 'a"b\\c'),
    ),
    "a comma and an equals sign in quotes": (
        'X-Matrix origin="origin.hs.example.com",key="a,b=c",sig="x"',
        XMatrix(ORIGIN, None, "a,b=c", "x"),
    ),
    "unknown parameters are ignored": (
        'X-Matrix realm="x",origin="origin.hs.example.com",key="ed25519:key1",new=,sig="ABCDEF..."',
        XMatrix(ORIGIN, None, "ed25519:key1", "ABCDEF..."),
    ),
    "empty list elements": (
        'X-Matrix origin="origin.hs.example.com",,key="ed25519:key1", ,sig="ABCDEF...",',
        XMatrix(ORIGIN, None, "ed25519:key1", "ABCDEF..."),
    ),
    "padded base64 without quotes": (
        "X-Matrix origin=origin.hs.example.com,key=ed25519:key1,sig=ab/c+d==",
        XMatrix(ORIGIN, None, "ed25519:key1", "ab/c+d=="),
    ),
}


@pytest.mark.parametrize("case", READ)
def test_headers_that_are_read(case: str) -> None:
    header, found = READ[case]
    assert parse_x_matrix(header) == found


@pytest.mark.parametrize(
    "header",
    [
        "",
        "X-Matrix",
        "X-Matrix ",
        "Bearer abc",
        'X-MatrixOrigin="a",key="b",sig="c"',
        'X-Matrix origin="a",key="b"',
        'X-Matrix origin="a",sig="c"',
        'X-Matrix key="b",sig="c"',
        'X-Matrix origin="",key="b",sig="c"',
        'X-Matrix origin="a b",key="b",sig="c"',
        'X-Matrix origin="a\\\r\nb",key="b",sig="c"',
        'X-Matrix origin="a",origin="b",key="b",sig="c"',
        'X-Matrix origin="a",Origin="a",key="b",sig="c"',
        'X-Matrix origin="a" key="b",sig="c"',
        'X-Matrix origin="a";key="b";sig="c"',
        'X-Matrix origin="a,key="b",sig="c"',
        'X-Matrix origin="a",key="b",sig="c',
        'X-Matrix origin="a",key="b",sig="c\\',
        'X-Matrix origin="a",key="b",sig=c d',
        'X-Matrix ="a",origin="a",key="b",sig="c"',
        "X-Matrix origin=ä,key=b,sig=c",
    ],
)
def test_headers_that_prove_nothing(header: str) -> None:
    with pytest.raises(BadAuthorization):
        parse_x_matrix(header)


@given(st.text(max_size=200) | st.text('X-Matrix origin=,"\\key:sig1 \t').map(lambda text: "X-Matrix " + text))
def test_any_header_is_read_or_bad(header: str) -> None:
    try:
        parse_x_matrix(header)
    except BadAuthorization:
        pass


TOKEN = st.text("!#$%&'*+.^_`|~:-09azAZ", min_size=1, max_size=20)
ANY = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20)
SPACE = st.sampled_from(["", " ", "\t", "  "])


@st.composite
def headers(draw: st.DrawFn) -> tuple[str, str, str]:
    """A header written in any of the allowed ways, with its key and its signature."""
    key, signature = draw(TOKEN | ANY), draw(TOKEN | ANY)
    parts = []
    for name, value in (("origin", ORIGIN), ("key", key), ("sig", signature), ("x-more", draw(ANY))):
        quoted = '"' + "".join("\\" + c if c in '"\\' or draw(st.booleans()) else c for c in value) + '"'
        bare = bool(value) and all(c.isalnum() or c in "!#$%&'*+.^_`|~:-" for c in value) and draw(st.booleans())
        parts.append(f"{name.upper() if draw(st.booleans()) else name}={value if bare else quoted}")
    text = ""
    for part in draw(st.permutations(parts)):
        text += (draw(SPACE) + "," + draw(SPACE) if text else "") + part
    return f"X-Matrix {text}", key, signature


@given(headers())
def test_every_way_of_writing_a_header_says_the_same(written: tuple[str, str, str]) -> None:
    header, key, signature = written
    assert parse_x_matrix(header) == XMatrix(ORIGIN, None, key, signature)


def test_a_signature_is_that_of_the_specification_s_object() -> None:
    """spec: step 1: the object that is signed, and its field order is canonical JSON's business."""
    content: JsonObject = {"a": [1, {"b": "ö"}]}
    request: JsonObject = {
        "method": "POST",
        "uri": "/target",
        "origin": ORIGIN,
        "destination": HERE,
        "content": content,
    }
    signed = sign_json(request, ORIGIN, KEY)["signatures"]
    assert isinstance(signed, dict)
    header = sign_request(KEY, ORIGIN, HERE, "POST", "/target", content)
    one = parse_x_matrix(header)
    assert signed == {ORIGIN: {one.key_id: one.signature}}
    # spec: what older servers can read: one space, lower case, no space around commas, no backslash.
    assert header.startswith(f'X-Matrix origin="{ORIGIN}",destination="{HERE}",key="ed25519:key1",sig="')
    assert "\\" not in header and header.count(" ") == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-1e9, 1e9) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
CONTENT = st.none() | st.dictionaries(st.text(max_size=5), JSON, max_size=4)


@given(st.sampled_from(["GET", "PUT", "POST"]), st.text(max_size=30), CONTENT)
def test_what_was_signed_is_accepted(method: str, target: str, content: JsonObject | None) -> None:
    header = sign_request(KEY, ORIGIN, HERE, method, target, content)
    check_request(parse_credentials([header], HERE), KEYS, HERE, method, target, content)
    # As it arrives: through the wire's JSON.
    arrived = None if content is None else orjson.loads(orjson.dumps(content))
    check_request(parse_credentials([header], HERE), KEYS, HERE, method, target, arrived)


CONTENT_SENT: JsonObject = {"pdus": [], "origin_server_ts": 5}


@pytest.mark.parametrize(
    ("method", "target", "content", "destination"),
    [
        ("POST", "/x?a=1", CONTENT_SENT, HERE),
        ("PUT", "/x?a=2", CONTENT_SENT, HERE),
        ("PUT", "/x", CONTENT_SENT, HERE),
        ("PUT", "/x?a=1", {"pdus": [], "origin_server_ts": 6}, HERE),
        ("PUT", "/x?a=1", {}, HERE),
        ("PUT", "/x?a=1", None, HERE),
        ("PUT", "/x?a=1", CONTENT_SENT, ServerName("other.example.com")),
    ],
)
def test_a_signature_holds_for_nothing_else(
    method: str, target: str, content: JsonObject | None, destination: ServerName
) -> None:
    credentials = [parse_x_matrix(sign_request(KEY, ORIGIN, HERE, "PUT", "/x?a=1", CONTENT_SENT))]
    check_request(credentials, KEYS, HERE, "PUT", "/x?a=1", CONTENT_SENT)
    with pytest.raises(BadSignature):
        check_request(credentials, KEYS, destination, method, target, content)


def test_signatures_of_other_keys_and_other_names_are_not_accepted() -> None:
    other = SigningKey("ed25519:key1", bytes(32))
    for header in (
        sign_request(other, ORIGIN, HERE, "GET", "/x", None),
        sign_request(SigningKey("ed25519:key2", bytes(range(32))), ORIGIN, HERE, "GET", "/x", None),
        sign_request(KEY, OTHER, HERE, "GET", "/x", None).replace(OTHER, ORIGIN),
    ):
        with pytest.raises(BadSignature):
            check_request(parse_credentials([header], HERE), KEYS, HERE, "GET", "/x", None)


def test_older_servers_leave_out_the_destination_and_sign_it_all_the_same() -> None:
    header = sign_request(KEY, ORIGIN, HERE, "GET", "/x", None).replace(f'destination="{HERE}",', "")
    credentials = parse_credentials([header], HERE)
    assert credentials[0].destination is None
    check_request(credentials, KEYS, HERE, "GET", "/x", None)


def test_a_server_with_two_keys_sends_two_headers() -> None:
    second = SigningKey("ed25519:key2", bytes(32))
    both = [sign_request(key, ORIGIN, HERE, "GET", "/x", None) for key in (KEY, second)]
    credentials = parse_credentials(["Bearer x", *both], HERE)
    check_request(credentials, KEYS, HERE, "GET", "/x", None)
    keys = {**KEYS, second.key_id: second.verify_key_b64}
    check_request(credentials, keys, HERE, "GET", "/x", None)
    # One that is wrong spoils it: somebody has put it there.
    with pytest.raises(BadSignature):
        check_request(credentials, {**KEYS, second.key_id: KEY.verify_key_b64}, HERE, "GET", "/x", None)


def test_credentials_that_do_not_go_together() -> None:
    mine = sign_request(KEY, ORIGIN, HERE, "GET", "/x", None)
    others = sign_request(KEY, ServerName("other.example.com"), HERE, "GET", "/x", None)
    elsewhere = sign_request(KEY, ORIGIN, ServerName("Destination.hs.example.com"), "GET", "/x", None)
    for group in ([], ["Bearer x"], [mine, others], [elsewhere], [mine, elsewhere], [mine] * 9, [mine, "X-Matrix"]):
        with pytest.raises(BadAuthorization):
            parse_credentials(group, HERE)
