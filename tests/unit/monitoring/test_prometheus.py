"""The files of a process's metrics have room on the disk before anything is written to them."""

import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

from consumer.engine.errors import Reason
from consumer.engine.folding import Outcome
from consumer.limits.events import OUT_OF_SCOPE
from consumer.monitoring.metrics import (
    CHECKPOINTS,
    CORE,
    QUARANTINED,
    RECORDS,
    REQUESTS,
    RETRIES,
    SHARD,
    THROTTLES,
    WARNINGS,
)
from consumer.monitoring.prometheus import FILE_BYTES, reserve

PROCESS = 4_711
TYPES = (
    "USER_LIMIT_PROGRESS_CHANGED",
    "USER_LIMIT_CREATED",
    "USER_LIMIT_RESET",
    "UNREADABLE",
    "UNKNOWN",
    *OUT_OF_SCOPE,
)
CALLS = ("BatchExecuteStatement", "BatchGetItem", "Query", "PutObject")
CODES = [f"AnErrorOfAmazonWebServices{number:02}" for number in range(12)]
MANY: dict[str, list[tuple[str, ...]]] = {
    RECORDS.name: list(product(TYPES, map(str, Outcome))),
    QUARANTINED.name: [(str(reason),) for reason in Reason],
    WARNINGS.name: [(f"a-kind-of-contradiction-{number:02}",) for number in range(20)],
    RETRIES.name: [("load",), ("store",), ("quarantine",)],
    CHECKPOINTS.name: [(answer,) for answer in CODES],
    REQUESTS.name: list(product(CALLS, CODES)),
    THROTTLES.name: [(call,) for call in CALLS],
}
FILL = f"""
import os, sys
from pathlib import Path
from consumer.monitoring import prometheus
from consumer.monitoring.metrics import CORE, SHARD

prometheus.reserve(Path(sys.argv[1]), os.getpid())
measure = prometheus.PrometheusSink((*CORE, *SHARD))
for metric in (*CORE, *SHARD):
    for labels in {MANY!r}.get(metric.name, [("x" * 128,) * len(metric.labels)]):
        measure(metric, 1, *labels)
"""


def test_all_that_is_ever_measured_fits(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FILL, str(tmp_path)]
    subprocess.run(command, env={"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}, check=True)
    files = sorted(tmp_path.iterdir())
    assert [file.name.rpartition("_")[0] for file in files] == ["counter", "gauge_livemostrecent", "histogram"]
    assert [file.stat().st_size for file in files] == [FILE_BYTES] * 3, "one that grew would have a hole"
    used = max(int.from_bytes(file.read_bytes()[:4], sys.byteorder) for file in files)
    assert used > len((*CORE, *SHARD)) * 100
    assert used < FILE_BYTES / 2


def test_the_room_is_taken_at_once(tmp_path: Path) -> None:
    reserve(tmp_path, PROCESS)
    assert [file.stat().st_blocks * 512 >= FILE_BYTES for file in tmp_path.iterdir()] == [True] * 3


def test_the_counts_of_a_dead_process_of_the_same_id_stay(tmp_path: Path) -> None:
    file = tmp_path / f"counter_{PROCESS}.db"
    file.write_bytes(b"counts")
    reserve(tmp_path, PROCESS)
    assert file.read_bytes() == b"counts".ljust(FILE_BYTES, b"\0")


def test_without_room_nothing_is_left(tmp_path: Path) -> None:
    in_the_way = tmp_path / f"histogram_{PROCESS}.db"
    in_the_way.mkdir()
    with pytest.raises(OSError, match="Is a directory"):
        reserve(tmp_path, PROCESS)
    assert list(tmp_path.iterdir()) == [in_the_way]
