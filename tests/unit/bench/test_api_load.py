"""The load on the HTTP API: what is counted, and what the ratios compare."""

import asyncio
from collections import Counter

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench.api_load import Contender, Round, rows, text
from bench.http_load import Load, run
from consumer.monitoring.server import Bounds, Server, listen

SEEN: Counter[str] = Counter()


def test_every_response_is_counted_and_all_connections_send_all_paths() -> None:
    async def respond(request: Request) -> Response:
        SEEN[request.url.path] += 1
        return Response(request.headers["x"], 404 if request.url.path == "/none" else 200)

    app = Starlette(routes=[Route("/{path:path}", respond)])
    server = Server(listen("127.0.0.1:0"), app, Bounds(8, 4_096, seconds=30.0, idle_seconds=30))
    server.start()
    try:
        outcome = asyncio.run(run(Load(server.port, 0.5, 4, ["/one", "/none"], {"X": "y"})))
    finally:
        server.stop()
    assert outcome.lost_connections == 0
    assert outcome.statuses.keys() == {"200", "404"}
    assert outcome.requests == sum(outcome.statuses.values())
    assert SEEN["/one"] + SEEN["/none"] - outcome.requests <= 4, "those whose response was not read"
    assert 0 < outcome.p50 <= outcome.p99 < outcome.seconds


def test_a_server_that_closes_its_connections_is_noticed() -> None:
    server = Server(listen("127.0.0.1:0"), Response("closed"))
    server.start()
    try:
        outcome = asyncio.run(run(Load(server.port, 0.5, 3, ["/"], {})))
    finally:
        server.stop()
    assert (outcome.requests, outcome.lost_connections) == (3, 3)


def test_ratios_compare_rounds_beside_each_other() -> None:
    """The machine was twice as fast in the second half: the ratios do not change."""
    bare = [Round(1_000, 1.0, 2.0, 0.5), Round(2_000, 0.5, 1.0, 0.25), Round(2_000, 0.5, 1.0, 0.25)]
    ours = [Round(500, 2.0, 4.0, 0.75), Round(1_000, 1.0, 2.0, 0.375), Round(1_000, 1.0, 2.0, 0.375)]
    least, api = rows([contender("bare"), contender("api")], [bare, ours])

    assert (least.slower, least.dearer) == (1.0, 1.0)
    assert (api.rate, api.slower, api.dearer) == (1_000, 2.0, 1.5)


@pytest.mark.parametrize(("rate", "within"), [(500.0, "yes"), (499.0, "no")])
def test_the_table_says_whether_it_is_fast_enough(rate: float, within: str) -> None:
    found = rows([contender("bare"), contender("api")], [[Round(1_000, 1.0, 2.0, 0.5)], [Round(rate, 2.0, 4.0, 0.75)]])
    head, _, api = text(found).splitlines()
    assert head.split()[-2:] == ["within", "2x"]
    assert (api.split()[0], api.split()[-1]) == ("api", within)


def contender(title: str) -> Contender:
    return Contender(title, (), 0, {}, {})
