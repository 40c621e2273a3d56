"""What a client asks of an archive: the form, the page, the order. Pure.

spec: XEP-0313 4.1, 4.3; XEP-0059 2; XEP-0082 3.2.  Read next: archives.py, muc/archive.py, c2s/archive.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tripoint.core.ids import EventId
from tripoint.xmpp.dates import parse_date
from tripoint.xmpp.forms import form_fields
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.tables import DATA_FORMS_NS, MAM_NS, RSM_NS
from tripoint.xmpp.wire import Element

DEFAULT_PAGE: Final = 50
MAX_PAGE: Final = 100

FULL_TEXT_FEATURE: Final = "urn:xmpp:fulltext:0"
# spec: XEP-0431 3.1
FULL_TEXT: Final = f"{{{FULL_TEXT_FEATURE}}}fulltext"

# The fields of the form and their types. spec: XEP-0313 4.1
FIELDS: Final[Mapping[str, str]] = {
    "with": "jid-single",
    "start": "text-single",
    "end": "text-single",
    "before-id": "text-single",
    "after-id": "text-single",
    "ids": "list-multi",
    FULL_TEXT: "text-single",
}


@dataclass(frozen=True, slots=True)
class ArchiveQuery:
    """One request. `before` and `after` are those of the page (RSM), the others those of the form."""

    query_id: str | None = None
    with_jid: str | None = None
    start_ts_ms: int | None = None
    end_ts_ms: int | None = None
    before_id: EventId | None = None
    after_id: EventId | None = None
    ids: tuple[EventId, ...] = ()
    limit: int = DEFAULT_PAGE
    before: EventId | None = None
    after: EventId | None = None
    backward: bool = False
    flipped: bool = False
    says: str | None = None


def read_query(stanza: Element) -> ArchiveQuery:
    """The request in an IQ. Raises Problem for what cannot be read or is not there."""
    query = stanza.first()
    assert query is not None  # the router has looked
    values = _form(query.child("x", DATA_FORMS_NS))
    rsm = query.child("set", RSM_NS)
    limit, before, after, backward = DEFAULT_PAGE, None, None, False
    if rsm is not None:
        if rsm.child("index", RSM_NS) is not None:
            # spec: XEP-0059 2.6: optional; indexes are not known here
            raise Problem("feature-not-implemented", "Pages are found by id, not by index")
        limit = _limit(rsm.child_text("max", RSM_NS))
        backward = rsm.child("before", RSM_NS) is not None
        before = _id(rsm.child_text("before", RSM_NS))
        after = _id(rsm.child_text("after", RSM_NS))
    ids = tuple(dict.fromkeys(EventId(value) for value in values.get("ids", ()) if value))
    if len(ids) > MAX_PAGE:
        raise Problem("policy-violation", f"At most {MAX_PAGE} ids at a time")
    if ids and _first(values, FULL_TEXT):
        raise Problem("feature-not-implemented", "Messages are asked for by id or by words, not by both")
    return ArchiveQuery(
        query_id=query.get("queryid"),
        with_jid=_first(values, "with"),
        start_ts_ms=_date(values, "start"),
        end_ts_ms=_date(values, "end"),
        before_id=_id(_first(values, "before-id")),
        after_id=_id(_first(values, "after-id")),
        ids=ids,
        limit=limit,
        before=before,
        after=after,
        backward=backward,
        flipped=query.child("flip-page", MAM_NS) is not None,
        says=_first(values, FULL_TEXT),
    )


def _form(form: Element | None) -> dict[str, list[str]]:
    if form is None:
        return {}
    values = form_fields(form)
    if form.get("type") != "submit" or values.pop("FORM_TYPE", None) != [MAM_NS]:
        raise Problem("bad-request", f"A form of type submit for {MAM_NS} is expected")
    unknown = [var for var in values if var not in FIELDS]
    if unknown:
        # spec: XEP-0313 4.1.5: a field that is not recognised MUST be answered so.
        raise Problem("feature-not-implemented", f"There is no field '{unknown[0][:100]}' here")
    return values


def _first(values: Mapping[str, list[str]], var: str) -> str | None:
    found = values.get(var)
    return found[0] if found and found[0] else None


def _id(text: str | None) -> EventId | None:
    return EventId(text) if text else None


def _date(values: Mapping[str, list[str]], var: str) -> int | None:
    text = _first(values, var)
    if text is None:
        return None
    ts_ms = parse_date(text)
    if ts_ms is None:
        raise Problem("bad-request", f"The field '{var}' is not a date and time as XEP-0082 has it")
    return ts_ms


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_PAGE
    digits = text.strip()
    if not digits.isdecimal() or not digits.isascii():
        raise Problem("bad-request", "The size of a page is a number")
    return min(int(digits[:9]), MAX_PAGE)
