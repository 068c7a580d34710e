"""Reading the metrics of a worker: what is taken from them, and what is refused."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from consumer.engine.errors import SettingsError
from consumer.engine.folding import Outcome
from consumer.monitoring.metrics import BEHIND, CORE, LEASES, SHARD, WORKER
from consumer.monitoring.metrics import RECORDS as COUNTER
from consumer.monitoring.prometheus import PrometheusSink
from consumer.pages import scrapes
from consumer.pages.scrapes import NotScraped, Scrape, parsed, scrape
from consumer.settings import PageSettings, load

ADDRESSES = "CONSUMER_PAGES_METRICS_URLS"


def served() -> str:
    """What a worker serves."""
    registry = CollectorRegistry()
    measure = PrometheusSink((*CORE, *SHARD, *WORKER), registry)
    measure(COUNTER, 7, "USER_LIMIT_CREATED", "applied")
    measure(COUNTER, 2, 'ODD"TYPE\n', "applied")
    measure(COUNTER, 1, "UNREADABLE", "quarantined")
    measure(BEHIND, 1.5, "shardId-000000000000")
    measure(BEHIND, 30, "shardId-000000000001")
    return generate_latest(registry).decode()


def test_records_are_added_up_by_outcome_and_the_furthest_shard_counts() -> None:
    assert parsed(served()) == Scrape({Outcome.APPLIED: 9, Outcome.QUARANTINED: 1}, 30)


def test_a_worker_that_has_had_no_record_has_none() -> None:
    registry = CollectorRegistry()
    PrometheusSink((LEASES,), registry)(LEASES, 0)
    assert parsed(generate_latest(registry).decode()) == Scrape({}, None)


@pytest.mark.parametrize("text", ["", "<!DOCTYPE html>", "python_info 1\n"])
def test_what_is_not_of_a_worker_is_refused(text: str) -> None:
    with pytest.raises(NotScraped, match="not a worker"):
        parsed(text)


def test_values_that_cannot_be_are_ignored() -> None:
    text = (
        'consumer_records_total{outcome="applied"} NaN\nconsumer_records_total{outcome="stale"} -4\n'
        'consumer_records_total{outcome="odd"} 3\nconsumer_records_total 3\n'
        'consumer_shard_behind_latest_seconds{shard="a"} +Inf\nconsumer_shard_behind_latest_seconds{shard="b"} -1\n'
    )
    assert parsed(text) == Scrape({Outcome.STALE: 0.0}, 0.0)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ()),
        ("http://10.0.0.5:9464/metrics", ("http://10.0.0.5:9464/metrics",)),
        ("https://w-1/a/b , http://[::1]:9464,https://w-1/a/b", ("https://w-1/a/b", "http://[::1]:9464")),
    ],
)
def test_the_addresses_of_workers_are_a_setting(
    monkeypatch: pytest.MonkeyPatch, text: str, found: tuple[str, ...]
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv(ADDRESSES, text)
    assert load(PageSettings).pages_metrics_urls == found


@pytest.mark.parametrize(
    "text",
    [
        "file:///etc/secret",
        "http://u:secret@w/metrics",
        "secret:9464",
        "http://w/metrics,",
        "http://w/metrics?secret=1",
        ",".join(f"http://w{number}" for number in range(33)),
    ],
)
def test_other_addresses_are_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv(ADDRESSES, text)
    with pytest.raises(SettingsError) as refused:
        load(PageSettings)
    (problem,) = refused.value.problems
    assert problem.startswith(f"{ADDRESSES}: use at most 32 addresses such as http://10.0.0.5:9464/metrics")
    assert "secret" not in problem


# over HTTP

Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def server(answer: Answer) -> Iterator[str]:
    """The address of a server that answers like this."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{made.server_port}/metrics"
        finally:
            made.shutdown()
            thread.join()


def answering(body: bytes, status: int = 200, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def test_the_metrics_of_a_worker_are_read() -> None:
    with server(answering(served().encode())) as address:
        assert scrape(address) == parsed(served())


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (answering(b"consumer_up 1\n", 500), "status 500 instead of 200"),
        (answering(b"", 302, Location="http://127.0.0.1:1/"), "status 302 instead of 200"),
        (answering(b"\xff\xfe"), "unexpected response: not the metrics of a worker"),
        (answering(b"<p>hello</p>"), "unexpected response: not a worker"),
        (answering(b'consumer_records_total{outcome="secret 1\n'), "unexpected response: not the metrics of a worker"),
        (answering(b"consumer_records_total secret\n"), "unexpected response: not the metrics of a worker"),
        (
            answering(b"consumer_records_total " + b"9" * 400 + b"\n"),
            "unexpected response: not the metrics of a worker",
        ),
        (lambda handler: handler.wfile.write(b"secret\r\n\r\n"), "unexpected response: not the metrics of a worker"),
    ],
)
def test_another_answer_is_refused_and_not_repeated(answer: Answer, why: str) -> None:
    with server(answer) as address, pytest.raises(NotScraped) as refused:
        scrape(address)
    assert str(refused.value) == why


def test_a_long_answer_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrapes, "BYTES", 1_000)
    with (
        server(answering(b"consumer_up 1\n" * 100)) as address,
        pytest.raises(NotScraped, match="more than 1000 bytes"),
    ):
        scrape(address)


def test_a_worker_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrapes, "SECONDS", 0.05)
    may_end = threading.Event()

    def wait(_: BaseHTTPRequestHandler) -> None:
        may_end.wait(60)

    with server(wait) as address:
        with pytest.raises(NotScraped, match=r"no answer within 0\.05 s"):
            scrape(address)
        may_end.set()


def test_a_worker_that_is_not_there_is_named_with_the_cause() -> None:
    with server(answering(b"")) as address:
        pass
    with pytest.raises(NotScraped, match="not reachable: Connection refused"):
        scrape(address)
