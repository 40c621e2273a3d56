"""`tripoint keys rotate`: a new signing key, the old one retired."""

from pathlib import Path

import click

from tripoint.config.options import Config
from tripoint.runtime.data_dir import DataDir, DataDirError
from tripoint.runtime.middle import clock_ms


def rotate(config: Config) -> int:
    """Rotate the key in the configured folder; returns the exit status."""
    try:
        folder = DataDir(Path(config.server.data_dir))
    except DataDirError as error:
        click.echo(str(error), err=True)
        return 1
    try:
        old = folder.signing_key()
        key = folder.rotate_signing_key(clock_ms())
    except (DataDirError, OSError, ValueError) as error:
        click.echo(f"The key was not changed: {error}", err=True)
        return 1
    finally:
        folder.close()
    click.echo(f"This server signs with {key.key_id} from its next start on; {old.key_id} is published as retired.")
    return 0
