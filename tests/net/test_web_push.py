"""Web Push sealed for its receiver, and the proof of who sends. spec: RFC8291 5, Appendix A; RFC8292 2"""

import base64

import orjson
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from tripoint.net.web_push import MAX_PAYLOAD_BYTES, BadKeys, Vapid, check_keys, from_text, seal, to_text

P256DH = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
AUTH = "BTBZMqHH6r4Tts7J_aSIgg"
SENDER = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
SALT = "DGv6ra1nlYgDCS1FRnbzlw"
SEALED = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27ml"
    "mlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPT"
    "pK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)


def test_the_example_of_the_rfc() -> None:
    sender = ec.derive_private_key(int.from_bytes(from_text(SENDER), "big"), ec.SECP256R1())
    words = b"When I grow up, I want to be a watermelon"
    assert to_text(seal(words, P256DH, AUTH, salt=from_text(SALT), sender=sender)) == SEALED


def test_each_message_is_sealed_anew() -> None:
    assert seal(b"tea", P256DH, AUTH) != seal(b"tea", P256DH, AUTH)
    assert len(seal(b"x" * MAX_PAYLOAD_BYTES, P256DH, AUTH)) == 4096


@pytest.mark.parametrize(
    ("p256dh", "auth"),
    [
        ("", AUTH),
        (P256DH, ""),
        (P256DH, "BTBZMqHH6r4Tts7J_aSI"),
        (P256DH[:-4], AUTH),
        ("B" + "A" * 86, AUTH),
        (to_text(b"\x02" + bytes(32)), AUTH),
        ("not base64!", AUTH),
        ("é" * 87, AUTH),
    ],
)
def test_keys_that_are_none(p256dh: str, auth: str) -> None:
    with pytest.raises(BadKeys):
        check_keys(p256dh, auth)


def test_padded_keys_are_taken_too() -> None:
    check_keys(P256DH + "=", AUTH + "==")


def test_who_sends() -> None:
    """spec: RFC8292 2: aud is the origin of the push resource, exp at most a day away; 3: the vapid scheme"""
    vapid = Vapid(bytes(32), "mailto:admin@example.org")
    scheme, _, parameters = vapid.authorization("https://push.example.net:8443/p/abc?x=1", 1_000_000).partition(" ")
    assert scheme == "vapid"
    told = dict(part.strip().split("=", 1) for part in parameters.split(","))
    head, claims, signature = told["t"].split(".")
    assert orjson.loads(from_text(head)) == {"typ": "JWT", "alg": "ES256"}
    found = orjson.loads(from_text(claims))
    assert (found["aud"], found["sub"]) == ("https://push.example.net:8443", "mailto:admin@example.org")
    assert 1_000_000 < found["exp"] <= 1_000_000 + 24 * 3600
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), from_text(told["k"]))
    raw = from_text(signature)
    r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    key.verify(encode_dss_signature(r, s), f"{head}.{claims}".encode(), ec.ECDSA(hashes.SHA256()))
    # The same server has the same key after a restart, another one another.
    assert Vapid(bytes(32), "").public_key == told["k"] == vapid.public_key
    assert Vapid(b"\1" * 32, "").public_key != vapid.public_key
    assert "sub" not in orjson.loads(
        from_text(Vapid(bytes(32), "").authorization("https://a.example/", 0).split(".")[1])
    )
    assert base64.urlsafe_b64decode(told["k"] + "=") == from_text(told["k"])
