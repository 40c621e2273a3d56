"""Metrics: what users feel, counted in plain integers and shown when somebody asks.

Nothing here touches a hot path: numbers are read from where they are kept anyway.
"""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector

from tripoint.net.http import Request, Response

Reading = Callable[[], Mapping[str, float]]


class Metrics:
    """Named readings, taken at each request of /metrics."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._readings: list[tuple[type[GaugeMetricFamily | CounterMetricFamily], str, str, str, Reading]] = []
        self._registry.register(self)

    def gauge(self, name: str, help: str, label: str, reading: Reading) -> None:
        """A number that goes up and down, by one label."""
        self._readings.append((GaugeMetricFamily, name, help, label, reading))

    def counter(self, name: str, help: str, label: str, reading: Reading) -> None:
        """A number that only grows, by one label."""
        self._readings.append((CounterMetricFamily, name, help, label, reading))

    def collect(self) -> Iterable[Metric]:
        for family, name, help_text, label, reading in self._readings:
            metric = family(name, help_text, labels=[label])
            for value, number in reading().items():
                metric.add_metric([value], number)
            yield metric

    async def handle(self, request: Request) -> Response:
        """GET /metrics in the text format."""
        if request.path != "/metrics" or request.method not in ("GET", "HEAD"):
            return Response(404, b"only /metrics is here\n", ((b"content-type", b"text/plain"),))
        body = generate_latest(self._registry)
        return Response(200, body, ((b"content-type", b"text/plain; version=0.0.4; charset=utf-8"),))
