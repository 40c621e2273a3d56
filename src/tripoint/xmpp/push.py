"""Pushes to the phones of XMPP: what is published to the push service that a client has named.

Which event that is, is one engine's for all protocols (fanout/push.py, rooms/pushing.py). A client that is connected
gets it by itself, and nothing is published for it; one whose connection is lost and that can come back (XEP-0198) has
none. What was sent into a connection that turns out to be lost, and was not acknowledged, is published then.
spec: XEP-0357 7, 7.1, 8; docs/mapping.md 18.5. Where clients ask for it: c2s/push.py.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import structlog

from tripoint.accounts.pushers import Pusher
from tripoint.core.ids import EventId, UserId
from tripoint.core.json_view import text_at
from tripoint.fanout.push import Key, Told
from tripoint.rooms.ports import RoomView
from tripoint.rooms.pushing import Alert, Place
from tripoint.rooms.refusals import Refused
from tripoint.xmpp.c2s.direct import DirectMessages
from tripoint.xmpp.c2s.push import APP_ID, push_key, service_of
from tripoint.xmpp.c2s.users import Users
from tripoint.xmpp.jid import parse_jid
from tripoint.xmpp.muc.service import Muc
from tripoint.xmpp.projection import room_jid
from tripoint.xmpp.session import Doors, XmppSession
from tripoint.xmpp.tables import (
    CLIENT_NS,
    DATA_FORMS_NS,
    PUBLISH_OPTIONS,
    PUBSUB_NS,
    PUSH_NS,
    PUSH_SUMMARY,
    STANZA_ERRORS_NS,
)
from tripoint.xmpp.wire import Element, escape_attribute, escape_text

log = structlog.get_logger()

# Messages sent to a client whose connection may be lost already, that are remembered.
MAX_SENT: Final = 50
MAX_CLIENTS: Final = 10_000
MAX_BODY: Final = 1000
# spec: XEP-0357 7.1: "if the error is deemed recoverable or transient"
_PASSING: Final = frozenset(
    {"internal-server-error", "recipient-unavailable", "remote-server-not-found", "remote-server-timeout"}
)


class PushServices:
    """The channel of pushers of this kind (fanout.push.Channel). `summary`: which fields are told now.

    `again` asks the engine to tell a pusher of an event once more.
    """

    def __init__(
        self, doors: Doors, users: Users, muc: Muc, direct: DirectMessages, summary: Callable[[], tuple[str, ...]]
    ) -> None:
        self._doors = doors
        self._users = users
        self._muc = muc
        self._direct = direct
        self._summary = summary
        # What connected clients were sent, by pusher; the newest.
        self._sent: OrderedDict[Key, OrderedDict[EventId, Place]] = OrderedDict()
        self.again: Callable[[Key, Place], None] = lambda key, place: None

    async def tell(self, pusher: Pusher, alert: Alert | None, unread: int) -> Told:
        """See fanout.push.Channel. How much is unread alone wakes no phone."""
        if alert is None:
            return Told.DONE
        if self._is_connected(pusher):
            sent = self._sent.setdefault(pusher.key, OrderedDict())
            sent[alert.event.event_id] = alert.place
            for remembered, most in ((sent, MAX_SENT), (self._sent, MAX_CLIENTS)):
                if len(remembered) > most:
                    remembered.popitem(last=False)
            return Told.THERE
        try:
            room = await self._doors.reader.room(alert.place.room_id)
        except Refused:
            return Told.DONE
        if room.encrypted:
            return Told.DONE  # docs/mapping.md 19.2
        if alert.about_reader and room.direct_pair is not None:
            return Told.DONE  # between two the message is what counts, and it comes (docs/mapping.md 15.5)
        return await self._publish(pusher, await self._form(pusher.user_id, room, alert, unread))

    def lost(self, session: XmppSession) -> None:
        """The connection of a session that waits for its client is gone: what it may not have had is told."""
        assert session.managed is not None  # it waits
        kept = [one.data for one in session.managed.unacked.kept() if one.data.startswith(b"<message")]
        for pusher in self._doors.accounts.pushers.of(session.user_id):
            if text_at(pusher.data, "resource") != session.jid.resource:
                continue
            for event_id, place in self._sent.pop(pusher.key, OrderedDict()).items():
                mark = f"id='{escape_attribute(event_id)}'".encode()
                if any(mark in data for data in kept):
                    self.again(pusher.key, place)

    async def revoked(self, user_id: UserId, sender: str, message: Element) -> bool:
        """Whether a message is a service's that takes nothing for a user any more. spec: XEP-0357 8"""
        pubsub = message.child("pubsub", PUBSUB_NS)
        affiliation = None if pubsub is None else pubsub.child("affiliation", PUBSUB_NS)
        if pubsub is None or affiliation is None or affiliation.get("affiliation") not in ("none", "outcast"):
            return False
        pushers = self._doors.accounts.pushers
        pusher = pushers.find((user_id, APP_ID, push_key(sender, pubsub.get("node") or "")))
        if pusher is not None:
            await pushers.delete(pusher.key)
        return True

    def _is_connected(self, pusher: Pusher) -> bool:
        user = self._users.live(pusher.user_id)
        session = None if user is None else user.sessions.get(text_at(pusher.data, "resource") or "")
        return session is not None and (session.managed is None or session.managed.outbox is not None)

    # -- what is published

    async def _publish(self, pusher: Pusher, form: str) -> Told:
        """spec: XEP-0357 7, examples 12, 13"""
        service, domain = parse_jid(service_of(pusher)), self._doors.domains.server
        node = text_at(pusher.data, "node")
        named = f" node='{escape_attribute(node)}'" if node else ""
        item = f"<item><notification xmlns='{PUSH_NS}'>{form}</notification></item>"
        xml = f"<pubsub xmlns='{PUBSUB_NS}'><publish{named}>{item}</publish>{_options(pusher)}</pubsub>"
        here = None
        if service.domain == domain:
            session = self._users.session(str(service))
            if session is None:
                return Told.LATER
            here = session.send
        answer = await self._muc.questions.ask("set", domain, service, xml, domain, here)
        if answer is None:
            log.info("push.failed", gateway=service.domain, reason="no answer")
            return Told.LATER
        if answer.get("type") == "result":
            return Told.DONE
        condition, passing = _why(answer)
        log.info("push.refused", gateway=service.domain, status=condition)
        return Told.LATER if passing else Told.GONE

    async def _form(self, user_id: UserId, room: RoomView, alert: Alert, unread: int) -> str:
        """What is told of the message, as far as the operator lets it be. spec: XEP-0357 7, 11.3.1"""
        fields: list[tuple[str, str]] = []
        for name in self._summary():
            if name == "message-count":
                fields.append((name, str(unread)))
            elif name == "last-message-sender":
                fields.append((name, await self._sender(room, alert)))
            elif name == "last-message-body":
                fields.append((name, (text_at(alert.event.content, "body") or "")[:MAX_BODY]))
            elif name == "pending-subscription-count":
                roster = await self._users.roster_of(user_id)
                fields.append((name, str(sum(item.pending_in for item in roster.values()))))
        return _submit(PUSH_SUMMARY, fields) if fields else ""

    async def _sender(self, room: RoomView, alert: Alert) -> str:
        sender = alert.event.sender
        if await self._direct.is_direct(room):
            return self._users.jid_of(sender)
        if room.membership(sender) != "join" or alert.about_reader:
            return room_jid(room, self._doors.domains)
        async with self._muc.looking(room) as view:
            return f"{view.jid}/{view.nick_of(sender)}"


