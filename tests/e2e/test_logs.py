"""During failures the service logs only JSON lines of one form, and never the content of a record."""

import base64
import os
import re
import signal
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from fcntl import ioctl
from pathlib import Path
from random import Random
from termios import FIONREAD
from typing import Any

from consumer.limits.sample import Event, Sample, histories
from tests.support.driven.scenario import Stage, poison, until_equal, until_received
from tests.support.driven.service import Service, service
from tests.support.driven.trial import Trial
from tests.support.driven.waiting import until
from tests.support.faults.proxy import FaultProxy, fault_proxy, refuse
from tests.support.generators.events import created, encode, progress_changed

USER = "u-confidential"
AMOUNTS = ("7351902.64", "735190.26")
AMOUNT_FIELDS = ("amount", "previousProgress", "value", "progress", "resetAmount", "unusedAmount", "remainingAmount")
KEYS = {"time", "level", "logger", "message"}
BATCH = KEYS | {"behind_millis", "shard", "first", "last", "records", "unsettled", "warnings", "writes", "conflicts"}
PART = 500
"""A number of records that does not fit into a pipe."""
PIPE = 65_536
OUTCOMES = {"applied", "duplicate", "stale", "ignored", "quarantined"}


def test_nothing_of_a_record_is_ever_logged(stage: Stage, tmp_path: Path) -> None:
    """Covers every kind of poison, duplicates, a failing store, and a record processor killed during a write."""
    with fault_proxy(stage.variables["AWS_ENDPOINT_URL"]) as proxy:
        variables = {**stage.variables, "AWS_ENDPOINT_URL_DYNAMODB": proxy.endpoint}
        with service(variables, tmp_path / "log") as running:
            made = [*histories(Random(5), 3_000, 20, duplicates=0.05, poison=0.1), *_confidential()]
            first, second = made[:1_500], made[1_500:]
            _through_an_outage(Trial(stage, running, iter(())), proxy, first)
            _through_a_killed_record_processor(stage, running, second)
            until_equal(stage, made)
            until(lambda: stage.quarantined() == poison(made), "all poison to be quarantined")
            assert running.stop() == 0
            lines, text = running.lines(), running.log.read_text(encoding="utf-8")

    assert [word for word in _words(made) if word in text] == []
    assert re.findall(rf"(?<![\d.])({'|'.join(map(re.escape, _amounts(made)))})(?![\d.])", text) == []

    assert all(line.keys() >= KEYS for line in lines)
    said = {line["message"] for line in lines}
    assert any("Child process failed to process records" in line.get("error", "") for line in lines)
    assert {"worker", "daemon started", "shard started", "waiting", "daemon exited unexpectedly"} <= said
    assert {"shutdown requested", "stopping", "stopped gracefully"} <= said
    _check_batches([line for line in lines if line["message"] == "batch"])
    entries = [line for line in lines if line["message"] == "quarantined"]
    assert {line["reason"] for line in entries} == {sample.poison_reason for sample in made if sample.poison_reason}
    assert len({line["position"] for line in entries}) == len([sample for sample in made if sample.poison_reason])


def _check_batches(batches: list[dict[str, Any]]) -> None:
    assert batches
    for line in batches:
        assert line.keys() >= BATCH | OUTCOMES
        assert line["records"] == sum(line[outcome] for outcome in OUTCOMES)
        assert line["seconds"].keys() >= {"decode", "store", "quarantine"}


def _confidential() -> Iterator[Sample]:
    value, amount = AMOUNTS
    about = {"userId": USER, "userLimitId": "l-confidential"}
    events = created(1, "e-confidential", value=value, **about), progress_changed(2, amount=amount, **about)
    yield from (Sample(USER, encode(event), event) for event in events)


def _through_an_outage(trial: Trial, proxy: FaultProxy, samples: list[Sample]) -> None:
    with proxy.fault(refuse(400, "ThrottlingException"), "BatchExecuteStatement", "BatchGetItem"):
        trial.put_these(samples)
        trial.until_logged("waiting")
    until_received(trial.running, len(samples))


def _through_a_killed_record_processor(stage: Stage, running: Service, samples: list[Sample]) -> None:
    """Kills a record processor that has read half of a message, so that the daemon fails to write the rest.

    The message may be short, for example an empty batch, and a process that was stopped amid a batch is sent none. Then
    the process is resumed and stopped again.
    """
    child = running.record_processors()[0]
    for start in range(0, len(samples), PART):
        os.kill(child, signal.SIGSTOP)
        stage.put(samples[start : start + PART])
        if _written(child) < PIPE:
            os.kill(child, signal.SIGCONT)
    os.kill(child, signal.SIGKILL)


def _written(child: int) -> int:
    """The number of bytes that the daemon has written to a stopped process; 0 if it waits for an answer from it."""
    with suppress(TimeoutError):
        return until(lambda: _unread(child), "the daemon to write", seconds=15)
    return 0


def _unread(child: int) -> int:
    """The number of unread bytes in the pipe that the process reads from."""
    return max((_waiting(end) for end in Path(f"/proc/{child}/fd").iterdir() if _is_read_end(end)), default=0)


def _is_read_end(descriptor: Path) -> bool:
    """Whether it is the read end of a pipe. The last octal digit of `flags` is the access mode: 0 for reading."""
    flags = Path(f"{descriptor.parent}info", descriptor.name).read_text().partition("flags:")[2].split()[0]
    return descriptor.readlink().name.startswith("pipe:") and flags.endswith("0")


def _waiting(pipe: Path) -> int:
    with pipe.open("rb") as end:
        (count,) = struct.unpack("i", ioctl(end, FIONREAD, b"\0" * 4))
    return int(count)


def _words(made: Iterable[Sample]) -> set[str]:
    """Text that occurs only in records: user, limit, event and correlation ids, further values, data in base64."""
    events = [sample.event for sample in made if sample.event]
    ids = {word for event in events for word in _ids(event)}
    data = {base64.b64encode(sample.data)[:40].decode() for sample in made if len(sample.data) > 30}
    return (
        ids | data | {USER, "l-confidential", *AMOUNTS, '"amount"', '\\"amount\\"', "payload\\", "SEK", "partitionKey"}
    )


def _ids(event: Event) -> Iterator[str]:
    yield from (event["aggregateId"], event["eventId"])
    yield from (event["payload"][name] for name in ("userLimitId",) if event["payload"].get(name))
    yield from event["context"].values()


def _amounts(made: Iterable[Sample]) -> set[str]:
    """Amounts that do not occur elsewhere by chance: six or more characters with a decimal point."""
    payloads = [sample.event["payload"] for sample in made if sample.event]
    found = {str(payload[name]) for payload in payloads for name in AMOUNT_FIELDS if name in payload}
    return {amount for amount in found if len(amount) >= 6 and "." in amount}
