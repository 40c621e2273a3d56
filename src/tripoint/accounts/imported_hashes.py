"""Hashes of passwords that come from other servers: read, held to bounds, and compared with clear text.

What is kept of such an account until its owner logs in with the password in clear text, and then not any more.
spec: docs/mapping.md 18.2.  Read next: passwords.py.

    $2b$12$...                                      bcrypt: Synapse (with its pepper), Dendrite, Ergo, ngIRCd's services
    $argon2id$v=19$m=65536,t=3,p=4$...$...          Argon2: Conduit and its kin
    $pbkdf2-sha512$25000$...$...                    PBKDF2 as passlib writes it: Anope, Atheme's successors
    $pbkdf2-sha512$i=100000,l=64$...$...            the same in the PHC form
    pbkdf2_sha256$600000$...$...                    the same as Django writes it
    SCRAM-SHA-1$10000:...$...:...                   what Prosody and ejabberd keep, as PostgreSQL writes it
"""

import binascii
import hashlib
import hmac
import re
import unicodedata
from base64 import b64decode
from typing import Final

import argon2
import bcrypt
from msgspec import Struct

from tripoint.accounts.sasl import ScramVerifier

# One check may take a second of a core and this much memory, whatever a file asks for.
MAX_BCRYPT_COST: Final = 15
MAX_PBKDF2_ROUNDS: Final = 3_000_000
MAX_ARGON2_KIB: Final = 1 << 18
MAX_ARGON2_PASSES: Final = 20
# bcrypt looks at no more of a password; those who made these hashes cut it too.
_BCRYPT_BYTES: Final = 72

_BCRYPT: Final = re.compile(r"\$2[abxy]\$(\d\d)\$[./A-Za-z0-9]{53}")
_ARGON2: Final = re.compile(r"\$argon2(?:id|i|d)\$v=\d+\$m=(\d+),t=(\d+),p=(\d+)\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+")
_PBKDF2: Final = re.compile(
    r"(?:\$pbkdf2-|pbkdf2_)(sha1|sha256|sha512)\$(?:i=)?(\d+)(?:,l=\d+)?\$([A-Za-z0-9+/.=]+)\$([A-Za-z0-9+/.=]+)"
)
_SCRAM: Final = re.compile(r"SCRAM-SHA-(1|256)\$(\d{4,7}):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)")


class ImportedHash(Struct, frozen=True):
    """`pepper` is what the other server put behind every password (Synapse's `password_config.pepper`)."""

    text: str
    pepper: str = ""


def check_hash(text: str) -> None:
    """Raises ValueError, with the reason, for what is no hash that could be compared here."""
    if found := _BCRYPT.fullmatch(text):
        _at_most(int(found[1]), MAX_BCRYPT_COST, "bcrypt's cost")
    elif found := _ARGON2.fullmatch(text):
        _at_most(int(found[1]), MAX_ARGON2_KIB, "Argon2's memory")
        _at_most(int(found[2]) * int(found[3]), MAX_ARGON2_PASSES * 4, "Argon2's work")
    elif found := _PBKDF2.fullmatch(text):
        _at_most(int(found[2]), MAX_PBKDF2_ROUNDS, "PBKDF2's rounds")
        # passlib writes the salt in base64, Django as it is
        _base64(found[4])
        if text.startswith("$"):
            _base64(found[3])
    elif (found := _SCRAM.fullmatch(text)) is None:
        raise ValueError("none of bcrypt, Argon2, PBKDF2 and SCRAM")
    else:
        _at_most(int(found[2]), MAX_PBKDF2_ROUNDS, "the rounds")
        scram_in(text)


def scram_in(text: str) -> ScramVerifier | None:
    """The SCRAM form that a hash is; None for another. Raises ValueError for one that is broken."""
    found = _SCRAM.fullmatch(text)
    if found is None:
        return None
    salt, stored_key, server_key = (_base64(found[at]) for at in (3, 4, 5))
    size = 20 if found[1] == "1" else 32
    if not len(stored_key) == len(server_key) == size:
        raise ValueError(f"the keys of SCRAM-SHA-{found[1]} have {size} bytes")
    return ScramVerifier("sha1" if found[1] == "1" else "sha256", salt, int(found[2]), stored_key, server_key)


def fits(kept: ImportedHash, password: str) -> bool:
    """Whether this is the password. Takes up to a second: off the loop."""
    scram = scram_in(kept.text)
    if scram is not None:
        return scram.verify_cleartext(password)
    # Synapse prepares passwords by NFKC, the others not at all.
    spellings = dict.fromkeys((password, unicodedata.normalize("NFKC", password)))
    return any(_fits(kept.text, (spelling + kept.pepper).encode()) for spelling in spellings)


def _fits(text: str, password: bytes) -> bool:
    if text.startswith("$2"):
        if b"\0" in password:
            return False
        # 2x and 2y are names of 2b from another family.
        return bcrypt.checkpw(password[:_BCRYPT_BYTES], f"$2b{text[3:]}".encode())
    if text.startswith("$argon2"):
        try:
            return argon2.PasswordHasher().verify(text, password)
        except argon2.exceptions.VerificationError:
            return False
    found = _PBKDF2.fullmatch(text)
    assert found is not None, "it was looked at when it came"
    wanted = _base64(found[4])
    salt = _base64(found[3]) if text.startswith("$") else found[3].encode()
    made = hashlib.pbkdf2_hmac(found[1], password, salt, int(found[2]), len(wanted))
    return hmac.compare_digest(made, wanted)


def _base64(text: str) -> bytes:
    """With or without padding, and with passlib's dot for a plus. Raises ValueError."""
    plain = text.replace(".", "+").rstrip("=")
    try:
        return b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error


def _at_most(value: int, most: int, what: str) -> None:
    if value > most:
        raise ValueError(f"{what} may be {most} at most")
