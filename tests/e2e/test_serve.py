"""`consumer serve`, the real command on an emulator: its answers, outages of the table, its end, attacks on it."""

import json
import socket
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

from tests.support.driven.clients import slow_clients
from tests.support.driven.connections import accepts, answer, cut_off, read
from tests.support.driven.processes import LOOPBACK
from tests.support.driven.scenario import Stage
from tests.support.driven.service import Service, consumer, serving
from tests.support.driven.waiting import until
from tests.support.emulators.issuer import AUDIENCE, issuer
from tests.support.faults.proxy import (
    ACCESS_DENIED,
    FAILING,
    THROTTLED,
    Effect,
    FaultProxy,
    fault_proxy,
    hang_up,
    hold,
    swallow,
)
from tests.support.generators.events import LIMIT, USER, created, progress_changed

LIMITS = f"/user-limits/{USER}"
HEAD = "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"
FAST = {"CONSUMER_API_DYNAMODB_SECONDS": "0.5", "CONSUMER_API_REQUEST_SECONDS": "5"}


def fill(stage: Stage, tmp_path: Path) -> None:
    """Applies two events, as the function would."""
    file = tmp_path / "events.json"
    file.write_text(json.dumps([created(1), progress_changed(2, amount="850")]))
    consumer(stage.variables, "lambda-invoke", str(file))


@contextmanager
def behind_a_proxy(stage: Stage, log: Path, **variables: str) -> Iterator[tuple[Service, FaultProxy]]:
    """The running API, whose requests to DynamoDB pass a proxy."""
    with (
        fault_proxy(stage.variables["AWS_ENDPOINT_URL"]) as proxy,
        serving(stage.variables, log, AWS_ENDPOINT_URL_DYNAMODB=proxy.endpoint, **variables) as running,
    ):
        yield running, proxy


def port_of(running: Service) -> int:
    return int(running.address.rpartition(":")[2])


def connect(running: Service) -> socket.socket:
    return socket.create_connection((LOOPBACK, port_of(running)), timeout=60)


def get(running: Service, path: str, **headers: str) -> tuple[HTTPResponse, Any]:
    """The response and its JSON."""
    connection = HTTPConnection(LOOPBACK, port_of(running), timeout=60)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response, json.loads(response.read())
    finally:
        connection.close()


def under_way(running: Service, stack: ExitStack, count: int = 1) -> list[socket.socket]:
    """Clients that wait for the response to a request of limits."""
    clients = [stack.enter_context(connect(running)) for _ in range(count)]
    for client in clients:
        client.sendall(HEAD.format(path=LIMITS).encode())
    return clients


def test_it_answers_what_the_command_line_shows(stage: Stage, tmp_path: Path) -> None:
    fill(stage, tmp_path)
    (shown,) = json.loads(consumer(stage.variables, "limits", USER, "--json"))
    with serving(stage.variables, tmp_path / "log") as running:
        response, found = get(running, LIMITS)
        (limit,) = found["limits"]
        assert limit == {**shown, "usedPercent": "85.00", "reached": False}
        assert get(running, f"{LIMITS}/{LIMIT}")[0].status == HTTPStatus.OK
        again, _ = get_unchanged(running, LIMITS, response.getheader("etag") or "")
        assert again == HTTPStatus.NOT_MODIFIED
        missing, problem = get(running, f"{LIMITS}/none")
        assert (missing.status, problem["status"]) == (HTTPStatus.NOT_FOUND, 404)
        nobody, empty = get(running, "/user-limits/nobody")
        assert (nobody.status, empty["limits"]) == (HTTPStatus.OK, [])
        metrics = running.get("/metrics")[1]
        assert [code for code in (200, 304, 404) if f'status="{code}"' not in metrics] == []
        assert running.stop() == 0


