"""All application services of this server: what they are told, each by a task of its own, and the ways to them.

spec: Matrix application-service-api
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tripoint.core.app_services import AppService, AppServices
from tripoint.matrix.appservice.delivery import FIRST_RETRY_S, Delivery
from tripoint.matrix.appservice.link import Ask, ServiceLink
from tripoint.matrix.appservice.networks import Networks
from tripoint.matrix.appservice.passing import Passing
from tripoint.matrix.appservice.questions import PATIENCE_S, Questions
from tripoint.matrix.render import Renderer
from tripoint.rooms.changes import RoomChange, UserChange
from tripoint.rooms.service_log import ServiceLog


@dataclass(frozen=True, slots=True)
class Means:
    """What runtime gives: the log of rooms, the way out, who hears of bugs. `clock_s` is monotonic; `first_retry_s`:
    how long to wait after a first failure; `patience_s`: for how long a name is asked for."""

    log: ServiceLog
    ask: Ask
    report: Callable[[str, BaseException], None]
    clock_s: Callable[[], float] = time.monotonic
    first_retry_s: float = FIRST_RETRY_S
    patience_s: float = PATIENCE_S


class Bridges:
    """start(), then room_changed() and user_changed() for every change, close(). A service without an address is told
    nothing and asked nothing."""

    def __init__(self, services: AppServices, means: Means, renderer: Renderer, now_ms: Callable[[], int]) -> None:
        self.services = services
        self.clock_s = means.clock_s
        with_address = [one for one in services.all if one.url is not None]
        self.links = {one.service_id: ServiceLink(one, means.ask, means.clock_s) for one in with_address}
        self._deliveries = {
            one.service_id: Delivery(
                self.links[one.service_id],
                means.log,
                renderer,
                Passing(one, means.log, now_ms) if one.receive_ephemeral else None,
                means.report,
                first_retry_s=means.first_retry_s,
            )
            for one in with_address
        }
        self.questions = Questions(services, self.links, means.clock_s, patience_s=means.patience_s)
        self.networks = Networks(services, self.links, means.clock_s)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Where each service is is known, and written down for new ones, before this returns."""
        for delivery in self._deliveries.values():
            await delivery.begin()
            self._tasks.append(asyncio.create_task(delivery.run()))

    async def close(self) -> None:
        """End what is on its way: it is sent again after the next start."""
        await self.questions.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for delivery in self._deliveries.values():
            await delivery.close()

    def room_changed(self, change: RoomChange) -> None:
        """A watcher of all rooms (fanout.hub)."""
        for delivery in self._deliveries.values():
            delivery.room_changed(change)

    def user_changed(self, change: UserChange) -> None:
        """A watcher of all users (fanout.hub)."""
        for delivery in self._deliveries.values():
            delivery.user_changed(change)

    def heard_from(self, service: AppService) -> None:
        """A request of a service has come."""
        delivery = self._deliveries.get(service.service_id)
        if delivery is not None and delivery.failing:
            delivery.heard_from()

    # -- for the metrics

    def results(self) -> Mapping[str, int]:
        """Transactions by what became of them."""
        found: dict[str, int] = {"sent": 0, "failed": 0}
        for delivery in self._deliveries.values():
            for result, count in delivery.results.items():
                found[result] += count
        return found

    def counts(self) -> Mapping[str, float]:
        """Services, and those that do not answer."""
        failing = sum(1.0 for delivery in self._deliveries.values() if delivery.failing)
        return {"known": float(len(self.services.all)), "down": failing}
