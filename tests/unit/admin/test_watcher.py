"""The watcher: stale facts are not served, and no error ends it."""

import asyncio
import logging
import threading
from dataclasses import dataclass, field
from http import HTTPStatus

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from starlette.types import Message

from consumer.admin.status import Lag, Quarantine, Shard, ShardStatus, Status, Stream
from consumer.admin.watcher import HANG_SECONDS, QUARANTINE_SECONDS, Complaints, Poll, Schedule, Watcher
from consumer.engine.errors import Unavailable
from consumer.leases.kcl_tables import Layout, Tables
from tests.support.driven.waiting import until

EVERY = 30.0
BORN = 1_700_000_000.0
"""Unix seconds when the monotonic clock of these tests is 0."""


@dataclass
class StubAws:
    """What the watcher reads, and the time."""

    lag: Lag = Lag(2.5)  # noqa: RUF009 - immutable
    records: int = 3
    time: float = 0.0
    error: Exception | None = None
    no_bucket: Exception | None = None
    looks: int = 0
    counts: int = 0
    watcher: Watcher = field(init=False)

    def __post_init__(self) -> None:
        self.watcher = Watcher(self.look, self.count, EVERY, lambda: self.time)

    def look(self) -> Status:
        self.looks += 1
        if self.error:
            raise self.error
        shard = ShardStatus("a", Shard("a", True), None, self.lag, (), ())
        stream, tables = Stream("events", "ACTIVE", 24, [Shard("a", True)]), Tables(Layout.THREE_TABLES, [], [], None)
        return Status(BORN + self.time, "limits", stream, tables, [shard], [], Quarantine("dir:q", None))

    def count(self) -> int:
        self.counts += 1
        if self.no_bucket:
            raise self.no_bucket
        return self.records

    def after(self, seconds: float) -> None:
        """Another round of both polls, `seconds` later."""
        self.time += seconds
        self.watcher.status.poll()
        self.watcher.quarantine.poll()

    def samples(self) -> dict[str, float]:
        registry = CollectorRegistry()
        registry.register(self.watcher)
        lines = generate_latest(registry).decode().splitlines()
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}

    def get(self, path: str) -> tuple[HTTPStatus, str]:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            raise AssertionError("no endpoint reads a body")

        scope = {"type": "http", "method": "GET", "path": path, "headers": []}
        asyncio.run(self.watcher.app()(scope, receive, send))
        return HTTPStatus(sent[0]["status"]), b"".join(message.get("body", b"") for message in sent).decode()


@pytest.fixture
def aws() -> StubAws:
    return StubAws()


def test_before_the_first_check_there_is_no_fact_and_the_watcher_is_alive_but_not_ready(aws: StubAws) -> None:
    assert aws.samples() == {}
    assert aws.get("/metrics")[0] is HTTPStatus.OK
    assert (aws.get("/livez")[0], aws.get("/healthz")[0]) == (HTTPStatus.OK, HTTPStatus.OK)
    status, body = aws.get("/readyz")
    assert status is HTTPStatus.SERVICE_UNAVAILABLE
    assert "no successful check yet" in body


def test_the_facts_of_the_last_check_are_served(aws: StubAws) -> None:
    aws.after(10)
    assert aws.samples() == {
        "consumer_stream_open_shards": 1,
        "consumer_stream_retention_seconds": 86_400,
        'consumer_checkpoint_lag_seconds{shard="a"}': 2.5,
        "consumer_workers_alive": 0,
        "consumer_quarantine_records": 3,
        "consumer_status_timestamp_seconds": BORN + 10,
    }
    assert 'consumer_checkpoint_lag_seconds{shard="a"} 2.5' in aws.get("/metrics")[1]
    assert aws.get("/readyz")[0] is HTTPStatus.OK


def test_a_scrape_calls_nothing(aws: StubAws) -> None:
    aws.after(1)
    aws.samples()
    for path in ("/metrics", "/livez", "/readyz"):
        aws.get(path)
    assert (aws.looks, aws.counts) == (1, 1)


