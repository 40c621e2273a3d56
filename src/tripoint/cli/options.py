"""What commands have in common: the configuration that they go by."""

import sys
from pathlib import Path

import click

from tripoint.config.options import Config

CONFIG = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    default=None,
    help="Configuration file. Without it: ./tripoint.toml if it exists, else a server on this machine alone.",
)
OFF = click.option("--off", is_flag=True, help="Take it back.")


def found(path: Path | None) -> Path | None:
    """The configuration file: the one named, or the one of this folder, or none."""
    return Path("tripoint.toml") if path is None and Path("tripoint.toml").exists() else path


def load(path: Path | None) -> Config:
    """The configuration, or the end of the program with every mistake on standard error."""
    from tripoint.config.load import ConfigError, load_config

    try:
        return load_config(found(path))
    except ConfigError as error:
        for mistake in error.mistakes:
            click.echo(mistake, err=True)
        sys.exit(2)
