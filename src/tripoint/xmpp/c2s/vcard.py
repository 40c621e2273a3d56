"""Business cards of accounts in the older form, which anybody may read: one's own, others', of other servers' users.

The name is the display name of the profile; what else the owner wrote is kept beside it.
spec: XEP-0054 3; docs/mapping.md 2.3, 17. Rooms and occupants are muc/vcard.py's. Read next: tripoint/xmpp/vcards.py.
"""

from typing import Final

from tripoint.core.ids import UserId
from tripoint.core.json_view import text_at
from tripoint.core.nodes import Access, NodeConfig, NodeItem, SendLast
from tripoint.rooms.commands import SetProfile
from tripoint.xmpp.jid import Jid, parse_user_jid
from tripoint.xmpp.pictures import photo_in
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At, iq
from tripoint.xmpp.session import XmppSession
from tripoint.xmpp.tables import VCARD_NS
from tripoint.xmpp.vcards import card_of, full_name
from tripoint.xmpp.wire import Element, StreamError, parse_fragment, render

# Where cards are kept among the account's nodes (pep.service.HIDDEN).
_CARD: Final = "current"
_CONFIG: Final = NodeConfig(access=Access.WHITELIST, send_last=SendLast.NEVER)


@iq("get", VCARD_NS, "vCard", at=(At.ACCOUNT, At.USER), feature=VCARD_NS, spec="XEP-0054 3.1, 3.3")
async def get_card(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """The card of a local account."""
    target = parse_user_jid(jid, session.doors.domains)
    blocked = target is not None and session.doors.reader.blocks(target, session.user_id)
    if target is None or blocked or not await session.doors.accounts.is_local_user(target):
        raise Problem("service-unavailable", "There is no such user here")
    profile = await session.doors.reader.whole_profile(target)
    avatar = await session.pep.avatars.of(target)
    return _rendered(card_of(await _stored(session, target), profile, None if avatar is None else avatar.photo()))


@iq("get", VCARD_NS, "vCard", at=(At.REMOTE,), feature=VCARD_NS, spec="XEP-0054 3.3")
async def get_remote_card(session: XmppSession, stanza: Element, jid: Jid) -> str | None:
    """The card of a user of another Matrix server, by the profile that this gives out."""
    target = parse_user_jid(jid, session.doors.domains)
    if target is None:
        raise Problem("item-not-found", "There is no such user")
    session.later(stanza, _remote_card(session, target))
    return None


async def _remote_card(session: XmppSession, target: UserId) -> str:
    profile = await session.doors.reader.remote_profile(target)
    picture = await session.doors.pictures.of(text_at(profile, "avatar_url"))
    return _rendered(card_of(None, profile, None if picture is None else picture.photo()))


@iq("set", VCARD_NS, "vCard", at=(At.ACCOUNT,), spec="XEP-0054 3.2")
async def set_card(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """A whole new card; the name in it is the display name from now on, the picture the avatar. spec: XEP-0398 3.2"""
    card = stanza.first()
    assert card is not None  # the router has looked
    photo = photo_in(card)
    rest = [child for child in card.elements() if child.name != "PHOTO"]
    kept = Element(card.name, card.namespace, card.attributes, [*rest])
    item = NodeItem(_CARD, render(kept, " ").decode(), session.full, 0)
    await session.pep.stored.publish(session.user_id, VCARD_NS, item, default=_CONFIG)
    if photo is not None:
        await session.pep.avatars.set(session.user_id, photo)
    name = full_name(card)
    if name is not None:
        await session.doors.rooms.do(SetProfile(actor=session.user_id, field="displayname", value=name))
    return ""


@iq("set", VCARD_NS, "vCard", at=(At.USER,), spec="XEP-0054 3.2")
async def set_others_card(session: XmppSession, stanza: Element, jid: Jid) -> str:
    """spec: XEP-0054 3.2: nobody else's"""
    raise Problem("forbidden", "You may only change your own card")


async def _stored(session: XmppSession, owner: UserId) -> Element | None:
    item = await session.pep.stored.item(owner, VCARD_NS, _CARD)
    try:
        return None if item is None else parse_fragment(item.payload)[0]
    except (StreamError, IndexError):
        return None


def _rendered(card: Element) -> str:
    return render(card).decode()
