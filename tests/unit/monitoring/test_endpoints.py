"""Figures of all processes are served as one; who is alive, ready and healthy is told with reasons."""

import asyncio
import gzip
import http.client
import json
import os
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter
from starlette.types import Message

from consumer.monitoring import responses
from consumer.monitoring.endpoints import (
    DOWN_SECONDS,
    STILL_SECONDS,
    Exporter,
    Health,
    Seconds,
    liveness_failures,
    readiness_failures,
    start_failures,
)
from consumer.monitoring.metrics import HEARTBEAT, RESTARTS
from consumer.monitoring.process_metrics import resident_bytes
from consumer.monitoring.server import Server, listen
from consumer.supervisor.restarts import Restarts

RECORD_PROCESSOR = """
import sys
from consumer.monitoring import metrics
from consumer.monitoring.prometheus import PrometheusSink
measure = PrometheusSink((*metrics.CORE, *metrics.SHARD))
measure(metrics.HEARTBEAT, float(sys.argv[2]), sys.argv[1])
for gauge in sys.argv[3:]:
    measure({"busy": metrics.BUSY, "reads": metrics.LAST_BATCH}[gauge], 1.0, sys.argv[1])
measure(metrics.CHECKPOINTS, 2, "made")
print("up", flush=True)
sys.stdin.read()
"""
UP = Health(beat=0.0, daemon=1)

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts what a record processor is to the exporter: shard, heartbeat, whether it is `busy` and `reads`."""
    started: list[subprocess.Popen[bytes]] = []

    def start(shard: str, beat: float, *states: str) -> subprocess.Popen[bytes]:
        environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
        command = [sys.executable, "-c", RECORD_PROCESSOR, shard, str(beat), *states]
        process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout
        assert process.stdout.readline() == b"up\n"
        return process

    yield start
    for process in started:
        process.communicate()


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


@dataclass
class StubLeases:
    """`owned`: the shards that this worker should read."""

    owned: list[str] = field(default_factory=list)

    def reasons(self, living: Collection[str]) -> list[str]:
        return [f"{shard} has no record processor" for shard in self.owned if shard not in living]

    def unread(self, reading: Collection[str]) -> list[str]:
        return [f"{shard} is not read" for shard in self.owned if shard not in reading]


def exporter(directory: Path, health: Health = UP, *owned: str) -> Exporter:
    return exporter_of(directory, lambda: health, StubLeases([*owned]))


def exporter_of(directory: Path, health: Callable[[], Health], leases: StubLeases) -> Exporter:
    registry = CollectorRegistry()
    Counter(RESTARTS.name, RESTARTS.help, registry=registry).inc(7)
    return Exporter(directory, registry, health, Seconds(hang=60, healthy_after=60), leases)


def get(served: Exporter, path: str, **headers: str) -> tuple[HTTPStatus, bytes]:
    names = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "GET", "path": path, "headers": names}
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(served.app()(scope, never, send))
    return HTTPStatus(sent[0]["status"]), b"".join(message.get("body", b"") for message in sent)


async def never() -> Message:
    raise AssertionError("the exporter reads no body")


def samples(served: Exporter) -> list[str]:
    return [line for line in get(served, "/metrics")[1].decode().splitlines() if not line.startswith("#")]


def test_the_figures_of_all_processes_are_summed(tmp_path: Path, start: Start) -> None:
    start("shard-1", 1.0)
    start("shard-2", 2.0)
    found = samples(exporter(tmp_path))
    assert 'consumer_checkpoints_total{result="made"} 4.0' in found
    assert f'{HEARTBEAT.name}{{shard="shard-2"}} 2.0' in found


def test_the_supervisors_own_figures_are_there_once(tmp_path: Path, start: Start) -> None:
    start("shard-1", 1.0)
    assert [line for line in samples(exporter(tmp_path)) if RESTARTS.name in line] == [f"{RESTARTS.name} 7.0"]


def test_no_sample_is_there_twice(tmp_path: Path, start: Start) -> None:
    start("shard-1", 1.0)
    names = [line.rpartition(" ")[0] for line in samples(exporter(tmp_path))]
    assert len(set(names)) == len(names)


def test_a_dead_process_leaves_its_counts_and_takes_its_gauges(tmp_path: Path, start: Start) -> None:
    kill(start("shard-1", 1.0))
    found = samples(exporter(tmp_path))
    assert 'consumer_checkpoints_total{result="made"} 2.0' in found
    assert "consumer_leases_held 0.0" in found
    assert not any("shard-1" in line for line in found)


def test_the_leases_held_and_their_memory_are_told(tmp_path: Path, start: Start) -> None:
    start("shard-1", 1.0)
    start("shard-2", 1.0)
    found = dict(line.rsplit(" ", 1) for line in samples(exporter(tmp_path, Health(0.0, daemon=os.getpid()))))
    assert found["consumer_leases_held"] == "2.0"
    for series in (
        'consumer_shard_resident_memory_bytes{shard="shard-1"}',
        'consumer_shard_resident_memory_bytes{shard="shard-2"}',
        "consumer_daemon_resident_memory_bytes",
    ):
        # each is a fork of this process, or this process
        assert 5e6 < float(found[series]) < 2 * (resident_bytes(os.getpid()) or 0)


def test_a_jvm_that_is_gone_has_no_memory(tmp_path: Path) -> None:
    assert not any("memory" in line for line in samples(exporter(tmp_path, Health(0.0, daemon=2**31 - 1))))
    assert not any("memory" in line for line in samples(exporter(tmp_path, Health(0.0))))


def test_what_was_built_is_told(tmp_path: Path) -> None:
    (line,) = (line for line in samples(exporter(tmp_path)) if line.startswith("consumer_build_info"))
    assert f'kclpy="{version("amazon_kclpy")}"' in line
    assert line.endswith(" 1.0")


def test_the_scraper_may_ask_for_openmetrics_and_compression(tmp_path: Path) -> None:
    status, body = get(
        exporter(tmp_path), "/metrics", accept="application/openmetrics-text; version=1.0.0", accept_encoding="gzip"
    )
    assert status is HTTPStatus.OK
    assert gzip.decompress(body).endswith(b"# EOF\n")


def test_who_asks_again_within_a_second_is_told_the_same(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = exporter(tmp_path)
    monkeypatch.setattr(responses, "_STALE_SECONDS", 3600)
    before = samples(served)
    start("shard-1", 1.0)
    assert samples(served) == before
    monkeypatch.setattr(responses, "_STALE_SECONDS", -1)
    assert samples(served) != before


@pytest.mark.parametrize(
    "accept", ["text/plain;version=x", "application/openmetrics-text;version=x.y", "text/plain;version="]
)
def test_a_version_that_is_no_number_gets_the_plain_text(tmp_path: Path, accept: str) -> None:
    status, body = get(exporter(tmp_path), "/metrics", accept=accept)
    assert (status, body.startswith(b"# HELP")) == (HTTPStatus.OK, True)


def test_who_invents_formats_is_told_the_same(tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    served = exporter(tmp_path)
    monkeypatch.setattr(responses, "_STALE_SECONDS", 3600)
    before = get(served, "/metrics")
    for number in range(10):
        get(served, "/metrics", accept=f"application/openmetrics-text;version=1.0.{number}")
    start("shard-1", 1.0)
    assert get(served, "/metrics", accept="application/openmetrics-text;version=1.0.10") == before


def test_an_unknown_path_is_not_found(tmp_path: Path) -> None:
    assert get(exporter(tmp_path), "/")[0] is HTTPStatus.NOT_FOUND


def test_a_silent_record_processor_is_a_reason_to_replace_the_container() -> None:
    (reason,) = liveness_failures(UP, {"shard-1": 39.0, "shard-2": 41.0}, hang_seconds=60, now=100.0, beat=0.0)
    assert reason == "the record processor of shard-1 has been silent for 61 s"


def test_a_hanging_supervisor_is_one_too() -> None:
    assert liveness_failures(UP, {}, hang_seconds=60, now=0.0, beat=31.0) == ["the supervisor hangs"]


def test_a_still_jvm_is_one_too() -> None:
    still = Health(beat=0.0, daemon=1, still=STILL_SECONDS)
    assert liveness_failures(still, {}, hang_seconds=60, now=0.0, beat=0.0) == []
    still = replace(still, still=STILL_SECONDS + 1)
    assert liveness_failures(still, {}, hang_seconds=60, now=0.0, beat=0.0) == ["the JVM has been still for 61 s"]
    for ended in (replace(still, daemon=None), replace(still, stopping=True)):
        assert liveness_failures(ended, {}, hang_seconds=60, now=0.0, beat=0.0) == []


def test_a_daemon_that_is_being_restarted_is_none() -> None:
    assert liveness_failures(
        Health(beat=100.0, since=100.0), {}, hang_seconds=60, now=0.0, beat=100.0 + DOWN_SECONDS
    ) == ["the supervisor hangs"]
    assert liveness_failures(Health(beat=190.0, since=100.0), {}, hang_seconds=60, now=0.0, beat=190.0) == []


def test_a_daemon_that_is_not_restarted_is_one() -> None:
    down = Health(beat=191.0, since=100.0)
    assert liveness_failures(down, {}, hang_seconds=60, now=0.0, beat=191.0) == ["the daemon has not run for 91 s"]
    assert liveness_failures(replace(down, stopping=True), {}, hang_seconds=60, now=0.0, beat=191.0) == []


def test_the_longest_pause_before_a_restart_does_not_make_it_one() -> None:
    restarts = Restarts(most=100, window_seconds=1, start_seconds=60)
    pauses = (restarts.delay(count, failed_starts=0, chance=1.0) for count in range(1, 101))
    assert max(filter(None, pauses)) <= DOWN_SECONDS / 2


@pytest.mark.parametrize(
    ("health", "beats", "reasons"),
    [
        (Health(0.0), {}, ["the daemon is not running"]),
        (Health(0.0, ended=137), {}, ["the daemon is not running: the last one ended with 137"]),
        (UP, {}, ["the daemon is not initialised yet"]),
        (UP, {"shard-1": 1.0}, []),
        (Health(0.0, daemon=1, initialised=True), {}, []),
        (Health(0.0, daemon=1, initialised=True, stopping=True), {"s": 1.0}, ["the worker is stopping"]),
    ],
)
def test_ready_is_who_works(health: Health, beats: dict[str, float], reasons: list[str]) -> None:
    assert readiness_failures(health, beats) == reasons


STARTED = Health(beat=0.0, daemon=1, initialised=True, initialised_at=100.0)


@pytest.mark.parametrize(
    ("health", "reasons"),
    [
        (replace(STARTED, daemon=None, ended=1), ["the daemon is not running: the last one ended with 1"]),
        (replace(STARTED, initialised=False), ["the daemon is not initialised yet"]),
        (replace(STARTED, initialised_at=101.0), ["the daemon has been initialised for 59 of 60 s"]),
        (replace(STARTED, stopping=True), ["the worker is stopping"]),
        (STARTED, []),
    ],
)
def test_a_start_succeeds_when_the_daemon_has_initialised_and_lived(health: Health, reasons: list[str]) -> None:
    assert start_failures(health, healthy_after=60, beat=160.0) == reasons


def test_a_daemon_may_count_at_once() -> None:
    assert start_failures(replace(STARTED, initialised_at=160.0), healthy_after=0, beat=160.0) == []


def reasons_of(served: Exporter, path: str) -> list[str]:
    status, body = get(served, path)
    answer = json.loads(body)
    assert answer["ok"] == (status is HTTPStatus.OK)
    return list(answer["reasons"])


LIVED = Health(beat=float("inf"), daemon=1, initialised=True, initialised_at=float("-inf"))


def test_it_is_healthy_when_every_lease_is_read(tmp_path: Path, start: Start) -> None:
    served = exporter(tmp_path, LIVED, "shard-1", "shard-2")
    start("shard-1", 1.0, "reads")
    start("shard-2", 1.0)
    assert reasons_of(served, "/healthz") == ["shard-2 is not read"]
    assert reasons_of(served, "/readyz") == []
    start("shard-2", 1.0, "reads")
    assert reasons_of(served, "/healthz") == []


def test_without_leases_it_is_healthy_once_its_daemon_has_lived(tmp_path: Path) -> None:
    assert reasons_of(exporter(tmp_path, LIVED), "/healthz") == []
    fresh = replace(LIVED, initialised_at=float("inf"))
    assert reasons_of(exporter(tmp_path, fresh), "/healthz") == ["the daemon has been initialised for -inf of 60 s"]


def test_once_healthy_only_liveness_counts(tmp_path: Path, start: Start) -> None:
    """An outage after a successful start replaces no container."""
    current, leases = [LIVED], StubLeases()
    served = exporter_of(tmp_path, lambda: current[0], leases)
    assert reasons_of(served, "/healthz") == []
    current[0], leases.owned = replace(LIVED, initialised=False), ["shard-1"]
    assert reasons_of(served, "/healthz") == []
    assert reasons_of(exporter_of(tmp_path, lambda: current[0], leases), "/healthz"), "it depends on the past"
    start("shard-1", 1.0, "busy")
    (silent,) = reasons_of(served, "/healthz")
    assert silent.startswith("the record processor of shard-1 has been silent for")
    assert reasons_of(served, "/livez")


def test_a_worker_that_is_not_alive_is_not_healthy(tmp_path: Path) -> None:
    served = exporter(tmp_path, replace(LIVED, still=61.0))
    assert reasons_of(served, "/healthz") == reasons_of(served, "/livez") == ["the JVM has been still for 61 s"]


def test_a_record_processor_that_waits_for_the_daemon_may_be_silent(tmp_path: Path, start: Start) -> None:
    start("shard-1", 1.0, "reads")
    assert reasons_of(exporter(tmp_path, LIVED), "/livez") == []


@pytest.mark.parametrize(("states", "settled"), [([], False), (["busy", "reads"], False), (["reads"], True)])
def test_a_batch_is_settled_when_the_record_processor_waits_again(
    tmp_path: Path, start: Start, states: list[str], settled: bool
) -> None:
    start("shard-1", 1.0, *states)
    assert exporter(tmp_path).has_settled() is settled


def test_health_is_answered_with_reasons(tmp_path: Path) -> None:
    assert get(exporter(tmp_path, Health(0.0)), "/readyz") == (
        HTTPStatus.SERVICE_UNAVAILABLE,
        b'{"ok": false, "reasons": ["the daemon is not running"]}\n',
    )


def test_a_shard_that_lives_is_answered_for(tmp_path: Path, start: Start) -> None:
    start("shard-1", 4e9)
    fresh = exporter(tmp_path, Health(beat=float("inf"), daemon=1))
    assert get(fresh, "/livez") == (HTTPStatus.OK, b'{"ok": true, "reasons": []}\n')
    assert get(fresh, "/readyz")[0] is HTTPStatus.OK


def test_a_failure_is_answered_with_its_cause(tmp_path: Path) -> None:
    def broken() -> Health:
        raise OSError("no space left")

    server = Server(listen("127.0.0.1:0"), exporter_of(tmp_path, broken, StubLeases()).app())
    server.start()
    try:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        connection.request("GET", "/livez")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (500, b"OSError: no space left\n")
        connection.close()
    finally:
        server.stop()
