"""The hash of an avatar in presence: the server puts it in for its users, to contacts and into rooms.

spec: XEP-0398 4, XEP-0153 3.2; docs/mapping.md 17.1. Read next: presence.py, muc/enter.py.
"""

from typing import TYPE_CHECKING

from tripoint.xmpp.tables import VCARD_UPDATE_NS
from tripoint.xmpp.wire import Element

if TYPE_CHECKING:
    from tripoint.xmpp.session import XmppSession


def photo_xml(picture_id: str | None) -> str:
    """What a presence says of an avatar, or of there being none any more."""
    photo = "<photo/>" if picture_id is None else f"<photo>{picture_id}</photo>"
    return f"<x xmlns='{VCARD_UPDATE_NS}'>{photo}</x>"


def is_update(element: Element) -> bool:
    """Whether this is what a client says itself. The server knows better."""
    return (element.name, element.namespace) == ("x", VCARD_UPDATE_NS)


def photo_for(session: "XmppSession", stanza: Element) -> str:
    """What goes into a presence of a client. One that says <photo/>, empty, does not want its avatar to be named.

    spec: XEP-0398 4
    """
    update = stanza.child("x", VCARD_UPDATE_NS)
    session.hides_photo = update is not None and update.child_text("photo", VCARD_UPDATE_NS) == ""
    if session.hides_photo:
        return photo_xml(None)
    return "" if session.user is None else session.user.photo
