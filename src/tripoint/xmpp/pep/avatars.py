"""The avatar of an account as its clients publish it and contacts fetch it: one picture on all protocols.

Metadata and data are views of the profile's avatar. Data that was published waits among the account's nodes until its
metadata comes and makes it the avatar. The hash of the picture goes into presence, for those who see nothing else.
spec: XEP-0084 3; XEP-0398 3, 4; XEP-0153 4; docs/mapping.md 17.1. Read next: tripoint/xmpp/pictures.py, c2s/photos.py.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tripoint.accounts.refusals import NodeRefusal, NodeRefused
from tripoint.core.ids import UserId
from tripoint.core.nodes import Access, NodeConfig, NodeItem, SendLast
from tripoint.fanout.hub import Hub
from tripoint.rooms.changes import ProfileChanged, UserChange
from tripoint.rooms.commands import SetProfile
from tripoint.xmpp.c2s.photos import photo_xml
from tripoint.xmpp.c2s.presence import show_photo
from tripoint.xmpp.pep.notify import Notifier, published
from tripoint.xmpp.pictures import Picture, Pictures, picture_of
from tripoint.xmpp.refusals import Problem
from tripoint.xmpp.registry import At, declare_feature
from tripoint.xmpp.tables import AVATAR_DATA_NS, AVATAR_NS, PEP_VCARD_NS, PUBSUB_ERRORS_NS
from tripoint.xmpp.wire import Element, StreamError, parse_fragment, render

if TYPE_CHECKING:
    from tripoint.accounts.nodes import Nodes
    from tripoint.xmpp.c2s.users import Users
    from tripoint.xmpp.session import Doors, XmppSession

declare_feature(PEP_VCARD_NS, at=(At.ACCOUNT,), spec="XEP-0398 2")

_NONE = "none"


class Avatars:
    """Avatars of accounts: who has which, and who is told. The two nodes ask here."""

    def __init__(
        self, doors: "Doors", users: "Users", stored: "Nodes", notifier: Notifier, pictures: Pictures, hub: Hub
    ) -> None:
        self._doors = doors
        self._users = users
        self._stored = stored
        self._notifier = notifier
        self.pictures = pictures
        self.metadata = AvatarMetadata(self)
        self.data = AvatarData(self)
        hub.watch_users(self._user_changed)

    async def of(self, user_id: UserId) -> Picture | None:
        """The avatar of a local account."""
        return await self.pictures.of((await self._doors.reader.profile(user_id)).get("avatar_url"))

    async def set(self, user_id: UserId, picture: Picture | None) -> None:
        """Have this avatar from now on, or none. Raises MediaRefused, Refused."""
        present = await self.of(user_id)
        if picture is not None and present is not None and picture.id == present.id:
            return
        mxc = None if picture is None else await self.pictures.keep(user_id, picture)
        await self._doors.rooms.do(SetProfile(actor=user_id, field="avatar_url", value=mxc))

    async def wait_with(self, session: "XmppSession", picture: Picture, payload: Element) -> None:
        """Data whose metadata has not come yet."""
        item = NodeItem(picture.id, render(payload, " ").decode(), session.full, 0)
        config = NodeConfig(access=Access.WHITELIST, send_last=SendLast.NEVER)
        await self._stored.publish(session.user_id, AVATAR_DATA_NS, item, default=config)

    async def take_waiting(self, user_id: UserId, item_id: str) -> Picture | None:
        """The data of this name that has come before."""
        item = await self._stored.item(user_id, AVATAR_DATA_NS, item_id)
        try:
            return None if item is None else picture_of(parse_fragment(item.payload)[0].text)
        except (StreamError, IndexError, Problem):
            return None

    async def forget_waiting(self, user_id: UserId) -> None:
        """What has come is the avatar now."""
        if await self._stored.node(user_id, AVATAR_DATA_NS) is not None:
            await self._stored.delete(user_id, AVATAR_DATA_NS)

    def began(self, session: "XmppSession") -> None:
        """A session was bound: its presence names the avatar as soon as it is known."""
        if session.user is not None and not session.user.photo:
            self._doors.spawn(self._learn(session.user_id, told=True))

    async def _learn(self, user_id: UserId, *, told: bool) -> None:
        picture = await self.of(user_id)
        user = self._users.live(user_id)
        if user is not None and (picture is not None or not told):
            show_photo(user, photo_xml(None if picture is None else picture.id))
        if not told:
            items = (metadata_item(self._users.jid_of(user_id), picture),)
            await self._notifier.tell(user_id, AVATAR_NS, self.metadata.config, published(AVATAR_NS, items))

    def _user_changed(self, change: UserChange) -> None:
        """See fanout.hub."""
        if isinstance(change, ProfileChanged) and change.field == "avatar_url":
            self._doors.spawn(self._learn(change.user_id, told=False))

    def jid_of(self, user_id: UserId) -> str:
        """The publisher of all items."""
        return self._users.jid_of(user_id)


def metadata_item(publisher: str, picture: Picture | None) -> NodeItem:
    """spec: XEP-0084 4.2; without a picture, 3.5: an empty element"""
    if picture is None:
        return NodeItem(_NONE, f"<metadata xmlns='{AVATAR_NS}'/>", publisher, 0)
    side = "" if picture.side is None else f" width='{picture.side}' height='{picture.side}'"
    info = f"<info bytes='{len(picture.data)}' id='{picture.id}' type='{picture.type}'{side}/>"
    return NodeItem(picture.id, f"<metadata xmlns='{AVATAR_NS}'>{info}</metadata>", publisher, 0)


class AvatarMetadata:
    """The node that says which picture it is. See pep.service.LiveNode."""

    name = AVATAR_NS
    config = NodeConfig(access=Access.OPEN)

    def __init__(self, avatars: Avatars) -> None:
        self._avatars = avatars

    async def items(self, user_id: UserId, limit: int) -> Sequence[NodeItem]:
        """See LiveNode."""
        picture = await self._avatars.of(user_id)
        return [] if picture is None else [metadata_item(self._avatars.jid_of(user_id), picture)]

    async def item(self, user_id: UserId, item_id: str) -> NodeItem | None:
        """See LiveNode."""
        found = await self.items(user_id, 1)
        return found[0] if found and found[0].item_id == item_id else None

    async def publish(self, session: "XmppSession", item_id: str | None, payload: Element) -> str:
        """Make the data that was published before the avatar; without any, have none. spec: XEP-0084 3.2, 3.5"""
        if (payload.name, payload.namespace) != ("metadata", AVATAR_NS):
            raise _not_this("This says nothing of an avatar")
        infos = [e for e in payload.elements() if (e.name, e.namespace) == ("info", AVATAR_NS)]
        if not infos:
            await self._avatars.set(session.user_id, None)
            return item_id or _NONE
        # spec: XEP-0398 3.1: the one that does not point to somewhere else
        here = [info.get("id") or "" for info in infos if not info.get("url")]
        if not here:
            raise Problem("not-acceptable", "Publish the picture itself: pictures elsewhere are not fetched")
        present = await self._avatars.of(session.user_id)
        if present is None or present.id != here[0]:
            picture = await self._avatars.take_waiting(session.user_id, here[0])
            if picture is None:
                raise Problem("item-not-found", "Publish the data of the picture first")
            await self._avatars.set(session.user_id, picture)
            await self._avatars.forget_waiting(session.user_id)
        return here[0]

    async def retract(self, session: "XmppSession", item_id: str) -> None:
        """Have no avatar any more."""
        if await self.item(session.user_id, item_id) is None:
            raise NodeRefused(NodeRefusal.NO_SUCH_ITEM)
        await self._avatars.set(session.user_id, None)


class AvatarData:
    """The node that holds the picture. See pep.service.LiveNode."""

    name = AVATAR_DATA_NS
    config = NodeConfig(access=Access.OPEN, send_last=SendLast.NEVER)

    def __init__(self, avatars: Avatars) -> None:
        self._avatars = avatars

    async def items(self, user_id: UserId, limit: int) -> Sequence[NodeItem]:
        """See LiveNode."""
        picture = await self._avatars.of(user_id)
        if picture is None:
            return []
        payload = f"<data xmlns='{AVATAR_DATA_NS}'>{picture.base64}</data>"
        return [NodeItem(picture.id, payload, self._avatars.jid_of(user_id), 0)]

    async def item(self, user_id: UserId, item_id: str) -> NodeItem | None:
        """See LiveNode."""
        found = await self.items(user_id, 1)
        return found[0] if found and found[0].item_id == item_id else None

    async def publish(self, session: "XmppSession", item_id: str | None, payload: Element) -> str:
        """Data that is going to be the avatar. spec: XEP-0084 3.1: its id is the hash of its bytes"""
        if (payload.name, payload.namespace) != ("data", AVATAR_DATA_NS):
            raise _not_this("This is no picture")
        picture = picture_of(payload.text)
        if item_id is not None and item_id.lower() != picture.id:
            raise Problem("not-acceptable", "The id of a picture is the SHA-1 of its bytes")
        await self._avatars.wait_with(session, picture, payload)
        return picture.id

    async def retract(self, session: "XmppSession", item_id: str) -> None:
        """The picture goes with its metadata."""
        if await self.item(session.user_id, item_id) is None:
            raise NodeRefused(NodeRefusal.NO_SUCH_ITEM)
        raise Problem("not-allowed", "Take away the metadata of the avatar")


def _not_this(text: str) -> Problem:
    return Problem("bad-request", text, extra=f"<invalid-payload xmlns='{PUBSUB_ERRORS_NS}'/>")
