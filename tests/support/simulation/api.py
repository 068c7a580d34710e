"""The HTTP API over limits in memory, called without a server: requests arrive as uvicorn passes them on."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

from fastapi import FastAPI
from starlette.datastructures import Headers

from consumer.api.app import Bounds, app
from consumer.api.callers import Authenticator, Caller, Everybody, Refusal, Unauthenticated
from consumer.api.histories import Histories
from consumer.api.metrics import ApiMetrics
from consumer.api.reading import Reader
from consumer.engine.errors import Unavailable
from consumer.engine.repository import InMemoryRepository, Page, ReadableRepository, Stored, Unreadable
from consumer.limits.repository import LimitReader
from consumer.limits.state import LimitState
from tests.support.generators.events import START, Event
from tests.support.simulation.core import Core, memory

BOUNDS = Bounds(requests=8, seconds=60)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Headers
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class KnownTokens:
    """Implements Authenticator: the tokens that it knows, each with its caller."""

    callers: Mapping[str, Caller]

    async def caller(self, authorization: str | None) -> Caller:
        if authorization is None:
            raise Unauthenticated("there is none", missing=True)
        known = self.callers.get(authorization.removeprefix("Bearer "))
        if known is None:
            raise Unauthenticated("the token is unknown", reason=Refusal.SIGNATURE)
        return known


@dataclass
class OddRows:
    """Implements ReadableRepository over another one, with unreadable rows for some limits of a user.

    `reads` are the reads, and whether each was consistent. All of them fail while `is_away`.
    """

    kept: ReadableRepository[LimitState]
    odd: frozenset[str] = frozenset()
    is_away: bool = False
    reads: list[tuple[str, bool]] = field(default_factory=list)

    def page(
        self, partition: str, after: str | None = None, most: int | None = None, *, consistent: bool = True
    ) -> Page[LimitState]:
        self._read("page", consistent)
        found = self.kept.page(partition, after, most, consistent=consistent)
        stored: dict[tuple[str, str], Stored[LimitState]] = {
            key: self._row(key) if key[1] in self.odd else each for key, each in found.stored.items()
        }
        return Page(stored, found.after)

    def find(self, key: tuple[str, str], *, consistent: bool = True) -> Stored[LimitState] | None:
        self._read("find", consistent)
        return self._row(key) if key[1] in self.odd else self.kept.find(key, consistent=consistent)

    def _read(self, what: str, consistent: bool) -> None:
        self.reads.append((what, consistent))
        if self.is_away:
            raise Unavailable("query of limits: EndpointConnectionError")

    def _row(self, key: tuple[str, str]) -> Unreadable:
        return Unreadable(key, "row 0123456789abcdef of the table limits: progress: wrong")


@dataclass
class Api:
    """The API and the limits behind it. `now`: epoch milliseconds."""

    now: int = START
    authenticator: Authenticator = field(default_factory=Everybody)
    bounds: Bounds = BOUNDS
    states: InMemoryRepository[LimitState] = field(default_factory=memory)
    metrics: ApiMetrics = field(default_factory=ApiMetrics)
    histories: Histories | None = None
    rows: OddRows = field(init=False)
    app: FastAPI = field(init=False)

    def __post_init__(self) -> None:
        self.rows = OddRows(self.states)
        self.serve(LimitReader(self.rows, lambda: self.now))

    def serve(self, reader: Reader) -> None:
        self.app = app(reader, self.authenticator, self.metrics, self.bounds, histories=self.histories)

    def store(self, *events: Event) -> None:
        assert Core(self.states).deliver(*events).unsettled is None

    def get(self, target: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> Answer:
        return asyncio.run(call(self.app, target, (headers or {}).items(), method))


async def call(app: FastAPI, target: str, headers: Iterable[tuple[str, str]] = (), method: str = "GET") -> Answer:
    """One request. `target` is sent as it is: `/user-limits/a%2Fb?type=BET`."""
    path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "server": ("127.0.0.1", 8080),
        "client": ("127.0.0.1", 50_000),
        "root_path": "",
        "path": unquote(path),
        "raw_path": path.encode("ascii"),
        "query_string": query.encode("latin-1"),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
        "state": {},
    }
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    begin, *parts = sent
    body = b"".join(part.get("body", b"") for part in parts)
    return Answer(begin["status"], Headers(raw=begin["headers"]), body)


def segment(text: str) -> str:
    """The text as a segment of a path."""
    return quote(text, safe="")