def get_unchanged(running: Service, path: str, etag: str) -> tuple[int, bytes]:
    connection = HTTPConnection(LOOPBACK, port_of(running), timeout=60)
    try:
        connection.request("GET", path, headers={"If-None-Match": etag})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_with_an_issuer_only_tokens_open_it(stage: Stage, tmp_path: Path) -> None:
    fill(stage, tmp_path)
    with issuer() as op:
        variables = {"CONSUMER_API_ISSUER": op.url, "CONSUMER_API_AUDIENCE": AUDIENCE}
        with serving(stage.variables, tmp_path / "log", **variables) as running:
            answers = {
                name: get(running, LIMITS, **headers)[0].status
                for name, headers in {
                    "none": {},
                    "own": bearer(op.token(sub=USER)),
                    "other": bearer(op.token(sub="u-2")),
                    "support": bearer(op.token(sub="agent-7", scope="limits:read")),
                    "expired": bearer(op.token(sub=USER, exp=1_700_000_000)),
                }.items()
            }
            assert running.stop() == 0
            lines = running.lines()
    assert answers == {"none": 401, "own": 200, "other": 403, "support": 200, "expired": 401}
    (audited,) = [line for line in lines if line["logger"] == "consumer.api.audit"]
    assert (audited["who"], audited["whose"]) == ("agent-7", USER)
    assert USER not in json.dumps([line for line in lines if line is not audited])


def bearer(token: str) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {token}"}


# --- The table does not answer -------------------------------------------------------------------------------------


OUTAGES: Mapping[str, Effect] = {
    "hang up": hang_up,
    "swallow": swallow,
    "failing": FAILING,
    "throttled": THROTTLED,
    "denied": ACCESS_DENIED,
}


def test_an_outage_of_the_table_is_503_and_ends_with_it(stage: Stage, tmp_path: Path) -> None:
    fill(stage, tmp_path)
    paths = (LIMITS, f"{LIMITS}/{LIMIT}", f"{LIMITS}/headroom?type=DEPOSIT")
    with behind_a_proxy(stage, tmp_path / "log", **FAST) as (running, proxy):
        for name, effect in OUTAGES.items():
            with proxy.fault(effect):
                answers = [get(running, path) for path in paths]
                assert running.get("/livez")[0] == HTTPStatus.OK, name
            assert [(response.status, problem["status"]) for response, problem in answers] == [(503, 503)] * 3, name
            assert all(int(response.getheader("retry-after") or 0) > 0 for response, _ in answers), name
            assert len(get(running, LIMITS)[1]["limits"]) == 1, name
        assert running.stop() == 0


def test_a_lost_response_of_the_table_is_asked_for_again(stage: Stage, tmp_path: Path) -> None:
    fill(stage, tmp_path)
    with behind_a_proxy(stage, tmp_path / "log") as (running, proxy):
        with proxy.fault(hang_up, most=1) as lost:
            assert get(running, LIMITS)[0].status == HTTPStatus.OK
        assert lost.hits.total() == 1
        assert running.stop() == 0


def test_too_many_requests_get_503_and_the_others_their_answers(stage: Stage, tmp_path: Path) -> None:
    fill(stage, tmp_path)
    with (
        behind_a_proxy(stage, tmp_path / "log", CONSUMER_API_MAX_REQUESTS="3") as (running, proxy),
        ExitStack() as stack,
    ):
        with proxy.fault(hold) as held:
            clients = under_way(running, stack, 3)
            until(lambda: held.hits.total() == 3, "three requests at the table")
            response, _ = get(running, LIMITS)
            assert response.status == HTTPStatus.SERVICE_UNAVAILABLE
            assert int(response.getheader("retry-after") or 0) > 0
            assert running.get("/livez")[0] == HTTPStatus.OK
        assert [answer(client)[0].status for client in clients] == [200] * 3
        assert get(running, LIMITS)[0].status == HTTPStatus.OK
        assert running.stop() == 0


# --- The end -------------------------------------------------------------------------------------------------------


def test_sigterm_answers_what_is_under_way_and_refuses_the_rest(stage: Stage, tmp_path: Path) -> None:
    fill(stage, tmp_path)
    with behind_a_proxy(stage, tmp_path / "log") as (running, proxy), ExitStack() as stack:
        waiting = stack.enter_context(connect(running))
        waiting.sendall(HEAD.format(path="/livez").encode())
        assert answer(waiting)[0].status == HTTPStatus.OK
        with proxy.fault(hold) as held:
            clients = under_way(running, stack, 5)
            until(lambda: held.hits.total() == 5, "the requests at the table")
            running.process.terminate()
            until(lambda: not accepts(LOOPBACK, port_of(running)), "new connections to be refused")
            assert waiting.recv(1) == b"", "a connection without a request is closed"
            assert running.process.poll() is None
        for client in clients:
            response, body = answer(client)
            assert (response.status, response.getheader("connection")) == (HTTPStatus.OK, "close")
            assert len(json.loads(body)["limits"]) == 1
        assert running.process.wait(30) == 0
    assert [line["message"] for line in running.lines()][-2:] == ["stopping", "stopped gracefully"]


