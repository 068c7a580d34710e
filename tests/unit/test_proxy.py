"""The fault proxy applies faults to the matching requests, and to no others."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, RemoteDisconnected
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError, ReadTimeoutError

from tests.support.driven.processes import LOOPBACK
from tests.support.driven.waiting import until
from tests.support.emulators.aws import session
from tests.support.faults.proxy import (
    ACCESS_DENIED,
    CHECK_SECONDS,
    FAILING,
    THROTTLED,
    TOKEN_EXPIRED,
    UNAVAILABLE,
    Dice,
    Effect,
    Exchange,
    FaultProxy,
    delay,
    fail_statements,
    fault_proxy,
    hang_up,
    hold,
    lose_reply,
    refuse,
    skip_keys,
    swallow,
)

ONE_TRY = Config(retries={"total_max_attempts": 1}, read_timeout=1)


class Upstream(ThreadingHTTPServer):
    """Answers like DynamoDB, as far as these tests need. `asked`: the bodies of the received requests."""

    daemon_threads = False

    def __init__(self) -> None:
        self.received: list[bytes] = []
        super().__init__((LOOPBACK, 0), Answering)


class Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Upstream

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.server.received.append(body)
        answer = json.dumps(reply_to(json.loads(body))).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("X-Of-Upstream", self.path + self.headers.get("x-of-client", ""))
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Logs nothing."""


def reply_to(request: dict[str, Any]) -> dict[str, Any]:
    if "Statements" in request:
        return {"Responses": [{"TableName": statement["Statement"]} for statement in request["Statements"]]}
    if "RequestItems" in request:
        return {"Responses": {"limits": request["RequestItems"]["limits"]["Keys"]}, "UnprocessedKeys": {}}
    return {"TableNames": [request.get("ExclusiveStartTableName", "none")]}


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(upstream: Upstream) -> Iterator[FaultProxy]:
    with fault_proxy(f"http://{LOOPBACK}:{upstream.server_port}", seed=1) as started:
        yield started


def dynamodb(proxy: FaultProxy) -> Any:
    return session().client("dynamodb", endpoint_url=proxy.endpoint, config=ONE_TRY)


def names(proxy: FaultProxy, table: str = "limits") -> list[str]:
    found: list[str] = dynamodb(proxy).list_tables(ExclusiveStartTableName=table)["TableNames"]
    return found


def connection(proxy: FaultProxy) -> HTTPConnection:
    return HTTPConnection(LOOPBACK, int(urlsplit(proxy.endpoint).port or 0), timeout=10)


def test_without_a_fault_everything_is_forwarded(proxy: FaultProxy) -> None:
    client = connection(proxy)
    for path in ("/", "/bucket/key?x=1"):
        client.request("POST", path, b"{}", {"X-Of-Client": "!"})
        answer = client.getresponse()
        assert (answer.status, answer.headers["X-Of-Upstream"]) == (200, f"{path}!")
        assert json.load(answer) == {"TableNames": ["none"]}
    client.close()
    assert proxy.forwarded == {"POST": 2}


@pytest.mark.parametrize(
    ("effect", "status", "code"),
    [
        (THROTTLED, 400, "ProvisionedThroughputExceededException"),
        (FAILING, 500, "InternalServerError"),
        (UNAVAILABLE, 503, "ServiceUnavailable"),
        (ACCESS_DENIED, 400, "AccessDeniedException"),
        (TOKEN_EXPIRED, 400, "ExpiredTokenException"),
    ],
)
def test_an_error_reaches_the_client_as_dynamodb_s_own(
    proxy: FaultProxy, upstream: Upstream, effect: Effect, status: int, code: str
) -> None:
    with proxy.fault(effect) as fault, pytest.raises(ClientError) as raised:
        names(proxy)
    assert raised.value.response["Error"]["Code"] == code
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert (fault.hits, upstream.received) == ({"ListTables": 1}, [])


def test_an_error_reaches_the_client_as_s3_s_own(proxy: FaultProxy, upstream: Upstream) -> None:
    s3 = session().client("s3", endpoint_url=proxy.endpoint, config=ONE_TRY)
    with proxy.fault(refuse(503, "SlowDown"), "PUT"), pytest.raises(ClientError) as raised:
        s3.put_object(Bucket="bucket", Key="key", Body=b"{}")
    assert (raised.value.response["Error"]["Code"], upstream.received) == ("SlowDown", [])


