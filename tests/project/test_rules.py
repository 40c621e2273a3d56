"""The rules of the tree hold, and each checker fails on a bad example."""

import subprocess
from pathlib import Path

import pytest
from tools import import_rule, layout_rule, pure_rule, rows_rule, word_rule
from tools.source import ROOT


def test_imports_go_one_way() -> None:
    assert import_rule.findings() == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("tripoint.core.event", "from tripoint.rooms import service"),
        ("tripoint.rooms.writer", "from tripoint.store.sqlite import SqliteStore"),
        ("tripoint.rooms.writer", "from tripoint.store import sqlite"),
        ("tripoint.rooms.writer", "from tripoint.irc.wire import Line"),
        ("tripoint.accounts.service", "from tripoint.rooms.service import Service"),
        ("tripoint.fanout.hub", "def late():\n    import tripoint.xmpp.wire"),
        ("tripoint.net.http", "import tripoint.rooms.ports"),
        ("tripoint.irc.session", "from tripoint.xmpp.jid import Jid"),
        ("tripoint.matrix.render", "from tripoint import irc"),
        ("tripoint.xmpp.session", "from tripoint.store.interface import Store"),
        ("tripoint.matrix.listener", "from tripoint.config.options import Config"),
        ("tripoint.irc.session", "from tripoint.runtime.app import App"),
        ("tripoint.irc.session", "from . import wire"),
        ("tripoint.newpart.thing", "import tripoint.core"),
    ],
)
def test_a_wrong_arrow_is_found(module: str, source: str) -> None:
    assert import_rule.check_imports(module, source)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("tripoint.rooms.writer", "from tripoint.store import interface"),
        ("tripoint.rooms.writer", "from tripoint.store.stream import Stream"),
        ("tripoint.irc.session", "from tripoint.irc.wire import Line\nfrom tripoint.rooms.ports import RoomService"),
        ("tripoint.accounts.service", "from tripoint.rooms.changes import ProfileChanged"),
        ("tripoint.core.event", "import json\nimport tripoint.core.ids"),
    ],
)
def test_a_right_arrow_is_not(module: str, source: str) -> None:
    assert import_rule.check_imports(module, source) == []


def test_pure_files_do_no_io() -> None:
    assert pure_rule.findings() == []


@pytest.mark.parametrize(
    "source",
    [
        "import asyncio",
        "from time import monotonic",
        "import os.path",
        "from urllib.request import urlopen",
        "def roll():\n    from random import choice\n    return choice",
        "import structlog as log",
    ],
)
def test_an_impure_import_is_found(source: str) -> None:
    assert pure_rule.check_pure(source)


def test_a_type_is_no_import() -> None:
    source = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import asyncio\nimport timeit, datetime\n"
    assert pure_rule.check_pure(source) == []


@pytest.mark.parametrize("path", ["core/auth_rules/member.py", "irc/wire.py", "xmpp/jid.py", "accounts/sasl.py"])
def test_the_cores_are_on_the_list(path: str) -> None:
    assert pure_rule.is_pure(Path(path))
    assert not pure_rule.is_pure(Path("irc/listener.py"))


def test_the_same_job_has_the_same_file_name() -> None:
    assert layout_rule.findings() == []


def test_a_missing_file_is_found(tmp_path: Path) -> None:
    for end, names in layout_rule.JOBS.items():
        (tmp_path / end).mkdir()
        for name in names:
            (tmp_path / end / name).touch()
    (tmp_path / "xmpp" / "refusals.py").unlink()
    assert layout_rule.missing_jobs(tmp_path) == ["xmpp/refusals.py"]
    assert layout_rule.lacks_docstring("import this")


def test_the_tree_says_nothing_of_this_machine() -> None:
    try:
        found = word_rule.findings()
    except (subprocess.CalledProcessError, FileNotFoundError):
        pytest.skip("not a git repository")
    assert found == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("docs/a.md", "see /wo" + "rk/main/x"),
        ("src/a.py", "PATH = '/ho" + "me/alice/tripoint'"),
        ("requirements/run.txt", "--index" + "-url https://example.org/simple"),
        ("requirements/run.txt", "orjson @ https://example.org/orjson.whl"),
        ("tests/package-lock.json", '{"packages": {"node_modules/x": {"resolved": "y", "integrity": "sha512-"}}}'),
        ("tests/package-lock.json", '{"packages": {"node_modules/x": {"version": "1"}}}'),
    ],
)
def test_a_forbidden_word_is_found(path: str, text: str) -> None:
    assert list(word_rule.check_text(Path(path), text))


def test_ordinary_text_is_not() -> None:
    text = "make the network work/rest and /workers/ at home/away, in /var/lib/tripoint"
    assert list(word_rule.check_text(Path("docs/a.md"), text)) == []


def test_a_link_into_a_package_has_the_hash_of_that() -> None:
    link, inside = '"node_modules/log": {"resolved": "node_modules/a/log", "link": true}', '"node_modules/a/log": {}'
    package = '"node_modules/a": {"integrity": "sha512-x"}'
    lock = Path("package-lock.json")
    assert list(word_rule.check_text(lock, f'{{"packages": {{{link}, {inside}, {package}}}}}')) == []
    assert list(word_rule.check_text(lock, f'{{"packages": {{{inside}, {package}}}}}'))


def test_every_shell_script_stops_at_a_failure() -> None:
    assert "set -euo pipefail" in (ROOT / ".ci" / "run").read_text("utf-8")


def test_every_row_of_the_mapping_is_played_or_named() -> None:
    assert rows_rule.findings() == []


def test_rows_are_found_by_number_and_by_name() -> None:
    mapping = """
## 8. Modes
|8.1|Topic|
* 8.2 **More**
## 20. Calls
|20.1|Call|
## 21. Federation
|21.3|Split|
|21.4|Upgrade|
## 25. Errors
| Cause | Matrix |
|---|---|
|banned|403|
|full, too many|403|

|not a row|of it|
"""
    assert list(rows_rule.rows_of(mapping)) == ["8.1", "8.2", "21.4", "25 banned", "25 full too many"]


def test_a_row_must_be_played_or_named_and_not_both() -> None:
    covered, missing = {"1.1": "a.txt", "1.2": "b.txt", "9.9": "c.txt"}, {"1.2": "later", "1.3": ""}
    found = list(rows_rule.differences(["1.1", "1.2", "1.3", "1.4"], covered, missing))
    assert len(found) == 4
    assert any("1.4" in line and "no script" in line for line in found)
    assert any("1.2" in line and "stands in" in line for line in found)
    assert any("no row 9.9" in line for line in found)
    assert any("1.3" in line and "does not say why" in line for line in found)
