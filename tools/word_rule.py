"""What must not be in the tree: paths of somebody's machine, addresses of package registries, big files.

Requirements and package locks name packages, versions and hashes; where they come from is each machine's own
configuration. Reads the files that git tracks.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tools.source import ROOT, report

LIMIT_BYTES = 1_000_000
_MACHINE = re.compile(r"(?<![\w.])/(?:work|home/\w+)/")
_INDEX = re.compile(r"--(?:extra-)?index-url|--find-links|--trusted-host|://")


def tracked(root: Path = ROOT) -> list[Path]:
    """The files that git knows, from the root on. Raises CalledProcessError outside a repository."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=root, check=True, capture_output=True).stdout
    return [Path(name) for name in names.decode().split("\0") if name]


def check_text(path: Path, text: str) -> Iterator[tuple[int, str]]:
    """(line, what is wrong) in one tracked file."""
    for number, line in enumerate(text.splitlines(), 1):
        if _MACHINE.search(line):
            yield number, "a path of somebody's machine"
        if path.parts[0] == "requirements" and _INDEX.search(line):
            yield number, "an address of a package index"
    if path.name == "package-lock.json":
        packages = json.loads(text).get("packages", {})
        # A link is a folder of another package, which has the hash.
        links = {package["resolved"] for package in packages.values() if package.get("link")}
        for name, package in packages.items():
            if package.get("link") or name in links:
                continue
            if "resolved" in package:
                yield 1, f"{name} says where it was downloaded: npm install --omit-lockfile-registry-resolved"
            if name and "integrity" not in package:
                yield 1, f"{name} has no hash"


def findings() -> list[str]:
    found = []
    for path in tracked():
        whole = ROOT / path
        if not whole.is_file():
            continue
        data = whole.read_bytes()
        if len(data) > LIMIT_BYTES:
            found.append(f"{path}: larger than {LIMIT_BYTES} bytes")
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            continue
        found.extend(f"{path}:{line}: {what}" for line, what in check_text(path, text))
    return found


if __name__ == "__main__":
    report(findings(), "words")
