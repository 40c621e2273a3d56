"""A message that takes an earlier one back, as clients see it. Pure.

spec: XEP-0424 3; XEP-0428.  Read next: muc/retraction.py (rooms), c2s/conversation.py (between two).
"""

from tripoint.xmpp.render import body
from tripoint.xmpp.tables import FALLBACK_NS, RETRACT_NS
from tripoint.xmpp.wire import escape_attribute

_FALLBACK = "/me removed a message, which your client does not support"


def retract_xml(its_id: str) -> str:
    """The inside of a message by the writer of the one with this id."""
    return (
        f"<retract xmlns='{RETRACT_NS}' id='{escape_attribute(its_id)}'/>"
        f"<fallback xmlns='{FALLBACK_NS}' for='{RETRACT_NS}'/>" + body(_FALLBACK)
    )


def retracted_xml(its_id: str, stamp: str, moderated: str = "") -> str:
    """What is left of a message in an archive; `its_id` is that of the retraction. spec: XEP-0424 4, XEP-0425 4"""
    opening = f"<retracted xmlns='{RETRACT_NS}' id='{escape_attribute(its_id)}' stamp='{stamp}'"
    return f"{opening}>{moderated}</retracted>" if moderated else f"{opening}/>"
