"""Coverage-guided fuzzing of SASL exchanges: python tests/fuzz/fuzz_sasl.py -max_total_time=60 tests/fuzz/corpus/sasl

The first byte chooses the mechanism, a newline ends a message. Checks that only SaslFailed comes out, and that
nobody gets in whose proof is not the password's. Needs atheris, which is imported only here.
"""

import sys

import atheris

with atheris.instrument_imports():
    from tripoint.accounts.sasl import (
        Challenge,
        CheckCertificate,
        CheckPassword,
        Done,
        NeedCredentials,
        PasswordRefused,
        SaslFailed,
        ScramVerifier,
        mechanisms,
        prepare_password,
        start_exchange,
    )

OFFERED = mechanisms(plain=True, sha1=True, binding=True, certificate=True)
# A stored form that no message of a fuzzer can have the proof for.
VERIFIERS = {
    name: ScramVerifier.make("not to be guessed: 7Ezq0", b"0123456789abcdef", 4096, name)  # type: ignore[arg-type]
    for name in ("sha1", "sha256")
}


def test_one_input(data: bytes) -> None:
    """The entry of libFuzzer."""
    mechanism = OFFERED[data[0] % len(OFFERED)] if data else OFFERED[0]
    exchange = start_exchange(mechanism, OFFERED, server_nonce="n" * 18, bindings={"tls-exporter": b"e" * 32})
    for message in data[1:].split(b"\n", 8):
        try:
            step = exchange.receive(message)
            if isinstance(step, NeedCredentials):
                step = exchange.credentials(VERIFIERS[step.hash_name])
        except SaslFailed as failed:
            assert failed.text
            return
        assert not isinstance(step, Done), "somebody guessed the password"
        if isinstance(step, CheckPassword):
            try:
                prepare_password(step.password)
            except PasswordRefused:
                pass
            return
        if isinstance(step, CheckCertificate):
            return
        assert isinstance(step, Challenge)


if __name__ == "__main__":
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
