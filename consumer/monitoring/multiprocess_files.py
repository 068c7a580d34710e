"""The metrics folder: each record processor writes its figures there, in the files of prometheus_client.

A dead one's gauges are removed. Its counters and histograms stay, as a sum must never go back; they are added to one
file for all the dead, so that the next scrape costs what the living cost. Nothing outlives the container: the folder
is wiped at the start, so a supervisor that is killed halfway leaves nothing that could be counted twice.
"""

import json
import os
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from prometheus_client import Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

from consumer.monitoring.metrics import HEARTBEAT

SUMMED = ("counter", "histogram")
"""The kinds of files whose values add up. Their keys name metric, sample and labels; no bucket holds another."""


class Beat(NamedTuple):
    """A living record processor: its shard, its process id, and its last sign of life in Unix seconds."""

    shard: str
    process: int
    at: float


class MultiprocessFiles:
    """Implements prometheus_client's Collector: the figures of all record processors since the start."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # two threads at once would remove the same files
        self._lock = Lock()

    def collect(self) -> Iterable[Metric]:
        with self._lock:
            self.merge_exited_processes()
            files = [str(file) for file in self._files("*.db")]
            metrics: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
            return metrics

    def beats(self) -> list[Beat]:
        """Of the living. Removes nothing: while the disk is full, files that stay leave no room for others."""
        with self._lock:
            files = [file for file in self._files("gauge_live*.db") if _lives(_process(file))]
            return [Beat(shard, _process(file), at) for file in files for shard, at in _heartbeats(file)]

    def merge_exited_processes(self) -> None:
        """Removes the gauges of dead processes, and their counts once they are kept."""
        dead = [file for file in self._path.glob("*.db") if not _lives(_process(file))]
        for kind in SUMMED:
            # while the disk is full they stay as they are, and are read one by one
            with suppress(OSError):
                self._keep(kind, [file for file in dead if _kind(file) == kind])
        for file in dead:
            if _kind(file) not in SUMMED:
                file.unlink()

    def _files(self, pattern: str) -> list[Path]:
        return [file for file in self._path.glob(pattern) if _is_filled(file)]

    def _keep(self, kind: str, dead: list[Path]) -> None:
        if not dead:
            return
        kept = self._path / f"{kind}_dead.db"
        totals: dict[str, float] = defaultdict(float)
        for file in filter(_is_filled, (*self._path.glob(kept.name), *dead)):
            for key, value, _ in _values(file):
                totals[key] += value
        scratch = kept.with_suffix(".new")
        # not mapped into memory: on a full disk a write raises, a mapped page kills
        scratch.write_bytes(serialize(totals))
        scratch.replace(kept)
        for file in dead:
            file.unlink()


def serialize(values: Mapping[str, float]) -> bytes:
    """A file as prometheus_client.mmap_dict reads it: how much of it is used, then key and value of each."""
    entries = b"".join(_entry(key.encode(), value) for key, value in values.items())
    return struct.pack("ii", 8 + len(entries), 0) + entries


def _entry(key: bytes, value: float) -> bytes:
    padded = key + b" " * (8 - (len(key) + 4) % 8)
    return struct.pack(f"i{len(padded)}sdd", len(key), padded, value, 0.0)


def _values(file: Path) -> Iterator[tuple[str, float, float]]:
    """Key, value and time of each entry."""
    entries: Iterable[tuple[str, float, float, int]]
    entries = MmapedDict.read_all_values_from_file(str(file))  # type: ignore[no-untyped-call]
    return ((key, value, time) for key, value, time, _ in entries)


def _heartbeats(file: Path) -> Iterator[tuple[str, float]]:
    for key, value, _ in _values(file):
        metric, _, labels, _ = json.loads(key)
        if metric == HEARTBEAT.name:
            yield labels["shard"], value


def _is_filled(file: Path) -> bool:
    """A process that is killed, or is just about to fill its file, leaves an empty one."""
    return file.stat().st_size > 0


def _kind(file: Path) -> str:
    return file.stem.partition("_")[0]


def _process(file: Path) -> int:
    """Whose file it is; our own process for what is nobody's, as it lives."""
    number = file.stem.rpartition("_")[2]
    return int(number) if number.isdecimal() else os.getpid()


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
