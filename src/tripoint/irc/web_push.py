"""Web Push: what IRC clients that are not connected are sent, one line sealed for each message that notifies them.

Which message that is, is one engine's for all protocols (fanout/push.py, rooms/pushing.py).
spec: IRCv3 webpush; RFC8030 5, RFC8291, RFC8292; docs/mapping.md 18.5
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

import structlog

from tripoint.accounts.pushers import Pusher
from tripoint.core.errors import RemoteFailed
from tripoint.core.json_view import text_at, texts_at
from tripoint.fanout.push import Told
from tripoint.irc.events import spoken_to
from tripoint.irc.projection import Names
from tripoint.irc.render import Outgoing, audience_of
from tripoint.irc.wire import build_tags
from tripoint.irc.wire import seal as seal_line
from tripoint.net.outbound import Answer
from tripoint.net.web_push import MAX_PAYLOAD_BYTES, BadKeys, Vapid, seal
from tripoint.rooms.ports import RoomReader, RoomView
from tripoint.rooms.pushing import Alert
from tripoint.rooms.refusals import Refused

log = structlog.get_logger()

CAPABILITY: Final = "draft/webpush"
KIND: Final = "webpush"
# Pushers of this kind, as pushers have them: no app has this name, and the push key is the endpoint.
APP_ID: Final = "irc"
# What a push server keeps for a phone that is switched off.
TTL_S: Final = 24 * 3600
# spec: "IRC servers SHOULD expire old subscriptions if they aren't refreshed"; clients renew daily.
STALE_MS: Final = 60 * 24 * 3600 * 1000
_GONE: Final = frozenset({404, 410})

Post = Callable[[str, bytes, Mapping[str, str]], Awaitable[Answer]]


def check_endpoint(url: str) -> bool:
    """Whether this can be a push endpoint. spec: "Servers MUST check that push endpoints use the "https" scheme"."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        return False
    return usable and not parts.fragment and url.isprintable() and url.isascii()


class WebPushChannel:
    """`post` sends a body with headers to an address and raises RemoteFailed."""

    def __init__(
        self, names: Names, reader: RoomReader, vapid: Vapid, post: Post, now_ms: Callable[[], int]
    ) -> None:
        self._names = names
        self._reader = reader
        self._vapid = vapid
        self._post = post
        self._now_ms = now_ms

    async def tell(self, pusher: Pusher, alert: Alert | None, unread: int) -> Told:
        """See fanout.push.Channel. How much is unread is nothing that IRC has a message for."""
        if pusher.set_ts_ms < self._now_ms() - STALE_MS:
            return Told.GONE
        line = None if alert is None else await self._line(pusher, alert)
        if line is None:
            return Told.DONE
        keys = pusher.data
        try:
            body = seal(line, text_at(keys, "p256dh") or "", text_at(keys, "auth") or "")
        except BadKeys:  # they were looked at when they came
            return Told.GONE
        return await self._send(pusher.url, body)

    async def _send(self, endpoint: str, body: bytes) -> Told:
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Encoding": "aes128gcm",
            "TTL": str(TTL_S),
            "Urgency": "high",
            "Authorization": self._vapid.authorization(endpoint, self._now_ms() // 1000),
        }
        host = urlsplit(endpoint).hostname or ""
        try:
            answer = await self._post(endpoint, body, headers)
        except RemoteFailed as error:
            log.info("push.failed", gateway=error.host, reason=str(error))
            return Told.LATER
        if answer.status in _GONE:
            return Told.GONE
        if answer.status == 429 or answer.status >= 500:
            log.info("push.refused", gateway=host, status=answer.status)
            return Told.LATER
        if not 200 <= answer.status < 300:
            # It does not take this one, and would not take it again.
            log.warning("push.refused", gateway=host, status=answer.status)
        return Told.DONE

    async def _line(self, pusher: Pusher, alert: Alert) -> bytes | None:
        """One line as the client would have got it; None for what is no message to a person."""
        try:
            room = await self._reader.room(alert.place.room_id)
        except Refused:
            return None
        nick, names, event = self._names.nick(pusher.user_id), self._names, alert.event
        if room.encrypted:
            return None  # docs/mapping.md 19.2
        if event.type == "m.room.member":
            if not alert.about_reader or room.membership(pusher.user_id) != "invite" or room.direct_pair is not None:
                return None  # between two the message is what counts, and it comes (docs/mapping.md 15.5)
            body = f":{names.mask(event.sender)} INVITE {nick} {names.channel(room)}"
            outs = [Outgoing([body], ts_ms=event.origin_server_ts, msgid=event.event_id, who=names.who(event.sender))]
        else:
            between_two = _is_between_two(room)
            if not between_two and not alert.verdict.highlight:
                return None  # what is said in a channel without naming one: clients of IRC do not ring for that
            target = nick if between_two else names.channel(room)
            outs = spoken_to(names, event, target, room=room)
        if not outs:
            return None
        body, tags = outs[0].lines(audience_of(set(texts_at(pusher.data, "caps")) - {"batch"}))[0]
        whole = _payload(body, tags)
        if len(whole) > MAX_PAYLOAD_BYTES:
            # spec: "servers MAY drop some or all message tags ... MUST NOT drop the `msgid` tag"
            whole = _payload(body, [tag for tag in tags if tag[0] == "msgid"])
        return whole


def _is_between_two(room: RoomView) -> bool:
    return room.direct_pair is not None and room.joined_count() <= 2


def _payload(body: str, tags: list[tuple[str, str]]) -> bytes:
    """spec: "exactly one IRC message as the payload, without the final CRLF" """
    return seal_line(body, build_tags(tags)).removesuffix(b"\r\n")
