"""What is measured: the service and the peers. Each is a command for one shard, and a check of its table."""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

from boto3.dynamodb.types import TypeDeserializer

from bench.child import Child, Command, Failed, Running, child
from bench.load import Event
from bench.store import Store
from consumer.limits.projection import Limits
from consumer.limits.view import view
from tests.support.driven.scenario import NOW, first_difference
from tests.support.emulators.aws import MADE_UP, ROOT
from tests.support.generators import oracle

SHOWN_BY_PEERS = ("brandId", "currencyCode", "type", "period", "status", "value", "progress", "lastSequenceNumber")
"""What the items of the peers show of a limit."""


class Contender(Protocol):
    """Something that keeps the limits of one shard in a table and can be measured."""

    @property
    def name(self) -> str: ...

    def started(self, store: Store, table: str, directory: Path) -> AbstractContextManager[Running]:
        """Runs it during the block, for an empty table."""
        ...

    def check(self, items: Iterable[Mapping[str, Any]], events: Sequence[Event]) -> None:
        """Raises Failed if the items are not what the oracle expects after the events."""
        ...


@dataclass(frozen=True, slots=True)
class Service:
    """`consumer process` with its default settings, as the supervisor and the daemon start it."""

    name: str = "this service"
    settings: Mapping[str, str] | None = None

    def started(self, store: Store, table: str, directory: Path) -> AbstractContextManager[Child]:
        return child(self.command(store, table, directory), directory / "log")

    def command(self, store: Store, table: str, directory: Path) -> Command:
        metrics = directory / "metrics"
        metrics.mkdir(exist_ok=True)
        variables = {
            **environment(store, table, directory),
            "MALLOC_ARENA_MAX": "2",
            "PROMETHEUS_MULTIPROC_DIR": str(metrics),
            "CONSUMER_RUN_DIRECTORY": str(directory),
            "CONSUMER_STREAM_NAME": "bench",
            "CONSUMER_QUARANTINE": f"dir:{directory / 'quarantine'}",
            **(self.settings or {}),
        }
        return Command([sys.executable, "-m", "consumer", "process"], variables)

    def check(self, items: Iterable[Mapping[str, Any]], events: Sequence[Event]) -> None:
        states = [Limits().load(_plain(item)) for item in items]
        found = {(state.user_id, state.user_limit_id): view(state, NOW).to_json() for state in states}
        _compare(self.name, found, oracle.expected(events, NOW))


@dataclass(frozen=True, slots=True)
class SampleShape:
    """Peer (a): the sample of amazon_kclpy with one conditional update per record."""

    name: str = "sample shape"

    def started(self, store: Store, table: str, directory: Path) -> AbstractContextManager[Running]:
        line = [sys.executable, "-m", "bench.peers.sample_shape"]
        return child(Command(line, environment(store, table, directory)), directory / "log")

    def check(self, items: Iterable[Mapping[str, Any]], events: Sequence[Event]) -> None:
        check_peer(self.name, items, events)


def check_peer(name: str, items: Iterable[Mapping[str, Any]], events: Sequence[Event]) -> None:
    """Compares what the items of a peer show with the oracle. Raises Failed."""
    found = {}
    for item in map(_plain, items):
        shown = {name: item[name] for name in SHOWN_BY_PEERS if name in item}
        amounts = {name: _amount(item[name]) for name in ("value", "progress")}
        found[item["userId"], item["userLimitId"]] = {
            **shown,
            **amounts,
            "lastSequenceNumber": int(item["lastSequence"]),
        }
    wanted = {
        key: {name: limit[name] for name in SHOWN_BY_PEERS} for key, limit in oracle.expected(events, NOW).items()
    }
    _compare(name, found, wanted)


def environment(store: Store, table: str, directory: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "TMPDIR": str(directory),
        "PYTHONPATH": str(ROOT),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": store.endpoint,
        "AWS_TABLE_NAME": table,
        **MADE_UP,
    }


def _plain(item: Mapping[str, Any]) -> dict[str, Any]:
    read = TypeDeserializer().deserialize
    return {name: read(value) for name, value in item.items()}


def _amount(text: str) -> str:
    return format(Decimal(text).normalize(), "f")


def _compare(name: str, found: Mapping[Any, Any], wanted: Mapping[Any, Any]) -> None:
    difference = first_difference(found, wanted)
    if difference is not None:
        raise Failed(f"the table of {name} is wrong: {difference}")
