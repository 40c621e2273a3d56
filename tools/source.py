"""The Python files of the server and what they import, read with ast: nothing is run."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SRC = ROOT / "src"


@dataclass(frozen=True, slots=True)
class Import:
    """One imported name: `module` as far as it is a module's name, and the line."""

    module: str
    line: int


def python_files(root: Path = SRC) -> Iterator[Path]:
    return (path for path in sorted(root.rglob("*.py")) if "__pycache__" not in path.parts)


def module_name(path: Path, root: Path = SRC) -> str:
    """tripoint.core.ids of src/tripoint/core/ids.py; a package is named by its folder."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(source: str, *, typing_too: bool = True) -> Iterator[Import]:
    """Every import in a text, in functions too. `typing_too` False: not those under `if TYPE_CHECKING`.

    `from tripoint.store import sqlite` counts as tripoint.store and as tripoint.store.sqlite.
    """
    tree = ast.parse(source)
    skipped: set[ast.AST] = set()
    if not typing_too:
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                skipped.update(inner for statement in node.body for inner in ast.walk(statement))
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            for name in node.names:
                yield Import(name.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield Import("." * node.level, node.lineno)
            elif node.module:
                yield Import(node.module, node.lineno)
                for name in node.names:
                    yield Import(f"{node.module}.{name.name}", node.lineno)


def report(findings: list[str], checked: str) -> None:
    """Print findings and end the program: 1 if there are any."""
    for finding in findings:
        print(finding)
    if findings:
        sys.exit(1)
    print(f"{checked}: fine")
