"""Dates and times as clients write them. Pure.  spec: XEP-0082 3.2.  Read next: archive_query.py."""

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


def parse_date(text: str) -> int | None:
    """A DateTime as milliseconds since 1970; None for what is none.

    COMPAT: one without a zone counts as UTC, and other forms of ISO 8601 are understood.
    """
    try:
        at = datetime.fromisoformat(text.strip())
        if at.tzinfo is None:
            at = at.replace(tzinfo=UTC)
        return (at - _EPOCH) // _MILLISECOND
    except (ValueError, OverflowError):
        return None
