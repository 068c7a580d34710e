"""The whole worker on MiniStack: the real daemon, with the settings of production. CPU, memory, latency."""

import random
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from bench import load
from bench.child import Failed, cpu_seconds, pss_bytes
from bench.load import Event
from bench.results import Figure, Report
from bench.store import KEYS
from consumer.admin.put import outgoing, put
from tests.support.driven.background import background
from tests.support.driven.scenario import NOW, Stage, first_difference
from tests.support.driven.service import FAST, Service, consumer, environment, service
from tests.support.driven.waiting import until
from tests.support.emulators.aws import ministack
from tests.support.generators import oracle

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_kinesis import KinesisClient

LATENCIES = 100
USERS_OF_LATENCY = 100_000
"""Users with higher numbers are created to measure the latency."""
BETWEEN_PUTS = (0.05, 0.25)
EVERY = 0.02
"""Seconds between two reads of the table: the error of a latency."""
SETTLE_SECONDS = 3.0
IDLE_SECONDS = 15.0
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU seconds so far of the worker's processes."""

    jvm: float
    record_processors: float
    supervisor: float

    def since(self, before: "Cpu") -> "Cpu":
        return Cpu(
            self.jvm - before.jvm,
            self.record_processors - before.record_processors,
            self.supervisor - before.supervisor,
        )

    @property
    def total(self) -> float:
        return self.jvm + self.record_processors + self.supervisor


@dataclass(frozen=True, slots=True)
class Worker:
    """A running service, and the stream and table that it works on."""

    stage: Stage
    running: Service
    kinesis: "KinesisClient"
    dynamodb: "DynamoDBClient"
    report: Report

    @property
    def jvm(self) -> int:
        found = self.running.jvm()
        if found is None:
            raise Failed(f"the daemon has exited; log: {self.running.log}")
        return found

    def cpu(self) -> Cpu:
        processors = sum(map(cpu_seconds, self.running.record_processors()))
        return Cpu(cpu_seconds(self.jvm), processors, cpu_seconds(self.running.process.pid))

    def put(self, events: Sequence[Event]) -> None:
        records = [outgoing(load.data(event)) for event in events]
        put(self.kinesis, self.stage.variables["CONSUMER_STREAM_NAME"], records, lambda _: None)

    def until_received(self, count: int) -> None:
        # Each look is a scrape, which costs the supervisor a little.
        until(lambda: self.running.received() >= count, f"{count} records", seconds=60 + count / 500, every=1.0)


def measure(events: int, report: Report) -> list[Figure]:
    """Latency, idle CPU, then CPU and memory for `events` paid events. Raises Failed if the table is wrong."""
    made = load.realistic(events)
    with _worker(report) as worker:
        latencies, created = _latency(worker)
        idle = _idle(worker)
        throughput = _throughput(worker, made.events, len(created))
        wanted = oracle.expected([*created, *made.events], NOW)
        if difference := first_difference(worker.stage.limits(), wanted):
            raise Failed(f"the worker's table is wrong: {difference}")
    return [*latencies, *idle, *throughput]


@contextmanager
def _worker(report: Report) -> Iterator[Worker]:
    with ministack() as aws, TemporaryDirectory(prefix="bench-worker-", ignore_cleanup_errors=True) as directory:
        variables = environment("bench", Path(directory), AWS_ENDPOINT_URL=aws.endpoint)
        variables = {name: value for name, value in variables.items() if name not in FAST}
        consumer(variables, "provision", "--stream", "1")
        with service(variables, Path(directory, "log")) as running:
            report("worker: started")
            stage = Stage(variables)
            yield Worker(stage, running, stage.kinesis(), stage.dynamodb(), report)
            running.stop()


