"""What the documents say can be followed: links lead somewhere, files that are named exist, examples are right."""

import re
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from tools.doap import doap
from tools.source import ROOT
from tools.specs_index import INDEX, load_index

from tripoint.cli.main import main
from tripoint.config.load import ConfigError, parse_config, registration_mode

PAGES = sorted({*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "requirements" / "README.md"})
_LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")
# `core/event.py`, `rooms/`, tools/fuzz.py and the like; a word with a slash that begins like a folder of ours.
_FOLDERS = (
    "src/tripoint|tests|tools|docs|core|rooms|irc|xmpp|matrix|net|store|fanout|accounts|runtime|config|requirements"
)
_PATH = re.compile(rf"(?<![\w/.~-])((?:{_FOLDERS})/[\w./-]*[a-z_]\.(?:py|md|toml|txt|in|mjs))")


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_somewhere(page: Path) -> None:
    links = [link for link in _LINK.findall(page.read_text("utf-8")) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "mapping.md"], ids=_name)
def test_files_that_are_named_exist(page: Path) -> None:
    named = set(_PATH.findall(page.read_text("utf-8")))
    missing = [name for name in named if not any((base / name).exists() for base in (ROOT, ROOT / "src/tripoint"))]
    assert missing == []


def test_the_example_of_a_public_server_is_right(tmp_path: Path) -> None:
    text = (ROOT / "docs/operate/README.md").read_text("utf-8")
    block = "\n".join(line[4:] for line in text[text.index("    [server]") :].splitlines() if line.startswith("    "))
    example = block[: block.index("[Service]")]
    for name in ("fullchain.pem", "key.pem"):
        (tmp_path / name).touch()
    example = example.replace("/etc/ssl/example.org", str(tmp_path))
    assert tomllib.loads(example)
    try:
        config = parse_config(example, "example")
    except ConfigError as error:
        pytest.fail(str(error))
    assert config.server.name == "example.org"
    assert registration_mode(config) == "closed"


def test_commands_in_the_documents_exist() -> None:
    words = set()
    for page in PAGES:
        if page.name == "mapping.md":
            continue  # it is ahead of the code
        words |= set(re.findall(r"tripoint (run|try|config|user|db|room|doctor)\b(?: (\w+))?", page.read_text("utf-8")))
    assert words
    for command, sub in words:
        arguments = [command, sub] if command in ("config", "user") and sub else [command]
        done = CliRunner().invoke(main, [*arguments, "--help"])
        assert done.exit_code == 0, f"tripoint {' '.join(arguments)}: {done.output}"


def test_make_targets_in_the_documents_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    for page in PAGES:
        for target in re.findall(r"`make ([a-z]+)|^ {4}make ([a-z]+)", page.read_text("utf-8"), re.MULTILINE):
            name = target[0] or target[1]
            assert name in targets, f"{_name(page)}: make {name}"


def test_the_doap_file_says_what_the_index_says() -> None:
    """spec: XEP-0453 4.2"""
    index = load_index(INDEX.read_text("utf-8"))
    tree = ElementTree.fromstring((ROOT / "docs" / "tripoint.doap").read_text("utf-8"))
    ns = "{https://linkmauve.fr/ns/xmpp-doap#}"
    found = {}
    for xep in tree.iter(f"{ns}SupportedXep"):
        url = xep.find(f"{ns}xep").get("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}resource")
        key = url.removeprefix("https://xmpp.org/extensions/").removesuffix(".html").upper()
        found[key] = xep.find(f"{ns}status").text
    states = {"done": "complete", "partial": "partial", "planned": "planned"}
    assert found == {key: states[xep.state] for key, xep in index["xep"].items() if xep.state in states}
    assert found["XEP-0198"] == "complete"
    assert "<implements rdf:resource='https://www.rfc-editor.org/info/rfc6120'/>" in doap(index)
