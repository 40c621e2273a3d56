"""SASL exchanges against the vectors of the RFCs, and every way a client can be wrong."""

import base64
import hashlib
import hmac
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tripoint.accounts.sasl import (
    BearerExchange,
    Challenge,
    CheckCertificate,
    CheckPassword,
    CheckToken,
    Done,
    Exchange,
    NeedCredentials,
    PasswordRefused,
    PlainExchange,
    SaslCondition,
    SaslFailed,
    ScramExchange,
    ScramVerifier,
    fake_verifier,
    mechanisms,
    prepare_password,
    start_exchange,
    token_mechanisms,
)

# spec: RFC5802 5
SHA1 = {
    "client_nonce": "fyko+d2lbbFgONRv9qkxdawL",
    "server_nonce": "3rfcNHYJY1ZVvWVs7j",
    "salt": "QSXCR+Q6sek8bf92",
    "proof": "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
    "verifier": "rmF9pqV8S7suAoZWja4dJRkFsKQ=",
}
# spec: RFC7677 3
SHA256 = {
    "client_nonce": "rOprNGfwEbeRWgbNEkqO",
    "server_nonce": "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
    "salt": "W22ZaJ0SNY7soEsUEjb6gQ==",
    "proof": "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
    "verifier": "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
}


@pytest.mark.parametrize(("hash_name", "vector"), [("sha1", SHA1), ("sha256", SHA256)])
def test_scram_vectors(hash_name, vector):
    exchange = ScramExchange(hash_name, server_nonce=vector["server_nonce"])
    nonce = vector["client_nonce"] + vector["server_nonce"]
    assert exchange.receive(f"n,,n=user,r={vector['client_nonce']}".encode()) == NeedCredentials(
        "user", hash_name
    )
    stored = ScramVerifier.make("pencil", base64.b64decode(vector["salt"]), 4096, hash_name)
    assert exchange.credentials(stored) == Challenge(f"r={nonce},s={vector['salt']},i=4096".encode())
    done = exchange.receive(f"c=biws,r={nonce},p={vector['proof']}".encode())
    assert done == Done("", "user", f"v={vector['verifier']}".encode())


def client_final(password: str, first_bare: str, server_first: str, gs2: bytes, hash_name="sha256") -> bytes:
    """What an honest client answers. Written from RFC5802 3, not from the server's code."""
    name = hash_name
    fields = dict(part.split("=", 1) for part in server_first.split(","))
    salted = hashlib.pbkdf2_hmac(name, password.encode(), base64.b64decode(fields["s"]), int(fields["i"]))
    key = hmac.digest(salted, b"Client Key", name)
    without = f"c={base64.b64encode(gs2).decode()},r={fields['r']}"
    signature = hmac.digest(
        hashlib.new(name, key).digest(), f"{first_bare},{server_first},{without}".encode(), name
    )
    proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature, strict=True))).decode()
    return f"{without},p={proof}".encode()


VERIFIER = ScramVerifier.make("pencil", b"0123456789abcdef", 4096)


def run(exchange: Exchange, gs2: str, binding: bytes = b"", password: str = "pencil", name: str = "user"):
    bare = f"n={name},r=abc"
    need = exchange.receive((gs2 + bare).encode())
    assert isinstance(need, NeedCredentials)
    challenge = exchange.credentials(VERIFIER)
    return exchange.receive(client_final(password, bare, challenge.data.decode(), gs2.encode() + binding))


BOUND = {"tls-exporter": b"keying material", "tls-server-end-point": b"cert-hash"}


def test_plus_binds_to_the_certificate():
    offered = mechanisms(plain=True, sha1=True, binding=True)
    exchange = start_exchange("SCRAM-SHA-256-PLUS", offered, server_nonce="N" * 18, bindings=BOUND)
    done = run(exchange, "p=tls-server-end-point,,", b"cert-hash")
    assert isinstance(done, Done)
    other = start_exchange("SCRAM-SHA-256-PLUS", offered, server_nonce="N" * 18, bindings=BOUND)
    with pytest.raises(SaslFailed) as failed:
        run(other, "p=tls-server-end-point,,", b"certificate of somebody in the middle")
    assert failed.value.condition is SaslCondition.NOT_AUTHORIZED


