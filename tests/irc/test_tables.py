"""Tables against the published data, and against the lines that carry them."""

import os
import pathlib
import re

import pytest

from tripoint.irc import numerics
from tripoint.irc.connection import ONLY_FROM_302
from tripoint.irc.render import server_line
from tripoint.irc.tables import CAPABILITIES, ISUPPORT_TOKENS_PER_LINE, NICKLEN, isupport_lines, isupport_tokens
from tripoint.irc.wire import build_line

NAMES = {name: value for name, value in vars(numerics).items() if name.startswith(("RPL_", "ERR_"))}


def test_numerics_are_three_digits_and_unique() -> None:
    assert all(re.fullmatch(r"\d{3}", value) for value in NAMES.values())
    assert len(set(NAMES.values())) == len(NAMES)


# Where this server follows Modern IRC, IRCv3 or docs/mapping.md rather than the oldest name in the collection.
_OWN_NAMES = {"RPL_INVEXLIST", "RPL_ENDOFINVEXLIST", "ERR_CANTCHANGENICK"}


def test_numerics_are_named_as_published() -> None:
    specs = os.environ.get("TRIPOINT_SPECS")
    if not specs:
        pytest.skip("TRIPOINT_SPECS is not set")
    text = (pathlib.Path(specs) / "irc/irc-defs/numerics.yaml").read_text()
    published = set(re.findall(r'name: "?(\w+)"?\s+numeric: "(\d{3})"', text))
    # A draft's are in the draft.
    metadata = (pathlib.Path(specs) / "irc/ircv3/extensions/metadata.md").read_text()
    published |= {(name, number) for number, name in re.findall(r"^\| (\d{3}) \| `(\w+)`", metadata, re.MULTILINE)}
    unknown = {pair for pair in NAMES.items() if pair not in published and pair[0] not in _OWN_NAMES}
    assert unknown == set()


def test_isupport_fits_its_lines() -> None:
    tokens = isupport_tokens("a" * 63 + ".example")
    for at in range(0, len(tokens), ISUPPORT_TOKENS_PER_LINE):
        part = tokens[at : at + ISUPPORT_TOKENS_PER_LINE]
        build_line("005", "n" * 64, *part, "are supported by this server", source="s" * 63)


def test_the_plain_list_of_capabilities_is_one_line() -> None:
    # Clients below CAP version 302 cannot read a continued list.
    words = [name for name in CAPABILITIES if name not in ONLY_FROM_302]
    build_line("CAP", "n" * 64, "LS", " ".join(words), source="s" * 40)


def test_long_addresses_do_not_push_tokens_out_of_their_lines() -> None:
    long = "https://files.a-rather-long-name-of-a-society.example.org/" + "x" * 120
    tokens = isupport_tokens("tea.example.org", long, long, "B" * 87, guests=False)
    lines = isupport_lines(tokens)
    assert [token for line in lines for token in line[:-1]] == list(tokens)
    for line in lines:
        assert 1 < len(line) <= ISUPPORT_TOKENS_PER_LINE + 1
        told = server_line("matrix.a-rather-long-name-of-a-society.example.org", "005", ("n" * NICKLEN, *line))
        assert len(told) <= 510 and told.endswith(" :are supported by this server")
