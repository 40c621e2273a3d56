"""The server's side of SASL: PLAIN, EXTERNAL, ANONYMOUS, OAUTHBEARER, SCRAM; without I/O, clock or randomness.

An exchange takes the client's messages (decoded from base64 by the front end) and returns values:
a Challenge to send, a question to whoever keeps the accounts (NeedCredentials, CheckPassword,
CheckCertificate), or Done. A wrong client is SaslFailed, with a condition that every front end can name in its own
words.
`ScramVerifier` is the stored form of a password.

spec: RFC4422 3 and appendix A (EXTERNAL), RFC4616 (PLAIN), RFC4505 (ANONYMOUS), RFC5802 and RFC7677 (SCRAM), RFC5929 4
(tls-server-end-point), RFC9266 (tls-exporter), RFC7628 (OAUTHBEARER), XEP-0484 (HT, for tokens of this server's own).
Does not know accounts, does not decide who may act for whom (Done carries the authzid as asked).
PBKDF2 of `ScramVerifier.make` and `verify_cleartext` takes some 30-100 ms: run it off the loop.
Read next: accounts/ports.py, xmpp/connection.py, irc/connection.py.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import Literal

from msgspec import Struct

from tripoint.core.precis import PrecisError, prepare_opaque, prepare_saslprep
from tripoint.core.tls_facts import NO_BINDINGS, TLS_EXPORTER, TLS_SERVER_END_POINT, Bindings

HashName = Literal["sha1", "sha256"]
DEFAULT_ITERATIONS = 100_000  # MAPPING 18.2; RFC7677 3 asks for at least 4096

_MECHANISM_HASH: dict[str, HashName] = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256"}
_HASH_MECHANISM = {name: mechanism for mechanism, name in _MECHANISM_HASH.items()}

# What the mechanisms for tokens bind to, the better first. spec: XEP-0484 3.1
_HT_BINDINGS: Mapping[str, str | None] = {
    "HT-SHA-256-EXPR": TLS_EXPORTER,
    "HT-SHA-256-ENDP": TLS_SERVER_END_POINT,
    "HT-SHA-256-NONE": None,
}

# Nobody's message comes near: names are under 1 KiB, nonces under 100 bytes. PLAIN carries a password.
MAX_MESSAGE_BYTES = 8192


class SaslCondition(Enum):
    """Why an exchange failed; the values are the XMPP names of RFC6120 6.5."""

    ABORTED = "aborted"
    INCORRECT_ENCODING = "incorrect-encoding"
    INVALID_AUTHZID = "invalid-authzid"
    INVALID_MECHANISM = "invalid-mechanism"
    MALFORMED_REQUEST = "malformed-request"
    NOT_AUTHORIZED = "not-authorized"


class SaslFailed(Exception):
    """The exchange is over without success. `text` may be shown to the client; it holds no secret."""

    def __init__(self, condition: SaslCondition, text: str) -> None:
        super().__init__(text)
        self.condition = condition
        self.text = text


class PasswordRefused(ValueError):
    """A password that cannot be stored in SCRAM form; the text says why and may be shown."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """Bytes to send to the client (before base64)."""

    data: bytes


@dataclass(frozen=True, slots=True)
class NeedCredentials:
    """SCRAM asks for the stored form of this user's password; answer with `exchange.credentials()`.

    For an unknown user, or one without this form, answer with `fake_verifier`: a different answer
    would tell strangers which accounts exist.
    """

    username: str
    hash_name: HashName


@dataclass(frozen=True, slots=True)
class CheckPassword:
    """PLAIN is complete: the caller verifies the password and decides. Terminal for the exchange."""

    authzid: str
    authcid: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class CheckCertificate:
    """EXTERNAL is complete: the caller says whose certificate it is that the connection has shown. Terminal.

    `authzid`: as whom the client wants to act; empty: as whom the certificate belongs to.
    """

    authzid: str


@dataclass(frozen=True, slots=True)
class Anonymous:
    """ANONYMOUS is complete: the client is nobody in particular, and the caller decides whether that will do. Terminal.

    What it may have said of itself is not kept: it proves nothing (XEP-0175 3).
    """


@dataclass(frozen=True, slots=True)
class CheckToken:
    """OAUTHBEARER is complete: the caller finds out whose access token it is and decides; where it is nobody's, the
    exchange goes on with `exchange.token_refused()`."""

    authzid: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class HashedToken:
    """HT is complete: the client says that it knows a token of `authcid`; the caller looks for one that `is_of` fits.

    `proof` is what the server answers with, which shows that it knows the token too. Terminal for the exchange.
    """

    mechanism: str
    authcid: str
    digest: bytes = field(repr=False)
    binding: bytes

    def is_of(self, token: bytes) -> bool:
        """Whether it was made of this token, on this connection; in constant time. spec: XEP-0484 5.1, 6"""
        return hmac.compare_digest(self.digest, _hmac("sha256", token, b"Initiator" + self.binding))

    def proof(self, token: bytes) -> bytes:
        return _hmac("sha256", token, b"Responder" + self.binding)


@dataclass(frozen=True, slots=True)
class Done:
    """SCRAM succeeded: the client knows the password of `authcid`; `data` proves that we know it too."""

    authzid: str
    authcid: str
    data: bytes
    # The device whose app password it was (app_passwords.py); "" for the account's own.
    app: str = ""


Step = HashedToken | Challenge | NeedCredentials | CheckPassword | CheckCertificate | CheckToken | Anonymous | Done


class AppKey(Struct, frozen=True, array_like=True):
    """An app password, salted and hashed as often as the password beside it. `device_id` is the device that it is."""

    device_id: str
    stored_key: bytes
    server_key: bytes


class ScramVerifier(Struct, frozen=True):
    """A password as it is stored: enough to verify, useless to log in with. spec: RFC5802 3.

    `apps` fit in its place: which of them all a client knows is told by its proof, since they share the salt.
    """

    hash_name: HashName
    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes
    apps: tuple[AppKey, ...] = ()

    @classmethod
    def make(
        cls,
        password: str,
        salt: bytes,
        iterations: int = DEFAULT_ITERATIONS,
        hash_name: HashName = "sha256",
    ) -> "ScramVerifier":
        """Raises PasswordRefused. `salt`: 16 random bytes. Slow on purpose: run off the loop."""
        salted = _salted_password(prepare_password(password), salt, iterations, hash_name)
        return cls(
            hash_name=hash_name,
            salt=salt,
            iterations=iterations,
            stored_key=hashlib.new(hash_name, _hmac(hash_name, salted, b"Client Key")).digest(),
            server_key=_hmac(hash_name, salted, b"Server Key"),
        )

    def verify_cleartext(self, password: str) -> bool:
        """Whether this is the password. Compares in constant time. Slow on purpose: run off the loop."""
        try:
            again = ScramVerifier.make(password, self.salt, self.iterations, self.hash_name)
        except PasswordRefused:
            return False
        return hmac.compare_digest(again.stored_key, self.stored_key)

    def find_cleartext(self, password: str) -> str | None:
        """The device whose app password this is, "" for the account's own password, None for neither. As slow."""
        try:
            again = ScramVerifier.make(password, self.salt, self.iterations, self.hash_name)
        except PasswordRefused:
            return None
        fits = [key.device_id for key in self.fitting() if hmac.compare_digest(again.stored_key, key.stored_key)]
        return fits[0] if fits else None

    def fitting(self) -> tuple[AppKey, ...]:
        """All that fit; the password's own is the first and has no device."""
        return (AppKey("", self.stored_key, self.server_key), *self.apps)