def test_plus_binds_to_the_session():
    """spec: RFC9266 2: the client chooses among what there is"""
    offered = mechanisms(plain=True, sha1=True, binding=True)
    for data, good in ((b"keying material", True), (b"cert-hash", False), (b"", False)):
        exchange = start_exchange("SCRAM-SHA-256-PLUS", offered, server_nonce="N" * 18, bindings=BOUND)
        if good:
            assert isinstance(run(exchange, "p=tls-exporter,,", data), Done)
            continue
        with pytest.raises(SaslFailed) as failed:
            run(exchange, "p=tls-exporter,,", data)
        assert failed.value.condition is SaslCondition.NOT_AUTHORIZED
    for name, bindings in (("tls-unique", BOUND), ("tls-exporter", {"tls-server-end-point": b"cert-hash"})):
        exchange = start_exchange("SCRAM-SHA-256-PLUS", offered, server_nonce="N" * 18, bindings=bindings)
        with pytest.raises(SaslFailed) as failed:
            exchange.receive(f"p={name},,n=user,r=abc".encode())
        assert failed.value.text == f"Only channel binding {' or '.join(bindings)} is supported here"


@pytest.mark.parametrize(
    ("mechanism", "binding"),
    [("HT-SHA-256-EXPR", b"keying material"), ("HT-SHA-256-ENDP", b"cert-hash"), ("HT-SHA-256-NONE", b"")],
)
def test_tokens_bind_to_what_their_mechanism_names(mechanism, binding):
    """spec: XEP-0484 3.1"""
    assert mechanism in token_mechanisms(BOUND)
    exchange = start_exchange(mechanism, token_mechanisms(BOUND), server_nonce="N" * 18, bindings=BOUND)
    digest = hmac.digest(b"token", b"Initiator" + binding, "sha256")
    step = exchange.receive(b"alice\0" + digest)
    assert step.is_of(b"token") and not step.is_of(b"other")
    assert step.proof(b"token") == hmac.digest(b"token", b"Responder" + binding, "sha256")


def test_tokens_without_a_channel_to_bind_to():
    assert token_mechanisms({}) == ("HT-SHA-256-NONE",)
    assert token_mechanisms(("tls-server-end-point",)) == ("HT-SHA-256-ENDP", "HT-SHA-256-NONE")


def test_external_leaves_the_name_to_the_certificate_or_asks_for_one():
    """spec: RFC4422 A.2, A.3"""
    offered = mechanisms(plain=True, sha1=False, binding=False, certificate=True)
    assert offered[0] == "EXTERNAL"
    for message, authzid in ((b"", ""), (b"fred@example.com", "fred@example.com"), ("zoë".encode(), "zoë")):
        exchange = start_exchange("EXTERNAL", offered, server_nonce="N" * 18)
        assert exchange.receive(message) == CheckCertificate(authzid)
    for wrong in (b"a\0b", b"\xff", b"x" * 10_000):
        with pytest.raises(SaslFailed) as failed:
            start_exchange("EXTERNAL", offered, server_nonce="N" * 18).receive(wrong)
        assert failed.value.condition is SaslCondition.MALFORMED_REQUEST
    with pytest.raises(SaslFailed) as failed:
        start_exchange("EXTERNAL", offered[1:], server_nonce="N" * 18)
    assert failed.value.condition is SaslCondition.INVALID_MECHANISM


def test_stripped_offer_is_noticed():
    # spec: RFC5802 6: "y" although the server offered -PLUS: authentication fails
    offered = mechanisms(plain=True, sha1=True, binding=True)
    exchange = start_exchange("SCRAM-SHA-256", offered, server_nonce="N" * 18, bindings=BOUND)
    with pytest.raises(SaslFailed) as failed:
        exchange.receive(b"y,,n=user,r=abc")
    assert failed.value.condition is SaslCondition.NOT_AUTHORIZED
    without = start_exchange("SCRAM-SHA-256", ("SCRAM-SHA-256",), server_nonce="N" * 18)
    assert isinstance(run(without, "y,,"), Done)


