"""Every row of the mapping has a script that plays it on the three protocols, or is named as lacking one, and why.

A script of tests/cross says `# rows: 8.1, 25 banned`, above the lines that play them; so does a test there that needs
more than a script can say (pictures, a thousand members). tests/cross/open_rows.txt names the others. Rows of tables
and numbered paragraphs count by their number, the others by their first cell: "7 owner".
Federation but for 21.4 and 21.5, encryption and calls have tests of their own kind; so will links to IRC networks
have (1.8, 23.2, 23.3), which this server does not make yet.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from tools.source import ROOT, report

MAPPING = ROOT / "docs" / "mapping.md"
CROSS = ROOT / "tests" / "cross"
OPEN = CROSS / "open_rows.txt"

SECTIONS = frozenset({*range(1, 19), 22, 23, 25})
BESIDES = frozenset({"21.4", "21.5"})
LINKED_NETWORKS = frozenset({"1.8", "23.2", "23.3"})
# Tables whose rows have no numbers, by the head of their first column.
NAMED_BY = frozenset({"Rank (first match)", "Cause", "Action"})
_HEADING = re.compile(r"## (\d+)\.")
_NUMBERED = re.compile(r"(?:\||\* )(\d+\.\d+)[|: ]")


def rows_of(mapping: str) -> Iterator[str]:
    """The rows that need a script, in their order: "8.1", "25 banned"."""
    section, named = 0, False
    for line in mapping.splitlines():
        if heading := _HEADING.match(line):
            section, named = int(heading[1]), False
        elif numbered := _NUMBERED.match(line):
            if (section in SECTIONS or numbered[1] in BESIDES) and numbered[1] not in LINKED_NETWORKS:
                yield numbered[1]
        elif line.startswith("|") and section in SECTIONS:
            first = line.split("|")[1].strip()
            if first in NAMED_BY:
                named = True
            elif named and not first.startswith("---"):
                yield f"{section} {first}".replace(",", "")
        else:
            named = False


def played(scripts: Iterable[Path]) -> Iterator[tuple[str, str]]:
    """(script, row) for what the scripts say of themselves."""
    for path in scripts:
        for line in path.read_text("utf-8").splitlines():
            if line.startswith("# rows:"):
                for row in line.removeprefix("# rows:").split(","):
                    yield path.name, row.strip()


def open_rows(text: str) -> Iterator[tuple[str, str]]:
    """(row, why) of the rows without a script: `row: why` lines."""
    for line in text.splitlines():
        if line and not line.startswith("#"):
            row, _, why = line.partition(":")
            yield row.strip(), why.strip()


def differences(rows: list[str], covered: Mapping[str, str], missing: Mapping[str, str]) -> Iterator[str]:
    """What does not fit together. `covered`: row -> script, `missing`: row -> why."""
    for row in rows:
        if row not in covered and row not in missing:
            yield f"row {row} of the mapping has no script in tests/cross, and open_rows.txt does not say why"
        if row in covered and row in missing:
            yield f"row {row} has a script ({covered[row]}) and stands in open_rows.txt"
    for row in (*covered, *missing):
        if row not in rows:
            yield f"there is no row {row} in the mapping ({covered.get(row, 'open_rows.txt')})"
    for row, why in missing.items():
        if not why:
            yield f"open_rows.txt does not say why row {row} has no script"


def findings() -> list[str]:
    rows = list(rows_of(MAPPING.read_text("utf-8")))
    scripts = [*sorted(CROSS.glob("scripts/*.txt")), *sorted(CROSS.glob("test_*.py"))]
    covered = {row: script for script, row in played(scripts)}
    return list(differences(rows, covered, dict(open_rows(OPEN.read_text("utf-8")))))


if __name__ == "__main__":
    without = len(list(open_rows(OPEN.read_text("utf-8"))))
    report(findings(), f"rows of the mapping ({without} without a script)")
