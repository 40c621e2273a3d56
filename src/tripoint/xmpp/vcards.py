"""vCards and profiles: what of a card is the account's profile on every protocol. Pure.

The full name is the display name; in vCard4 the time zone is `m.tz`. Everything else of a card stays as its owner
wrote it.  spec: XEP-0054 3, XEP-0292 3, 4.1; docs/mapping.md 2.3, 17.3.
"""

from typing import Final

from tripoint.core.canonical_json import JsonObject
from tripoint.core.json_view import text_at
from tripoint.core.profile import TIME_ZONE
from tripoint.xmpp.tables import VCARD4_NS, VCARD_NS
from tripoint.xmpp.wire import Element

MAX_NAME: Final = 1000


def _leaf(name: str, namespace: str, text: str) -> Element:
    return Element(name, namespace, {}, [text])


def _text4(name: str, text: str) -> Element:
    """spec: XEP-0292 4.1: a property with a text"""
    return Element(name, VCARD4_NS, {}, [_leaf("text", VCARD4_NS, text)])


def _with(card: Element, wanted: list[Element]) -> Element:
    """A card with these elements first, in the place of its own of the same names."""
    names = {element.name for element in wanted}
    rest = [child for child in card.elements() if child.name not in names]
    return Element(card.name, card.namespace, dict(card.attributes), [*wanted, *rest])


def card_of(stored: Element | None, profile: JsonObject, photo: Element | None = None) -> Element:
    """The vcard-temp of an account, by what it wrote and what its profile says."""
    card = stored if stored is not None else Element("vCard", VCARD_NS, {}, [])
    name = text_at(profile, "displayname")
    wanted = [] if name is None else [_leaf("FN", VCARD_NS, name)]
    if photo is not None:
        wanted.append(photo)
    return _with(card, wanted)


def full_name(card: Element) -> str | None:
    """The name in a card; None where it says none."""
    name = (card.child_text("FN", VCARD_NS) or "").strip()
    return name[:MAX_NAME] or None


def card4_of(stored: Element, profile: JsonObject) -> Element:
    """A vCard4 by what its owner wrote and what the profile says."""
    wanted = []
    for field, name in (("displayname", "fn"), (TIME_ZONE, "tz")):
        text = text_at(profile, field)
        if text is not None:
            wanted.append(_text4(name, text))
    return _with(stored, wanted)


def profile_in_card4(card: Element) -> dict[str, str]:
    """Fields of the profile that a vCard4 says."""
    found: dict[str, str] = {}
    for field, name in (("displayname", "fn"), (TIME_ZONE, "tz")):
        element = card.child(name, VCARD4_NS)
        text = None if element is None else (element.child_text("text", VCARD4_NS) or "").strip()
        if text:
            found[field] = text[:MAX_NAME]
    return found
