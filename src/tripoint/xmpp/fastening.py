"""Messages that are fastened to earlier ones: what older clients say with <apply-to/>, in today's words. Pure.

Retraction and moderation were fastenings once (message-retract:0, message-moderate:0), and clients in the field still
send them so: they are read as what they mean. Every other fastening is a payload: passed on, and kept.
spec: XEP-0422 3.1, 4; XEP-0424 and XEP-0425 before their versions 0.4 and 0.3. Read next: payloads.py.
"""

from typing import Final

from tripoint.xmpp.tables import FASTEN_NS, OLD_MODERATE_NS, OLD_RETRACT_NS, RETRACT_NS
from tripoint.xmpp.wire import Element, escape_attribute, escape_text

OLD_RETRACT: Final = (OLD_RETRACT_NS, "retract")


def fastened(stanza: Element, namespace: str, name: str) -> tuple[str, Element] | None:
    """What of this kind a stanza fastens, and the id of the message to which. spec: XEP-0422 3.1"""
    wrapper = stanza.child("apply-to", FASTEN_NS)
    inside = None if wrapper is None else wrapper.child(name, namespace)
    return None if wrapper is None or inside is None else (wrapper.get("id") or "", inside)


def retracting(stanza: Element) -> Element | None:
    """The <retract/> that a message is, in today's form, whichever it has come in."""
    element = stanza.child("retract", RETRACT_NS)
    if element is not None:
        return element
    old = fastened(stanza, *OLD_RETRACT)
    return None if old is None else Element("retract", RETRACT_NS, {"id": old[0]})


def is_forged(element: Element) -> bool:
    """Whether a fastening is one that rooms alone send."""
    return element.namespace == FASTEN_NS and element.child("moderated", OLD_MODERATE_NS) is not None


def moderated_xml(its_id: str, by: str, reason: str | None) -> str:
    """That a room took a message back, for clients that know the older form alone. `by`: an occupant's address."""
    why = f"<reason>{escape_text(reason)}</reason>" if reason else ""
    return (
        f"<apply-to xmlns='{FASTEN_NS}' id='{escape_attribute(its_id)}'>"
        f"<moderated xmlns='{OLD_MODERATE_NS}' by='{escape_attribute(by)}'>"
        f"<retract xmlns='{OLD_RETRACT_NS}'/>{why}</moderated></apply-to>"
    )
