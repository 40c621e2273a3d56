"""Metrics: what users feel, counted in plain integers and shown when somebody asks.

Nothing here touches a hot path: numbers are read from where they are kept anyway.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from tripoint.net.http import Request, Response

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

Reading = Callable[[], Mapping[str, float]]


class Metrics:
    """Named readings, taken at each request of /metrics."""

    def __init__(self) -> None:
        self._registry: CollectorRegistry | None = None
        self._readings: list[tuple[bool, str, str, str, Reading]] = []

    def gauge(self, name: str, help: str, label: str, reading: Reading) -> None:
        """A number that goes up and down, by one label."""
        self._readings.append((False, name, help, label, reading))

    def counter(self, name: str, help: str, label: str, reading: Reading) -> None:
        """A number that only grows, by one label."""
        self._readings.append((True, name, help, label, reading))

    def collect(self) -> "Iterable[Metric]":
        """What prometheus_client asks for."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        for grows, name, help_text, label, reading in self._readings:
            metric = (CounterMetricFamily if grows else GaugeMetricFamily)(name, help_text, labels=[label])
            for value, number in reading().items():
                metric.add_metric([value], number)
            yield metric

    async def handle(self, request: Request) -> Response:
        """GET /metrics in the text format."""
        if request.path != "/metrics" or request.method not in ("GET", "HEAD"):
            return Response(404, b"only /metrics is here\n", ((b"content-type", b"text/plain"),))
        # Where nobody asks, it is never loaded: 2 MB, and a twentieth of the time that a start takes.
        from prometheus_client import CollectorRegistry, generate_latest
        from prometheus_client.process_collector import ProcessCollector

        if self._registry is None:
            self._registry = CollectorRegistry()
            ProcessCollector(registry=self._registry)
            self._registry.register(self)
        body = generate_latest(self._registry)
        return Response(200, body, ((b"content-type", b"text/plain; version=0.0.4; charset=utf-8"),))
