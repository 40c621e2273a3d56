"""Coverage-guided fuzzing of what Matrix clients send besides events: filters, sync tokens, paths.

Run: python tests/fuzz/fuzz_matrix.py -max_total_time=60 tests/fuzz/corpus/matrix

Checks that only MatrixError comes out, that a token gives itself back, and that a filter says of every type whether it
passes. Needs atheris, which is imported only here.
"""

import sys

import atheris

with atheris.instrument_imports():
    from tripoint.matrix.errors import MatrixError
    from tripoint.matrix.registry import Router
    from tripoint.matrix.sync.filters import parse_filter_json, read_event_filter, read_filter
    from tripoint.matrix.sync.tokens import parse_token

ROUTER = Router()
START = "abc1"


def test_one_input(data: bytes) -> None:
    """The entry of libFuzzer."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        token = parse_token(text, START)
        assert parse_token(token.text(START), START) == token
    except MatrixError:
        pass
    try:
        definition = parse_filter_json(text)
        assert read_event_filter(definition).wants_type("m.room.message") in (True, False)
        wanted = read_filter(definition)
        assert wanted.timeline_limit >= 1
        assert wanted.wants_room("!a:x") in (True, False)
        assert read_filter(definition) == wanted
    except MatrixError:
        pass
    try:
        ROUTER.find("GET", text)
    except MatrixError:
        pass


if __name__ == "__main__":
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