def prepare_password(password: str) -> str:
    """The form in which a password is hashed; raises PasswordRefused. spec: MAPPING 18.2.

    OpaqueString first; SASLprep must then change nothing, since SCRAM clients of either school have to
    arrive at the same bytes.
    """
    try:
        opaque = prepare_opaque(password)
        if prepare_saslprep(opaque) != opaque:
            raise PasswordRefused("This password holds characters that clients write in different ways")
    except PrecisError as error:
        raise PasswordRefused(f"This password cannot be used: {error}") from None
    return opaque


def fake_verifier(
    username: str, hash_name: HashName, secret: bytes, iterations: int = DEFAULT_ITERATIONS
) -> ScramVerifier:
    """A verifier that no password fits, the same each time for the same name and server secret."""

    def derive(label: bytes) -> bytes:
        return _hmac(hash_name, secret, label + b"\x00" + username.encode())

    return ScramVerifier(hash_name, derive(b"salt")[:16], iterations, derive(b"stored"), derive(b"server"))


def _salted_password(prepared: str, salt: bytes, iterations: int, hash_name: HashName) -> bytes:
    return hashlib.pbkdf2_hmac(hash_name, prepared.encode(), salt, iterations)


def _hmac(hash_name: HashName, key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, hash_name)


class PlainExchange:
    """PLAIN: one message, then the caller's verdict. The caller has made sure that TLS is on.

    spec: RFC4616 2: [authzid] NUL authcid NUL passwd
    """

    mechanism = "PLAIN"

    def receive(self, data: bytes) -> Step:
        """The client's only message → CheckPassword. Raises SaslFailed."""
        parts = _decode(data).split("\x00")
        if len(parts) != 3 or not parts[1] or not parts[2]:
            raise SaslFailed(SaslCondition.MALFORMED_REQUEST, "PLAIN takes authzid NUL name NUL password")
        return CheckPassword(authzid=parts[0], authcid=parts[1], password=parts[2])

    def credentials(self, verifier: ScramVerifier) -> Challenge:
        """PLAIN never asks for credentials; calling this is a bug in the caller."""
        raise RuntimeError("PLAIN does not ask for credentials")


