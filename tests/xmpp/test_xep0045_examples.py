"""No example of XEP-0045 is forgotten: each is played by a test, or listed with the reason why it is not.

A test says what it plays in a comment: `# XEP-0045 7.2.5 examples 25, 26`. The rest is in xep0045_examples.toml. Both
are held against the text, the sections too, where TRIPOINT_SPECS names it.
"""

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tools.source import SRC

import tripoint.xmpp.muc  # noqa: F401
from tripoint.xmpp.registry import At, features_at
from tripoint.xmpp.tables import Status

HERE = Path(__file__).parent
LEFT_OUT = HERE / "xep0045_examples.toml"
_SCRIPTS = (
    *(HERE / "scripts").glob("*.txt"),
    *(HERE.parent / "cross" / "scripts").glob("*.txt"),
    HERE / "test_listener.py",
)
_MARK = re.compile(r"^\s*# XEP-0045 ([\d.]+) examples? (\d[\d, -]*)", re.M)


def numbers(text: str) -> Iterator[int]:
    """`3, 5-7` as 3, 5, 6, 7."""
    for part in text.strip(" ,").split(","):
        first, _, last = part.strip().partition("-")
        yield from range(int(first), int(last or first) + 1)


def played() -> dict[int, set[str]]:
    """Number of an example -> the sections that scripts name for it."""
    found: dict[int, set[str]] = {}
    for path in _SCRIPTS:
        for section, which in _MARK.findall(path.read_text()):
            for number in numbers(which):
                found.setdefault(number, set()).add(section.rstrip("."))
    return found


def left_out() -> dict[int, tuple[str, str]]:
    """Number of an example -> its section, and why no test plays it."""
    found: dict[int, tuple[str, str]] = {}
    for entry in tomllib.loads(LEFT_OUT.read_text())["left_out"]:
        for number in numbers(entry["examples"]):
            assert number not in found, f"example {number} is listed twice"
            found[number] = (entry["section"], entry["why"])
    return found


def test_what_is_left_out_has_a_reason_and_is_not_played() -> None:
    assert all(len(why) > 20 for _, why in left_out().values())
    assert not left_out().keys() & played().keys()


def test_every_example_of_the_text_is_there() -> None:
    folder = os.environ.get("TRIPOINT_SPECS")
    if not folder:
        pytest.skip("TRIPOINT_SPECS is not set")
    text = next((Path(folder) / "xmpp").glob("xep-0045-*.md")).read_text()
    of_text: dict[int, str] = {}
    section = ""
    for line in text.splitlines():
        heading, example = re.match(r"#+ ([\d.]+) ", line), re.match(r"\*\*Example (\d+)\.\*\*", line)
        if heading is not None:
            section = heading[1].rstrip(".")
        elif example is not None:
            of_text[int(example[1])] = section
    ours = {number: {section} for number, (section, _) in left_out().items()} | played()
    assert len(of_text) == 220
    assert sorted(of_text.keys() - ours.keys()) == []
    assert ours == {number: {section} for number, section in of_text.items()}


def registered(tag: str, marker: str) -> set[str]:
    """What the registries of section 16 list between <tag> and </tag>, of the entries that begin with `marker`."""
    folder = os.environ.get("TRIPOINT_SPECS")
    if not folder:
        pytest.skip("TRIPOINT_SPECS is not set")
    text = next((Path(folder) / "xmpp").glob("xep-0045-*.md")).read_text()
    text = text[text.index("## 16. ") : text.index("## 17. ")]
    return set(re.findall(rf"<{marker}>\s*<{tag}>([^<]+)</{tag}>", text))


def never(kind: str) -> set[str]:
    reasons = tomllib.loads(LEFT_OUT.read_text())["never"][kind]
    assert all(len(why) > 20 for why in reasons.values())
    return set(reasons)


def test_every_status_code_is_said_or_has_its_reason() -> None:
    """spec: XEP-0045 16.6.2"""
    said = {code.value for code in Status}
    codes = {code for code in registered("number", "statuscode") if code.isdecimal()}
    assert len(codes) == 19
    assert said | never("status") == codes
    assert not said & never("status")


def test_every_feature_is_said_or_has_its_reason() -> None:
    """spec: XEP-0045 16.3"""
    features = registered("name", "var")
    assert len(features) == 17
    source = (SRC / "tripoint/xmpp/muc/discovery.py").read_text()
    said = {name for name in features if name in features_at(At.ROOM) or f'"{name}"' in source}
    assert said | never("feature") == features
    assert not said & never("feature")


def test_every_field_of_the_configuration_is_in_the_form() -> None:
    """spec: XEP-0045 16.5.3"""
    folder = os.environ.get("TRIPOINT_SPECS")
    if not folder:
        pytest.skip("TRIPOINT_SPECS is not set")
    text = next((Path(folder) / "xmpp").glob("xep-0045-*.md")).read_text()
    text = text[text.index("#### 16.5.3.") : text.index("#### 16.5.4.")]
    fields = set(re.findall(r"var='(muc#[a-z_]+)'", text))
    assert len(fields) == 21
    source = (SRC / "tripoint/xmpp/muc/config.py").read_text()
    assert {field for field in fields if field not in source} == set()
