"""What the archive of a room and that of a user have in common: windows, pages, results. Pure.

The id of an archived message is its event id, as everywhere. A request is a window of the server's stream, read from
one of its ends.  spec: XEP-0313 4; XEP-0059 2; XEP-0297 2.
Read next: archive_query.py (what is asked), muc/archive.py, c2s/archive.py.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from tripoint.core.ids import EventId, UserId
from tripoint.rooms.paging import Gathered
from tripoint.xmpp.archive_query import FIELDS, ArchiveQuery
from tripoint.xmpp.render import timestamp
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import DATA_FORMS_NS, DATA_VALIDATE_NS, DELAY_NS, FORWARD_NS, MAM_NS, RSM_NS
from tripoint.xmpp.wire import escape_attribute, escape_text

# A page of long messages ends early: what waits for one client is bounded (send_queue_bytes).
MAX_PAGE_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Archived:
    """One message of the archive; `xml` is the forwarded stanza."""

    position: int
    event_id: EventId
    ts_ms: int
    xml: str


@dataclass(frozen=True, slots=True)
class Window:
    """What a request asks about: after one position, up to another, by these writers, between these times.

    `says`: what only the history query narrows by."""

    after: int
    upto: int
    senders: tuple[UserId, ...] | None
    start_ts_ms: int | None
    end_ts_ms: int | None
    says: str | None = None

    def holds(self, position: int, sender: UserId, ts_ms: int) -> bool:
        return (
            self.after < position <= self.upto
            and (self.senders is None or sender in self.senders)
            and (self.start_ts_ms is None or ts_ms >= self.start_ts_ms)
            and (self.end_ts_ms is None or ts_ms <= self.end_ts_ms)
        )


FORM: Final = (
    f"<query xmlns='{MAM_NS}'><x xmlns='{DATA_FORMS_NS}' type='form'>"
    f"<field type='hidden' var='FORM_TYPE'><value>{MAM_NS}</value></field>"
    + "".join(
        [
            # spec: XEP-0313 4.1.5: the list of ids is open to any value.
            f"<field type='{kind}' var='{var}'>"
            f"<validate xmlns='{DATA_VALIDATE_NS}' datatype='xs:string'><open/></validate></field>"
            if kind == "list-multi"
            else f"<field type='{kind}' var='{var}'/>"
            for var, kind in FIELDS.items()
        ]
    )
    + "</x></query>"
)


def sizes(limit: int) -> Callable[[Archived], int]:
    """What each message counts against `limit`: one, and all of it when the page has become too long."""
    used = 0

    def size(archived: Archived) -> int:
        nonlocal used
        used += len(archived.xml.encode())
        return 1 if used <= MAX_PAGE_BYTES else limit + 1

    return size


def cut_to(archived: Iterable[Archived], limit: int, *, backward: bool) -> Gathered[Archived]:
    """The first of some messages, or with `backward` the last, as a page."""
    ordered = sorted(archived, key=lambda one: one.position, reverse=backward)
    page: list[Archived] = []
    used, size = 0, sizes(limit)
    for one in ordered:
        used += size(one)
        if used > limit and (page or not limit):
            break
        page.append(one)
    return Gathered(tuple(page[::-1] if backward else page), more=len(page) < len(ordered))


def send_page(
    session: XmppSession,
    archive: str,
    asked: ArchiveQuery,
    page: Gathered[Archived],
    whole: Sequence[Archived] | None = None,
) -> str:
    """Send the messages of a page from the archive with this address; what follows them is the answer.

    `whole`: everything of which it is a page, where that is known; else nothing is counted (XEP-0059 2.6: who may read
    what differs from reader to reader, and counting would read everything).
    """
    shown = page.items[::-1] if asked.flipped else page.items
    for archived in shown:
        session.send(_result(session, archive, asked.query_id, archived))
    ends = ""
    if page.items:
        first, last = page.items[0].event_id, page.items[-1].event_id
        index = "" if whole is None else f" index='{whole.index(page.items[0])}'"
        ends = f"<first{index}>{escape_text(first)}</first><last>{escape_text(last)}</last>"
    if whole is not None:
        ends += f"<count>{len(whole)}</count>"
    complete = "false" if page.more or not page.complete else "true"
    return f"<fin xmlns='{MAM_NS}' complete='{complete}'><set xmlns='{RSM_NS}'>{ends}</set></fin>"


def metadata_xml(first: Gathered[Archived], last: Gathered[Archived]) -> str:
    """spec: XEP-0313 5"""
    ends = "".join(
        [
            f"<{name} id='{escape_attribute(archived.event_id)}' timestamp='{timestamp(archived.ts_ms)}'/>"
            for name, page in (("start", first), ("end", last))
            for archived in page.items
        ]
    )
    return f"<metadata xmlns='{MAM_NS}'>{ends}</metadata>"


def _result(session: XmppSession, archive: str, query_id: str | None, archived: Archived) -> bytes:
    """spec: XEP-0313 4.2, 6.1.2 (example 27)"""
    named = "" if query_id is None else f" queryid='{escape_attribute(query_id)}'"
    return (
        f"<message from='{escape_attribute(archive)}'{session.to.decode()}>"
        f"<result xmlns='{MAM_NS}'{named} id='{escape_attribute(archived.event_id)}'>"
        f"<forwarded xmlns='{FORWARD_NS}'><delay xmlns='{DELAY_NS}' stamp='{timestamp(archived.ts_ms)}'/>"
        f"{archived.xml}</forwarded></result></message>"
    ).encode()
