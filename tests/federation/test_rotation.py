"""The data folder's keys: rotated, kept, published as retired. And `tripoint keys rotate`."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.server import ROOT
from tripoint.runtime.data_dir import DataDir, DataDirError


def test_old_keys_are_kept_public_halves_alone(tmp_path: Path) -> None:
    folder = DataDir(tmp_path)
    first = folder.signing_key()
    assert folder.old_keys() == []
    second = folder.rotate_signing_key(1000)
    third = folder.rotate_signing_key(2000)
    folder.close()
    again = DataDir(tmp_path)
    assert again.signing_key().key_id == third.key_id
    assert [(one.key_id, one.public_key, one.expired_ts_ms) for one in again.old_keys()] == [
        (first.key_id, first.verify_key_b64, 1000),
        (second.key_id, second.verify_key_b64, 2000),
    ]
    again.close()
    text = (tmp_path / "old_signing_keys").read_text()
    assert first.to_text().split()[2] not in text
    assert len({first.key_id, second.key_id, third.key_id}) == 3


def test_a_rotation_that_was_cut_short_changed_nothing(tmp_path: Path) -> None:
    folder = DataDir(tmp_path)
    first = folder.signing_key()
    (tmp_path / "old_signing_keys").write_text(f"{first.key_id} {first.verify_key_b64} 5\n")
    assert folder.signing_key().key_id == first.key_id
    assert folder.old_keys() == []
    folder.rotate_signing_key(10)
    assert [(one.key_id, one.expired_ts_ms) for one in folder.old_keys()] == [(first.key_id, 10)]
    folder.close()


@pytest.mark.parametrize("text", ["nonsense\n", "a b c\n", "ed25519:a AAAA 5\n", "a b\n", "\n"])
def test_a_broken_file_stops_the_start(tmp_path: Path, text: str) -> None:
    folder = DataDir(tmp_path)
    (tmp_path / "old_signing_keys").write_text(text)
    with pytest.raises(DataDirError, match="KEY_ID PUBLIC_KEY RETIRED_MS"):
        folder.old_keys()
    folder.close()


def rotate(folder: Path) -> subprocess.CompletedProcess[str]:
    config = folder / "tripoint.toml"
    config.write_text(f'[server]\ndata_dir = "{folder / "data"}"\n')
    return subprocess.run(
        [sys.executable, "-m", "tripoint", "keys", "rotate", "--config", str(config)],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT / "src"), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_command_rotates_and_refuses_beside_a_running_server(tmp_path: Path) -> None:
    folder = DataDir(tmp_path / "data")
    before = folder.signing_key()
    beside = rotate(tmp_path)
    assert beside.returncode == 1 and "in use by another tripoint" in beside.stderr
    assert folder.signing_key().key_id == before.key_id
    folder.close()
    done = rotate(tmp_path)
    assert done.returncode == 0, done.stderr
    after = DataDir(tmp_path / "data")
    assert after.signing_key().key_id in done.stdout and before.key_id in done.stdout
    assert [one.key_id for one in after.old_keys()] == [before.key_id]
    after.close()
