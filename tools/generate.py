"""Files that are made from the code or from docs/specs.toml: written by `make docs`, compared by `make check`."""

import sys
from collections.abc import Iterator

from tools.doap import doap
from tools.source import ROOT, SRC, report
from tools.specs_index import ENDPOINTS, INDEX, SECTIONS, Entry, Index, load_index

_TITLES = {
    "matrix": "Matrix: the specification besides endpoints",
    "matrix-client": "Matrix: client-server endpoints",
    "matrix-server": "Matrix: server-server endpoints",
    "matrix-appservice": "Matrix: application-service endpoints",
    "matrix-push": "Matrix: push gateway",
    "matrix-admin": "Matrix: the administrators' API that tools know (of no specification)",
    "irc-commands": "IRC commands",
    "ircv3": "IRCv3 specifications",
    "xep": "XMPP extensions",
    "rfc": "RFCs",
}
_HEAD = """\
# What is supported

Made from docs/specs.toml by `make docs`; `make check` holds that file against the code. *done*: all that concerns a
server of this kind. *partial*: see the note. *planned*: belongs to the project, not begun. What is listed as *no* is
in docs/specs.toml alone.
"""


def support_page(index: Index) -> str:
    """docs/support.md."""
    lines = [_HEAD, "| | done | partial | planned |", "|---|---|---|---|"]
    for section in _TITLES:
        entries = index[section].values()
        counts = " | ".join(str(sum(e.state == state for e in entries)) for state in ("done", "partial", "planned"))
        lines.append(f"| {_TITLES[section]} | {counts} |")
    for section, title in _TITLES.items():
        lines += ["", f"## {title}", ""]
        there = [entry for entry in index[section].values() if entry.there]
        planned = [entry for entry in index[section].values() if entry.state == "planned"]
        if there:
            lines += ["| | | state | where |", "|---|---|---|---|", *(_row(section, entry) for entry in there)]
        if planned:
            names = (f"`{entry.key}`" if section in (*ENDPOINTS, "irc-commands") else _name(entry) for entry in planned)
            lines += ["", "Planned: " + ", ".join(names) + "."]
    return "\n".join(lines) + "\n"


def _name(entry: Entry) -> str:
    return _escaped(f"{entry.key} {entry.title}".strip())


def _row(section: str, entry: Entry) -> str:
    state = f"{entry.state}: {entry.note}" if entry.note else entry.state
    names = f" (`{'`, `'.join(entry.names)}`)" if entry.names and section == "ircv3" else ""
    where = ", ".join(f"`{path}`" for path in entry.code)
    return f"| {entry.key} | {_escaped(entry.title)}{names} | {state} | {where} |"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def generated() -> Iterator[tuple[str, str]]:
    """(path from the root, what the file should hold)."""
    sys.path.insert(0, str(SRC))
    from tripoint.config.example import example

    yield "docs/operate/tripoint.example.toml", example() + "\n"
    index = load_index(INDEX.read_text("utf-8"))
    yield "docs/support.md", support_page(index)
    yield "docs/tripoint.doap", doap(index)


def findings() -> list[str]:
    """Files that are not what they would be if they were made now."""
    stale = []
    for name, text in generated():
        path = ROOT / name
        if not path.is_file() or path.read_text("utf-8") != text:
            stale.append(f"{name}: not fresh; run `make docs`")
    return stale


def main() -> None:
    if sys.argv[1:] == ["--check"]:
        report(findings(), "generated files")
        return
    for name, text in generated():
        (ROOT / name).write_text(text, "utf-8")
        print(f"wrote {name}")


assert set(_TITLES) == set(SECTIONS), "every section has a title here"

if __name__ == "__main__":
    main()