def test_wrong_password_and_unknown_user_look_alike():
    texts = set()
    for verifier in (VERIFIER, fake_verifier("nobody", "sha256", b"secret", 4096)):
        exchange = ScramExchange("sha256", server_nonce="N" * 18)
        exchange.receive(b"n,,n=nobody,r=abc")
        server_first = exchange.credentials(verifier).data.decode()
        with pytest.raises(SaslFailed) as failed:
            exchange.receive(client_final("wrong", "n=nobody,r=abc", server_first, b"n,,"))
        texts.add((failed.value.condition, failed.value.text))
    assert len(texts) == 1


def test_fake_verifier_is_stable_and_differs_by_name():
    one = fake_verifier("a", "sha256", b"secret")
    assert one == fake_verifier("a", "sha256", b"secret")
    assert one.salt != fake_verifier("b", "sha256", b"secret").salt
    assert len(one.salt) == 16 and len(one.stored_key) == 32
    assert len(fake_verifier("a", "sha1", b"secret").stored_key) == 20


def test_authzid_and_escaped_name():
    exchange = ScramExchange("sha256", server_nonce="N" * 18)
    done = run(exchange, "n,a=user@example.org,", name="us=2Cer=3D")
    assert done.authzid == "user@example.org" and done.authcid == "us,er="


@pytest.mark.parametrize(
    ("message", "condition"),
    [
        (b"", SaslCondition.MALFORMED_REQUEST),
        (b"n", SaslCondition.MALFORMED_REQUEST),
        (b"x,,n=user,r=abc", SaslCondition.MALFORMED_REQUEST),
        (b"n,b=x,n=user,r=abc", SaslCondition.MALFORMED_REQUEST),
        (b"n,,n=user", SaslCondition.MALFORMED_REQUEST),
        (b"n,,n=,r=abc", SaslCondition.MALFORMED_REQUEST),
        (b"n,,r=abc,n=user", SaslCondition.MALFORMED_REQUEST),
        (b"n,,n=user,r=", SaslCondition.MALFORMED_REQUEST),
        (b"n,,n=user,r=a b", SaslCondition.MALFORMED_REQUEST),
        (b"n,,n=us=er,r=abc", SaslCondition.MALFORMED_REQUEST),
        (b"n,,n=us=2cer,r=abc", SaslCondition.MALFORMED_REQUEST),
        (b"n,,n=us\x07er,r=abc", SaslCondition.MALFORMED_REQUEST),
        (b"n,,m=ext,n=user,r=abc", SaslCondition.MALFORMED_REQUEST),
        (b"n,,n=user,r=abc,m=ext", SaslCondition.MALFORMED_REQUEST),
        (b"n,,n=user,r=abc,junk", SaslCondition.MALFORMED_REQUEST),
        (b"p=tls-unique,,n=user,r=abc", SaslCondition.MALFORMED_REQUEST),
        (b"n,,n=\xff,r=abc", SaslCondition.MALFORMED_REQUEST),
        (b"n,,n=user,r=" + b"a" * 9000, SaslCondition.MALFORMED_REQUEST),
    ],
)
def test_wrong_first_messages(message, condition):
    with pytest.raises(SaslFailed) as failed:
        ScramExchange("sha256", server_nonce="N" * 18).receive(message)
    assert failed.value.condition is condition


