"""Peers (b) and (c): a Lambda function with Powertools, and a reader of the stream with async-kinesis."""

import json
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from uuid import uuid4

from bench import load
from bench.child import Command, Failed, Running, Shape, piped, tail
from bench.contenders import check_peer, environment
from bench.load import Event
from bench.store import Store
from consumer.admin.put import outgoing, put
from consumer.engine.records import Position, Record
from tests.support.driven.invocations import event as invocation
from tests.support.emulators.aws import ROOT, session

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient

PYTHON = ROOT / ".venv-bench" / "bin" / "python"
"""Has the libraries of these peers, and the newest boto3 that they allow."""


@dataclass(frozen=True, slots=True)
class LambdaPowertools:
    """Peer (b)."""

    name: str = "Lambda with Powertools"

    @contextmanager
    def started(self, store: Store, table: str, directory: Path) -> Iterator[Running]:
        line = [str(PYTHON), "-m", "bench.peers.lambda_powertools"]
        log = directory / "log"
        with piped(Command(line, environment(store, table, directory)), log) as process:
            yield _Function(process.pid, *_pipes(process), log)

    def check(self, items: Iterable[Mapping[str, Any]], events: Sequence[Event]) -> None:
        check_peer(self.name, items, events)


@dataclass(frozen=True, slots=True)
class _Function:
    """The function's process, invoked with one batch per line."""

    pid: int
    input: IO[bytes]
    output: IO[bytes]
    log: Path

    def deliver(self, events: Sequence[Event], shape: Shape, first: int) -> None:
        records = [
            Record(Position("bench", "shardId-000000000000", f"{number}"), load.data(event), load.START)
            for number, event in enumerate(events, first)
        ]
        for start in range(0, len(records), shape.batch):
            line = json.dumps(invocation(records[start : start + shape.batch]))
            self.input.write(line.encode() + b"\n")
            self.input.flush()
            answer = self.output.readline()
            if not answer or json.loads(answer) != {"batchItemFailures": []}:
                raise Failed(f"the Lambda function answered {answer!r}: {tail(self.log)}")


@dataclass(frozen=True, slots=True)
class AsyncReader:
    """Peer (c). It reads a stream of Kinesis at the endpoint, so its cost includes reading; that of (a) and (b) not."""

    kinesis: str
    name: str = "async-kinesis"

    @contextmanager
    def started(self, store: Store, table: str, directory: Path) -> Iterator[Running]:
        stream = f"bench-{uuid4().hex[:8]}"
        client: KinesisClient = session().client("kinesis", endpoint_url=self.kinesis)
        client.create_stream(StreamName=stream, ShardCount=1)
        client.get_waiter("stream_exists").wait(StreamName=stream)
        variables = {
            **environment(store, table, directory),
            "AWS_ENDPOINT_URL_KINESIS": self.kinesis,
            "STREAM": stream,
        }
        log = directory / "log"
        with piped(Command([str(PYTHON), "-m", "bench.peers.async_reader"], variables), log) as process:
            yield _Reader(process.pid, client, stream, _pipes(process)[1], log)
            process.kill()

    def check(self, items: Iterable[Mapping[str, Any]], events: Sequence[Event]) -> None:
        check_peer(self.name, items, events)


@dataclass(frozen=True, slots=True)
class _Reader:
    """The reader's process. It reports how many records it has read so far, in hundreds."""

    pid: int
    client: "KinesisClient"
    stream: str
    output: IO[bytes]
    log: Path

    def deliver(self, events: Sequence[Event], shape: Shape, first: int) -> None:  # noqa: ARG002 - it reads at its own pace
        last = first - 1 + len(events)
        if last % 100:
            raise Failed(f"{last} events: async_reader reports hundreds")
        put(self.client, self.stream, [outgoing(load.data(event)) for event in events], lambda _: None)
        for line in self.output:
            if int(line) == last:
                return
        raise Failed(f"the reader exited: {tail(self.log)}")


def _pipes(process: "subprocess.Popen[bytes]") -> tuple[IO[bytes], IO[bytes]]:
    if process.stdin is None or process.stdout is None:
        raise Failed("a process with pipes is needed")
    return process.stdin, process.stdout
