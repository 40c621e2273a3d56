"""matrix-synapse as a second opinion: installed by `make peers` into an environment of its own, asked in batches."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.interop.peer import must_have

ROOT = Path(__file__).parent.parent.parent
PYTHON = ROOT / ".peers" / "synapse" / "bin" / "python"
DRIVER = Path(__file__).parent / "synapse_driver.py"
# A batch of 500 cases takes some seconds; this is for a machine that is busy.
PATIENCE_S = 110


def ask_synapse(cases: Sequence[dict[str, Any]]) -> list[Any]:
    """Synapse's answers, in order: synapse_driver.py says what can be asked. Skips without Synapse."""
    must_have(PYTHON.exists(), "matrix-synapse (make peers)")
    lines = "".join(json.dumps(case) + "\n" for case in cases)
    done = subprocess.run(
        [PYTHON, "-I", DRIVER], input=lines, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(cases), done.stderr[-3000:]
    return answers
