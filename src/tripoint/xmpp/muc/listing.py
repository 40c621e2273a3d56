"""Finding rooms: the list of the service, and a search in it.

spec: XEP-0045 6.3, XEP-0433, XEP-0059 (pages); docs/mapping.md 6.1.
"""

from bisect import bisect_left
from collections.abc import Sequence

from msgspec import Struct

from tripoint.rooms.ports import PublicRoom
from tripoint.xmpp.c2s.discovery import refuse_nodes
from tripoint.xmpp.forms import form_fields
from tripoint.xmpp.jid import Jid, alias_jid_local, room_id_jid_local
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At, declare_feature, iq
from tripoint.xmpp.result_sets import number_in, stretch_of
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import CHANNEL_SEARCH_NS, DATA_FORMS_NS, DISCO_ITEMS_NS, RSM_NS
from tripoint.xmpp.wire import Element, escape_attribute, escape_text

declare_feature(RSM_NS, at=(At.ROOMS,), spec="XEP-0059 2, for disco#items and for the search")

PAGE = 50
MAX_PAGE = 200
MAX_WORDS_BYTES = 1000

_PARAMETERS = "urn:xmpp:channel-search:0:search-params"
_ERRORS = "urn:xmpp:channel-search:0:error"
_BY_USERS = "{urn:xmpp:channel-search:0:order}nusers"
_BY_ADDRESS = "{urn:xmpp:channel-search:0:order}address"
_NO_ANONYMITY = "{urn:xmpp:channel-search:0:anonymity}none"
_MUC = "xep-0045"


class _Listed(Struct, frozen=True):
    jid: str
    room: PublicRoom


