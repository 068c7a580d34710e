"""`consumer process`: the process of one record processor."""

import logging
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from consumer import bootstrap
from consumer.engine import optional_parts
from consumer.engine.archive import ArchivePolicy
from consumer.engine.checkpoints import CheckpointPolicy
from consumer.engine.errors import SettingsError, Unavailable
from consumer.engine.gathering import GatheringPolicy
from consumer.engine.processor import Processor
from consumer.engine.stream import Stream
from consumer.kcl.pipes import Pipes
from consumer.kcl.record_processor import ANSWERS, ShardConsumer, ShardRules, serve
from consumer.kcl.retry import Runtime
from consumer.monitoring import logs, metrics
from consumer.monitoring.prometheus import PrometheusSink, reserve
from consumer.settings import Settings, load
from consumer.stores.requests import RequestOutcome

log = logging.getLogger("consumer.kcl")

PARENT_CHECK_SECONDS = 1.0
"""Pause between two checks whether the daemon still runs."""

Exit = Callable[[int], NoReturn]


class RequestMetrics:
    """Reports the requests of clients that exist before the metrics do."""

    def __init__(self) -> None:
        self.measure: metrics.Sink = lambda *_: None

    def __call__(self, outcome: RequestOutcome) -> None:
        metrics.report(self.measure, metrics.of_request(*outcome))


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a record processor has before it knows its shard. It has no thread and no open connection."""

    settings: Settings
    core: Processor[Any, Any]
    stream: Stream
    requests: RequestMetrics


def prepare() -> Prepared:
    """Raises SettingsError."""
    settings, requests = load(Settings), RequestMetrics()
    logs.configure(settings.log_level)
    with bootstrap.frugal_clients():
        return Prepared(
            settings, bootstrap.processor(settings, on_request=requests), bootstrap.stream(settings), requests
        )


def process(pipes: Pipes) -> None:
    """Runs the protocol with the daemon until the daemon closes the pipe or exits."""
    run(pipes, prepare, partial(_until_orphaned, os.getppid()), exit_process)


def run(pipes: Pipes, prepared: Callable[[], Prepared], until_daemon_exits: Callable[[], object], end: Exit) -> None:
    """Runs the protocol in the process of one record processor, which `end` ends."""
    # Signals reach the whole process group. Only the daemon decides when a record processor stops.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_daemon, args=(until_daemon_exits, end), daemon=True).start()
    try:
        ready = prepared()
        bootstrap.collect_rarely()
        clear_scratch(ready.settings)
        serve(shard_consumer(ready, end), pipes)
    except SettingsError as error:
        sys.stderr.write("".join(f"consumer: {problem}\n" for problem in error.problems))
        end(2)
    except Exception:
        log.critical("exiting", exc_info=True)
        end(1)
    end(0)


def clear_scratch(settings: Settings) -> None:
    """Removes files that exited processes left incomplete, because they may hold personal data. Only logs a failure."""
    directory = bootstrap.quarantine_directory(settings)
    try:
        files = directory.clear_scratch() if directory else 0
    except Unavailable as cause:
        log.warning("cannot remove scratch files from the quarantine", extra={"cause": str(cause)})
    else:
        if files:
            log.warning("scratch files of exited processes removed from the quarantine", extra={"files": files})


def shard_consumer(ready: Prepared, end: Exit) -> ShardConsumer:
    settings = ready.settings
    rules = ShardRules(
        CheckpointPolicy(settings.checkpoint_seconds, settings.checkpoint_records),
        settings.batch_deadline_seconds,
        keep_alive=min(30.0, settings.hang_seconds / 4),
        gathering=GatheringPolicy(settings.gather_seconds),
        archiving=ArchivePolicy(settings.archive_seconds, settings.archive_bytes),
    )
    measure = ready.requests.measure = sink()
    metrics.report(measure, metrics.nothing_yet(optional_parts.warning_kinds(ready.core.projection), ANSWERS))
    return ShardConsumer(ready.core, ready.stream, rules, measure, runtime(settings, end))


def sink() -> metrics.Sink:
    """Writes metrics to files for Prometheus. Drops them if there is no free space: processing matters more."""
    if directory := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        try:
            reserve(Path(directory), os.getpid())
        except OSError as error:
            log.warning("metrics disabled: no free space for their files", extra={"cause": error.strerror})
            return lambda *_: None
    return PrometheusSink((*metrics.CORE, *metrics.SHARD))


def runtime(settings: Settings, end: Exit) -> Runtime:
    run_directory = settings.run_directory
    return Runtime(
        clock=time.monotonic,
        now=time.time,
        sleep=time.sleep,
        random=random.random,
        stop_requested=lambda: run_directory is not None and (run_directory / "stopping").exists(),
        exit=end,
    )


def exit_process(code: int) -> NoReturn:
    """Ends the process at once. A normal exit would wait for threads that wait for AWS."""
    sys.stderr.flush()
    os._exit(code)


def _exit_with_daemon(until_daemon_exits: Callable[[], object], end: Exit) -> None:
    """During a batch, a closed pipe would not be noticed."""
    until_daemon_exits()
    log.warning("the daemon has exited")
    end(1)


def _until_orphaned(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_SECONDS)
