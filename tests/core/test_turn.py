"""Addresses of STUN and TURN servers, and credentials that a TURN server with the same secret takes."""

import base64
import hashlib
import hmac

import pytest

from tripoint.core.turn import TurnServer, TurnServers, make_credentials, parse_turn_uri


@pytest.mark.parametrize(
    ("uri", "server"),
    [
        ("stun:stun.example.org", ("stun", "stun.example.org", 3478, "udp")),
        ("stuns:stun.example.org", ("stuns", "stun.example.org", 5349, "tcp")),
        ("turn:1.2.3.4:9991?transport=udp", ("turn", "1.2.3.4", 9991, "udp")),
        ("turn:1.2.3.4:9992?transport=tcp", ("turn", "1.2.3.4", 9992, "tcp")),
        ("turns:1.2.3.4:443?transport=tcp", ("turns", "1.2.3.4", 443, "tcp")),
        ("turn:[2001:db8::1]:3478", ("turn", "2001:db8::1", 3478, "udp")),
    ],
)
def test_addresses(uri: str, server: tuple[str, str, int, str]) -> None:
    """spec: draft-uberti-behave-turn-rest-00 2.2: its example"""
    assert parse_turn_uri(uri) == TurnServer(*server)


@pytest.mark.parametrize(
    "uri",
    [
        *("", "turn:", "turn.example.org", "http:turn.example.org", "turn://turn.example.org", "turn:a b"),
        *("turn:a:0", "turn:a:70000", "turn:a:123456", "turn:a?transport=sctp", "stun:a?transport=udp", "turn:a\n"),
    ],
)
def test_what_is_no_address(uri: str) -> None:
    assert parse_turn_uri(uri) is None


def test_credentials_are_what_the_server_computes() -> None:
    """spec: draft-uberti-behave-turn-rest-00 2.2, 6: the time and a name that tells nothing"""
    turn = TurnServers((), "north", 600)
    made = make_credentials(turn, "@alice:example.org", 1_000_000)
    expires, _, name = made.username.partition(":")
    assert (expires, made.expires_s) == ("1000600", 1_000_600)
    assert "alice" not in name and len(name) == 16
    digest = hmac.new(b"north", made.username.encode(), hashlib.sha1).digest()
    assert base64.b64decode(made.password) == digest
    assert make_credentials(turn, "@alice:example.org", 1_000_000) == made
    assert make_credentials(turn, "@bob:example.org", 1_000_000).username != made.username
    assert "north" not in repr(turn)
