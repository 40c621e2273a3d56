"""Run every fuzz harness for some seconds: python -m tools.fuzz SECONDS.

Each starts from its corpus in tests/fuzz/corpus, works in a folder that is thrown away, and ends with status 1 at
the first input that breaks a promise; that input is then kept in the folder `fuzz-findings`.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from tools.source import ROOT

HARNESSES = ROOT / "tests" / "fuzz"
FOUND = ROOT / "fuzz-findings"


def run(harness: Path, seconds: int) -> int:
    """The exit status of one harness: 0 if nothing broke."""
    corpus = HARNESSES / "corpus" / harness.stem.removeprefix("fuzz_")
    FOUND.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        command = [
            sys.executable,
            str(harness),
            scratch,
            *([str(corpus)] if corpus.is_dir() else []),
            f"-max_total_time={seconds}",
            f"-artifact_prefix={FOUND}/{harness.stem}-",
            "-rss_limit_mb=2048",
            "-timeout=10",
            "-print_final_stats=1",
            "-verbosity=0",
        ]
        return subprocess.run(command, cwd=ROOT, timeout=seconds + 120, check=False).returncode


def main() -> None:
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    broken = []
    for harness in sorted(HARNESSES.glob("fuzz_*.py")):
        print(f"== {harness.stem}, {seconds} s", flush=True)
        if run(harness, seconds):
            broken.append(harness.stem)
    if not any(FOUND.iterdir()):
        FOUND.rmdir()
    if broken:
        sys.exit(f"broken: {', '.join(broken)}; inputs in {FOUND.name}/")


if __name__ == "__main__":
    main()