def test_a_lifted_fault_is_over(proxy: FaultProxy) -> None:
    with proxy.fault(THROTTLED), pytest.raises(ClientError):
        names(proxy)
    assert names(proxy) == ["limits"]


def test_a_request_with_a_lost_response_is_executed(proxy: FaultProxy, upstream: Upstream) -> None:
    with proxy.fault(lose_reply) as fault, pytest.raises(ConnectionClosedError):
        names(proxy)
    assert (len(upstream.received), fault.hits) == (1, {"ListTables": 1})


def test_a_connection_is_closed_at_once(proxy: FaultProxy, upstream: Upstream) -> None:
    with proxy.fault(hang_up), pytest.raises(ConnectionClosedError):
        names(proxy)
    assert upstream.received == []


def test_a_swallowed_request_is_neither_answered_nor_forwarded(proxy: FaultProxy, upstream: Upstream) -> None:
    with proxy.fault(swallow), pytest.raises(ReadTimeoutError):
        names(proxy)
    assert upstream.received == []


def test_a_swallowed_request_s_connection_is_closed_when_the_fault_is_lifted(proxy: FaultProxy) -> None:
    client = connection(proxy)
    with proxy.fault(swallow) as fault:
        client.request("POST", "/", b"{}")
        until(lambda: fault.hits, "the request to be swallowed")
    with pytest.raises(RemoteDisconnected):
        client.getresponse()


def test_a_held_request_is_forwarded_when_the_fault_is_lifted(proxy: FaultProxy, upstream: Upstream) -> None:
    client = connection(proxy)
    with proxy.fault(hold) as fault:
        client.request("POST", "/", b"{}")
        until(lambda: fault.hits, "the request to be held")
        assert upstream.received == []
    assert client.getresponse().status == 200
    client.close()


def test_a_delayed_request_comes_late(proxy: FaultProxy) -> None:
    start = time.monotonic()
    with proxy.fault(delay(0.5)):
        assert names(proxy) == ["limits"]
    assert time.monotonic() - start >= 0.5


def test_only_matching_operations_and_requests_are_hit(proxy: FaultProxy) -> None:
    with proxy.fault(FAILING, "UpdateItem"), proxy.fault(THROTTLED, when=lambda request: b"other" in request.body):
        assert names(proxy) == ["limits"]
        with pytest.raises(ClientError, match="ProvisionedThroughput"):
            names(proxy, "other")


def test_a_fault_may_be_limited_to_a_number_of_requests(proxy: FaultProxy) -> None:
    with proxy.fault(THROTTLED, most=2) as fault:
        for _ in range(2):
            with pytest.raises(ClientError):
                names(proxy)
        assert names(proxy) == ["limits"]
    assert fault.hits["ListTables"] == 2


def hit_by_table(upstream: Upstream, seed: int, tables: list[str]) -> dict[str, bool]:
    """Which requests are hit by a fault of probability 0.3."""
    found = {}
    with fault_proxy(f"http://{LOOPBACK}:{upstream.server_port}", seed) as proxy, proxy.fault(FAILING, probability=0.3):
        client = dynamodb(proxy)
        for table in tables:
            try:
                found[table] = bool(client.list_tables(ExclusiveStartTableName=table)) is False
            except ClientError:
                found[table] = True
    return found


def test_the_seed_decides_which_requests_are_hit_whatever_the_order(upstream: Upstream) -> None:
    tables = [f"table-{number:03}" for number in range(100)]
    hit = hit_by_table(upstream, 7, tables)
    assert hit_by_table(upstream, 7, tables[::-1]) == hit
    assert hit_by_table(upstream, 8, tables) != hit
    assert 10 < sum(hit.values()) < 50


def test_a_repeated_request_has_a_new_chance() -> None:
    dice = Dice(1)
    assert len({dice.throw(b"the same") for _ in range(10)}) == 10
    assert Dice(1).throw(b"the same") == Dice(1).throw(b"the same")