class ExternalExchange:
    """EXTERNAL: one message, then the caller's verdict. It is offered where the client has shown a certificate.

    spec: RFC4422 A.1: "the client sends the initial response containing the UTF-8 [RFC3629] encoding of the requested
    authorization identity", which is empty for the one that the certificate stands for
    """

    mechanism = "EXTERNAL"

    def receive(self, data: bytes) -> Step:
        """The client's only message → CheckCertificate. Raises SaslFailed."""
        authzid = _decode(data)
        if "\x00" in authzid:
            raise _malformed("a name holds no NUL")
        return CheckCertificate(authzid)

    def credentials(self, verifier: ScramVerifier) -> Challenge:
        """EXTERNAL never asks for credentials; calling this is a bug in the caller."""
        raise RuntimeError("EXTERNAL does not ask for credentials")


class AnonymousExchange:
    """ANONYMOUS: one message, which may be empty.

    spec: RFC4505 2: trace information of up to 255 characters, in UTF-8
    """

    mechanism = "ANONYMOUS"

    def receive(self, data: bytes) -> Step:
        """The client's only message → Anonymous. Raises SaslFailed."""
        if len(_decode(data)) > 255:
            raise _malformed("trace information has at most 255 characters")
        return Anonymous()

    def credentials(self, verifier: ScramVerifier) -> Challenge:
        """ANONYMOUS never asks for credentials; calling this is a bug in the caller."""
        raise RuntimeError("ANONYMOUS does not ask for credentials")


