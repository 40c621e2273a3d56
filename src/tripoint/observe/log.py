"""Structured logs: events with fields. What must never be logged is dropped here as well as at its source."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

# Fields that hold secrets or what people wrote. A call that passes one is a bug; the value is lost here.
FORBIDDEN = frozenset(
    {"password", "token", "access_token", "refresh_token", "body", "content", "text", "line", "stanza", "authorization"}
)


def drop_forbidden(
    logger: object, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Replace the values of forbidden fields."""
    for key in FORBIDDEN.intersection(event):
        event[key] = "[not logged]"
    return event


def configure(level: str, *, as_json: bool) -> None:
    """Log to standard error at this level, as text or as JSON lines."""
    number = getattr(logging, level.upper())
    renderer: Any = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            drop_forbidden,
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
