"""What people reported, for the administrators: what waits, and that it was dealt with.

Reports are written by rooms/reports.py.  docs/mapping.md 9.13
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from tripoint.store.interface import AccountStore
from tripoint.store.interface import Report as Report
from tripoint.store.stream import Stream
from tripoint.store.writes import DropReport


class ReportDesk:
    """Reads reports, the oldest first."""

    def __init__(self, store: AccountStore, stream: Stream) -> None:
        self._store = store
        self._stream = stream

    async def waiting(self, limit: int) -> Sequence[Report]:
        return await self._store.load_reports(limit)

    async def done(self, number: int) -> bool:
        """One was dealt with; False if there is none of that number."""
        waiting = await self._store.load_reports(2**31)
        if all(report.number != number for report in waiting):
            return False
        await self._stream.commit([DropReport(number)])
        return True


def report_line(report: Report) -> str:
    """A report in one line, for people."""
    when = datetime.fromtimestamp(report.ts_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
    about = " ".join(str(part) for part in (report.user_id, report.event_id, report.room_id) if part is not None)
    kind = f" ({report.kind})" if report.kind else ""
    return f"{report.number}: {when} {report.reporter} reports {about}{kind}: {report.reason or 'no reason given'}"
