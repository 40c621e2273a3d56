"""docs/specs.toml against the code: what is declared is listed, what is listed as there is declared.

Compared are Matrix endpoints (@endpoint), IRC commands (@command) and capabilities (irc/tables.py), XMPP features (the
registry), and every specification that a docstring or comment below src/ cites. The states themselves are written
by people; this sees to it that they do not drift. docs/support.md is made from the same file (tools/generate.py).
"""

import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.source import ROOT, SRC, python_files, report

INDEX = ROOT / "docs" / "specs.toml"
PACKAGE = SRC / "tripoint"
STATES = ("done", "partial", "planned", "no")
THERE = ("done", "partial")
ENDPOINTS = ("matrix-client", "matrix-server", "matrix-appservice", "matrix-push", "matrix-admin")
SECTIONS = ("rfc", "xep", "ircv3", "irc-commands", "matrix", *ENDPOINTS)


@dataclass(frozen=True, slots=True)
class Entry:
    """One specification, command or endpoint. `names` are capabilities or features that it brings."""

    key: str
    title: str
    state: str
    code: tuple[str, ...]
    names: tuple[str, ...]
    note: str

    @property
    def there(self) -> bool:
        return self.state in THERE


Index = Mapping[str, Mapping[str, Entry]]


def load_index(text: str) -> Index:
    """Section -> key -> entry. Raises KeyError for an entry without a state."""
    sections: dict[str, dict[str, Entry]] = {}
    for section, entries in tomllib.loads(text).items():
        sections[section] = {
            key: Entry(
                key,
                fields.get("title", ""),
                fields["state"],
                tuple(fields.get("code", ())),
                tuple(fields.get("caps", ())) + tuple(fields.get("features", ())),
                fields.get("note", ""),
            )
            for key, fields in entries.items()
        }
    return sections


def check_entries(index: Index) -> Iterator[str]:
    """Sections and states are known ones; code is named where something is there, and it exists."""
    for section in (*SECTIONS, *index):
        if section not in index or section not in SECTIONS:
            yield f"[{section}] is {'missing' if section in SECTIONS else 'not a known section'}"
            continue
    for section, entries in index.items():
        for entry in entries.values():
            where = f"[{section}] {entry.key}"
            if entry.state not in STATES:
                yield f"{where}: state is one of {', '.join(STATES)}"
            if entry.there != bool(entry.code):
                yield f"{where}: {entry.state} {'names no code' if entry.there else 'cannot name code'}"
            if entry.state == "partial" and not entry.note and section in ("rfc", "xep", "ircv3", "matrix"):
                yield f"{where}: partial says in a note what is missing"
            for path in entry.code:
                if not (PACKAGE / path).exists():
                    yield f"{where}: src/tripoint/{path} does not exist"


def _shape(method: str, path: str) -> str:
    """An endpoint without the names of its parameters."""
    return f"{method} {re.sub(r'{[^}]*}', '{}', path.rstrip('/'))}"


def check_endpoints(index: Index, declared: Mapping[str, str]) -> Iterator[str]:
    """`declared`: "GET /path/{x}" -> file below src/tripoint."""
    listed = {_shape(*key.split(" ", 1)): entry for name in ENDPOINTS for key, entry in index[name].items()}
    found = {_shape(*key.split(" ", 1)): file for key, file in declared.items()}
    for shape, file in found.items():
        # r0 is what v3 was called before the specification had versions; older clients still say it.
        entry = listed.get(shape) or listed.get(shape.replace("/_matrix/client/r0/", "/_matrix/client/v3/"))
        if entry is None:
            yield f"{shape} is declared in {file} and not listed"
        elif not entry.there:
            yield f"{shape} is declared in {file} and listed as {entry.state}"
        elif file not in entry.code:
            yield f"{shape} is declared in {file}, listed with {', '.join(entry.code)}"
    for shape, entry in listed.items():
        if entry.there and shape not in found:
            yield f"{entry.key} is listed as {entry.state} and declared nowhere"


def check_commands(index: Index, declared: Mapping[str, str]) -> Iterator[str]:
    """`declared`: IRC command -> file. ERROR is sent, so it has no handler."""
    listed = index["irc-commands"]
    for name, file in declared.items():
        if name not in listed or not listed[name].there or file not in listed[name].code:
            yield f"irc-commands: {name} is declared in {file}; list it so"
    for name, entry in listed.items():
        if entry.there and name not in declared and name != "ERROR":
            yield f"irc-commands: {name} is listed as {entry.state} and declared nowhere"


