"""The supervisor: keeps one daemon running, and chooses the exit code of the service.

The process tree is supervisor -> JVM -> one record processor per shard. The supervisor may be process 1. When the
daemon exits unexpectedly, it restarts it under the same worker id, as its leases are still its own then. It passes a
stop request on to the JVM alone, and leaves no process behind. It waits in one place only, for a signal or for time to
pass.
"""

import json
import logging
import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from threading import Lock, Thread
from typing import Any

from consumer.daemon import memory
from consumer.daemon.memory import Share
from consumer.monitoring.endpoints import Health
from consumer.monitoring.metrics import DAEMON_UP, RESTARTS, Sink
from consumer.supervisor import processes
from consumer.supervisor.launch import Plan
from consumer.supervisor.relay import Relay
from consumer.supervisor.run_directory import STOPPING, write
from consumer.supervisor.signals import STOP_SIGNALS, Inbox
from consumer.supervisor.stillness import Stillness

STOPPED, GAVE_UP = 0, 1
"""The exit codes of the service."""

INITIALISED = b"Initialization complete. Starting worker loop."
"""What KCL's Scheduler logs at INFO once tables, leases and threads are ready."""
ENDING = b"Process terminated, will initiate shutdown."
"""What the MultiLangDaemon logs at INFO when it begins to shut down, also after a record processor has died."""

LEAVING = b'"message": "exiting"'
"""Part of the last line of a record processor that cannot continue; the end of its `error` says why."""
STARTED, LEFT = b'"message": "shard started"', (b'"message": "lease lost"', b'"message": "shard ended"')
"""Parts of the lines that a record processor logs at the start and the end of a shard."""
OUT_OF_MEMORY = b"Terminating due to java.lang.OutOfMemoryError"
"""What the JVM prints when it exits because its heap is too small."""

_TICK_SECONDS = 1.0
# A daemon whose record processor has died waits for it until shutdownGraceMillis has passed. The other record
# processors finish, checkpoints included, within two seconds.
_SHUTDOWN_SECONDS = 2.0
_GRACEFUL = (0, 128 + signal.SIGTERM)
"""Exit codes of a JVM that shut down in time on SIGTERM."""
_SHARDS_SETTLED_SECONDS = 3.0
"""Without a shard started or ended for this long, the worker is considered to hold all of its shards."""
_NO_SHARD_SECONDS = 30.0
"""The same for a worker without shards. It is longer, as the leader assigns leases only every few seconds."""

log = logging.getLogger("consumer.supervisor")


