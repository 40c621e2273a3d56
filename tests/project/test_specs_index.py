"""docs/specs.toml and what is made from it: it holds, and each comparison fails on a bad example."""

import os
import re
from pathlib import Path

import pytest
from tools import generate, specs_index
from tools.source import ROOT, python_files
from tools.specs_index import Index, load_index

from tripoint.config.load import parse_config
from tripoint.config.options import Config

INDEX = """
[rfc]
"RFC2812" = { title = "IRC", state = "partial", code = ["irc/"], note = "half" }
"RFC1413" = { title = "Ident", state = "no" }
[xep]
"XEP-0199" = { title = "Ping", state = "done", code = ["xmpp/"], features = ["urn:xmpp:ping"] }
[ircv3]
batch = { title = "batch", state = "done", code = ["irc/outbox.py"], caps = ["batch"] }
message-tags = { title = "tags", state = "planned" }
[irc-commands]
"JOIN" = { state = "done", code = ["irc/commands/channels.py"] }
"WHOWAS" = { state = "planned" }
[matrix]
appendices = { state = "done", code = ["core/"] }
[matrix-client]
"GET /_matrix/client/v3/sync" = { state = "done", code = ["matrix/client/sync.py"] }
"POST /_matrix/client/v3/search" = { state = "planned" }
[matrix-server]
[matrix-appservice]
[matrix-push]
[matrix-admin]
"""
SYNC = {"GET /_matrix/client/v3/sync": "matrix/client/sync.py"}


@pytest.fixture
def index() -> Index:
    return load_index(INDEX)


def test_the_index_holds() -> None:
    assert specs_index.findings() == []


def test_the_example_of_this_test_is_a_good_one(index: Index) -> None:
    assert list(specs_index.check_entries(index)) == []
    assert list(specs_index.check_endpoints(index, SYNC)) == []
    assert list(specs_index.check_commands(index, {"JOIN": "irc/commands/channels.py"})) == []
    assert list(specs_index.check_names("ircv3", index, {"batch"})) == []
    assert list(specs_index.check_citations(index, {"a.py": "RFC2812 3.1, IRCv3 batch, IRCv3 clients; XEP-0199"})) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"done", code = ["core/"]', '"finished", code = ["core/"]'),
        ('"done", code = ["core/"]', '"done"'),
        ('"done", code = ["core/"]', '"planned", code = ["core/"]'),
        ('code = ["core/"]', 'code = ["no/such/file.py"]'),
        (', note = "half"', ""),
        ("[matrix-push]", "[matrix-pull]"),
    ],
)
def test_a_bad_entry_is_found(old: str, new: str) -> None:
    assert old in INDEX
    assert list(specs_index.check_entries(load_index(INDEX.replace(old, new))))


@pytest.mark.parametrize(
    "declared",
    [
        {},
        {**SYNC, "POST /_matrix/client/v3/search": "matrix/client/search.py"},
        {**SYNC, "GET /_matrix/client/v3/unheard_of": "matrix/client/sync.py"},
        {"GET /_matrix/client/v3/sync": "matrix/client/elsewhere.py"},
    ],
)
def test_an_endpoint_that_does_not_fit_is_found(index: Index, declared: dict[str, str]) -> None:
    assert list(specs_index.check_endpoints(index, declared))


def test_names_of_parameters_and_old_versions_do_not_matter(index: Index) -> None:
    declared = {**SYNC, "GET /_matrix/client/r0/sync": "matrix/client/sync.py"}
    assert list(specs_index.check_endpoints(index, declared)) == []


@pytest.mark.parametrize("declared", [{}, {"JOIN": "irc/a.py"}, {"JOIN": "irc/commands/channels.py", "WHOWAS": "x"}])
def test_a_command_that_does_not_fit_is_found(index: Index, declared: dict[str, str]) -> None:
    assert list(specs_index.check_commands(index, declared))


@pytest.mark.parametrize("declared", [set(), {"batch", "message-tags"}])
def test_a_capability_that_does_not_fit_is_found(index: Index, declared: set[str]) -> None:
    assert list(specs_index.check_names("ircv3", index, declared))


@pytest.mark.parametrize("text", ["RFC9999", "RFC1413 1", "XEP-0001", "IRCv3 no-such-thing", "IRCv3 batch, odd-one"])
def test_a_citation_of_nothing_is_found(index: Index, text: str) -> None:
    assert list(specs_index.check_citations(index, {"a.py": text}))


def test_generated_files_are_fresh() -> None:
    assert generate.findings() == []


def test_the_example_configuration_is_the_default_one() -> None:
    text = (ROOT / "docs/operate/tripoint.example.toml").read_text("utf-8")
    assert parse_config(text, "example") == Config()
    # And each option in it is a right one once its comment sign is taken away.
    uncommented = "\n".join(re.sub(r"^# (?=\w+ = )", "", line) for line in text.splitlines() if "name = " not in line)
    assert parse_config(uncommented, "example") == Config()


_SECTION = re.compile(r"\b(RFC\d{4}|XEP-\d{4}) ((?:\d+(?:\.\d+)*)(?:(?:, |-)\d+(?:\.\d+)*)*)")


def _headings(folder: Path, name: str) -> set[str] | None:
    """Numbers of the sections of a document; None where it is not at hand."""
    kind, number = name[:3], name[-4:]
    pattern = f"rfc/rfc{number}.txt" if kind == "RFC" else f"xmpp/xep-{number}-*.md"
    found = list(folder.glob(pattern))
    if not found:
        return None
    heading = r"^ {0,4}(\d+(?:\.\d+)*)\.? +\S" if kind == "RFC" else r"^#+ (\d+(?:\.\d+)*)\.? "
    return set(re.findall(heading, found[0].read_text("utf-8-sig"), re.MULTILINE))


@pytest.mark.skipif(not os.environ.get("TRIPOINT_SPECS"), reason="TRIPOINT_SPECS is not set")
def test_cited_sections_exist() -> None:
    folder = Path(os.environ["TRIPOINT_SPECS"])
    wrong = []
    known: dict[str, set[str] | None] = {}
    for path in python_files():
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            for name, sections in _SECTION.findall(line):
                if name not in known:
                    known[name] = _headings(folder, name)
                headings = known[name]
                for section in re.split(r", |-", sections):
                    if headings is not None and section not in headings:
                        wrong.append(f"{path.relative_to(ROOT)}:{number}: {name} has no section {section}")
    assert known
    assert wrong == []
