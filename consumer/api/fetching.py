"""Requests to other servers over HTTP, bounded in time and size. They block, so they are made in a thread."""

import ssl
import time
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPResponse
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request

_CHUNK_BYTES = 65_536


class TooLong(ValueError):
    """The body has more bytes than allowed."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """seconds: for the connection, for each pause of the response, and for its body as a whole."""

    seconds: float
    max_bytes: int


def fetch(request: Request, bounds: Bounds, *, proxies: bool) -> tuple[int, bytes]:
    """Status and body of the response, whatever its status. Follows no redirect, and opens no file.

    `proxies`: whether those of the environment are used. Raises OSError, HTTPException, and TooLong.
    """
    with closing(_opener(proxies=proxies).open(request, timeout=bounds.seconds)) as response:
        return response.status, _body(response, bounds)


def _opener(*, proxies: bool) -> OpenerDirector:
    opener = OpenerDirector()
    used = ProxyHandler(None if proxies else {})
    for handler in (used, HTTPHandler(), HTTPSHandler(context=ssl.create_default_context())):
        opener.add_handler(handler)
    return opener


def _body(response: HTTPResponse, bounds: Bounds) -> bytes:
    body, deadline = bytearray(), time.monotonic() + bounds.seconds
    while chunk := response.read1(_CHUNK_BYTES):
        body += chunk
        if len(body) > bounds.max_bytes:
            raise TooLong(f"more than {bounds.max_bytes} bytes")
        if time.monotonic() > deadline:
            raise TimeoutError(f"not complete after {bounds.seconds:g} s")
    return bytes(body)