def check_names(section: str, index: Index, declared: set[str]) -> Iterator[str]:
    """Capabilities or features: each is claimed by a specification that is there, and nothing else is claimed."""
    claimed = {name: entry for entry in index[section].values() for name in entry.names}
    for name in sorted(declared):
        if name not in claimed or not claimed[name].there:
            yield f"[{section}]: {name} is advertised, and no specification that is there claims it"
    for name, entry in claimed.items():
        if name not in declared:
            yield f"[{section}] {entry.key}: {name} is claimed and not advertised"


_RFC = re.compile(r"\bRFC ?(\d{4})\b")
_XEP = re.compile(r"\bXEP-(\d{4})\b")
_IRCV3 = re.compile(r"\bIRCv3((?:,? [a-z][a-z0-9.-]*[a-z0-9])+)")
_MATRIX = re.compile(r"spec:[^\n]*?\b(server-server-api|client-server-api|application-service-api|appendices)\b")


def citations(text: str, ircv3: Mapping[str, Entry]) -> Iterator[tuple[int, str, str]]:
    """(line, section, key) of every specification that a text names. After "IRCv3" come names of its documents."""
    for number, line in enumerate(text.splitlines(), 1):
        for found in _RFC.finditer(line):
            yield number, "rfc", f"RFC{found.group(1)}"
        for found in _XEP.finditer(line):
            yield number, "xep", f"XEP-{found.group(1)}"
        for found in _MATRIX.finditer(line):
            yield number, "matrix", found.group(1)
        for found in _IRCV3.finditer(line):
            first, *rest = found.group(1).split(",")
            words = [first.split()[0], *(part.split()[0] for part in rest if part.split())]
            # Prose may follow the last name; a first word that is no name is prose too ("IRCv3 clients").
            if words[0] in ircv3 or "-" in words[0]:
                yield from ((number, "ircv3", word) for word in words if word in ircv3 or "-" in word)


def check_citations(index: Index, files: Mapping[str, str]) -> Iterator[str]:
    """Code cites only what is listed, and not what is listed as never to come."""
    for name, text in files.items():
        for line, section, key in citations(text, index["ircv3"]):
            entry = index[section].get(key)
            if entry is None:
                yield f"{name}:{line}: cites {key}, which docs/specs.toml does not list"
            elif entry.state == "no" and "not here" not in text.splitlines()[line - 1] and not entry.note:
                yield f"{name}:{line}: cites {key}, which docs/specs.toml lists as no, without a note"


def _file(module: str) -> str:
    return module.removeprefix("tripoint.").replace(".", "/") + ".py"


def declared_endpoints() -> dict[str, str]:
    """ "GET /path" -> file, of every Matrix endpoint that the server answers, or calls of application services."""
    from tripoint.matrix.appservice import link
    from tripoint.matrix.frontend import ENDPOINT_CLASSES
    from tripoint.matrix.registry import declared_endpoints as endpoints_of

    return dict.fromkeys(link.CALLED, _file(link.__name__)) | {
        f"{one.method} {path}": _file(cls.__module__)
        for cls in ENDPOINT_CLASSES
        for _, declared in endpoints_of(cls)
        for one in declared
        for path in one.paths
    }


def declared_commands() -> dict[str, str]:
    """IRC command -> file."""
    import tripoint.irc.commands  # noqa: F401 - declares every command
    from tripoint.irc.registry import COMMANDS

    return {name: _file(entry.handler.__module__) for name, entry in COMMANDS.items()}


def declared_capabilities() -> set[str]:
    from tripoint.irc.tables import CAPABILITIES

    return set(CAPABILITIES)


def declared_features() -> set[str]:
    """What disco#info may say of any kind of address."""
    import tripoint.xmpp.frontend  # noqa: F401 - declares every stanza
    from tripoint.xmpp.registry import At, features_at

    return {feature for place in At for feature in features_at(place)}


def findings(path: Path = INDEX) -> list[str]:
    sys.path.insert(0, str(SRC))
    index = load_index(path.read_text("utf-8"))
    wrong = list(check_entries(index))
    if wrong:
        return wrong
    files = {str(file.relative_to(ROOT)): file.read_text("utf-8") for file in python_files()}
    return [
        *check_endpoints(index, declared_endpoints()),
        *check_commands(index, declared_commands()),
        *check_names("ircv3", index, declared_capabilities()),
        *check_names("xep", index, declared_features()),
        *check_citations(index, files),
    ]


if __name__ == "__main__":
    report(findings(), "docs/specs.toml")
