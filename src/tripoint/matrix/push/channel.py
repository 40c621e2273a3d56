"""Push gateways: how pushers of Matrix clients are told. What is said is gateway.py's.

spec: Matrix push-gateway-api POST /_matrix/push/v1/notify
"""

from collections.abc import Awaitable, Callable

import structlog

from tripoint.accounts.pushers import Pusher
from tripoint.core.errors import RemoteFailed
from tripoint.fanout.push import Told
from tripoint.matrix.push.gateway import host_of, notification, rejected
from tripoint.net.outbound import Answer
from tripoint.rooms.pushing import Alert

log = structlog.get_logger()

Post = Callable[[str, bytes], Awaitable[Answer]]


class GatewayChannel:
    """`post` sends a body to an address and raises RemoteFailed."""

    def __init__(self, post: Post) -> None:
        self._post = post

    async def tell(self, pusher: Pusher, alert: Alert | None, unread: int) -> Told:
        """See fanout.push.Channel."""
        try:
            answer = await self._post(pusher.url, notification(pusher, alert, unread))
        except RemoteFailed as error:
            log.info("push.failed", gateway=error.host, reason=str(error))
            return Told.LATER
        if answer.status != 200:
            log.info("push.refused", gateway=host_of(pusher.url), status=answer.status)
            return Told.LATER
        return Told.GONE if pusher.pushkey in rejected(answer.body) else Told.DONE