class Supervisor:
    """Keeps one daemon running. `health` is its latest state; any thread may read it."""

    def __init__(
        self,
        plan: Plan,
        inbox: Inbox,
        relay: Relay,
        measure: Sink,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.worker_id = plan.worker_id
        self._plan = plan
        self._inbox = inbox
        self._relay = relay
        self._measure = measure
        self._chance = chance
        self._command, self._share = plan.command, plan.share
        self._starts, self._lives_since = 0, 0.0
        self._ends: list[float] = []
        self._failed_starts = 0
        self._settled = False
        self._stillness = Stillness(time.monotonic())
        # A wrapper script that ran exec may have left children, which are not ours to kill.
        self._foreign_children = processes.children()
        self._output: Thread | None = None
        self._shutdown_began: float | None = None
        self._last_error: str | None = None
        self._heap_exhausted = self._ready = False
        self._shards = 0
        self._held: set[str] = set()
        self._held_since = 0.0
        self._kills = memory.kills()
        self.is_swept = True
        """Whether no process of the last daemon is left."""
        self._health_lock = Lock()
        self.health = Health(time.monotonic(), since=time.monotonic())

    def run(self, has_settled: Callable[[], bool]) -> int:
        """Returns the exit code of the service: STOPPED after a stop request, GAVE_UP after too many restarts.

        `has_settled`: whether a running record processor has settled a batch.
        """
        processes.adopt_orphans()
        while not self.health.stopping:
            daemon = self._start()
            code = self._until_end(daemon, has_settled)
            if code is None:
                if self._is_stopping():
                    return self._stop(daemon)
                self._restore_fetches(daemon)
                continue
            # The daemon is dead, so its record processors have become our children. Count them before they are killed:
            # the number of shards says how much memory was needed.
            self._shards = max(self._shards, len(processes.adopted_from(daemon)))
            self._clean_up(daemon)
            self._update_health(ended=code)
            if not self._may_restart(code):
                return GAVE_UP
        return STOPPED

    def record_processors(self) -> int:
        """How many record processors the daemon has started. Any thread may call this."""
        daemon = self.health.daemon
        # Each child of the daemon is the record processor of one shard, or waits for the one that was forked for it.
        return len(processes.children(daemon)) if daemon else 0

    def _is_stopping(self) -> bool:
        # A method, because mypy takes `health.stopping` for False after the loop's condition.
        return self.health.stopping

    def _start(self) -> int:
        self.is_swept = False
        read, write_end = os.pipe()
        try:
            daemon = processes.start(self._command, self._plan.environment, write_end)
        finally:
            os.close(write_end)
        # Until it is initialised, since its start.
        self._lives_since = started = time.monotonic()
        self._stillness = Stillness(started)
        self._shutdown_began = self._last_error = None
        self._heap_exhausted = self._ready = self._settled = False
        self._shards = 0
        self._held, self._held_since = set(), time.monotonic()
        self._output = self._relay.follow(os.fdopen(read, "rb"), self._notice)
        # The first start adds 0, so that the counter exists from the beginning.
        self._measure(RESTARTS, min(self._starts, 1))
        self._starts += 1
        self._measure(DAEMON_UP, 1)
        self._update_health(daemon=daemon, since=started, still=0.0)
        log.info("daemon started", extra={"daemon": daemon})
        return daemon

    def _notice(self, line: bytes) -> None:
        if INITIALISED in line:
            self._lives_since = time.monotonic()
            self._update_health(initialised=True, initialised_at=self._lives_since)
        if ENDING in line:
            self._shutdown_began = time.monotonic()
        if OUT_OF_MEMORY in line:
            self._heap_exhausted = True
        if STARTED in line or any(left in line for left in LEFT):
            self._notice_shard(line)
        if LEAVING in line:
            with suppress(ValueError, LookupError):
                self._last_error = json.loads(line)["error"].splitlines()[-1]

    def _until_end(self, daemon: int, has_settled: Callable[[], bool]) -> int | None:
        """The exit code of a daemon that exited; None when it is to be shut down, to stop or to restore its fetches."""
        while not self.health.stopping and not self._may_restore_fetches():
            if (code := processes.exit_code(daemon)) is not None:
                return code
            # It shuts down because a record processor has died, and would wait for that one in vain.
            if self._shutdown_began and time.monotonic() - self._shutdown_began > _SHUTDOWN_SECONDS:
                os.kill(daemon, signal.SIGKILL)
            self._shards = max(self._shards, self.record_processors())
            self._observe(daemon, has_settled)
            self._log_when_ready()
            processes.reap(spare=daemon)
            self._wait(_TICK_SECONDS)
        return None

    def _observe(self, daemon: int, has_settled: Callable[[], bool]) -> None:
        self._update_health(still=self._stillness.seconds(processes.cpu_seconds(daemon), time.monotonic()))
        # A file of the metrics that cannot be read must not end the service.
        with suppress(Exception):
            self._settled = self._settled or has_settled()

    def _notice_shard(self, line: bytes) -> None:
        with suppress(ValueError, LookupError):
            shard = json.loads(line)["shard"]
            self._held = self._held | {shard} if STARTED in line else self._held - {shard}
            self._held_since = time.monotonic()

    def _log_when_ready(self) -> None:
        """Logs once for each daemon, when it holds all of its shards."""
        held = len(self._held)
        settled = _SHARDS_SETTLED_SECONDS if held else _NO_SHARD_SECONDS
        if not self._ready and self.health.initialised and time.monotonic() - self._held_since > settled:
            self._ready = True
            log.info("ready: %d shard%s held, metrics at %s", held, "" if held == 1 else "s", self._plan.address)

    def _may_restart(self, code: int) -> bool:
        """Waits until the next start and returns True; False to give up."""
        # The cause comes first, as choosing the delay updates the count of kills that it depends on.
        cause = self._cause()
        delay = self._restart_delay()
        if delay is None:
            window = self._plan.restarts.window_seconds
            fields = {"code": code, "ends": len(self._ends), "window_seconds": window, "cause": cause}
            fields["failed_starts"] = self._failed_starts
            log.error("giving up: the daemon exited more often than allowed", extra=fields)
            return False
        fields = {"code": code, "restart_in_seconds": round(delay, 1), "cause": cause}
        log.warning("daemon exited unexpectedly", extra=fields)
        self._pause(delay)
        return True

    def _restart_delay(self) -> float | None:
        restarts, now = self._plan.restarts, time.monotonic()
        if self._adapt_to_memory():
            return restarts.soon(self._chance())
        self._ends = [*restarts.recent(self._ends, now), now]
        self._failed_starts = 0 if self._started_well(now) else self._failed_starts + 1
        return restarts.delay(len(self._ends), self._failed_starts, self._chance())

    def _started_well(self, now: float) -> bool:
        return self._settled or now - self._lives_since >= self._plan.restarts.start_seconds

    def _cause(self) -> str | None:
        if self._heap_exhausted:
            return "OutOfMemoryError: the JVM's heap is too small for the fetched records"
        if memory.kills() > self._kills:
            return "out of memory: the kernel killed a process of the container"
        return self._last_error

    def _adapt_to_memory(self) -> bool:
        """Whether memory ran out and the next daemon will use it differently.

        Such an exit does not count as a restart. There can only be a few: a fetch cannot be smaller than a record.
        """
        before, self._kills = self._kills, memory.kills()
        killed = self._kills > before
        if not (self._heap_exhausted or killed):
            return False
        limited, last = memory.limit(), self._share
        share = memory.after_kill(last, limited) if killed else memory.after_exhaustion(last, limited, self._shards)
        self._log_shortage(share)
        return share is not None and self._resize(share)

    def _log_shortage(self, share: Share | None) -> None:
        last = self._share
        fields = {"shards": self._shards, "container_mib": memory.needed(self._shards), **asdict(share or last)}
        if share is None:
            log.error(
                "out of memory with the smallest fetches: increase the container's memory to container_mib",
                extra=fields,
            )
        elif share.records == last.records:
            log.warning("out of memory: restarting with a larger heap", extra=fields)
        else:
            log.warning(
                "out of memory: restarting with smaller, slower fetches; container_mib of memory is enough",
                extra=fields,
            )

    def _resize(self, share: Share) -> bool:
        try:
            self._command = self._plan.launch(share)
        except OSError as error:
            log.warning("cannot write the properties, keeping the previous ones", extra={"cause": error.strerror})
            return False
        self._share = share
        return True

    def _may_restore_fetches(self) -> bool:
        """Whether to return to full-size fetches, which are faster: memory has been sufficient for some time."""
        rested = time.monotonic() - self.health.since > self._plan.restarts.window_seconds
        return rested and self.health.daemon is not None and self._share.records != self._plan.share.records

    def _restore_fetches(self, daemon: int) -> None:
        log.info(
            "memory has been sufficient for some time: restarting with full-size fetches", extra={"daemon": daemon}
        )
        self._shut_down(daemon)
        self._resize(replace(self._share, records=self._plan.share.records))

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self.health.stopping and (left := end - time.monotonic()) > 0:
            self._wait(left)

    def _stop(self, daemon: int) -> int:
        # The file comes first, so that no record processor begins another long wait. A full disk must not prevent it.
        with suppress(OSError):
            write(self._plan.directory / STOPPING, "")
        log.info("stopping", extra={"daemon": daemon, "grace_seconds": self._plan.grace_seconds})
        begun = time.monotonic()
        code = self._shut_down(daemon)
        fields = {"seconds": round(time.monotonic() - begun, 1)}
        if code in _GRACEFUL:
            log.info("stopped gracefully", extra=fields)
        else:
            log.info("stopped", extra={"code": code, **fields})
        return STOPPED

    def _shut_down(self, daemon: int) -> int | None:
        """Shuts the daemon down within its grace period. Its exit code, None if it had to be killed."""
        end = self._shutdown_deadline()
        os.kill(daemon, signal.SIGTERM)
        while (code := processes.exit_code(daemon)) is None and (left := end - time.monotonic()) > 0:
            self._wait(left)
        if code is None:
            log.warning("the daemon did not exit in time, killing it: unfinished batches will be read again")
        self._clean_up(daemon)
        return code

    def _shutdown_deadline(self) -> float:
        """When to kill a daemon that gets SIGTERM now. One that already shuts down has lost a record processor, and
        waits for it in vain."""
        end = time.monotonic() + self._plan.grace_seconds
        return min(end, self._shutdown_began + _SHUTDOWN_SECONDS) if self._shutdown_began else end

    def _clean_up(self, daemon: int) -> None:
        self.is_swept = processes.sweep(daemon, self._foreign_children)
        if not self.is_swept:
            log.error("processes of the daemon cannot be killed", extra={"daemon": daemon})
        if self._output:
            # Its last lines must be logged before ours, and must not be taken for its successor's.
            self._output.join(_TICK_SECONDS)
        self._measure(DAEMON_UP, 0)
        self._update_health(daemon=None, since=time.monotonic(), initialised=False)

    def _wait(self, seconds: float) -> None:
        """Waits for a signal, for at most a tick, so that `health` stays recent."""
        received = self._inbox.wait(min(seconds, _TICK_SECONDS))
        if not STOP_SIGNALS.isdisjoint(received):
            self._update_health(stopping=True)
        self._update_health()

    def _update_health(self, **changes: Any) -> None:
        # The thread that reads the daemon's output updates it as well.
        with self._health_lock:
            self.health = replace(self.health, beat=time.monotonic(), **changes)
