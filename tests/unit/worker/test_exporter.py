"""Figures of all processes are served as one; who is alive and who is ready is told with reasons."""

import gzip
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter

from consumer.metrics import DAEMON_STARTS, HEARTBEAT
from consumer.worker import exporter as exporting
from consumer.worker.exporter import Exporter, Health, bury_dead, heartbeats, unlively, unready
from consumer.worker.server import Request

RECORD_PROCESSOR = """
import sys
from consumer import metrics
from consumer.prometheus import PrometheusSink
measure = PrometheusSink()
measure(metrics.HEARTBEAT, float(sys.argv[2]), sys.argv[1])
measure(metrics.CHECKPOINTS, 2, "made")
print("up", flush=True)
sys.stdin.read()
"""
UP = Health(beat=0.0, daemon_up=True)

Start = Callable[[str, float], subprocess.Popen[bytes]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts what a record processor is to the exporter: shard, heartbeat."""
    started: list[subprocess.Popen[bytes]] = []

    def start(shard: str, beat: float) -> subprocess.Popen[bytes]:
        environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
        command = [sys.executable, "-c", RECORD_PROCESSOR, shard, str(beat)]
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


def exporter(directory: Path, health: Health = UP) -> Exporter:
    registry = CollectorRegistry()
    Counter(DAEMON_STARTS.name, DAEMON_STARTS.help, registry=registry).inc(7)
    return Exporter(directory, registry, lambda: health, hang_seconds=60)


def get(asked: Exporter, path: str, **headers: str) -> tuple[HTTPStatus, bytes]:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    response = asked.answer(Request("GET", path, names))
    return response.status, response.body


def samples(asked: Exporter) -> list[str]:
    return [line for line in get(asked, "/metrics")[1].decode().splitlines() if not line.startswith("#")]


def test_the_figures_of_all_processes_are_summed(tmp_path: Path, start: Start) -> None:
    start("shard-1", 1.0)
    start("shard-2", 2.0)
    found = samples(exporter(tmp_path))
    assert 'consumer_checkpoints_total{result="made"} 4.0' in found
    assert f'{HEARTBEAT.name}{{shard="shard-2"}} 2.0' in found


def test_the_supervisors_own_figures_are_there_once(tmp_path: Path, start: Start) -> None:
    start("shard-1", 1.0)
    assert [line for line in samples(exporter(tmp_path)) if DAEMON_STARTS.name in line] == [f"{DAEMON_STARTS.name} 7.0"]


def test_no_sample_is_there_twice(tmp_path: Path, start: Start) -> None:
    start("shard-1", 1.0)
    names = [line.rpartition(" ")[0] for line in samples(exporter(tmp_path))]
    assert len(set(names)) == len(names)


def test_a_dead_process_leaves_its_counts_and_takes_its_gauges(tmp_path: Path, start: Start) -> None:
    kill(start("shard-1", 1.0))
    found = samples(exporter(tmp_path))
    assert 'consumer_checkpoints_total{result="made"} 2.0' in found
    assert not any(line.startswith(HEARTBEAT.name) for line in found)


def test_a_process_killed_before_it_filled_its_file_breaks_nothing(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / f"counter_{dead.pid}.db").touch()
    assert get(exporter(tmp_path), "/metrics")[0] is HTTPStatus.OK


def test_the_living_are_not_buried(tmp_path: Path) -> None:
    (tmp_path / f"gauge_livemostrecent_{os.getpid()}.db").touch()
    (tmp_path / "gauge_livemostrecent_1.db").touch()
    bury_dead(tmp_path)
    assert len(list(tmp_path.glob("*.db"))) == 2


def test_the_scraper_may_ask_for_openmetrics_and_compression(tmp_path: Path) -> None:
    status, body = get(
        exporter(tmp_path), "/metrics", accept="application/openmetrics-text; version=1.0.0", accept_encoding="gzip"
    )
    assert status is HTTPStatus.OK
    assert gzip.decompress(body).endswith(b"# EOF\n")


def test_who_asks_again_within_a_second_is_told_the_same(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = exporter(tmp_path)
    monkeypatch.setattr(exporting, "_STALE_SECONDS", 3600)
    before = samples(asked)
    start("shard-1", 1.0)
    assert samples(asked) == before
    monkeypatch.setattr(exporting, "_STALE_SECONDS", -1)
    assert samples(asked) != before


def test_heartbeats_are_read_by_shard(tmp_path: Path, start: Start) -> None:
    start("shard-1", 1.0)
    start("shard-2", 2.0)
    assert heartbeats(tmp_path.glob("gauge_live*.db")) == {"shard-1": 1.0, "shard-2": 2.0}


def test_an_unknown_path_is_not_found(tmp_path: Path) -> None:
    assert get(exporter(tmp_path), "/")[0] is HTTPStatus.NOT_FOUND


def test_a_silent_record_processor_is_a_reason_to_replace_the_container() -> None:
    (reason,) = unlively(UP, {"shard-1": 39.0, "shard-2": 41.0}, hang_seconds=60, now=100.0, beat=0.0)
    assert reason == "the record processor of shard-1 has been silent for 61 s"


def test_a_hanging_supervisor_is_one_too() -> None:
    assert unlively(UP, {}, hang_seconds=60, now=0.0, beat=31.0) == ["the supervisor hangs"]


def test_a_daemon_that_is_being_restarted_is_none() -> None:
    assert unlively(Health(beat=0.0), {}, hang_seconds=60, now=0.0, beat=1.0) == []


@pytest.mark.parametrize(
    ("health", "beats", "reasons"),
    [
        (Health(0.0), {}, ["the daemon is not running"]),
        (UP, {}, ["the daemon is not initialised yet"]),
        (UP, {"shard-1": 1.0}, []),
        (Health(0.0, daemon_up=True, initialised=True), {}, []),
        (Health(0.0, daemon_up=True, initialised=True, stopping=True), {"s": 1.0}, ["the worker is stopping"]),
    ],
)
def test_ready_is_who_works(health: Health, beats: dict[str, float], reasons: list[str]) -> None:
    assert unready(health, beats) == reasons


def test_health_is_answered_with_reasons(tmp_path: Path) -> None:
    assert get(exporter(tmp_path, Health(0.0)), "/readyz") == (
        HTTPStatus.SERVICE_UNAVAILABLE,
        b'{"ok": false, "reasons": ["the daemon is not running"]}\n',
    )


def test_a_shard_that_lives_is_answered_for(tmp_path: Path, start: Start) -> None:
    start("shard-1", 4e9)
    fresh = exporter(tmp_path, Health(beat=float("inf"), daemon_up=True))
    assert get(fresh, "/livez") == (HTTPStatus.OK, b'{"ok": true, "reasons": []}\n')
    assert get(fresh, "/readyz")[0] is HTTPStatus.OK
