"""Registrations of application services on disk, as a configuration names them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from tests.support.middle import make_config
from tripoint.config.options import Config, Matrix

TOKEN, HS_TOKEN = "the-token-of-the-service", "the-token-of-the-server"
BOT = "@ircbot:example.org"


def registered(folder: Path, *more: dict[str, Any], config: Config | None = None, **changes: Any) -> Config:
    """A configuration with one service, `changes` aside: `_irc_*` users and `#irc_*` aliases are its alone. `more`:
    further services, what differs from the first."""
    paths = []
    for number, differs in enumerate(({}, *more)):
        settings: dict[str, Any] = {
            "id": "irc",
            "url": None,
            "as_token": TOKEN,
            "hs_token": HS_TOKEN,
            "sender_localpart": "ircbot",
            "rate_limited": False,
            "namespaces": {
                "users": [{"regex": "@_irc_.*", "exclusive": True}],
                "aliases": [{"regex": "#irc_.*", "exclusive": True}],
            },
            **changes,
            **differs,
        }
        path = folder / f"service{number}.yaml"
        path.write_text(yaml.safe_dump(settings))
        paths.append(str(path))
    return replace(config or make_config(), matrix=Matrix(app_services=tuple(paths)))
