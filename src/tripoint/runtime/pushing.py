"""Pushing, wired: pushers, what they are told, and the outgoing client."""

from collections.abc import Callable
from typing import Final

from tripoint.matrix.push.gateway import LIMIT_BYTES
from tripoint.matrix.push.sender import PushSender
from tripoint.net.outbound import Answer, Outbound
from tripoint.runtime.middle import Middle

# All of one request; a gateway asks its provider before it answers.
TIMEOUT_S: Final = 30.0


def build_pushing(
    middle: Middle,
    outbound: Outbound,
    now_ms: Callable[[], int],
    report: Callable[[str, BaseException], None],
) -> PushSender:
    """Wire it; nothing is sent before start()."""

    async def post(url: str, body: bytes) -> Answer:
        return await outbound.post(url, body, limit_bytes=LIMIT_BYTES, timeout_s=TIMEOUT_S)

    sender = PushSender(middle.accounts.pushers, middle.pushing, post, now_ms, report)
    middle.hub.watch_all_rooms(sender.room_changed)
    middle.hub.watch_users(sender.user_changed)
    return sender
