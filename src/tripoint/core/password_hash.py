"""Hashes of passwords that stand in the configuration, as text.

``SCRAM-SHA-256$<rounds>:<salt>$<StoredKey>:<ServerKey>``, the form that PostgreSQL has for them: whoever reads the file
learns no password. Making and checking them is accounts/passwords.py's, since it takes a while.
spec: RFC5802 3
"""

import base64
import binascii
import re
from typing import Final

_FORM: Final = re.compile(r"SCRAM-SHA-256\$(\d{4,7}):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]{44}):([A-Za-z0-9+/=]{44})")


def write_hash(salt: bytes, iterations: int, stored_key: bytes, server_key: bytes) -> str:
    """The text of a hash."""
    encoded = [base64.b64encode(part).decode() for part in (salt, stored_key, server_key)]
    return f"SCRAM-SHA-256${iterations}:{encoded[0]}${encoded[1]}:{encoded[2]}"


def read_hash(text: str) -> tuple[bytes, int, bytes, bytes] | None:
    """(salt, rounds, StoredKey, ServerKey); None for what is no hash."""
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    try:
        salt, stored_key, server_key = (base64.b64decode(found[at], validate=True) for at in (2, 3, 4))
    except binascii.Error:
        return None
    return salt, int(found[1]), stored_key, server_key


def is_hash(text: str) -> bool:
    """Whether a text is a hash, and not a password that somebody wrote in its place."""
    return read_hash(text) is not None
