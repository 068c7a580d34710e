"""`consumer process`: the process of one record processor."""

import logging
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path
from typing import NoReturn

from consumer import bootstrap
from consumer.engine.checkpoints import CheckpointPolicy
from consumer.engine.errors import SettingsError, Unavailable
from consumer.engine.gathering import GatheringPolicy
from consumer.kcl.pipes import Pipes
from consumer.kcl.record_processor import ANSWERS, ShardConsumer, ShardRules, serve
from consumer.kcl.retry import Runtime
from consumer.limits.event_types import WARNINGS
from consumer.monitoring import logs, metrics
from consumer.monitoring.prometheus import PrometheusSink, reserve
from consumer.settings import Settings, load

log = logging.getLogger("consumer.kcl")

PARENT_CHECK_SECONDS = 1.0
"""Pause between two checks whether the daemon still runs."""


def process(pipes: Pipes) -> None:
    """Runs the protocol with the daemon until the daemon closes the pipe or exits."""
    # Signals reach the whole process group. Only the daemon decides when a record processor stops.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_daemon, args=(os.getppid(),), daemon=True).start()
    try:
        settings = load(Settings)
        logs.configure(settings.log_level)
        clear_scratch(settings)
        serve(shard_consumer(settings), pipes)
    except SettingsError as error:
        sys.stderr.write("".join(f"consumer: {problem}\n" for problem in error.problems))
        exit_process(2)
    except Exception:
        log.critical("exiting", exc_info=True)
        exit_process(1)
    exit_process(0)


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


def shard_consumer(settings: Settings) -> ShardConsumer:
    rules = ShardRules(
        CheckpointPolicy(settings.checkpoint_seconds, settings.checkpoint_records),
        settings.batch_deadline_seconds,
        keep_alive=min(30.0, settings.hang_seconds / 4),
        gathering=GatheringPolicy(settings.gather_seconds),
    )
    measure = sink()
    metrics.report(measure, metrics.nothing_yet(WARNINGS, ANSWERS))
    core = bootstrap.processor(
        settings, on_request=lambda outcome: metrics.report(measure, metrics.of_request(*outcome))
    )
    return ShardConsumer(core, bootstrap.stream(settings), rules, measure, runtime(settings))


def sink() -> metrics.Sink:
    """Writes metrics to files for Prometheus. Drops them if there is no free space: processing matters more."""
    if directory := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        try:
            reserve(Path(directory), os.getpid())
        except OSError as error:
            log.warning("metrics disabled: no free space for their files", extra={"cause": error.strerror})
            return lambda *_: None
    return PrometheusSink((*metrics.CORE, *metrics.SHARD))


def runtime(settings: Settings) -> Runtime:
    run_directory = settings.run_directory
    return Runtime(
        clock=time.monotonic,
        now=time.time,
        sleep=time.sleep,
        random=random.random,
        stop_requested=lambda: run_directory is not None and (run_directory / "stopping").exists(),
        exit=exit_process,
    )


def exit_process(code: int) -> NoReturn:
    """Ends the process at once. A normal exit would wait for threads that wait for AWS."""
    sys.stderr.flush()
    os._exit(code)


def _exit_with_daemon(daemon: int) -> None:
    """Exits when the daemon has exited. During a batch, a closed pipe would not be noticed."""
    while os.getppid() == daemon:
        time.sleep(PARENT_CHECK_SECONDS)
    log.warning("the daemon has exited", extra={"daemon": daemon})
    exit_process(1)
