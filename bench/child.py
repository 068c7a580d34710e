"""Drives a record processor over its pipes, exactly as the MultiLangDaemon does, and measures its process."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from bench import load
from bench.load import Event

TICKS = os.sysconf("SC_CLK_TCK")
SHARD = "shardId-000000000000"
CAUGHT_UP, BEHIND = 0, 600_000
"""How far behind the daemon says that the shard is, in milliseconds."""


class Failed(Exception):
    """A run that went wrong. The message says what, and where its log is."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command line and its complete environment."""

    line: Sequence[str]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Shape:
    """How events are delivered: records a batch, and whether the daemon says that the shard is behind."""

    batch: int = 1_000
    behind: bool = False


class Running(Protocol):
    """A running contender for one shard."""

    @property
    def pid(self) -> int: ...

    def deliver(self, events: Sequence[Event], shape: Shape, first: int) -> None:
        """Delivers the events and waits until they are settled. `first`: of their sequence numbers on the shard."""
        ...


class Child:
    """A record processor on the pipes of a daemon, initialized."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, shard: str = SHARD) -> None:
        if process.stdin is None or process.stdout is None:
            raise Failed("a record processor needs pipes")
        self.pid = process.pid
        self._input: IO[bytes] = process.stdin
        self._output: IO[bytes] = process.stdout
        self._log = log
        self._shard = shard

    def initialize(self) -> None:
        place = {"sequenceNumber": "TRIM_HORIZON", "subSequenceNumber": 0}
        self._call("initialize", _line({"action": "initialize", "shardId": self._shard, **place}))

    def deliver(self, events: Sequence[Event], shape: Shape, first: int) -> None:
        """The last batch is never behind, so that nothing is held back after it."""
        batches = list(load.batches(events, shape.batch, first))
        for number, batch in enumerate(batches, 1):
            self.process(batch, BEHIND if shape.behind and number < len(batches) else CAUGHT_UP)

    def process(self, records: Sequence[bytes], behind_millis: int = CAUGHT_UP) -> None:
        """Delivers a batch of load.record lines and waits until it is answered."""
        about = b'],"millisBehindLatest":%d}\n' % behind_millis
        self._call("processRecords", b'{"action":"processRecords","records":[' + b",".join(records) + about)

    def shut_down(self) -> None:
        """Requests a shutdown, as the daemon does before it stops; the record processor makes its checkpoint."""
        self._call("shutdownRequested", _line({"action": "shutdownRequested"}))

    def _call(self, action: str, line: bytes) -> None:
        self._input.write(line)
        self._input.flush()
        for answer in self._output:
            if not answer.strip():
                continue
            message = json.loads(answer)
            if message["action"] == "status" and message["responseFor"] == action:
                return
            self._checkpoint(message)
        raise Failed(f"the record processor exited in {action}: {tail(self._log)}")

    def _checkpoint(self, asked: Mapping[str, Any]) -> None:
        place = {name: asked.get(name) for name in ("sequenceNumber", "subSequenceNumber")}
        self._input.write(_line({"action": "checkpoint", **place, "error": None}))
        self._input.flush()


@contextmanager
def child(command: Command, log: Path) -> Iterator[Child]:
    """A record processor during the block, initialized before it and shut down after it."""
    with piped(command, log) as process:
        started = Child(process, log)
        started.initialize()
        yield started
        started.shut_down()


@contextmanager
def piped(command: Command, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process during the block. It exits when its input is closed, also if this process dies."""
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command.line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, env=dict(command.environment)
        )
    try:
        yield process
    finally:
        _end(process)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, with all its threads. 0 if it has exited."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def pss_bytes(pid: int) -> int:
    """The proportional set size: memory of the process, with its share of what it shares with others."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
    return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))


def tail(log: Path, size: int = 2_000) -> str:
    return log.read_bytes()[-size:].decode(errors="replace")


def _line(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def _end(process: subprocess.Popen[bytes]) -> None:
    """Closes the pipe, on which the record processor exits, and kills it if it does not."""
    if process.stdin:
        process.stdin.close()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout:
        process.stdout.close()
