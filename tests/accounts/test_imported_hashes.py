"""Hashes of other servers: which fit, which are refused.  spec: docs/mapping.md 18.2"""

import base64
import hashlib

import argon2
import pytest

from tripoint.accounts.imported_hashes import ImportedHash, check_hash, fits

# As those who specified them show them.
KNOWN = {
    # crypt_blowfish's own tests
    "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW": "U*U",
    "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW": "U*U",
    # passlib's page
    "$pbkdf2-sha256$6400$.6UI/S.nXIk8jcbdHx3Fhg$98jZicV16ODfEsEZeYPGHU3kbrUrvUEXOPimVSQDD44": "password",
    # RFC5802 5: user pencil's, with the keys that follow from its salt and rounds
    "SCRAM-SHA-1$4096:QSXCR+Q6sek8bf92$6dlGYMOdZcOPutkcNY8U2g7vK9Y=:D+CSWLOshSulAsxiupA+qs2/fTE=": "pencil",
}


def _argon2(password: str) -> str:
    return argon2.PasswordHasher(time_cost=1, memory_cost=1024).hash(password)


def _django(password: str) -> str:
    made = hashlib.pbkdf2_hmac("sha256", password.encode(), b"seasalt", 1000)
    return f"pbkdf2_sha256$1000$seasalt${base64.b64encode(made).decode()}"


def _phc(password: str) -> str:
    salt, made = b"s" * 16, hashlib.pbkdf2_hmac("sha512", password.encode(), b"s" * 16, 1000)
    parts = [base64.b64encode(part).decode().rstrip("=") for part in (salt, made)]
    return f"$pbkdf2-sha512$i=1000,l=64${parts[0]}${parts[1]}"


MADE = {make("tea"): "tea" for make in (_argon2, _django, _phc)}


@pytest.mark.parametrize(("text", "password"), [*KNOWN.items(), *MADE.items()])
def test_the_right_password_fits_alone(text: str, password: str) -> None:
    check_hash(text)
    assert fits(ImportedHash(text), password)
    for wrong in ("", password + "x", password.upper() + "y", "\0", "é" * 100):
        assert not fits(ImportedHash(text), wrong)


def test_a_pepper_stands_behind_the_password() -> None:
    text = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
    assert fits(ImportedHash(text, pepper="*U"), "U")
    assert not fits(ImportedHash(text, pepper="*U"), "U*U")


def test_a_password_is_tried_as_synapse_prepares_it() -> None:
    assert fits(ImportedHash(_django("fi")), "\ufb01"), "the ligature, by NFKC"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hunter2",
        "$1$salt$qJH7.N4xYta3aEG/dfqo/0",
        "$2b$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        "$2b$05$short",
        "$argon2id$v=19$m=4294967295,t=3,p=4$c29tc2FsdA$RdescudvJCsgt3ub+b+dWRWJTmaaJObG",
        "$argon2id$v=19$m=1024,t=4000,p=4$c29tc2FsdA$RdescudvJCsgt3ub+b+dWRWJTmaaJObG",
        "$pbkdf2-sha256$999999999$c2FsdA$aGFzaA",
        "$pbkdf2-md5$1000$c2FsdA$aGFzaA",
        "$pbkdf2-sha256$1000$c$aGFzaA",
        "SCRAM-SHA-256$4096:QSXCR+Q6sek8bf92$6dlGYMOdZcOPutkcNY8U2g7vK9Y=:D+CSWLOshSulAsxiupA+qs2/fTE=",
    ],
)
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        check_hash(text)