class ScramExchange:
    """One SCRAM exchange: first message → NeedCredentials → credentials() → Challenge → final → Done.

    `server_nonce` is fresh random printable ASCII without a comma, at least 18 characters.
    `bindings` is what this connection can be bound to, the better first; empty where there is nothing.
    `plus` says whether the chosen mechanism was the -PLUS one, `plus_offered` whether any was offered:
    a client that says "y" although we offered it sits behind somebody who cut our offer. `advertised` is the offer as
    it is hashed for clients that compare it (XEP-0474 6.1); None: they are not told.
    spec: RFC5802 5, 6, 7
    """

    def __init__(
        self,
        hash_name: HashName,
        *,
        server_nonce: str,
        plus: bool = False,
        plus_offered: bool = False,
        bindings: Bindings = NO_BINDINGS,
        advertised: bytes | None = None,
    ) -> None:
        self.mechanism = _HASH_MECHANISM[hash_name] + ("-PLUS" if plus else "")
        self._hash_name = hash_name
        self._server_nonce = server_nonce
        self._plus = plus
        self._plus_offered = plus_offered
        self._bindings = bindings
        self._binding = b""  # the data of the one that the client has chosen
        self._advertised = advertised
        self._state: Literal["first", "credentials", "final", "over"] = "first"
        self._gs2_header = b""
        self._authzid = ""
        self._username = ""
        self._nonce = ""
        self._client_first_bare = ""
        self._server_first = ""
        self._verifier: ScramVerifier | None = None

    def receive(self, data: bytes) -> Step:
        """The client's next message. Raises SaslFailed; the exchange is over then."""
        state, self._state = self._state, "over"
        if state == "first":
            return self._first(_decode(data))
        if state == "final":
            return self._final(_decode(data))
        raise SaslFailed(SaslCondition.MALFORMED_REQUEST, "No message was expected")

    def credentials(self, verifier: ScramVerifier) -> Challenge:
        """Answer NeedCredentials; the Challenge is server-first-message. spec: RFC5802 7."""
        if self._state != "credentials" or verifier.hash_name != self._hash_name:
            raise RuntimeError("credentials() answers NeedCredentials, once, with the same hash")
        self._state = "final"
        self._verifier = verifier
        salt = base64.b64encode(verifier.salt).decode()
        self._server_first = f"r={self._nonce},s={salt},i={verifier.iterations}"
        if self._advertised is not None:
            # spec: XEP-0474 6.1 (5): the client's proof covers it
            digest = hashlib.new(self._hash_name, self._advertised).digest()
            self._server_first += f",h={base64.b64encode(digest).decode()}"
        return Challenge(self._server_first.encode())

    def _first(self, message: str) -> NeedCredentials:
        flag, comma, rest = message.partition(",")
        authzid, comma2, bare = rest.partition(",")
        if not comma or not comma2:
            raise _malformed("the GS2 header is not complete")
        self._check_binding_flag(flag)
        if authzid:
            if not authzid.startswith("a="):
                raise _malformed("the GS2 header holds an unknown field")
            self._authzid = _unescape(authzid[2:])
        self._gs2_header = f"{flag},{authzid},".encode()
        attributes = bare.split(",")
        if attributes[0].startswith("m="):
            raise _malformed("mandatory SCRAM extensions are not supported")
        if len(attributes) < 2 or not attributes[0].startswith("n=") or not attributes[1].startswith("r="):
            raise _malformed("a name and a nonce are expected")
        _check_extensions(attributes[2:])
        client_nonce = attributes[1][2:]
        if not client_nonce or not all("!" <= char <= "~" for char in client_nonce):
            raise _malformed("the nonce is not printable ASCII")
        try:
            self._username = prepare_saslprep(_unescape(attributes[0][2:]))
        except PrecisError:
            raise _malformed("the name is not a prepared string") from None
        if not self._username:
            raise _malformed("the name is empty")
        self._client_first_bare = bare
        self._nonce = client_nonce + self._server_nonce
        self._state = "credentials"
        return NeedCredentials(self._username, self._hash_name)

    def _check_binding_flag(self, flag: str) -> None:
        """spec: RFC5802 6: the rules that make stripping of -PLUS visible."""
        if flag == "n":
            if self._plus:
                raise _malformed("a -PLUS mechanism needs channel binding")
        elif flag == "y":
            if self._plus or self._plus_offered:
                raise SaslFailed(
                    SaslCondition.NOT_AUTHORIZED,
                    "This server supports channel binding and said so; someone changed its offer",
                )
        elif flag.startswith("p="):
            if not self._plus:
                raise _malformed("channel binding needs a -PLUS mechanism")
            binding = self._bindings.get(flag[2:])
            if binding is None:
                raise SaslFailed(
                    SaslCondition.NOT_AUTHORIZED,
                    f"Only channel binding {' or '.join(self._bindings) or 'of none'} is supported here",
                )
            self._binding = binding
        else:
            raise _malformed("the channel binding flag is unknown")

    def _final(self, message: str) -> Done:
        verifier = self._verifier
        assert verifier is not None  # state "final" is only reached through credentials()
        without_proof, comma, proof_text = message.rpartition(",p=")
        attributes = without_proof.split(",")
        if (
            not comma
            or len(attributes) < 2
            or not attributes[0].startswith("c=")
            or attributes[1][:2] != "r="
        ):
            raise _malformed("channel binding, nonce and proof are expected")
        _check_extensions(attributes[2:])
        binding = self._gs2_header + self._binding
        if not hmac.compare_digest(_b64(attributes[0][2:]), binding):
            raise SaslFailed(
                SaslCondition.NOT_AUTHORIZED, "The channel binding does not match this connection"
            )
        if attributes[1][2:] != self._nonce:
            raise SaslFailed(SaslCondition.NOT_AUTHORIZED, "The nonce is not the one of this exchange")
        proof = _b64(proof_text)
        auth_message = f"{self._client_first_bare},{self._server_first},{without_proof}".encode()
        if len(proof) != hashlib.new(self._hash_name).digest_size:
            raise _malformed("the proof has the wrong length")
        for key in verifier.fitting():
            signature = _hmac(self._hash_name, key.stored_key, auth_message)
            client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
            stored = hashlib.new(self._hash_name, client_key).digest()
            if hmac.compare_digest(stored, key.stored_key):
                server_signature = _hmac(self._hash_name, key.server_key, auth_message)
                said = b"v=" + base64.b64encode(server_signature)
                return Done(self._authzid, self._username, said, key.device_id)
        raise SaslFailed(SaslCondition.NOT_AUTHORIZED, "The name or the password is wrong")


