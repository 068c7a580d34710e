"""The metrics of the API. Their labels are closed lists: no metric has the id of a user in it."""

from prometheus_client import CollectorRegistry
from starlette.requests import Request
from starlette.responses import Response

from consumer.api.callers import Refusal
from consumer.monitoring.metrics import SECONDS, Kind, Metric
from consumer.monitoring.prometheus import PrometheusSink
from consumer.monitoring.responses import MetricsPage

REQUESTS = Metric(
    "consumer_api_requests_total",
    "Requests, by route and status. The route is `unmatched` for a path that does not exist, and `refused` for one"
    " beyond the number that is served at the same time (503) or under an unknown host name (421). The status is `none`"
    " for one without a response. /livez, /readyz and /metrics do not count.",
    labels=("route", "status"),
    query="sum by (route, status) (rate(consumer_api_requests_total[5m]))",
)
DURATION = Metric(
    "consumer_api_request_seconds",
    "From the head of a request until its response is sent, by route.",
    Kind.HISTOGRAM,
    ("route",),
    SECONDS,
    "histogram_quantile(0.99, sum by (le) (rate(consumer_api_request_seconds_bucket[5m])))",
)
IN_FLIGHT = Metric("consumer_api_requests_in_flight", "Requests that are being served.", Kind.GAUGE)
REFUSED_TOKENS = Metric(
    "consumer_api_refused_tokens_total",
    "Requests that were refused because of their token, by reason: missing, or what is wrong with it; forbidden, for a"
    " valid one that does not allow the request; keys_unavailable, if it could not be checked.",
    labels=("reason",),
    query="sum by (reason) (rate(consumer_api_refused_tokens_total[5m]))",
)
ALL = (REQUESTS, DURATION, IN_FLIGHT, REFUSED_TOKENS)
FORBIDDEN, KEYS_UNAVAILABLE = "forbidden", "keys_unavailable"
REASONS = (*map(str, Refusal), FORBIDDEN, KEYS_UNAVAILABLE)


class ApiMetrics:
    """Counts requests, and serves the counts. It is used on the event loop alone."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._measure = PrometheusSink(ALL, registry)
        self._page = MetricsPage(registry)
        self._in_flight = 0
        self._measure(IN_FLIGHT, 0)
        # Prometheus sees no increase in a series that starts at 1.
        for reason in REASONS:
            self._measure(REFUSED_TOKENS, 0, reason)

    @property
    def in_flight(self) -> int:
        return self._in_flight

    def began(self) -> None:
        self._in_flight += 1
        self._measure(IN_FLIGHT, self._in_flight)

    def ended(self, route: str, status: int, seconds: float) -> None:
        self._in_flight -= 1
        self._measure(IN_FLIGHT, self._in_flight)
        self.answered(route, status, seconds)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Of a request that never began. `status`: 0 if it has no response."""
        self._measure(REQUESTS, 1, route, str(status or "none"))
        self._measure(DURATION, seconds, route)

    def refused(self, reason: str) -> None:
        """`reason`: one of REASONS."""
        self._measure(REFUSED_TOKENS, 1, reason)

    def response(self, request: Request) -> Response:
        return self._page.response(request)
