"""The responses of the HTTP endpoints: a page of metrics, a state with its reasons, an error."""

import gzip
import json
import time
from http import HTTPStatus

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder, gzip_accepted
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

_STALE_SECONDS = 1.0


class MetricsPage:
    """The metrics of a registry, in the format and the compression that the client accepts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._texts: dict[tuple[str, bool], bytes] = {}
        self._texts_made = 0.0

    def response(self, request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        packed = gzip_accepted(request.headers.get("accept-encoding", ""))
        # A scrape costs milliseconds of CPU. Frequent scrapes get the same text for a second.
        if time.monotonic() - self._texts_made > _STALE_SECONDS:
            self._texts, self._texts_made = {}, time.monotonic()
        key = (content_type, packed)
        if key not in self._texts:
            text = encode(self._registry)
            self._texts[key] = gzip.compress(text) if packed else text
        packing = {"Content-Encoding": "gzip"} if packed else {}
        return Response(self._texts[key], headers={"Content-Type": content_type, **packing})


def health_response(reasons: list[str]) -> Response:
    """200 without reasons, 503 with them."""
    status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
    body = json.dumps({"ok": not reasons, "reasons": reasons}) + "\n"
    return Response(body, status, media_type="application/json")


async def failed(_: Request, error: Exception) -> Response:
    return PlainTextResponse(f"{type(error).__name__}: {error}\n", HTTPStatus.INTERNAL_SERVER_ERROR)