def test_old_facts_are_not_served_but_their_age_is(aws: StubAws) -> None:
    aws.after(0)
    aws.error = Unavailable("stream events: EndpointConnectionError")
    for _ in range(5):
        aws.after(EVERY)
    assert aws.samples()['consumer_checkpoint_lag_seconds{shard="a"}'] == 2.5
    assert aws.samples()["consumer_status_timestamp_seconds"] == BORN
    assert aws.get("/readyz")[0] is HTTPStatus.OK

    aws.time += 1
    assert aws.samples() == {"consumer_status_timestamp_seconds": BORN, "consumer_quarantine_records": 3}
    status, body = aws.get("/readyz")
    assert status is HTTPStatus.SERVICE_UNAVAILABLE
    assert "no successful check for 151 s: stream events: EndpointConnectionError" in body
    assert aws.get("/livez")[0] is HTTPStatus.OK

    aws.error = None
    aws.after(EVERY)
    assert aws.samples()["consumer_status_timestamp_seconds"] == BORN + aws.time
    assert aws.samples()["consumer_stream_open_shards"] == 1
    assert aws.get("/readyz")[0] is HTTPStatus.OK


def test_a_quarantine_that_cannot_be_counted_does_not_hide_the_rest(aws: StubAws) -> None:
    aws.no_bucket = Unavailable("quarantine bucket b: AccessDenied")
    aws.after(0)
    assert "consumer_quarantine_records" not in aws.samples()
    assert aws.samples()["consumer_stream_open_shards"] == 1
    assert aws.get("/readyz")[0] is HTTPStatus.OK


def test_an_old_count_is_not_served(aws: StubAws) -> None:
    aws.after(0)
    aws.no_bucket = Unavailable("quarantine bucket b: SlowDown")
    aws.after(2 * QUARANTINE_SECONDS)
    assert aws.samples()["consumer_quarantine_records"] == 3
    aws.after(1)
    assert "consumer_quarantine_records" not in aws.samples()


def test_a_check_that_hangs_is_not_alive(aws: StubAws) -> None:
    aws.after(0)
    aws.time += EVERY + HANG_SECONDS
    assert aws.get("/livez")[0] is HTTPStatus.OK
    aws.time += 1
    for path in ("/livez", "/healthz"):
        status, body = aws.get(path)
        assert status is HTTPStatus.SERVICE_UNAVAILABLE
        assert "the check hangs for 631 s" in body


def test_a_failing_check_is_alive(aws: StubAws) -> None:
    aws.error = Unavailable("stream events: Throttled")
    for _ in range(100):
        aws.after(EVERY)
    assert aws.get("/livez")[0] is HTTPStatus.OK


def test_each_error_is_logged_once_until_the_checks_succeed(aws: StubAws, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="consumer.watcher")

    def logged() -> list[tuple[str, str]]:
        found = [(record.message, getattr(record, "cause", "")) for record in caplog.records]
        caplog.clear()
        return found

    first, second = Unavailable("stream events: A"), ValueError("B")
    for error in (first, first, second, first):
        aws.error = error
        aws.after(EVERY)
    assert logged() == [("status cannot be read", "stream events: A"), ("status cannot be read", "ValueError: B")]
    aws.error = None
    aws.after(EVERY)
    aws.after(EVERY)
    assert logged() == [("status can be read again", "")]
    aws.error = first
    aws.after(EVERY)
    assert logged() == [("status cannot be read", "stream events: A")]


def test_why_a_lag_is_unknown_is_logged(aws: StubAws, caplog: pytest.LogCaptureFixture) -> None:
    aws.lag = Lag(None, "AccessDeniedException")
    aws.after(0)
    aws.after(EVERY)
    assert [(record.message, getattr(record, "cause", "")) for record in caplog.records] == [
        ("lag cannot be read", "AccessDeniedException")
    ]
    assert not [name for name in aws.samples() if "lag" in name]


def test_the_loop_goes_on_after_an_error_and_ends_when_it_is_stopped() -> None:
    rounds = 0
    ended = threading.Event()

    def read() -> int:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            raise Unavailable("not yet")
        if rounds == 4:
            ended.set()
        return rounds

    poll: Poll[int] = Poll(read, Schedule(0.001, 0.001, 60), Complaints("failed", "works"), lambda: 0.0)
    stopped = threading.Event()
    poll.start(stopped, "rounds")
    assert ended.wait(60)
    stopped.set()
    until(lambda: not [thread for thread in threading.enumerate() if thread.name == "rounds"], "the thread to end")
    assert poll.valid == rounds >= 4


def test_a_failed_count_is_repeated_sooner() -> None:
    waits: list[float] = []

    def read() -> int:
        if not waits:
            raise Unavailable("not yet")
        return 5

    class Stopped(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout or 0)
            return len(waits) == 2

    Poll(read, Schedule(600, 60, 1_200), Complaints("failed", "works"), lambda: 0.0)._run(Stopped())
    assert waits == [60, 600]
