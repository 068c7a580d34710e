"""The page "The consumer" over a status and a quarantine in memory, called without a server."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser

from fastapi import FastAPI
from starlette.responses import Response

from consumer.admin import status
from consumer.admin.status import Lag, Quarantine, Shard, Status, Stream
from consumer.api.callers import Caller
from consumer.engine.quarantine import InMemoryQuarantine, QuarantineStore
from consumer.leases.kcl_tables import Layout, Lease, Lock, Report, Tables
from consumer.pages import session
from consumer.pages.operations import PAGE, Operations, install
from consumer.pages.quarantine import contents, reading
from consumer.pages.sampling import Sampler, Surroundings
from consumer.pages.session import Access, Cookie, Visitor
from consumer.pages.sources import Sources
from tests.support.simulation.api import Answer, Api, call

AT = 1_767_225_600.0
"""2026-01-01 00:00:00 UTC."""
OPERATOR = Caller("u-operator", frozenset({"operations:read"}))
COOKIE = Cookie("session", b"0123456789abcdef0123456789abcdef", 600, is_secure=False)


def status_of(*leases: Lease, leader: str | None = "w1", lags: dict[str, Lag] | None = None) -> Status:
    """An application with the open shards a and b, and the worker w1, which has just reported."""
    shards = [Shard("a", True), Shard("b", True)]
    tables = Tables(
        Layout.THREE_TABLES, leases, [Report("w1", int(AT), {"cpu": 35})], Lock(leader, "1") if leader else None
    )
    workers = status.workers(tables, AT, silent_after=6.0)
    found = status.shards(shards, tables, lags or {}, [worker.name for worker in workers if worker.alive])
    return Status(AT, "limits", Stream("events", "ACTIVE", 24, shards), tables, found, workers, Quarantine("", None))


def lease(shard: str, owner: str | None = "w1", checkpoint: str = "49590338271490256608559692538361571095") -> Lease:
    return Lease(shard, owner, checkpoint, 0, 1, 0)


GOOD = status_of(lease("a"), lease("b"), lags={"a": Lag(0.0), "b": Lag(3.2)})


@dataclass(frozen=True)
class Element:
    """An element of a page. `text`: of all that is in it."""

    tag: str
    attributes: dict[str, str | None]
    text: list[str] = field(default_factory=list)

    @property
    def words(self) -> str:
        return " ".join("".join(self.text).split())


class Document(HTMLParser):
    """The elements of a page, in the order in which they begin."""

    EMPTY = frozenset({"meta", "link", "line", "path", "br", "img", "input"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, dict(attrs)))
        if tag not in self.EMPTY:
            self._open.append(self.elements[-1])

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        closed = self._open.pop()
        assert closed.tag == tag, f"</{tag}> ends <{closed.tag}>"

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text.append(data)

    def of(self, tag: str) -> list[Element]:
        return [element for element in self.elements if element.tag == tag]

    def words(self, tag: str) -> list[str]:
        return [element.words for element in self.of(tag)]

    def links(self) -> dict[str, str | None]:
        """The addresses of the links, by their text."""
        return {element.words: element.attributes.get("href") for element in self.of("a")}


def text(answer: Answer) -> str:
    return " ".join(answer.body.decode().split())


@dataclass
class ConsumerPage:
    """The page. `caller` None: nobody signs in. `statuses` counts how often the status was read."""

    status: Callable[[], Status] = lambda: GOOD
    kept: QuarantineStore = field(default_factory=InMemoryQuarantine)
    size: Callable[[], int] | None = None
    caller: Caller | None = None
    addresses: Sequence[str] = ()
    place: str = "s3://bucket/quarantine"
    wait_seconds: float = 60.0
    statuses: int = field(default=0, init=False)
    sampler: Sampler = field(init=False)
    operations: Operations = field(init=False)
    app: FastAPI = field(init=False)

    def __post_init__(self) -> None:
        # No thread: a test adds the samples itself.
        self.sampler = Sampler(self.addresses, surroundings=Surroundings(start=lambda _: None))
        sources = Sources(
            self._status,
            lambda: reading(self.kept),
            lambda listed: contents(self.kept, listed),
            self.size or self.kept.size,
            self.place,
            self.sampler,
        )
        self.operations = Operations.of(sources, self.wait_seconds)
        self.app = Api().app
        self.app.state.pages = Access(None if self.caller is None else COOKIE)
        install(self.app, self.operations)

    def get(self, target: str = PAGE, method: str = "GET") -> Answer:
        return asyncio.run(self.call(target, method))

    def document(self, target: str = PAGE) -> Document:
        answer = self.get(target)
        assert answer.status == 200, answer.body
        return Document(answer.body.decode())

    async def call(self, target: str = PAGE, method: str = "GET") -> Answer:
        return await call(self.app, target, self._headers(), method)

    def _status(self) -> Status:
        self.statuses += 1
        return self.status()

    def _headers(self) -> Iterable[tuple[str, str]]:
        if self.caller is None:
            return [("Host", "127.0.0.1:8080")]
        response = Response()
        session.begin(COOKIE, response, Visitor(self.caller, self.caller.subject), COOKIE.now() + 600)
        return [("Cookie", response.headers["set-cookie"].partition(";")[0])]
