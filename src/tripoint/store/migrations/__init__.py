"""Migrations: numbered, append-only, each in a transaction. Alembic runs them; nothing here is on a hot path.

A released migration is never edited. schema.py holds the newest shape for new databases; a test upgrades the
first one step by step and compares.
"""

from pathlib import Path

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text


def upgrade(path: Path) -> None:
    """Bring the SQLite database at `path` to the newest schema, one transaction for all steps."""
    script = ScriptDirectory.from_config(_config())
    engine = create_engine(f"sqlite:///{path}")
    try:
        with engine.connect() as connection, connection.begin():
            context = MigrationContext.configure(connection)
            current = connection.execute(text("SELECT value FROM meta WHERE key = 'schema'")).scalar_one()
            with Operations.context(context):
                for step in reversed(list(script.iterate_revisions("head", str(current)))):
                    step.module.upgrade()
                    connection.execute(
                        text("UPDATE meta SET value = :version WHERE key = 'schema'"), {"version": step.revision}
                    )
    finally:
        engine.dispose()


def newest() -> str:
    """The number of the newest migration."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None
    return head


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    return config
