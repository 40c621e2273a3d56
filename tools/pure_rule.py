"""Files that decide without I/O: no event loop, sockets, clock, chance or logging is imported there.

They take bytes and values and return values; whoever calls them owns the socket, the time and the task.
An import that only a type checker sees is no import.
"""

import re
from pathlib import Path

from tools.source import ROOT, SRC, imports_of, python_files, report

# Patterns of paths below src/tripoint. Adding a pure file to a front end: add it here.
PURE = (
    r"core/.*",
    r"accounts/(sasl|refusals)\.py",
    r"rooms/(commands|changes|refusals|visibility|limits|succession|inheritance)\.py",
    r"irc/(wire|connection|tables|numerics|formatting|splitting|cuts|names|richtext|refusals)\.py",
    r"xmpp/(wire|framing|acks|idle|sasl_profiles|features|actions|login|connection|tables|jid|styling|refusals|caps|vcards)\.py",
    r"xmpp/(hearing|components/stream)\.py",
    r"xmpp/s2s/(actions|certificates|dialback|incoming|outgoing|pairs|route)\.py",
    r"xmpp/pep/(settings|conference)\.py",
    r"matrix/(depth|errors|refusals|render)\.py",
    r"matrix/federation/(auth|remote_keys)\.py",
    r"matrix/keys/(document|ports)\.py",
    r"matrix/push/(gateway|letter)\.py",
    r"matrix/sync/(filters|tokens)\.py",
    r"matrix/sync_socket/dialogue\.py",
    r"net/(address_policy|resolver|multipart)\.py",
    r"media/open_graph\.py",
    r"store/(interface|writes|schema)\.py",
)
IMPURE = frozenset(
    {
        *("asyncio", "socket", "ssl", "select", "selectors", "threading", "multiprocessing", "subprocess"),
        *("concurrent", "time", "random", "secrets", "logging", "structlog", "sqlite3", "urllib.request"),
        *("http.client", "httptools", "uvloop", "aiohttp", "os", "tempfile", "shutil"),
    }
)
_PURE = re.compile("|".join(f"(?:{pattern})" for pattern in PURE))


def is_pure(path: Path) -> bool:
    """Whether a file, given from src/tripoint on, promises to do no I/O."""
    return _PURE.fullmatch(path.as_posix()) is not None


def check_pure(source: str) -> list[tuple[int, str]]:
    """(line, what is wrong) of every import in a text that a pure file may not have."""
    found = imports_of(source, typing_too=False)
    wrong = {(one.line, name) for one in found for name in IMPURE if f"{one.module}.".startswith(f"{name}.")}
    return [(line, f"a pure file must not import {name}") for line, name in sorted(wrong)]


def findings() -> list[str]:
    package = SRC / "tripoint"
    files = [path for path in python_files(package) if is_pure(path.relative_to(package))]
    stale = [
        f"tools/pure_rule.py: nothing matches {pattern}"
        for pattern in PURE
        if not any(re.fullmatch(pattern, path.relative_to(package).as_posix()) for path in files)
    ]
    return stale + [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in files
        for line, text in check_pure(path.read_text("utf-8"))
    ]


if __name__ == "__main__":
    report(findings(), "pure files")
