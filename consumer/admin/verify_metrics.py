"""The metrics of a verification: the process ends with it, so it writes them instead of serving them."""

import os
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from consumer.admin.verify import Verified
from consumer.engine.errors import Unavailable
from consumer.monitoring.metrics import (
    DAMAGES,
    MISSING_LIMITS,
    UNEXPLAINED_LIMITS,
    VERIFICATION,
    VERIFIED_AT,
    VERIFIED_LIMITS,
    VERIFIED_RECORDS,
    VERIFY_SECONDS,
    Measurement,
    Sink,
)
from consumer.monitoring.prometheus import PrometheusSink


def of_verified(found: Verified, table: str) -> Iterator[Measurement]:
    """The measurements, without those of what was not checked."""
    values = {
        VERIFIED_AT: found.at,
        VERIFY_SECONDS: found.seconds,
        VERIFIED_RECORDS: found.outcomes.total(),
        VERIFIED_LIMITS: found.limits,
        MISSING_LIMITS: found.missing,
        DAMAGES: len(found.damage),
    }
    if not found.partial:
        values[UNEXPLAINED_LIMITS] = found.unexplained
    for metric, value in values.items():
        yield Measurement(metric, value, (table,))


def publish(found: Verified, table: str, sink: Sink) -> None:
    for metric, value, labels in of_verified(found, table):
        sink(metric, value, *labels)


def write_textfile(found: Verified, table: str, file: Path) -> None:
    """Replaces the file, so that the collector never reads a part of it. Raises Unavailable."""
    registry = CollectorRegistry()
    publish(found, table, PrometheusSink(VERIFICATION, registry))
    written = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        written.write_bytes(generate_latest(registry))
        written.replace(file)
    except OSError as error:
        raise Unavailable(f"{file}: {error.strerror}: the metrics are not written") from None
