"""The specifications' own texts, for tests that read vectors out of them; such tests skip where there are none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def spec_file(path: str) -> str:
    """A file of the folder that TRIPOINT_SPECS names."""
    folder = os.environ.get("TRIPOINT_SPECS")
    if not folder:
        pytest.skip("TRIPOINT_SPECS is not set")
    return Path(folder, path).read_text(encoding="utf-8")
