"""The same job has the same file name in each front end, and every package says what it is.

Matrix has no wire, connection, session and projection: HTTP is net/http, a device lives in matrix/sync, and its
vocabulary is the middle's own.
"""

import ast
from pathlib import Path

from tools.source import ROOT, SRC, python_files, report

EVERYWHERE = ("frontend.py", "listener.py", "registry.py", "render.py", "refusals.py")
ON_STREAMS = ("wire.py", "connection.py", "session.py", "projection.py", "tables.py", "options.py")
JOBS = {"irc": (*EVERYWHERE, *ON_STREAMS), "xmpp": (*EVERYWHERE, *ON_STREAMS), "matrix": EVERYWHERE}
FORBIDDEN_NAMES = frozenset({"utils", "util", "common", "helpers", "helper", "misc", "manager", "managers"})


def missing_jobs(package: Path) -> list[str]:
    """Files that a front end lacks, as paths from the package on."""
    return [f"{end}/{name}" for end, names in JOBS.items() for name in names if not (package / end / name).is_file()]


def lacks_docstring(source: str) -> bool:
    return ast.get_docstring(ast.parse(source)) is None


def findings() -> list[str]:
    package = SRC / "tripoint"
    found = [f"src/tripoint/{path}: every front end has this file" for path in missing_jobs(package)]
    for path in python_files():
        where = path.relative_to(ROOT)
        if path.stem in FORBIDDEN_NAMES or path.parent.name in FORBIDDEN_NAMES:
            found.append(f"{where}: name it after what it does")
        if lacks_docstring(path.read_text("utf-8")):
            found.append(f"{where}:1: begin with a docstring: what this is, which spec, where to read next")
    return found


if __name__ == "__main__":
    report(findings(), "layout")