class BearerExchange:
    """OAUTHBEARER: one message with an access token, then the caller's verdict. The caller has made sure of TLS.

    A refused token is told in a challenge, which the client acknowledges before the exchange fails.
    spec: RFC7628 3.1, 3.2.2, 3.2.3
    """

    mechanism = "OAUTHBEARER"

    def __init__(self) -> None:
        self._refused = False

    def receive(self, data: bytes) -> Step:
        """The client's message → CheckToken. Raises SaslFailed, after token_refused() always."""
        if self._refused:
            raise SaslFailed(SaslCondition.NOT_AUTHORIZED, "This access token is not valid")
        header, separator, rest = _decode(data).partition("\x01")
        flag, comma, named = header.partition(",")
        if not separator or not comma or not rest.endswith("\x01"):
            raise _malformed("a GS2 header and key=value pairs are expected")
        if flag != "n" and flag != "y":
            # spec: RFC7628 3: it binds to no channel
            raise _malformed("there is no channel binding with OAUTHBEARER")
        authzid, comma, more = named.partition(",")
        if more or not comma or not (authzid == "" or authzid.startswith("a=")):
            raise _malformed("the GS2 header holds an unknown field")
        pairs = dict(pair.partition("=")[::2] for pair in rest.split("\x01") if pair)
        scheme, _, token = pairs.get("auth", "").partition(" ")
        token = token.strip()
        # spec: XEP-0493 2.3.1: an empty token asks where one is to be had: it is refused like a wrong one
        if "auth" not in pairs or (scheme and scheme.lower() != "bearer"):
            raise _malformed("auth must be Bearer and an access token")
        if not token.isascii() or not token.isprintable():
            raise _malformed("an access token is printable ASCII")
        return CheckToken(authzid=_unescape(authzid[2:]), token=token)

    def token_refused(self, configuration: str | None) -> Challenge:
        """The token is nobody's: what the client is told. `configuration`: where it learns how to get one."""
        self._refused = True
        told = {"status": "invalid_token", "scope": "urn:matrix:client:api:*"}
        if configuration is not None:
            told["openid-configuration"] = configuration
        return Challenge(json.dumps(told).encode())

    def credentials(self, verifier: ScramVerifier) -> Challenge:
        """OAUTHBEARER never asks for credentials; calling this is a bug in the caller."""
        raise RuntimeError("OAUTHBEARER does not ask for credentials")


class HashedTokenExchange:
    """HT: one message, then the caller's verdict; its answer goes with the success.

    The text is an Internet-Draft (draft-schmaus-kitten-sasl-ht) that XEP-0484 3.1 refers to. The client sends its name,
    NUL, and HMAC(token, "Initiator" and the channel binding data); the server HMAC(token, "Responder" and the same).
    `bindings`: for the mechanisms that bind to the channel; raises KeyError where one has nothing to bind to.
    """

    def __init__(self, mechanism: str, bindings: Bindings) -> None:
        self.mechanism = mechanism
        binding = _HT_BINDINGS[mechanism]
        self._binding = b"" if binding is None else bindings[binding]

    def receive(self, data: bytes) -> Step:
        """The client's only message → HashedToken. Raises SaslFailed."""
        name, nul, digest = data.partition(b"\x00")
        if not nul or not name or len(digest) != hashlib.sha256().digest_size:
            raise _malformed("a name, NUL and a hash are expected")
        return HashedToken(self.mechanism, _decode(name), digest, self._binding)

    def credentials(self, verifier: ScramVerifier) -> Challenge:
        """HT never asks for credentials; calling this is a bug in the caller."""
        raise RuntimeError("HT does not ask for credentials")


