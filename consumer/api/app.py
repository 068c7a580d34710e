"""The HTTP API as an ASGI app: the routes of the limits, the probes, and the reference."""

import json
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from fastapi.routing import APIRoute
from starlette.middleware import Middleware
from starlette.responses import Response

from consumer import bootstrap
from consumer.api import openapi, problems, reference
from consumer.api.callers import Authenticator, Everybody
from consumer.api.gate import Bounds, Gate
from consumer.api.histories import Histories, HistoryReading
from consumer.api.hosts import IsKnown, any_host
from consumer.api.metrics import ApiMetrics
from consumer.api.readiness import Readiness
from consumer.api.reading import Reader, Reading
from consumer.api.routes import Served, router
from consumer.monitoring.responses import health_response

__all__ = ["Bounds", "app"]

_CACHING = {"Cache-Control": "no-cache"}


def app(  # noqa: PLR0913 - its parts
    limits: Reader,
    authenticator: Authenticator,
    metrics: ApiMetrics,
    bounds: Bounds,
    is_known: IsKnown = any_host,
    *,
    histories: Histories | None = None,
) -> FastAPI:
    """The API over `limits`. Requests under an unknown host name are refused. Without `histories`, there are none."""
    # FastAPI's own pages load scripts from elsewhere, it redirects a path with a slash at its end, and its telemetry
    # would send the ids of users to whatever OpenTelemetry is set up.
    made = FastAPI(
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
        middleware=[Middleware(Gate, bounds=bounds, metrics=metrics, is_known=is_known)],
    )
    pool = bootstrap.pool(bounds.requests)
    reading = Reading(limits, pool)
    made.state.authenticator = authenticator
    made.state.metrics = metrics
    made.state.reading = reading
    made.state.histories = HistoryReading(histories, pool)
    made.state.readiness = Readiness(reading.probe)
    made.router.routes.extend(Served(each) for each in router.routes if isinstance(each, APIRoute))
    problems.install(made)
    _add_pages(made, openapi.document(router.routes, is_open=isinstance(authenticator, Everybody)))
    return made


def _add_pages(made: FastAPI, document: dict[str, Any]) -> None:
    """What is not part of the document: the document itself, its page and the probes."""
    of_document = partial(Response, json.dumps(document), headers=_CACHING, media_type="application/json")
    policy = {"Content-Security-Policy": reference.CONTENT_SECURITY_POLICY, "Referrer-Policy": "no-referrer"}
    of_page = partial(Response, reference.page(document), headers={**_CACHING, **policy}, media_type="text/html")

    async def serve_document() -> Response:
        return of_document()

    async def serve_page() -> Response:
        return of_page()

    pages: Mapping[str, Callable[..., Awaitable[Response]]] = {
        "/openapi.json": serve_document,
        "/docs": serve_page,
        "/livez": _livez,
        "/readyz": _readyz,
        "/metrics": _metrics,
    }
    for path, endpoint in pages.items():
        made.add_api_route(path, endpoint, include_in_schema=False)


async def _livez() -> Response:
    """An answer is all that it takes: the event loop runs."""
    return health_response([])


async def _readyz(request: Request) -> Response:
    readiness: Readiness = request.app.state.readiness
    return health_response(await readiness.failures())


async def _metrics(request: Request) -> Response:
    metrics: ApiMetrics = request.app.state.metrics
    return metrics.response(request)
