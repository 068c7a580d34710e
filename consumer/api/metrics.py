"""What the API counts, and the page of its metrics."""

from prometheus_client import CollectorRegistry
from starlette.requests import Request
from starlette.responses import Response

from consumer.api.callers import Refusal
from consumer.monitoring import metrics
from consumer.monitoring.metrics import Metric, Sink
from consumer.monitoring.prometheus import PrometheusSink
from consumer.monitoring.responses import MetricsPage

FORBIDDEN, KEYS_UNAVAILABLE = "forbidden", "keys_unavailable"
REASONS = (*map(str, Refusal), FORBIDDEN, KEYS_UNAVAILABLE)


class ApiMetrics:
    """Counts requests, and serves the counts. It is used on the event loop alone.

    also  receives each count of a request too
    """

    def __init__(self, also: Sink | None = None) -> None:
        registry = CollectorRegistry()
        self._measure = PrometheusSink(metrics.API, registry)
        self._counted = (self._measure, also) if also else (self._measure,)
        self._page = MetricsPage(registry)
        self._in_flight = 0
        self._measure(metrics.API_IN_FLIGHT, 0)
        # Prometheus sees no increase in a series that starts at 1.
        for reason in REASONS:
            self._measure(metrics.API_REFUSED_TOKENS, 0, reason)

    @property
    def in_flight(self) -> int:
        return self._in_flight

    def began(self) -> None:
        self._in_flight += 1
        self._measure(metrics.API_IN_FLIGHT, self._in_flight)

    def ended(self, route: str, status: int, seconds: float) -> None:
        self._in_flight -= 1
        self._measure(metrics.API_IN_FLIGHT, self._in_flight)
        self.answered(route, status, seconds)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Of a request that never began. `status`: 0 if it has no response."""
        self._count(metrics.API_REQUESTS, 1, route, str(status or "none"))
        self._count(metrics.API_SECONDS, seconds, route)

    def refused(self, reason: str) -> None:
        """`reason`: one of REASONS."""
        self._count(metrics.API_REFUSED_TOKENS, 1, reason)

    def _count(self, metric: Metric, value: float, *labels: str) -> None:
        for measure in self._counted:
            measure(metric, value, *labels)

    def response(self, request: Request) -> Response:
        return self._page.response(request)