def test_it_ends_within_the_time_of_a_request_whatever_the_table_does(stage: Stage, tmp_path: Path) -> None:
    with (
        behind_a_proxy(stage, tmp_path / "log", **FAST) as (running, proxy),
        ExitStack() as stack,
        proxy.fault(swallow) as hole,
    ):
        (client,) = under_way(running, stack)
        until(lambda: hole.hits, "the request at the table")
        running.process.terminate()
        assert answer(client)[0].status == HTTPStatus.SERVICE_UNAVAILABLE
        assert running.process.wait(30) == 0


def test_a_second_sigterm_ends_it_at_once(stage: Stage, tmp_path: Path) -> None:
    with (
        behind_a_proxy(stage, tmp_path / "log") as (running, proxy),
        ExitStack() as stack,
        proxy.fault(hold) as held,
    ):
        (client,) = under_way(running, stack)
        until(lambda: held.hits, "the request at the table")
        running.process.terminate()
        until(lambda: not accepts(LOOPBACK, port_of(running)), "new connections to be refused")
        running.process.terminate()
        assert running.process.wait(30) == 1
        assert cut_off(client)


# --- Attacks on the server -----------------------------------------------------------------------------------------

FLOOD = 600


def test_whoever_asks_is_answered_in_a_flood_of_connections(stage: Stage, tmp_path: Path) -> None:
    """Silent, slow and not reading: more of them than connections are allowed."""
    fill(stage, tmp_path)
    with (
        serving(stage.variables, tmp_path / "log", CONSUMER_API_MAX_CONNECTIONS="64") as running,
        slow_clients(port_of(running), FLOOD),
    ):
        for _ in range(20):
            assert len(get(running, LIMITS)[1]["limits"]) == 1
        assert running.stop() == 0


HEADS = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nA: " + b"x" * 1_000_000,
    b"GET /" + b"x" * 1_000_000,
    b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 200_000,
)


def test_a_flood_of_headers_is_not_read(stage: Stage, tmp_path: Path) -> None:
    with serving(stage.variables, tmp_path / "log") as running:
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(lambda head: flooded(running, head), HEADS * 20))
        assert running.get("/livez")[0] == HTTPStatus.OK
        assert running.stop() == 0
        assert all(line["level"] != "ERROR" for line in running.lines())


def flooded(running: Service, flood: bytes) -> bool:
    with connect(running) as client:
        return refused(client, flood)


def refused(client: socket.socket, flood: bytes) -> bool:
    """Whether the server refuses the request, or closes the connection before it is sent."""
    try:
        client.sendall(flood)
        return read(client).startswith("HTTP/1.1 431 ")
    except ConnectionError:
        return True


NONSENSE = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # the begin of TLS
    b"GET /livez HTTP/1.1\r\n\r\n",  # without a host
    b"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    b"GET /livez HTTP/1.1\r\nHost: x\r\nA\x00: b\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\r\n" * 20_000,
)


def test_what_is_no_request_is_refused_or_cut_off(stage: Stage, tmp_path: Path) -> None:
    with serving(stage.variables, tmp_path / "log") as running:
        for nonsense in NONSENSE:
            with connect(running) as client:
                answered = sent(client, nonsense)
            # 421: the begin of HTTP/2 is a request without a host
            assert answered == "" or answered.startswith(("HTTP/1.1 400 ", "HTTP/1.1 421 ", "HTTP/1.1 431 ")), nonsense
            assert running.get("/livez")[0] == HTTPStatus.OK
        assert running.stop() == 0


def sent(client: socket.socket, said: bytes) -> str:
    """The answer, empty if the connection is closed without one."""
    try:
        client.sendall(said)
        client.shutdown(socket.SHUT_WR)
        return read(client)
    except ConnectionError:
        return ""