def _options(pusher: Pusher) -> str:
    """spec: XEP-0357 7: "the publish request SHOULD include the data as publish options" """
    options = pusher.data.get("options")
    if not isinstance(options, list) or not options:
        return ""
    fields = [(str(one[0]), str(value)) for one in options if isinstance(one, list) and one for value in one[1:]]
    return f"<publish-options>{_submit(PUBLISH_OPTIONS, fields)}</publish-options>"


def _submit(form_type: str, fields: list[tuple[str, str]]) -> str:
    """A form of type submit. Values of one variable stand one after the other. spec: XEP-0004 3.2"""
    values: dict[str, str] = {}
    for var, value in (("FORM_TYPE", form_type), *fields):
        values[var] = values.get(var, "") + f"<value>{escape_text(value)}</value>"
    inside = "".join(f"<field var='{escape_attribute(var)}'>{xml}</field>" for var, xml in values.items())
    return f"<x xmlns='{DATA_FORMS_NS}' type='submit'>{inside}</x>"


def _why(answer: Element) -> tuple[str, bool]:
    """The condition of an error, and whether it may pass."""
    error = answer.child("error", CLIENT_NS)
    if error is None:
        return "undefined-condition", False
    found = next((one.name for one in error.elements() if one.namespace == STANZA_ERRORS_NS), "undefined-condition")
    return found, error.get("type") == "wait" or found in _PASSING
