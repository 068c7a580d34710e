"""The responses of the HTTP endpoints: a page of metrics, a state with its reasons, an error."""

import gzip
import json
import time
from collections.abc import Callable
from http import HTTPStatus

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder, gzip_accepted
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

_STALE_SECONDS = 1.0
_FORMATS = 4
"""How many combinations of format and compression are made for one second. Scrapers use one or two."""


class MetricsPage:
    """The metrics of a registry, in the format and the compression that the client accepts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._texts: dict[tuple[str, bool], bytes] = {}
        self._texts_made = 0.0

    def response(self, request: Request) -> Response:
        encode, content_type = _encoder(request.headers.get("accept", ""))
        packed = gzip_accepted(request.headers.get("accept-encoding", ""))
        # A scrape costs milliseconds of CPU. Frequent scrapes get the same text for a second.
        if time.monotonic() - self._texts_made > _STALE_SECONDS:
            self._texts, self._texts_made = {}, time.monotonic()
        if (content_type, packed) not in self._texts and len(self._texts) >= _FORMATS:
            encode, content_type = _encoder("")  # a client that invents formats
        key = (content_type, packed)
        if key not in self._texts:
            text = encode(self._registry)
            self._texts[key] = gzip.compress(text) if packed else text
        packing = {"Content-Encoding": "gzip"} if packed else {}
        return Response(self._texts[key], headers={"Content-Type": content_type, **packing})


def _encoder(accept: str) -> tuple[Callable[[CollectorRegistry], bytes], str]:
    try:
        return choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is no number
        return choose_encoder("")


def health_response(reasons: list[str]) -> Response:
    """200 without reasons, 503 with them."""
    status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
    body = json.dumps({"ok": not reasons, "reasons": reasons}) + "\n"
    return Response(body, status, media_type="application/json")


async def failed(_: Request, error: Exception) -> Response:
    return PlainTextResponse(f"{type(error).__name__}: {error}\n", HTTPStatus.INTERNAL_SERVER_ERROR)