@pytest.mark.parametrize(
    ("message", "condition"),
    [
        (b"", SaslCondition.MALFORMED_REQUEST),
        (b"c=biws,r=abcNNNNNNNNNNNNNNNNNN", SaslCondition.MALFORMED_REQUEST),
        (b"c=biws,r=other,p=AAAA", SaslCondition.NOT_AUTHORIZED),
        (b"c=eSws,r=abcNNNNNNNNNNNNNNNNNN,p=AAAA", SaslCondition.NOT_AUTHORIZED),
        (b"c=biws,r=abcNNNNNNNNNNNNNNNNNN,p=AAAA", SaslCondition.MALFORMED_REQUEST),
        (b"c=biws,r=abcNNNNNNNNNNNNNNNNNN,p=!!", SaslCondition.INCORRECT_ENCODING),
        (b"c=!!,r=abcNNNNNNNNNNNNNNNNNN,p=AAAA", SaslCondition.INCORRECT_ENCODING),
    ],
)
def test_wrong_final_messages(message, condition):
    exchange = ScramExchange("sha256", server_nonce="N" * 18)
    exchange.receive(b"n,,n=user,r=abc")
    exchange.credentials(VERIFIER)
    with pytest.raises(SaslFailed) as failed:
        exchange.receive(message)
    assert failed.value.condition is condition


def test_an_exchange_cannot_go_on_after_its_end():
    exchange = ScramExchange("sha256", server_nonce="N" * 18)
    assert isinstance(run(exchange, "n,,"), Done)
    with pytest.raises(SaslFailed):
        exchange.receive(b"n,,n=user,r=abc")


def test_plain():
    # spec: RFC4616 4
    step = PlainExchange().receive(b"\0tim\0tanstaaftanstaaf")
    assert step == CheckPassword("", "tim", "tanstaaftanstaaf")
    assert PlainExchange().receive(b"Ursel\0Kurt\0xipj3plmq") == CheckPassword("Ursel", "Kurt", "xipj3plmq")
    assert "tanstaaf" not in repr(step)
    for wrong in (b"", b"tim", b"\0tim\0", b"\0\0secret", b"a\0b\0c\0d", b"\0t\xff\0x"):
        with pytest.raises(SaslFailed) as failed:
            PlainExchange().receive(wrong)
        assert failed.value.condition is SaslCondition.MALFORMED_REQUEST


def test_bearer_by_the_examples_of_its_rfc():
    """spec: RFC7628 4.1, 4.3"""
    exchange = BearerExchange()
    token = b"vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="
    where = b"n,a=user@example.com,\x01host=server.example.com\x01port=143\x01"
    step = exchange.receive(where + b"auth=Bearer " + token + b"\x01\x01")
    assert step == CheckToken("user@example.com", "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==")
    assert "vF9" not in repr(step)
    told = json.loads(exchange.token_refused("https://example.com/.well-known/openid-configuration").data)
    assert told["status"] == "invalid_token" and told["openid-configuration"].startswith("https://example.com/")
    with pytest.raises(SaslFailed) as failed:
        exchange.receive(b"\x01")
    assert failed.value.condition is SaslCondition.NOT_AUTHORIZED


@pytest.mark.parametrize("auth", [b"", b"Bearer", b"Bearer "])
def test_an_empty_token_asks_where_one_is_to_be_had(auth):
    """spec: XEP-0493 2.3.1"""
    assert BearerExchange().receive(b"n,,\x01auth=" + auth + b"\x01\x01") == CheckToken("", "")


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x01",
        b"n,,",
        b"n,,\x01\x01",
        b"n,,\x01auth=Basic eA==\x01\x01",
        b"n,,\x01auth=Bearer x",
        b"p=tls-unique,,\x01auth=Bearer x\x01\x01",
        b"n,b=x,\x01auth=Bearer x\x01\x01",
        b"n,a=x,y\x01auth=Bearer x\x01\x01",
        b"n,a==,\x01auth=Bearer x\x01\x01",
        b"n,,\x01auth=Bearer x\xff\x01\x01",
        b"n,,\x01auth=Bearer x\ny\x01\x01",
    ],
)
def test_bearer_messages_that_are_none(message):
    with pytest.raises(SaslFailed) as failed:
        BearerExchange().receive(message)
    assert failed.value.condition is SaslCondition.MALFORMED_REQUEST