@iq("get", DISCO_ITEMS_NS, at=(At.ROOMS,), spec="XEP-0045 6.3")
async def list_rooms(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """Published rooms, most members first, in pages. spec: XEP-0059 2.1-2.3; an item's id is its JID."""
    refuse_nodes(stanza)
    query = stanza.first()
    rsm = None if query is None else query.child("set", RSM_NS)
    listed = await _listed(session)
    page, ends = _page(listed, rsm)
    items = "".join(
        [
            f"<item jid='{escape_attribute(entry.jid)}' name='{escape_attribute(_title(entry.room))}'/>"
            for entry in page
        ]
    )
    ends = "" if rsm is None and len(listed) <= PAGE else ends
    return f"<query xmlns='{DISCO_ITEMS_NS}'>{items}{ends}</query>"


# -- search


@iq("get", CHANNEL_SEARCH_NS, "search", at=(At.ROOMS,), spec="XEP-0433 4", feature=CHANNEL_SEARCH_NS)
async def search_rooms(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """The form, or the published rooms that it describes.

    What may be said wrongly has its own conditions (XEP-0433 4.2.2.2 to 4.2.2.7). A field that is not known is
    passed over, as section 5 wants.
    """
    search = stanza.child("search", CHANNEL_SEARCH_NS)
    assert search is not None, "dispatched by it"
    form = search.child("x", DATA_FORMS_NS)
    if form is None:
        return f"<search xmlns='{CHANNEL_SEARCH_NS}'>{_FORM}</search>"
    fields = form_fields(form)
    if form.get("type") != "submit" or fields.get("FORM_TYPE") != [_PARAMETERS]:
        raise Problem("bad-request", f"A form of type submit for {_PARAMETERS} is expected")
    wanted = _wanted(fields)
    found = [entry for entry in await _listed(session) if wanted.takes(entry)]
    by_address = wanted.key == _BY_ADDRESS
    if by_address:
        found.sort(key=lambda entry: entry.jid)
    page, ends = _page(found, search.child("set", RSM_NS), by_address=by_address)
    items = "".join([_item(entry) for entry in page])
    return f"<result xmlns='{CHANNEL_SEARCH_NS}'>{items}{ends}</result>"


class _Wanted(Struct, frozen=True):
    """What a filled-in form asks for. `words` are casefolded; none stands for every room."""

    words: tuple[str, ...]
    in_name: bool
    in_description: bool
    in_address: bool
    min_users: int
    muc: bool
    key: str

    def takes(self, entry: _Listed) -> bool:
        """Every word stands in one of the places that are looked at."""
        room = entry.room
        if not self.muc or room.joined < self.min_users:
            return False
        places = (
            room.name if self.in_name else None,
            room.topic if self.in_description else None,
            entry.jid if self.in_address else None,
        )
        texts = [place.casefold() for place in places if place]
        return all(any(word in text for text in texts) for word in self.words)


def _wanted(fields: dict[str, list[str]]) -> _Wanted:
    asked = " ".join(fields.get("q", ()))
    everything = _flag(fields, "all", default=False)
    if everything and asked:
        conflict = f"<conflicting-fields xmlns='{_ERRORS}'><var>all</var><var>q</var></conflicting-fields>"
        raise Problem("bad-request", "Cannot both return all entries and search for words", "modify", extra=conflict)
    if not everything and not fields.get("q"):
        nothing = f"<no-search-conditions xmlns='{_ERRORS}'/>"
        raise Problem("bad-request", "Say what to search for, or ask for all entries", "modify", extra=nothing)
    words = tuple(asked.casefold().split())
    places = [_flag(fields, name, default=True) for name in ("sinname", "sindescription", "sinaddress")]
    if not everything and (not words or not any(places) or len(asked.encode()) > MAX_WORDS_BYTES):
        bad = f"<invalid-search-terms xmlns='{_ERRORS}'/>"
        raise Problem(
            "bad-request",
            f"A search takes at least one word, at most {MAX_WORDS_BYTES} bytes, and a place to look in",
            "modify",
            extra=bad,
        )
    key = (fields.get("key") or [_BY_USERS])[0]
    if key not in (_BY_USERS, _BY_ADDRESS):
        bad = f"<invalid-sort-key xmlns='{_ERRORS}'/>"
        raise Problem("feature-not-implemented", "Rooms are sorted by users or by address", "modify", extra=bad)
    return _Wanted(
        words=words,
        in_name=places[0],
        in_description=places[1],
        in_address=places[2],
        min_users=number_in((fields.get("min_users") or ["1"])[0]),
        muc=_MUC in fields.get("types", [_MUC]),
        key=key,
    )


def _flag(fields: dict[str, list[str]], name: str, *, default: bool) -> bool:
    values = fields.get(name)
    return default if not values else values[0].strip() in ("1", "true")


def _item(entry: _Listed) -> str:
    """A room that was found. spec: XEP-0433 6.2"""
    room = entry.room
    about = f"<description>{escape_text(room.topic)}</description>" if room.topic else ""
    # An element that stands there is true, as in the example of XEP-0433 4.2.2.1.
    opened = "<is-open/>" if room.join_rule == "public" else ""
    return (
        f"<item address='{escape_attribute(entry.jid)}'><name>{escape_text(_name(room))}</name>{about}"
        f"<nusers>{room.joined}</nusers><service-type>{_MUC}</service-type>{opened}"
        f"<anonymity-mode>{_NO_ANONYMITY}</anonymity-mode></item>"
    )


# -- the list and its pages


async def _listed(session: XmppSession) -> list[_Listed]:
    domains = session.doors.domains
    found = []
    for room in await session.doors.reader.public_rooms(search=None, limit=100_000, offset=0):
        local = None if room.alias is None else alias_jid_local(room.alias, domains.server)
        found.append(_Listed(f"{local or room_id_jid_local(room.room_id)}@{domains.rooms}", room))
    return found


def _page(
    listed: Sequence[_Listed], rsm: Element | None, *, by_address: bool = False
) -> tuple[Sequence[_Listed], str]:
    """The part of the list that is asked for, without a question its beginning; and the <set/> that goes with it.

    Of a list by address, whether a room is still there does not matter: nothing is left out and nothing comes twice.
    spec: XEP-0059 2
    """
    jids = [entry.jid for entry in listed]
    missing = (lambda jid: bisect_left(jids, jid)) if by_address else None
    found = stretch_of(jids, rsm, usual=PAGE, most=MAX_PAGE, missing=missing)
    return listed[found.start : found.stop], found.xml()


def _name(room: PublicRoom) -> str:
    return room.name or (room.alias[1:].partition(":")[0] if room.alias is not None else "Room")


def _title(room: PublicRoom) -> str:
    return f"{_name(room)} ({room.joined})"


def _options(*pairs: tuple[str, str]) -> str:
    return "".join([f"<option label='{label}'><value>{value}</value></option>" for value, label in pairs])


_FORM = (
    f"<x xmlns='{DATA_FORMS_NS}' type='form'><title>Search for rooms</title>"
    f"<field type='hidden' var='FORM_TYPE'><value>{_PARAMETERS}</value></field>"
    "<field type='text-single' var='q' label='Search for'/>"
    "<field type='boolean' var='all' label='Return all entries (ignore search terms)'><value>false</value></field>"
    "<field type='boolean' var='sinname' label='Search in name'><value>true</value></field>"
    "<field type='boolean' var='sindescription' label='Search in description'><value>true</value></field>"
    "<field type='boolean' var='sinaddress' label='Search in address'><value>true</value></field>"
    "<field type='text-single' var='min_users' label='Minimum number of users'><value>1</value></field>"
    f"<field type='list-multi' var='types' label='Service types'><value>{_MUC}</value>"
    f"{_options((_MUC, 'XEP-0045 Multi-User Chats'))}</field>"
    f"<field type='list-single' var='key' label='Sort results by'><value>{_BY_USERS}</value>"
    f"{_options((_BY_USERS, 'Number of users'), (_BY_ADDRESS, 'Address'))}</field></x>"
)
