"""Tokens for uploads: whose they are, until when.

spec: IRCv3 filehost "Servers MUST ensure that tokens are short-lived"
"""

from hypothesis import given
from hypothesis import strategies as st

from tripoint.core.ids import UserId
from tripoint.media.upload_tokens import LIFETIME_MS, UploadTokens

ALICE = UserId("@alice:example.org")


def test_it_ends_after_some_minutes() -> None:
    now_ms = 1_800_000_000_000
    tokens = UploadTokens(b"s" * 32, lambda: now_ms)
    token = tokens.make(ALICE)
    now_ms += LIFETIME_MS - 1
    assert tokens.owner(token) == ALICE
    now_ms += 1
    assert tokens.owner(token) is None


def test_it_is_of_one_server() -> None:
    tokens, others = (UploadTokens(secret * 32, lambda: 0) for secret in (b"s", b"o"))
    assert others.owner(tokens.make(ALICE)) is None


@given(st.text(max_size=120))
def test_anything_else_is_nobody_s(text: str) -> None:
    assert UploadTokens(b"s" * 32, lambda: 0).owner(text) is None