def test_offer_and_choice():
    assert mechanisms(plain=False, sha1=False, binding=False) == ("SCRAM-SHA-256",)
    assert mechanisms(plain=True, sha1=True, binding=True) == (
        "SCRAM-SHA-256-PLUS",
        "SCRAM-SHA-1-PLUS",
        "SCRAM-SHA-256",
        "SCRAM-SHA-1",
        "PLAIN",
        "OAUTHBEARER",
    )
    with pytest.raises(SaslFailed) as failed:
        start_exchange("PLAIN", ("SCRAM-SHA-256",), server_nonce="N" * 18)
    assert failed.value.condition is SaslCondition.INVALID_MECHANISM


def test_stored_password_verifies_cleartext():
    assert VERIFIER.verify_cleartext("pencil")
    assert not VERIFIER.verify_cleartext("Pencil")
    assert not VERIFIER.verify_cleartext("")
    assert not VERIFIER.verify_cleartext("\x00")


@pytest.mark.parametrize(
    ("password", "prepared"),
    [
        ("correct horse battery staple", "correct horse battery staple"),  # spec: RFC8265 4.3, example 12
        ("Correct Horse Battery Staple", "Correct Horse Battery Staple"),  # 13
        ("πßå", "πßå"),  # 14
        ("foo\u1680bar", "foo bar"),  # 16: OGHAM SPACE MARK becomes a space
    ],
)
def test_prepared_passwords(password, prepared):
    assert prepare_password(password) == prepared


@pytest.mark.parametrize(
    "password", ["", "my cat is a \tby", "Jack of ♦s and ﷺ", "\u2126 \u00aa", "a\u00adb", "\ud800"]
)
def test_refused_passwords(password):
    with pytest.raises(PasswordRefused):
        prepare_password(password)


@given(
    st.lists(st.binary(max_size=60), max_size=3),
    st.sampled_from(["PLAIN", "EXTERNAL", "OAUTHBEARER", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS"]),
)
def test_garbage_gives_only_sasl_failed(messages, mechanism):
    offered = mechanisms(plain=True, sha1=True, binding=True, certificate=True)
    exchange = start_exchange(mechanism, offered, server_nonce="N" * 18, bindings=BOUND)
    for message in messages:
        try:
            step = exchange.receive(message)
        except SaslFailed:
            return
        if isinstance(step, NeedCredentials):
            exchange.credentials(fake_verifier(step.username, step.hash_name, b"s", 1))
        elif isinstance(step, CheckToken):
            exchange.token_refused(None)
        elif isinstance(step, CheckPassword | CheckCertificate):
            return


@given(st.text(alphabet="nyp=,arsci-tlsuq", max_size=40))
def test_near_misses_give_only_sasl_failed(text):
    exchange = ScramExchange("sha256", server_nonce="N" * 18)
    try:
        exchange.receive(text.encode())
    except SaslFailed:
        pass


def test_the_offer_is_in_what_the_proof_covers() -> None:
    """spec: XEP-0474 6.1, 6.3 (example 1)"""
    offer = b"SCRAM-SHA-1\x1eSCRAM-SHA-1-PLUS\x1ftls-exporter\x1etls-server-end-point"
    exchange = start_exchange("SCRAM-SHA-1", ("SCRAM-SHA-1",), server_nonce="N" * 18, advertised=offer)
    exchange.receive(b"n,,n=user,r=12C4CD5C")
    challenge = exchange.credentials(ScramVerifier.make("pencil", b"0123456789abcdef", 4096, "sha1"))
    assert challenge.data.endswith(b",i=4096,h=G6k/rBLDqgOhRRaCuuatSDFkJ08=")
    plain = start_exchange("SCRAM-SHA-1", ("SCRAM-SHA-1",), server_nonce="N" * 18)
    plain.receive(b"n,,n=user,r=12C4CD5C")
    assert plain.credentials(ScramVerifier.make("pencil", b"0123456789abcdef", 4096, "sha1")).data.endswith(b",i=4096")
