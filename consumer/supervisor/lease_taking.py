"""Connects the taking of leases (leases/taking.py) to this worker: its condition, its stream, its end."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError

from consumer.access.checks import Connect
from consumer.daemon import properties
from consumer.leases import taking
from consumer.leases.lease_store import DynamoLeases
from consumer.leases.takeover import Condition, Takeover
from consumer.leases.taking import Taker
from consumer.monitoring.endpoints import Exporter
from consumer.monitoring.metrics import Sink
from consumer.settings import Settings
from consumer.supervisor import periodic
from consumer.supervisor.run_directory import PROPERTIES
from consumer.supervisor.supervisor import Supervisor

STARVED_SECONDS = 15.0
"""Without a batch for this long, beside the pauses between fetches, a worker with record processors cannot read.

An idle shard gets an empty batch after every pause.
"""

log = logging.getLogger("consumer.supervisor")


@dataclass(frozen=True, slots=True)
class ThisWorker:
    """Implements taking.Worker. `gets_empty_batches`: whether the daemon delivers batches of idle shards too."""

    id: str
    supervisor: Supervisor
    exporter: Exporter
    connect: Connect
    idle_seconds: float
    gets_empty_batches: bool

    def condition(self) -> Condition:
        health = self.supervisor.health
        # Before the first start too: the JVM then finds the leases as soon as it is initialised.
        runs = health.daemon is not None or health.ended is None
        return Condition(runs and not health.stopping, health.initialised, self._is_starved())

    def reaches_stream(self) -> bool:
        try:
            application = self.connect()
            application.kinesis.list_shards(StreamName=application.stream, MaxResults=1)
        except (ClientError, BotoCoreError) as error:
            log.warning("leases not taken: the stream cannot be reached", extra={"cause": str(error)})
            return False
        return True

    def _is_starved(self) -> bool:
        last = self.exporter.last_batch() if self.gets_empty_batches else None
        return last is not None and time.time() - last > STARVED_SECONDS + 2 * self.idle_seconds


@contextmanager
def taking_leases(
    settings: Settings, connect: Connect, supervisor: Supervisor, exporter: Exporter, measure: Sink
) -> Iterator[None]:
    """Takes leases during the block. At its end, gives back those of this worker if no process of it is left."""
    shipped = properties.read(settings.properties / PROPERTIES)
    worker = ThisWorker(
        id=supervisor.worker_id,
        supervisor=supervisor,
        exporter=exporter,
        connect=connect,
        idle_seconds=settings.idle_millis / 1000,
        gets_empty_batches=shipped.get("callProcessRecordsEvenForEmptyRecordList") == "true",
    )
    most = shipped.get("maxLeasesForWorker")
    takeover = Takeover(worker.id, settings.failover_millis / 1000, int(most) if most else None)
    taker = Taker(worker, DynamoLeases(lambda: connect().dynamodb, settings.application_name), takeover, measure)
    with periodic.every(taking.EVERY_SECONDS, taker.look, taking.JITTER):
        yield
    if supervisor.is_swept:
        taker.give_back()
