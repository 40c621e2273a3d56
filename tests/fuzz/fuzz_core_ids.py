"""Coverage-guided fuzzing of identifiers.

Run: python tests/fuzz/fuzz_core_ids.py -max_total_time=60 tests/fuzz/corpus/core_ids

Checks that a parser gives the text back or raises InvalidId, and that folding is stable. Needs atheris.
"""

import sys

import atheris

with atheris.instrument_imports():
    from tripoint.core import ids
    from tripoint.core.confusables import skeletons
    from tripoint.core.signing import InvalidSigningKey, SigningKey, decode_base64

PARSERS = (
    ids.parse_user_id, ids.parse_room_id, ids.parse_event_id, ids.parse_room_alias, ids.parse_server_name,
)  # fmt: skip


def test_one_input(data: bytes) -> None:
    """The entry of libFuzzer."""
    # Lone surrogates are what str can hold and UTF-8 cannot.
    text = data.decode("utf-8", "surrogateescape")
    for parse in PARSERS:
        try:
            assert parse(text) == text
        except ids.InvalidId:
            pass
    try:
        folded = ids.fold_alias_localpart(text)
        assert ids.fold_alias_localpart(folded) == folded
    except ids.InvalidId:
        pass
    try:
        ids.check_new_account_name(text, ids.ServerName("x"))
    except ids.InvalidId:
        pass
    skeletons(text)
    try:
        SigningKey.from_text(text)
    except InvalidSigningKey:
        pass
    try:
        decode_base64(text)
    except ValueError:
        pass


if __name__ == "__main__":
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