Exchange = (
    PlainExchange | ExternalExchange | AnonymousExchange | BearerExchange | ScramExchange | HashedTokenExchange
)


@lru_cache(maxsize=64)  # for every connection; there are some dozen answers
def mechanisms(
    *,
    plain: bool,
    sha1: bool,
    binding: bool,
    certificate: bool = False,
    migrating: bool = False,
    anonymous: bool = False,
) -> tuple[str, ...]:
    """The mechanisms to offer, those that show the least first. `plain`: TLS is on; `binding`: there is something to
    bind to; `certificate`: the client has shown one; `migrating`: passwords have to be seen in clear text, since there
    are hashes of another server's (docs/mapping.md 18.2); `anonymous`: guests are let in."""
    hashes: Sequence[str] = () if migrating else ("SCRAM-SHA-256", "SCRAM-SHA-1") if sha1 else ("SCRAM-SHA-256",)
    offered = ["EXTERNAL"] if certificate else []
    offered += [name + "-PLUS" for name in hashes] if binding else []
    # Last, since some clients take the first that they know of, and have no token.
    return (*offered, *hashes, *(("PLAIN", "OAUTHBEARER") if plain else ()), *(("ANONYMOUS",) if anonymous else ()))


def token_mechanisms(bindings: Collection[str]) -> tuple[str, ...]:
    """The mechanisms for tokens of the server's own (XEP-0484 3.1), the better first. `bindings`: the connection's."""
    return tuple(name for name, binding in _HT_BINDINGS.items() if binding is None or binding in bindings)


def start_exchange(
    mechanism: str,
    offered: Sequence[str],
    *,
    server_nonce: str,
    bindings: Bindings = NO_BINDINGS,
    advertised: bytes | None = None,
) -> Exchange:
    """A fresh exchange for one of the `offered` mechanisms; SaslFailed(INVALID_MECHANISM) for any other."""
    if mechanism not in offered:
        raise SaslFailed(SaslCondition.INVALID_MECHANISM, "This mechanism is not offered here")
    if mechanism == "PLAIN":
        return PlainExchange()
    if mechanism == "EXTERNAL":
        return ExternalExchange()
    if mechanism == AnonymousExchange.mechanism:
        return AnonymousExchange()
    if mechanism == BearerExchange.mechanism:
        return BearerExchange()
    if mechanism.startswith("HT-"):
        return HashedTokenExchange(mechanism, bindings)
    base = mechanism.removesuffix("-PLUS")
    hash_name = _MECHANISM_HASH.get(base)
    if hash_name is None:
        raise SaslFailed(SaslCondition.INVALID_MECHANISM, "This mechanism is not offered here")
    return ScramExchange(
        hash_name,
        server_nonce=server_nonce,
        plus=mechanism != base,
        plus_offered=any(name.endswith("-PLUS") for name in offered),
        bindings=bindings,
        advertised=advertised,
    )


def _malformed(what: str) -> SaslFailed:
    return SaslFailed(SaslCondition.MALFORMED_REQUEST, f"The SASL message is malformed: {what}")


def _decode(data: bytes) -> str:
    if len(data) > MAX_MESSAGE_BYTES:
        raise _malformed("it is too long")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise _malformed("it is not UTF-8") from None


def _b64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise SaslFailed(SaslCondition.INCORRECT_ENCODING, "A field is not base64") from None


def _unescape(name: str) -> str:
    """saslname → name. spec: RFC5802 5.1: "=" other than in =2C and =3D is an error."""
    plain = name.replace("=2C", "\x00").replace("=3D", "\x01")
    if "=" in plain or name.count("\x00") or name.count("\x01"):
        raise _malformed("the name holds a bare '='")
    return plain.replace("\x00", ",").replace("\x01", "=")


def _check_extensions(attributes: Sequence[str]) -> None:
    """Unknown optional attributes are ignored, but must be attributes. spec: RFC5802 5.1, 7."""
    for attribute in attributes:
        if (
            len(attribute) < 3
            or not attribute[0].isascii()
            or not attribute[0].isalpha()
            or attribute[1] != "="
        ):
            raise _malformed("an extension is not attribute=value")
        if attribute[0] == "m":
            raise _malformed("mandatory SCRAM extensions are not supported")
