"""Coverage-guided fuzzing of the IRC parsers: python tests/fuzz/fuzz_irc.py -max_total_time=60 tests/fuzz/corpus/irc

Checks the same promises as tests/irc: nothing but values comes out, chunks do not matter, formatting
keeps the text, lines that are built parse back.  Needs atheris, which is imported only here.
"""

import sys

import atheris

with atheris.instrument_imports():
    from tripoint.irc import formatting, splitting, wire
    from tripoint.irc.connection import Complete, IrcConnection, Phase, RegisterAccount, Reply, SaslState

OFFERED = {"sasl": "PLAIN", "batch": "", "cap-notify": "", "draft/account-registration": ""}


def negotiate(lines: list[wire.Incoming]) -> None:
    """Drive a connection as the session does, refusing everything."""
    irc = IrcConnection("irc.example", OFFERED, ("PLAIN",))
    for line in lines:
        if not isinstance(line, wire.Line):
            continue
        for step in irc.receive(line):
            if isinstance(step, Reply):
                wire.build_line(step.command, *step.params, source="irc.example")
            elif isinstance(step, Complete):
                irc.nick_refused()
            elif isinstance(step, RegisterAccount):
                pass
        if irc.sasl is SaslState.DRIVER:
            irc.sasl_challenge(b"")
        if irc.phase is Phase.CLOSED:
            return


def test_one_input(data: bytes) -> None:
    """The entry of libFuzzer: the first byte says where to cut the stream."""
    whole = wire.LineReader().receive(data)
    cut = data[0] if data else 0
    reader = wire.LineReader()
    assert reader.receive(data[:cut]) + reader.receive(data[cut:]) == whole
    negotiate(whole)
    for line in whole:
        if isinstance(line, wire.Line) and line.params:
            text = line.params[-1]
            stripped = formatting.strip_codes(text)
            assert "".join(part for part, _ in formatting.parse_codes(text)) == stripped
            for piece in splitting.split_message(text, 100):
                assert len(piece.encode()) <= 100


if __name__ == "__main__":
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
