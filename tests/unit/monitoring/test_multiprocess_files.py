"""The metrics folder: the dead's counts are kept in one file and never go back, and nothing is counted twice."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.values import MultiProcessValue

from consumer.monitoring import metrics
from consumer.monitoring.metrics import Kind, Metric
from consumer.monitoring.multiprocess_files import Beat, MultiprocessFiles

SECONDS = Metric("waits_seconds", "Seconds waited.", Kind.HISTOGRAM, buckets=(1, 10))
NOBODY = range(2**30, 2**31)
"""No process has such a number."""

Write = Callable[..., int]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a process's files as prometheus_client does; returns its number, nobody's unless told."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    numbers = iter(NOBODY)

    def write(checkpoints: float, beat: float = 1.0, process: int | None = None, waited: float = 5.0) -> int:
        number = next(numbers) if process is None else process
        value = MultiProcessValue(lambda: number)  # type: ignore[no-untyped-call]
        name, beats = metrics.CHECKPOINTS.name, metrics.HEARTBEAT.name
        value("counter", name.removesuffix("_total"), name, ("result",), ("made",), "").inc(checkpoints)
        value("gauge", beats, beats, ("shard",), (f"shard-{number}",), "", "livemostrecent").set(beat, timestamp=beat)
        for bound in ("1.0", "10.0", "+Inf"):
            bucket = value("histogram", SECONDS.name, f"{SECONDS.name}_bucket", ("le",), (bound,), "")
            bucket.inc(bound == ("1.0" if waited <= 1 else "10.0" if waited <= 10 else "+Inf"))
        value("histogram", SECONDS.name, f"{SECONDS.name}_sum", (), (), "").inc(waited)
        return number

    return write


def figures_of(folder: MultiprocessFiles) -> dict[str, float]:
    return {
        "".join((sample.name, *sample.labels.values())): sample.value
        for metric in folder.collect()
        for sample in metric.samples
    }


def test_counts_of_living_and_dead_add_up(tmp_path: Path, write: Write) -> None:
    write(2)
    write(3, process=os.getpid(), waited=0.5)
    assert figures_of(MultiprocessFiles(tmp_path)) == {
        "consumer_checkpoints_totalmade": 5,
        f"consumer_shard_heartbeat_timestamp_secondsshard-{os.getpid()}": 1,
        "waits_seconds_sum": 5.5,
        "waits_seconds_bucket1.0": 1,
        "waits_seconds_bucket10.0": 2,
        "waits_seconds_bucket+Inf": 2,
        "waits_seconds_count": 2,
    }


def test_who_dies_later_is_added_and_nothing_is_counted_twice(tmp_path: Path, write: Write) -> None:
    folder = MultiprocessFiles(tmp_path)
    sums = []
    for dead in range(1, 6):
        write(dead, waited=20.0)
        sums.append(figures_of(folder)["consumer_checkpoints_totalmade"])
        assert figures_of(folder)["consumer_checkpoints_totalmade"] == sums[-1], "asked again, it says the same"
        assert figures_of(folder)["waits_seconds_count"] == dead
    assert sums == [1, 3, 6, 10, 15]


def test_the_dead_share_two_files_however_many_they_are(tmp_path: Path, write: Write) -> None:
    for _ in range(20):
        write(1)
    MultiprocessFiles(tmp_path).merge_exited_processes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["counter_dead.db", "histogram_dead.db"]
    assert figures_of(MultiprocessFiles(tmp_path))["consumer_checkpoints_totalmade"] == 20


def test_the_living_are_not_buried(tmp_path: Path, write: Write) -> None:
    write(1, process=os.getpid())
    write(1, process=1)
    before = sorted(tmp_path.iterdir())
    MultiprocessFiles(tmp_path).merge_exited_processes()
    assert sorted(tmp_path.iterdir()) == before


def test_a_number_given_to_a_new_process_begins_anew(tmp_path: Path, write: Write) -> None:
    folder = MultiprocessFiles(tmp_path)
    number = write(4)
    assert figures_of(folder)["consumer_checkpoints_totalmade"] == 4
    write(1, process=number)
    assert figures_of(folder)["consumer_checkpoints_totalmade"] == 5


@pytest.mark.parametrize("content", [b"", bytes(65_536)], ids=["empty", "not begun"])
def test_a_process_killed_before_it_filled_its_files_breaks_nothing(
    tmp_path: Path, write: Write, content: bytes
) -> None:
    write(2)
    for kind in ("counter", "histogram", "gauge_livemostrecent"):
        (tmp_path / f"{kind}_{NOBODY[-1]}.db").write_bytes(content)
        (tmp_path / f"{kind}_{os.getppid()}.db").write_bytes(content)
    folder = MultiprocessFiles(tmp_path)
    assert (folder.beats(), figures_of(folder)["consumer_checkpoints_totalmade"]) == ([], 2)


def test_while_the_disk_is_full_nothing_is_lost(tmp_path: Path, write: Write) -> None:
    write(2)
    folder = MultiprocessFiles(tmp_path)
    figures_of(folder)
    write(3)
    full = tmp_path / "counter_dead.new"
    full.symlink_to("/dev/full")
    assert figures_of(folder)["consumer_checkpoints_totalmade"] == 5
    assert len(list(tmp_path.glob("counter_*.db"))) == 2
    assert folder.beats() == []
    full.unlink()
    assert figures_of(folder)["consumer_checkpoints_totalmade"] == 5
    assert len(list(tmp_path.glob("counter_*.db"))) == 1


def test_beats_tell_shard_process_and_time(tmp_path: Path, write: Write) -> None:
    write(0, beat=7.0)
    write(0, beat=9.0, process=os.getpid())
    assert MultiprocessFiles(tmp_path).beats() == [Beat(f"shard-{os.getpid()}", os.getpid(), 9.0)]


def test_what_a_real_process_leaves_can_be_read_and_kept(tmp_path: Path) -> None:
    code = "import prometheus_client as p; p.Counter('x', 'X.', ['\\u00e4']).labels('\\u4e2d' * 3).inc(0.1)"
    for _ in range(3):
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}, check=True
        )
    assert figures_of(MultiprocessFiles(tmp_path)) == {"x_total\u4e2d\u4e2d\u4e2d": pytest.approx(0.3)}
