"""The page "The consumer": the status, the metrics of the workers, and the quarantine. It changes nothing."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Self
from urllib.parse import urlencode

from fastapi import Depends, FastAPI, Request
from starlette.responses import Response

from consumer import bootstrap
from consumer.admin.status import Status
from consumer.api import problems
from consumer.api.callers import Forbidden
from consumer.engine.quarantine import Listed
from consumer.pages import quarantine
from consumer.pages.layout import OPERATIONS, render, sees_operations
from consumer.pages.quarantine import Reading, RecordsPage, ShownRecord
from consumer.pages.reads import Part, SharedRead
from consumer.pages.session import Visitor, visitor
from consumer.pages.sources import Sources, sources_of
from consumer.pages.status_view import status_view
from consumer.pages.texts import plain
from consumer.pages.throughput import HEADS, Throughput, throughput
from consumer.settings import PageSettings

PAGE, LIVE, QUARANTINE = "/consumer", "/consumer/live", "/consumer/quarantine"
REFRESH_SECONDS = 10
STATUS_SECONDS, RECORDS_SECONDS, SIZE_SECONDS = 5.0, 30.0, 60.0
"""How long a reading is shown to everybody. Counting takes a request for each 1,000 records."""
WAIT_SECONDS = 4.0
"""How long a page waits for a part of it."""
READS = 4


async def operator(who: Annotated[Visitor, Depends(visitor)]) -> Visitor:
    """Who looks at the page. Raises what `visitor` raises, and Forbidden."""
    if not sees_operations(who):
        raise Forbidden(f"this page is for operators, who have the scope {OPERATIONS}")
    return who


_Operator = Annotated[Visitor, Depends(operator)]


def add_operations(app: FastAPI, settings: PageSettings) -> None:
    """Adds the routes below `/consumer`. They answer GET alone."""
    # Half of the time of a request: what the page shows of other parts must still reach the visitor.
    wait_seconds = min(WAIT_SECONDS, settings.api_request_seconds / 2)
    install(app, Operations.of(sources_of(settings), wait_seconds))


def install(app: FastAPI, operations: "Operations") -> None:
    endpoints: Mapping[str, Callable[..., Awaitable[Response]]] = {
        PAGE: operations.page,
        LIVE: operations.live,
        QUARANTINE: operations.quarantine,
    }
    for path, endpoint in endpoints.items():
        app.add_api_route(path, endpoint, include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Operations:
    """The endpoints. However many visitors there are, each part is read once in its time."""

    sources: Sources
    status: SharedRead[Status]
    records: SharedRead[Reading]
    size: SharedRead[int]
    pool: Executor
    wait_seconds: float
    now: Callable[[], float] = time.time

    @classmethod
    def of(cls, sources: Sources, wait_seconds: float) -> Self:
        # Not the threads of the API: a slow quarantine must not delay the limits of a user.
        pool = bootstrap.pool(READS)
        return cls(
            sources,
            SharedRead(sources.status, pool, STATUS_SECONDS),
            SharedRead(sources.records, pool, RECORDS_SECONDS),
            SharedRead(sources.size, pool, SIZE_SECONDS),
            pool,
            wait_seconds,
        )

    async def page(self, request: Request, _: _Operator) -> Response:
        return render(request, "consumer.html", await self._overview())

    async def live(self, request: Request, _: _Operator) -> Response:
        """The part of the page that changes."""
        return render(request, "consumer_live.html", await self._overview())

    async def quarantine(self, request: Request, who: _Operator) -> Response:
        """Records of the query's `reason`, or of all, and the page of them that it names."""
        found = await self.records.part(self.wait_seconds)
        page = None if found.value is None else _page(found.value, request)
        may_read_data = quarantine.may_read_data(who.caller)
        contents = await self._contents(page.records) if page and may_read_data else Part(None)
        if contents.value:
            quarantine.note_reading(who.caller, problems.request_id(request), contents.value)
        context = {
            **self._of_records(found),
            "page": page,
            "records": _outlines(page) if contents.value is None else contents.value,
            "data_problem": contents.problem,
            "per_page": quarantine.PER_PAGE,
            "links": page and _links(page),
            "may_read_data": may_read_data,
        }
        return render(request, "consumer_quarantine.html", context)

    async def _contents(self, listed: Sequence[Listed]) -> Part[Sequence[ShownRecord]]:
        """Read for this visitor alone: the data of a page is not kept."""
        read = SharedRead(partial(self.sources.contents, listed), self.pool, 0.0)
        return await read.part(self.wait_seconds)

    async def _overview(self) -> Mapping[str, object]:
        status, records, size = await asyncio.gather(
            self.status.part(self.wait_seconds), self.records.part(self.wait_seconds), self.size.part(self.wait_seconds)
        )
        return {
            "refresh": LIVE,
            "refresh_seconds": REFRESH_SECONDS,
            "status": status.value and status_view(status.value),
            "status_problem": status.problem,
            "throughput": self._throughput(),
            "heads": HEADS,
            "size": size.value,
            "size_problem": size.problem,
            **self._of_records(records),
        }

    def _throughput(self) -> Throughput | None:
        """None if no worker is named in the settings."""
        sampler = self.sources.sampler
        return throughput(sampler.view(), sampler.addresses, self.now()) if sampler.addresses else None

    def _of_records(self, records: Part[Reading]) -> Mapping[str, object]:
        place = self.sources.place
        return {
            "quarantine_path": QUARANTINE,
            "place": plain(place),
            "is_directory": place.startswith("dir:"),
            "reading": records.value,
            "reasons": [(each, count, _link(reason=each)) for each, count in records.value.reasons]
            if records.value
            else [],
            "records_problem": records.problem,
            "meanings": quarantine.MEANINGS,
            "replay": quarantine.REPLAY,
        }


def _outlines(page: RecordsPage | None) -> Sequence[ShownRecord]:
    return [quarantine.outline(each.summary) for each in page.records] if page else []


def _page(found: Reading, request: Request) -> RecordsPage:
    query = request.query_params
    reason = query.get("reason")
    return quarantine.page(found.records, plain(reason) if reason else None, query.get("page", "1"))


def _link(**query: str | int) -> str:
    """The address of a page of the quarantine."""
    return f"{QUARANTINE}?{urlencode(query)}"


def _links(page: RecordsPage) -> Mapping[str, str | None]:
    """The addresses of the pages before and after this one; None where there is none."""
    of_reason = {} if page.reason is None else {"reason": page.reason}
    return {
        "before": _link(**of_reason, page=page.number - 1) if page.number > 1 else None,
        "after": _link(**of_reason, page=page.number + 1) if page.number < page.last else None,
    }
