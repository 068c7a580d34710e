"""Serves the HTTP API until it is stopped, then answers the requests that are under way."""

import logging
from collections.abc import Callable

from starlette.types import ASGIApp

from consumer.monitoring.server import SECONDS, Bounds, Server, listen
from consumer.settings import ApiSettings, variable

WAIT_SECONDS = 3_600.0
"""How long one wait for a stop request lasts. The request ends it."""
JOIN_SECONDS = 0.05
"""The time between two checks for a second stop request."""

log = logging.getLogger(__name__)


def bounds_of(settings: ApiSettings) -> Bounds:
    """The bounds of the connections."""
    return Bounds(
        connections=settings.api_max_connections,
        head_bytes=settings.api_max_header_bytes,
        # To send the request, to answer it, and to read the response.
        seconds=SECONDS + settings.api_request_seconds + SECONDS,
        idle_seconds=settings.api_keep_alive_seconds,
    )


def serve(settings: ApiSettings, app: ASGIApp, is_stop_requested: Callable[[float], bool]) -> int:
    """Serves `app` until a stop is requested. Returns the exit code: 0, or 1 if requests were not answered.

    It returns after the last response, or at once after a second request to stop: exiting closes what is still open.

    is_stop_requested  waits at most so many seconds for a request to stop, and returns whether there was one

    Raises SettingsError if the address cannot be used.
    """
    server = Server(listen(settings.api_address, variable("api_address")), app, bounds_of(settings))
    _announce(settings, server.port)
    server.start()
    while not is_stop_requested(WAIT_SECONDS):
        pass
    log.info("stopping")
    server.drain()
    while not server.join(JOIN_SECONDS):
        if is_stop_requested(0.0):
            log.warning("stopped at once: requests under way were not answered")
            return 1
    log.info("stopped gracefully")
    return 0


def _announce(settings: ApiSettings, port: int) -> None:
    place = {"address": settings.api_address, "port": port}
    if settings.api_issuer:
        log.info("serving limits to callers with a token", extra={**place, "issuer": settings.api_issuer})
    elif settings.api_trusted_proxy:
        log.warning("serving every limit: a gateway must authenticate each request", extra=place)
    else:
        log.warning("serving every limit without authentication, to this machine only: no issuer is set", extra=place)
