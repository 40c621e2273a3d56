"""vCard4: a node like any other, set up by its owner, whose name and time zone are those of the profile.

spec: XEP-0292 4.1; docs/mapping.md 2.3, 17.3. Read next: tripoint/xmpp/vcards.py.
"""

from typing import TYPE_CHECKING

from msgspec.structs import replace

from tripoint.core.ids import UserId
from tripoint.core.nodes import NodeItem
from tripoint.rooms.commands import SetProfile
from tripoint.xmpp.tables import VCARD4_NS
from tripoint.xmpp.vcards import card4_of, profile_in_card4
from tripoint.xmpp.wire import Element, StreamError, parse_fragment, render

if TYPE_CHECKING:
    from tripoint.xmpp.session import Doors, XmppSession


async def shown_card4(doors: "Doors", owner: UserId, item: NodeItem) -> NodeItem:
    """A stored card as it is now."""
    try:
        card = parse_fragment(item.payload)[0]
    except (StreamError, IndexError):
        return item
    if (card.name, card.namespace) != ("vcard", VCARD4_NS):
        return item
    whole = card4_of(card, await doors.reader.whole_profile(owner))
    return replace(item, payload=render(whole, " ").decode())


async def take_card4(session: "XmppSession", card: Element) -> None:
    """A card was published: what it says of the profile holds everywhere. Refused as SetProfile is."""
    if (card.name, card.namespace) != ("vcard", VCARD4_NS):
        return
    for field, value in profile_in_card4(card).items():
        await session.doors.rooms.do(SetProfile(actor=session.user_id, field=field, value=value))