def test_single_statements_of_a_batch_fail(proxy: FaultProxy, upstream: Upstream) -> None:
    statements = [{"Statement": f"statement-{number}"} for number in range(25)]
    with proxy.fault(fail_statements(0.5)) as fault:
        answers = dynamodb(proxy).batch_execute_statement(Statements=statements)["Responses"]
    failed = [answer["Error"]["Code"] for answer in answers if "Error" in answer]
    sound = [answer["TableName"] for answer in answers if "TableName" in answer]
    assert set(failed) == {"ThrottlingError"}
    assert len(failed) == fault.hits["statements"]
    assert [each["Statement"] for each in json.loads(upstream.received[0])["Statements"]] == sound
    assert len(failed) + len(sound) == 25
    assert all(
        answer.get("TableName") in (None, statement["Statement"])
        for answer, statement in zip(answers, statements, strict=True)
    )


def test_a_batch_of_which_every_statement_fails_is_not_forwarded(proxy: FaultProxy, upstream: Upstream) -> None:
    with proxy.fault(fail_statements(1.0, "AccessDenied")):
        answers = dynamodb(proxy).batch_execute_statement(Statements=[{"Statement": "one"}, {"Statement": "two"}])
    assert [answer["Error"]["Code"] for answer in answers["Responses"]] == ["AccessDenied"] * 2
    assert upstream.received == []


def test_single_keys_of_a_batch_are_left_unread_but_never_all(proxy: FaultProxy) -> None:
    keys = [{"userId": {"S": f"u-{number}"}} for number in range(5)]
    with proxy.fault(skip_keys(1.0)) as fault:
        answer = dynamodb(proxy).batch_get_item(RequestItems={"limits": {"Keys": keys, "ConsistentRead": True}})
    assert answer["Responses"]["limits"] == keys[:1]
    assert answer["UnprocessedKeys"] == {"limits": {"Keys": keys[1:], "ConsistentRead": True}}
    assert fault.hits["keys"] == 4


def test_without_an_upstream_the_client_gets_no_response() -> None:
    with socket.create_server((LOOPBACK, 0)) as unused:
        port = unused.getsockname()[1]
    with fault_proxy(f"http://{LOOPBACK}:{port}") as proxy, pytest.raises(ConnectionClosedError):
        names(proxy)


def test_no_more_threads_than_allowed(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.faults.proxy.CONNECTIONS", 2)
    threads = threading.active_count()
    with fault_proxy(f"http://{LOOPBACK}:{upstream.server_port}") as proxy, proxy.fault(hold) as fault:
        clients = [connection(proxy) for _ in range(6)]
        for client in clients:
            client.request("POST", "/", b"{}")
        until(lambda: fault.hits["POST"] == 2, "two requests to be held")
        assert threading.active_count() <= threads + 1 + 2
        proxy.lift(fault)
        for client in clients:
            assert client.getresponse().read()
            client.close()
    assert fault.hits["POST"] == 2


def test_nothing_is_left_when_it_stops(upstream: Upstream) -> None:
    before = threading.active_count()
    with fault_proxy(f"http://{LOOPBACK}:{upstream.server_port}") as proxy, ThreadPoolExecutor() as pool:
        fault = proxy.impose(swallow)
        received = pool.submit(names, proxy)
        until(lambda: fault.hits, "the request to be swallowed")
        proxy.stop()
        assert isinstance(received.exception(), (ConnectionClosedError, EndpointConnectionError))
    until(lambda: threading.active_count() == before, "the end of its threads", seconds=5)


def test_a_client_that_hangs_up_frees_its_thread(proxy: FaultProxy) -> None:
    with proxy.fault(swallow) as fault:
        before = threading.active_count()
        client = connection(proxy)
        client.request("POST", "/", b"{}")
        until(lambda: fault.hits, "the request to be swallowed")
        client.close()
        until(lambda: threading.active_count() == before, "the thread to end", seconds=50 * CHECK_SECONDS)


def test_a_bug_in_an_effect_is_not_swallowed(upstream: Upstream) -> None:
    def broken(exchange: Exchange) -> None:
        raise ValueError(exchange.request.operation)

    with (
        pytest.raises(ValueError, match="ListTables"),
        fault_proxy(f"http://{LOOPBACK}:{upstream.server_port}") as proxy,
        proxy.fault(broken),
        pytest.raises(ConnectionClosedError),
    ):
        names(proxy)
