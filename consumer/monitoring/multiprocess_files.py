"""The metrics directory, to which each record processor writes its values, in the files of prometheus_client.

When a process has exited, its gauges are removed. Its counters and histograms are kept, because a sum must never
decrease. They are merged into one file for all exited processes, so that a scrape reads the files of running processes
and one more. The directory is emptied at the start, so nothing is counted twice after a supervisor was killed.
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

from consumer.monitoring.metrics import BUSY, HEARTBEAT, LAST_BATCH

SUMMED = ("counter", "histogram")
"""Kinds of files whose values add up. A key names metric, sample and labels. Buckets are not cumulative."""


class Beat(NamedTuple):
    """A running record processor.

    process  its process id
    at       its last heartbeat in Unix seconds
    busy     it works on a message of the daemon
    batch    its last batch, which may have been empty, in Unix seconds; 0 before the first
    """

    shard: str
    process: int
    at: float
    busy: bool = False
    batch: float = 0.0

    @property
    def reads(self) -> bool:
        """Whether it has received a batch."""
        return self.batch > 0


class MultiprocessFiles:
    """Implements prometheus_client's Collector: the values of all record processors since the start."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # two threads must not remove the same files
        self._lock = Lock()

    def collect(self) -> Iterable[Metric]:
        with self._lock:
            self.merge_exited_processes()
            files = [str(file) for file in self._files("*.db")]
            metrics: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
            return metrics

    def beats(self) -> list[Beat]:
        """Of the running record processors. Removes no files, so it works on a full disk too."""
        with self._lock:
            files = [file for file in self._files("gauge_live*.db") if _lives(_process(file))]
            return [beat for file in files for beat in _beats(file)]

    def merge_exited_processes(self) -> None:
        """Removes the gauges of exited processes, and their counters and histograms once they are merged."""
        exited = [file for file in self._path.glob("*.db") if not _lives(_process(file))]
        for kind in SUMMED:
            # on a full disk the files stay, and each scrape reads them one by one
            with suppress(OSError):
                self._merge(kind, [file for file in exited if _kind(file) == kind])
        for file in exited:
            if _kind(file) not in SUMMED:
                file.unlink()

    def _files(self, pattern: str) -> list[Path]:
        return [file for file in self._path.glob(pattern) if _is_filled(file)]

    def _merge(self, kind: str, exited: list[Path]) -> None:
        if not exited:
            return
        kept = self._path / f"{kind}_dead.db"
        totals: dict[str, float] = defaultdict(float)
        for file in filter(_is_filled, (*self._path.glob(kept.name), *exited)):
            for key, value, _ in _values(file):
                totals[key] += value
        scratch = kept.with_suffix(".new")
        # written, not memory-mapped: on a full disk a write raises OSError, a mapped page kills the process
        scratch.write_bytes(serialize(totals))
        scratch.replace(kept)
        for file in exited:
            file.unlink()


def serialize(values: Mapping[str, float]) -> bytes:
    """A file in the format of prometheus_client.mmap_dict: the bytes used, then the key and the value of each entry."""
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


def _beats(file: Path) -> Iterator[Beat]:
    shards: dict[str, dict[str, float]] = defaultdict(dict)
    for key, value, _ in _values(file):
        metric, _, labels, _ = json.loads(key)
        if "shard" in labels:
            shards[labels["shard"]][metric] = value
    for shard, gauges in shards.items():
        if HEARTBEAT.name in gauges:
            busy, batch = (gauges.get(gauge.name, 0.0) for gauge in (BUSY, LAST_BATCH))
            yield Beat(shard, _process(file), gauges[HEARTBEAT.name], busy > 0, batch)


def _is_filled(file: Path) -> bool:
    """A process that was killed, or that has not written yet, has an empty file."""
    return file.stat().st_size > 0


def _kind(file: Path) -> str:
    return file.stem.partition("_")[0]


def _process(file: Path) -> int:
    """The process id in the file's name. This process for a merged file, which is never removed."""
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
