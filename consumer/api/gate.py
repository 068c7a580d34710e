"""What every request passes before it is routed: its id, the bounds, the metrics, and an answer whatever happens."""

import asyncio
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import quote
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from consumer.api import problems
from consumer.api.hosts import IsKnown, any_host
from consumer.api.metrics import ApiMetrics
from consumer.api.problems import Problem
from consumer.monitoring import logs

PROBES = ("/livez", "/readyz", "/metrics")
"""Paths that are answered even if no further request is accepted."""
REFUSED, UNMATCHED = "refused", "unmatched"
REQUEST_ID = "X-Request-Id"

_GIVEN_ID = re.compile(r"[A-Za-z0-9._=-]{1,64}", re.ASCII)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one server bears.

    requests  served at the same time, and reads of the store at the same time
    seconds   from the head of a request until its response is sent
    """

    requests: int
    seconds: float


@dataclass(slots=True)
class _Exchange:
    """A request and its response. `status` is 0 until the response has begun."""

    scope: Scope
    forward: Send
    request_id: str
    is_head: bool
    status: int = field(default=0, init=False)

    @property
    def route(self) -> str:
        """The path of the route with its placeholders, so that no id becomes the label of a metric."""
        return getattr(self.scope.get("route"), "path", UNMATCHED)

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers[REQUEST_ID] = self.request_id
            headers["X-Content-Type-Options"] = "nosniff"
        elif self.is_head:
            message = {**message, "body": b""}
        await self.forward(message)

    async def end_with(self, problem: Problem, receive: Receive) -> None:
        """Answers with the problem, if the response has not begun. Otherwise it stays incomplete, and the server closes
        the connection."""
        if not self.status:
            await problem.response(self.request_id)(self.scope, receive, self.send)


class Gate:
    """ASGI middleware around the app."""

    def __init__(
        self,
        app: ASGIApp,
        bounds: Bounds,
        metrics: ApiMetrics,
        is_known: IsKnown = any_host,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._is_known = is_known
        self._bounds = bounds
        self._metrics = metrics
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        exchange = _Exchange(_routable(scope, request_id), send, request_id, scope["method"] == "HEAD")
        with logs.fields(request_id=request_id):
            await self._admit(exchange, receive)

    async def _admit(self, exchange: _Exchange, receive: Receive) -> None:
        begin = self._clock()
        if exchange.scope["path"] in PROBES:
            await self._answer(exchange, receive)
        elif problem := self._refusal(exchange.scope):
            await exchange.end_with(problem, receive)
            self._metrics.answered(REFUSED, exchange.status, self._clock() - begin)
        else:
            self._metrics.began()
            try:
                await self._answer(exchange, receive)
            finally:
                self._metrics.ended(exchange.route, exchange.status, self._clock() - begin)

    def _refusal(self, scope: Scope) -> Problem | None:
        if self._metrics.in_flight >= self._bounds.requests:
            return problems.unavailable("The server is busy with other requests.")
        if not self._is_known(Headers(scope=scope).get("host", "")):
            return Problem(HTTPStatus.MISDIRECTED_REQUEST, "This server does not answer under the name in Host.")
        return None

    async def _answer(self, exchange: _Exchange, receive: Receive) -> None:
        """Within the time of a request. A failure is logged without what the caller sent, and answered."""
        try:
            async with asyncio.timeout(self._bounds.seconds) as deadline:
                await self._app(exchange.scope, receive, exchange.send)
        except TimeoutError as error:
            if not deadline.expired():
                await self._fail(exchange, receive, error)
                return
            _log.warning("a request took too long", extra={"route": exchange.route})
            await exchange.end_with(problems.unavailable("The request took too long."), receive)
        except Exception as error:  # noqa: BLE001 - the caller must get an answer
            await self._fail(exchange, receive, error)

    async def _fail(self, exchange: _Exchange, receive: Receive, error: Exception) -> None:
        _log.error("a request failed", exc_info=error, extra={"route": exchange.route})
        await exchange.end_with(problems.failed(), receive)


def _routable(scope: Scope, request_id: str) -> Scope:
    """The scope with the path as it was sent, percent-encoded (ids.py), and with HEAD as GET."""
    sent = scope.get("raw_path") or quote(scope["path"]).encode()
    return {
        **scope,
        "path": sent.decode("latin-1"),
        "method": "GET" if scope["method"] == "HEAD" else scope["method"],
        "state": {**scope.get("state", {}), "request_id": request_id},
    }


def _request_id(scope: Scope) -> str:
    """The caller's id for the request if it can be logged as it is, otherwise a new one."""
    given = Headers(scope=scope).get(REQUEST_ID, "")
    return given if _GIVEN_ID.fullmatch(given) else uuid4().hex
