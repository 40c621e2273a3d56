"""Names that are not here yet: the application service that has them for itself is asked, and may
make what they mean.

One name is asked for once at a time, whoever waits for it; what is not there is not asked for again for a while.
Whoever asks waits some seconds at most.
spec: Matrix application-service-api "Querying"
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from tripoint.core.app_services import AppService, AppServices
from tripoint.core.errors import RemoteFailed
from tripoint.core.ids import RoomAlias, UserId
from tripoint.matrix.appservice.link import ServiceLink
from tripoint.rooms.refusals import Refusal, Refused

log = structlog.get_logger()

# A room of another network takes its time to be made; people wait for it at a keyboard.
PATIENCE_S: Final = 10.0
# spec: "the homeserver should retry several times before timing out"
RETRY_S: Final = 1.0
# How long a no holds, and that there was no answer.
REFUSED_S: Final = 60.0
FAILED_S: Final = 5.0
MAX_REMEMBERED: Final = 10_000
# Questions at a time; strangers can ask for names too.
MAX_ASKING: Final = 50

_Name = tuple[str, str]


class Questions:
    """`clock_s` is monotonic. close() ends what is being asked."""

    def __init__(
        self,
        services: AppServices,
        links: Mapping[str, ServiceLink],
        clock_s: Callable[[], float],
        *,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._services = services
        self._links = links
        self._clock_s = clock_s
        self._patience_s = patience_s
        self._asking: dict[_Name, asyncio.Task[bool]] = {}
        # Until when a name is not asked for, and whether that is because nobody answered.
        self._no: OrderedDict[_Name, tuple[float, bool]] = OrderedDict()

    async def user(self, user_id: UserId) -> bool:
        """Whether the service has made a user of its; False too where it does not answer."""
        try:
            return await self._ask(self._services.owner_of(user_id), ("users", user_id))
        except RemoteFailed:
            return False

    async def room(self, alias: RoomAlias) -> bool:
        """Whether the service has made a room of this name. Refused(BRIDGE_TIMEOUT)."""
        try:
            return await self._ask(self._services.owner_of_alias(alias), ("rooms", alias))
        except RemoteFailed as failed:
            raise Refused(Refusal.BRIDGE_TIMEOUT) from failed

    async def _ask(self, service: AppService | None, name: _Name) -> bool:
        link = None if service is None else self._links.get(service.service_id)
        if link is None:
            return False
        until_s, failed = self._no.get(name, (0.0, False))
        if until_s > self._clock_s():
            if failed:
                raise RemoteFailed(link.service.service_id, "it did not answer a moment ago")
            return False
        asking = self._asking.get(name)
        if asking is None:
            if len(self._asking) >= MAX_ASKING:
                raise RemoteFailed(link.service.service_id, "too much is being asked")
            asking = self._asking[name] = asyncio.create_task(self._answer(link, name))
            asking.add_done_callback(lambda done: self._answered(name, done))
        # Who goes away does not stop it: others may wait for the same.
        return await asyncio.shield(asking)

    async def _answer(self, link: ServiceLink, name: _Name) -> bool:
        failed: RemoteFailed | None = None
        try:
            async with asyncio.timeout(self._patience_s):
                while True:
                    try:
                        return await link.has(*name, self._patience_s)
                    except RemoteFailed as error:
                        failed = error
                    await asyncio.sleep(RETRY_S)
        except TimeoutError:
            reason = "no answer in time" if failed is None else failed.reason
            log.warning("appservice.not_answered", service=link.service.service_id, kind=name[0], reason=reason)
            raise RemoteFailed(link.service.service_id, reason) from failed

    def _answered(self, name: _Name, done: asyncio.Task[bool]) -> None:
        self._asking.pop(name, None)
        if done.cancelled():
            return
        failed = done.exception() is not None
        if failed or not done.result():
            self._no[name] = self._clock_s() + (FAILED_S if failed else REFUSED_S), failed
            self._no.move_to_end(name)
            if len(self._no) > MAX_REMEMBERED:
                self._no.popitem(last=False)

    async def close(self) -> None:
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
