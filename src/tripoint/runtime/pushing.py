"""Pushing, wired: pushers, what they are told, and the outgoing client."""

from collections.abc import Callable, Mapping
from typing import Final

from tripoint.accounts.pushers import EMAIL, HTTP
from tripoint.fanout.digests import Digests
from tripoint.fanout.push import Channel, PushSender
from tripoint.irc.frontend import IrcFrontEnd
from tripoint.irc.web_push import KIND as WEBPUSH
from tripoint.irc.web_push import WebPushChannel
from tripoint.matrix.push.channel import GatewayChannel
from tripoint.matrix.push.gateway import LIMIT_BYTES
from tripoint.matrix.push.mail import MailChannel
from tripoint.net.outbound import Answer, Outbound
from tripoint.net.web_push import Vapid
from tripoint.runtime.middle import Middle
from tripoint.xmpp.c2s.push import KIND as XMPP
from tripoint.xmpp.frontend import XmppFrontEnd

# All of one request; a gateway asks its provider before it answers.
TIMEOUT_S: Final = 30.0


def build_pushing(
    middle: Middle,
    outbound: Outbound,
    irc: IrcFrontEnd,
    xmpp: XmppFrontEnd,
    vapid: Vapid,
    now_ms: Callable[[], int],
    report: Callable[[str, BaseException], None],
) -> PushSender:
    """Wire it; nothing is sent before start()."""

    async def post(url: str, body: bytes) -> Answer:
        return await outbound.post(url, body, limit_bytes=LIMIT_BYTES, timeout_s=TIMEOUT_S)

    async def post_sealed(url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        return await outbound.post(url, body, limit_bytes=LIMIT_BYTES, timeout_s=TIMEOUT_S, headers=headers)

    channels: dict[str, Channel] = {
        HTTP: GatewayChannel(post),
        WEBPUSH: WebPushChannel(irc.names, middle.reader, vapid, post_sealed, now_ms),
        XMPP: xmpp.push,
    }
    accounts = middle.accounts
    letters = MailChannel(accounts.server_name, accounts.contacts, accounts.leaving)
    digests = Digests(EMAIL, accounts.pushers, middle.pushing, letters, now_ms)
    sender = PushSender(accounts.pushers, middle.pushing, channels, now_ms, report, digests=digests)
    xmpp.push.again = sender.again
    middle.hub.watch_all_rooms(sender.room_changed)
    middle.hub.watch_users(sender.user_changed)
    return sender
