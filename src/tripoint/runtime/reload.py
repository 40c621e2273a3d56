"""SIGHUP: what of a changed configuration is taken up while the server runs, and what waits for a restart.

Certificates, limits, registration, guests and the texts of IRC change at once, for existing connections as
far as they look. Names, folders, listeners, application services and the like are read once; a change to them is told,
not guessed.
"""

from dataclasses import fields, replace
from pathlib import Path

import structlog

from tripoint.config.app_services import BadFile, load_app_services
from tripoint.config.load import ConfigError, load_config, server_name
from tripoint.config.options import Config
from tripoint.core.app_services import AppServices

log = structlog.get_logger("tripoint")

# What is taken up: whole tables, and single options of others.
_TABLES = frozenset({"irc", "limits", "media"})
_OPTIONS = frozenset(
    {
        ("server", "motd"),
        ("accounts", "registration"),
        ("accounts", "guests"),
        ("accounts", "migrating"),
        ("accounts", "matrix_guests"),
        ("accounts", "xmpp_guests"),
        ("accounts", "guests_per_address"),
        ("accounts", "guests_per_hour"),
        ("accounts", "guest_rooms_per_hour"),
        ("accounts", "email_required"),
        ("accounts", "terms"),
        ("federation", "policy_lists"),
        ("listen", "plaintext_passwords"),
        ("xmpp", "push_summary"),
    }
)
# Limits that are built in at the start.
_BUILT_IN = frozenset(
    {
        *("http_body_bytes", "http_connections", "rooms_in_memory", "rooms_per_account"),
        *("upload_bytes", "public_url"),
    }
)


def read_again(path: Path | None, running: Config) -> tuple[Config, list[str]]:
    """The configuration as the file has it now; the running one where the file has mistakes, and these."""
    try:
        return load_config(path), []
    except ConfigError as error:
        log.error("config.not_reloaded", mistakes=error.mistakes)
        return running, error.mistakes


def services_differ(wished: Config, running: AppServices) -> bool:
    """Whether registrations of application services are others now; the files, not the option that names them."""
    try:
        return load_app_services(wished.matrix.app_services, server_name(wished)).all != running.all
    except BadFile as error:
        # They were read a moment ago: somebody is writing them.
        log.error("app_services.not_read", error=str(error))
        return True


def waiting_for_restart(running: Config, wished: Config) -> list[str]:
    """The options that differ and cannot be taken up now, as table.option."""
    waiting = []
    for table in fields(Config):
        old, new = getattr(running, table.name), getattr(wished, table.name)
        for option in fields(old):
            if getattr(old, option.name) != getattr(new, option.name) and not _is_taken(table.name, option.name):
                waiting.append(f"{table.name}.{option.name}")
    return waiting


def taken_up(running: Config, wished: Config) -> Config:
    """What holds from now on: the configuration as it is wished, but for what waits for a restart."""
    tables = {}
    for table in fields(Config):
        old, new = getattr(running, table.name), getattr(wished, table.name)
        waiting = {one.name: getattr(old, one.name) for one in fields(old) if not _is_taken(table.name, one.name)}
        tables[table.name] = replace(new, **waiting)
    return replace(wished, **tables)


def _is_taken(table: str, option: str) -> bool:
    return (table in _TABLES and option not in _BUILT_IN) or (table, option) in _OPTIONS
