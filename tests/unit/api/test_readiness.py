"""/livez and /readyz: ready after the first read of the table, and until the server is stopped."""

import asyncio

from consumer.api.readiness import PROBE_SECONDS, Readiness
from consumer.engine.errors import Unavailable
from tests.support.simulation.api import Api, call


def test_a_server_that_reads_its_table_is_ready() -> None:
    api = Api()
    assert (api.get("/livez").status, api.get("/readyz").status) == (200, 200)
    assert api.rows.reads == [("find", False)]


def test_a_server_without_its_table_is_alive_but_not_ready() -> None:
    api = Api()
    api.rows.is_away = True
    answer = api.get("/readyz")
    assert (answer.status, answer.json()) == (
        503,
        {"ok": False, "reasons": ["the table has not been read yet: query of limits: EndpointConnectionError"]},
    )
    assert api.get("/livez").json() == {"ok": True, "reasons": []}


def test_once_it_was_ready_an_outage_does_not_change_it() -> None:
    api = Api()
    assert api.get("/readyz").status == 200
    api.rows.is_away = True
    assert api.get("/readyz").status == 200
    assert len(api.rows.reads) == 1


def test_probes_share_a_read() -> None:
    now, reads = [0.0], []

    async def read() -> None:
        reads.append(now[0])
        await asyncio.sleep(0)
        if len(reads) < 3:
            raise Unavailable("no table")

    readiness = Readiness(read, lambda: now[0])

    async def ask() -> list[list[str]]:
        return await asyncio.gather(*(readiness.failures() for _ in range(5)))

    no = ["the table has not been read yet: no table"]
    assert asyncio.run(ask()) == [no] * 5
    now[0] = PROBE_SECONDS - 0.001
    assert asyncio.run(readiness.failures()) == no
    assert reads == [0.0]
    for now[0] in (PROBE_SECONDS, 2 * PROBE_SECONDS, 9 * PROBE_SECONDS):
        found = asyncio.run(readiness.failures())
    assert found == []
    assert reads == [0.0, PROBE_SECONDS, 2 * PROBE_SECONDS]


def test_many_probes_of_a_server_that_starts_are_one_read() -> None:
    api = Api()

    async def ask() -> set[int]:
        return {answer.status for answer in await asyncio.gather(*(call(api.app, "/readyz") for _ in range(20)))}

    assert asyncio.run(ask()) == {200}
    assert len(api.rows.reads) == 1
