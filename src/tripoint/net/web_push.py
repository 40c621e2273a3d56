"""Web Push: what is said is sealed for the client, and the push server is told who sends.

spec: RFC8291 (aes128gcm of RFC8188), RFC8292 (VAPID)
"""

import base64
import hashlib
import hmac
import os
from typing import Final
from urllib.parse import urlsplit

import orjson
from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_CURVE: Final = ec.SECP256R1()
# The order of P-256.
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_POINT_BYTES: Final = 65
_RECORD_BYTES: Final = 4096
# spec: RFC8291 4: a record of 4096 with its header, the padding delimiter and the tag
MAX_PAYLOAD_BYTES: Final = _RECORD_BYTES - 86 - 17
# spec: RFC8292 2: not more than 24 hours
_TOKEN_LIFE_S: Final = 12 * 3600


class BadKeys(ValueError):
    """What a client gave as its keys are none."""


def to_text(data: bytes) -> str:
    """spec: RFC4648 5, without padding"""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def from_text(text: str) -> bytes:
    """Raises BadKeys."""
    try:
        return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise BadKeys("not URL-safe base64") from None


def check_keys(p256dh: str, auth: str) -> None:
    """Raises BadKeys for what nothing can be sealed with."""
    if len(from_text(auth)) != 16:
        raise BadKeys("the authentication secret has 16 bytes")
    _public(from_text(p256dh))


def _public(point: bytes) -> ec.EllipticCurvePublicKey:
    if len(point) != _POINT_BYTES:
        raise BadKeys("the public key is an uncompressed point of P-256")
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, point)
    except (ValueError, InvalidKey):
        raise BadKeys("the public key is no point of P-256") from None


def _point(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def seal(
    payload: bytes,
    p256dh: str,
    auth: str,
    *,
    salt: bytes | None = None,
    sender: ec.EllipticCurvePrivateKey | None = None,
) -> bytes:
    """The body of a push message: `payload` (up to MAX_PAYLOAD_BYTES) for the client with these keys alone.

    `salt` and `sender` are made for each message; the vectors of the RFC give theirs. spec: RFC8291 3, 4
    """
    assert len(payload) <= MAX_PAYLOAD_BYTES
    salt = os.urandom(16) if salt is None else salt
    sender = ec.generate_private_key(_CURVE) if sender is None else sender
    receiver_point, sender_point = from_text(p256dh), _point(sender.public_key())
    shared = sender.exchange(ec.ECDH(), _public(receiver_point))
    info = b"WebPush: info\0" + receiver_point + sender_point
    key = HKDF(hashes.SHA256(), 32, from_text(auth), info).derive(shared)
    content_key = HKDF(hashes.SHA256(), 16, salt, b"Content-Encoding: aes128gcm\0").derive(key)
    nonce = HKDF(hashes.SHA256(), 12, salt, b"Content-Encoding: nonce\0").derive(key)
    sealed = AESGCM(content_key).encrypt(nonce, payload + b"\x02", None)
    header = salt + _RECORD_BYTES.to_bytes(4, "big") + len(sender_point).to_bytes(1, "big") + sender_point
    return header + sealed


class Vapid:
    """The key by which push servers know this server, made of its secret: the same at every start."""

    def __init__(self, secret: bytes, contact: str) -> None:
        """`contact`: a mailto: or https: address of whoever runs this server, or ""."""
        number = int.from_bytes(hmac.digest(secret, b"vapid", hashlib.sha512), "big") % (_ORDER - 1) + 1
        self._key = ec.derive_private_key(number, _CURVE)
        self.public_key = to_text(_point(self._key.public_key()))
        self._contact = contact

    def authorization(self, endpoint: str, now_s: int) -> str:
        """The Authorization header for one push server. spec: RFC8292 2, 3"""
        parts = urlsplit(endpoint)
        claims: dict[str, object] = {"aud": f"{parts.scheme}://{parts.netloc}", "exp": now_s + _TOKEN_LIFE_S}
        if self._contact:
            claims["sub"] = self._contact
        signed = f"{to_text(orjson.dumps({'typ': 'JWT', 'alg': 'ES256'}))}.{to_text(orjson.dumps(claims))}"
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        signature = to_text(r.to_bytes(32, "big") + s.to_bytes(32, "big"))
        return f"vapid t={signed}.{signature}, k={self.public_key}"