def _latency(worker: Worker) -> tuple[list[Figure], list[Event]]:
    """From put to table, one event of a new limit at a time."""
    users = range(USERS_OF_LATENCY, USERS_OF_LATENCY + LATENCIES)
    first, *others = [load.created(user) for user in users]
    worker.put([first])
    worker.until_received(1)
    put_at: dict[str, float] = {}
    found_at: dict[str, float] = {}
    with background(lambda _: _put_slowly(worker, others, put_at), "puts"):
        until(lambda: _found(worker, put_at, found_at) == len(others), "every event in the table", every=EVERY)
    seconds = [found_at[user] - put_at[user] for user in put_at]
    hundredths = statistics.quantiles(seconds, n=100, method="inclusive")
    worker.report(f"put to table: p50 {hundredths[49]:.2f} s, p99 {hundredths[98]:.2f} s")
    return [
        Figure("latency-p50", "put to table, caught up, polling, p50", "ms", 1_000 * hundredths[49]),
        Figure("latency-p99", "put to table, caught up, polling, p99", "ms", 1_000 * hundredths[98]),
    ], [first, *others]


def _put_slowly(worker: Worker, events: Sequence[Event], put_at: dict[str, float]) -> None:
    chance = random.Random(1)
    for event in events:
        time.sleep(chance.uniform(*BETWEEN_PUTS))
        put_at[event["payload"]["userId"]] = time.monotonic()
        worker.put([event])


def _found(worker: Worker, put_at: Mapping[str, float], found_at: dict[str, float]) -> int:
    """Notes when each limit that was put is in the table for the first time, and returns how many are."""
    waiting = [user for user in list(put_at) if user not in found_at]
    if waiting:
        table = worker.stage.variables["AWS_TABLE_NAME"]
        keys = [{KEYS[0]: {"S": user}, KEYS[1]: {"S": load.limit_of(user)}} for user in waiting[:100]]
        found = worker.dynamodb.batch_get_item(RequestItems={table: {"Keys": keys, "ConsistentRead": True}})
        items = found["Responses"][table]
        found_at |= dict.fromkeys((str(item[KEYS[0]]["S"]) for item in items), time.monotonic())
    return len(found_at)


def _idle(worker: Worker) -> list[Figure]:
    time.sleep(SETTLE_SECONDS)
    before, start = worker.cpu(), time.monotonic()
    time.sleep(IDLE_SECONDS)
    seconds, cpu = time.monotonic() - start, worker.cpu().since(before)
    worker.report(f"idle: JVM {1_000 * cpu.jvm / seconds:.0f} ms/s, all {1_000 * cpu.total / seconds:.0f} ms/s")
    return [
        Figure("idle-jvm", "JVM CPU while idle", "ms/s", 1_000 * cpu.jvm / seconds),
        Figure("idle-all", "CPU of the whole worker while idle", "ms/s", 1_000 * cpu.total / seconds),
    ]


def _throughput(worker: Worker, events: Sequence[Event], before: int) -> list[Figure]:
    cpu, start = worker.cpu(), time.monotonic()
    worker.put(events)
    worker.until_received(before + len(events))
    spent, seconds = worker.cpu().since(cpu), time.monotonic() - start
    worker.report(f"{len(events)} events in {seconds:.0f} s: {1e6 * spent.total / len(events):.1f} us an event")
    parts = (
        ("worker", "whole worker", spent.total),
        ("worker-jvm", "of it the JVM", spent.jvm),
        ("worker-processor", "of it the record processor", spent.record_processors),
        ("worker-supervisor", "of it the supervisor", spent.supervisor),
    )
    return [
        Figure("worker-events", "events of the whole worker's run", "events", len(events)),
        *(Figure(key, title, "us an event", 1e6 * part / len(events)) for key, title, part in parts),
        Figure("memory-jvm", "PSS of the JVM after it", "MiB", pss_bytes(worker.jvm) / MIB),
        Figure("memory-supervisor", "PSS of the supervisor", "MiB", pss_bytes(worker.running.process.pid) / MIB),
    ]
