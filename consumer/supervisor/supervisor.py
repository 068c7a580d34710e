"""The supervisor: keeps one daemon running, and chooses the exit code of the service.

The process tree is supervisor -> JVM -> one record processor per shard. The supervisor may be process 1. It restarts
the daemon under the same worker id when it exits unexpectedly (with a new id it would wait two minutes for KCL's
leader lock), passes a stop request on to the JVM alone, and leaves no process behind. It waits in one place only, for
a signal or for time to pass.
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
from consumer.monitoring.exporter import Health
from consumer.monitoring.metrics import DAEMON_UP, RESTARTS, Sink
from consumer.supervisor import processes
from consumer.supervisor.launch import Plan
from consumer.supervisor.relay import Relay
from consumer.supervisor.run_directory import STOPPING, write
from consumer.supervisor.signals import STOP_SIGNALS, Inbox

INITIALISED = b"Initialization complete. Starting worker loop."
"""What KCL's Scheduler logs at INFO once tables, leases and threads are ready (see exporter.unready)."""
ENDING = b"Process terminated, will initiate shutdown."
"""What the MultiLangDaemon logs at INFO as it begins to end, also when a record processor has died."""

LEAVING = b'"message": "leaving"'
"""In the last line of a record processor that cannot go on; the end of its `error` says why."""
STARTED, LEFT = b'"message": "shard started"', (b'"message": "lease lost"', b'"message": "shard ended"')
"""In the lines with which a record processor begins a shard and ends it."""
OUT_OF_MEMORY = b"Terminating due to java.lang.OutOfMemoryError"
"""What the JVM says as it ends because its heap is too small."""

_TICK_SECONDS = 1.0
# A daemon whose record processor has died spends all of shutdownGraceMillis on waiting for it. The others are done,
# checkpoints included, within two seconds.
_ENDING_SECONDS = 2.0
_TERMINATED = (0, 128 + signal.SIGTERM)
"""How a JVM ends that was asked to, and had the time."""
_ALL_STARTED_SECONDS = 3.0
"""Once no shard has come or gone for this long, the worker holds what it is to hold, for now."""
_NONE_COMES_SECONDS = 30.0
"""The same for a worker that holds none: the leader deals out leases every few seconds."""

log = logging.getLogger("consumer.supervisor")


class Supervisor:
    """One daemon kept alive. `health` is what it last knew, to be read from any thread."""

    def __init__(
        self,
        plan: Plan,
        inbox: Inbox,
        relay: Relay,
        measure: Sink,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._plan = plan
        self._inbox = inbox
        self._relay = relay
        self._measure = measure
        self._chance = chance
        self._command, self._share = plan.command, plan.share
        self._starts = 0
        self._ends: list[float] = []
        # A wrapper that became this process may have left children of its own.
        self._strangers = processes.children()
        self._output: Thread | None = None
        self._ending: float | None = None
        self._last_words: str | None = None
        self._exhausted = self._ready = False
        self._shards = 0
        self._held: set[str] = set()
        self._held_since = 0.0
        self._kills = memory.kills()
        self._knowing = Lock()
        self.health = Health(time.monotonic(), since=time.monotonic())

    def run(self) -> int:
        """The exit code: 0 it was asked to stop, 1 the daemon would not stay alive."""
        processes.adopt_orphans()
        while not self.health.stopping:
            daemon = self._start()
            code = self._until_end(daemon)
            if code is None:
                if self._is_stopping():
                    return self._stop(daemon)
                self._enlarge(daemon)
                continue
            # Its record processors are our children now.
            self._shards = max(self._shards, len(processes.children() - self._strangers - {daemon}))
            self._clean_up(daemon)
            self._know(ended=code)
            if not self._may_go_on(code):
                return 1
        return 0

    def _is_stopping(self) -> bool:
        return self.health.stopping

    def _start(self) -> int:
        read, write_end = os.pipe()
        try:
            daemon = processes.start(self._command, self._plan.environment, write_end)
        finally:
            os.close(write_end)
        self._ending = self._last_words = None
        self._exhausted = self._ready = False
        self._shards = 0
        self._held, self._held_since = set(), time.monotonic()
        self._output = self._relay.follow(os.fdopen(read, "rb"), self._notice)
        self._measure(RESTARTS, min(self._starts, 1))
        self._starts += 1
        self._measure(DAEMON_UP, 1)
        self._know(daemon=daemon, since=time.monotonic())
        log.info("daemon started", extra={"daemon": daemon})
        return daemon

    def _notice(self, line: bytes) -> None:
        if INITIALISED in line:
            self._know(initialised=True)
        if ENDING in line:
            self._ending = time.monotonic()
        if OUT_OF_MEMORY in line:
            self._exhausted = True
        if STARTED in line or any(left in line for left in LEFT):
            self._notice_shard(line)
        if LEAVING in line:
            with suppress(ValueError, LookupError):
                self._last_words = json.loads(line)["error"].splitlines()[-1]

    def _until_end(self, daemon: int) -> int | None:
        """The daemon's exit code; None when it is to end: a stop was asked for, or it may have more again."""
        while not self.health.stopping and not self._may_have_more():
            if (code := processes.ended(daemon)) is not None:
                return code
            if self._ending and time.monotonic() - self._ending > _ENDING_SECONDS:
                os.kill(daemon, signal.SIGKILL)
            self._shards = max(self._shards, len(processes.children(daemon)))
            self._say_when_ready()
            processes.reap(spare=daemon)
            self._wait(_TICK_SECONDS)
        return None

    def _notice_shard(self, line: bytes) -> None:
        with suppress(ValueError, LookupError):
            shard = json.loads(line)["shard"]
            self._held = self._held | {shard} if STARTED in line else self._held - {shard}
            self._held_since = time.monotonic()

    def _say_when_ready(self) -> None:
        """Once for each daemon, when its shards are complete."""
        held = len(self._held)
        settled = _ALL_STARTED_SECONDS if held else _NONE_COMES_SECONDS
        if not self._ready and self.health.initialised and time.monotonic() - self._held_since > settled:
            self._ready = True
            log.info("ready: %d shard%s held, metrics at %s", held, "" if held == 1 else "s", self._plan.address)

    def _may_go_on(self, code: int) -> bool:
        cause, now = self._cause(), time.monotonic()
        restarts = self._plan.restarts
        delay: float | None
        if self._make_do():
            delay = restarts.soon(self._chance())
        else:
            self._ends = [*restarts.recent(self._ends, now), now]
            delay = restarts.delay(len(self._ends), self._chance())
        if delay is None:
            log.error(
                "giving up: the daemon ended more often than allowed",
                extra={
                    "code": code,
                    "ends": len(self._ends),
                    "window_seconds": restarts.window_seconds,
                    "cause": cause,
                },
            )
            return False
        told = {"code": code, "restart_in_seconds": round(delay, 1), "cause": cause}
        log.warning("daemon ended unasked", extra=told)
        self._rest(delay)
        return True

    def _cause(self) -> str | None:
        if self._exhausted:
            return "OutOfMemoryError: the JVM's heap is too small for what was fetched"
        if memory.kills() > self._kills:
            return "out of memory: the kernel killed a process of the container"
        return self._last_words

    def _make_do(self) -> bool:
        """Whether memory had run out and the next daemon makes do with it in another way. An end of that kind does not
        count, as there are few: a fetch cannot be smaller than a record."""
        before, self._kills = self._kills, memory.kills()
        killed = self._kills > before
        if not (self._exhausted or killed):
            return False
        limited, last = memory.limit(), self._share
        share = memory.after_kill(last, limited) if killed else memory.after_exhaustion(last, limited, self._shards)
        told = {"shards": self._shards, "container_mib": memory.needed(self._shards), **asdict(share or last)}
        if share is None:
            log.error("out of memory, and fetches cannot be smaller: give the container container_mib", extra=told)
        elif share.records == last.records:
            log.warning("out of memory: restarting with a larger heap", extra=told)
        else:
            log.warning("out of memory: restarting with smaller, slower fetches; container_mib is enough", extra=told)
        return share is not None and self._resize(share)

    def _resize(self, share: Share) -> bool:
        try:
            self._command = self._plan.launch(share)
        except OSError as error:
            log.warning("the properties cannot be written and stay as they are", extra={"cause": error.strerror})
            return False
        self._share = share
        return True

    def _may_have_more(self) -> bool:
        """Smaller fetches are slow: after some time without running out of memory they are as large as before."""
        rested = time.monotonic() - self.health.since > self._plan.restarts.window_seconds
        return rested and self.health.daemon is not None and self._share.records != self._plan.share.records

    def _enlarge(self, daemon: int) -> None:
        log.info("memory has sufficed for some time: restarting with fetches of full size", extra={"daemon": daemon})
        self._end(daemon)
        self._resize(replace(self._share, records=self._plan.share.records))

    def _rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self.health.stopping and (left := end - time.monotonic()) > 0:
            self._wait(left)

    def _stop(self, daemon: int) -> int:
        # First the sign, so that no record processor begins another long wait; a full disk must not keep us.
        with suppress(OSError):
            write(self._plan.directory / STOPPING, "")
        log.info("stopping", extra={"daemon": daemon, "grace_seconds": self._plan.grace_seconds})
        begun = time.monotonic()
        code = self._end(daemon)
        told = {"seconds": round(time.monotonic() - begun, 1)}
        if code in _TERMINATED:
            log.info("stopped gracefully", extra=told)
        else:
            log.info("stopped", extra={"code": code, **told})
        return 0

    def _end(self, daemon: int) -> int | None:
        """Has the daemon end, within its time; its exit code, None when it had to be killed."""
        begun = time.monotonic()
        os.kill(daemon, signal.SIGTERM)
        while (code := processes.ended(daemon)) is None and self._left(begun) > 0:
            self._wait(self._left(begun))
        if code is None:
            log.warning("the daemon did not end in time and is killed: unfinished batches will be read again")
        self._clean_up(daemon)
        return code

    def _left(self, begun: float) -> float:
        return begun + self._plan.grace_seconds - time.monotonic()

    def _clean_up(self, daemon: int) -> None:
        if not processes.sweep(daemon, self._strangers):
            log.error("processes of the daemon cannot be killed", extra={"daemon": daemon})
        if self._output:
            # Its last words come before ours, and say nothing of its successor.
            self._output.join(_TICK_SECONDS)
        self._measure(DAEMON_UP, 0)
        self._know(daemon=None, since=time.monotonic(), initialised=False)

    def _wait(self, seconds: float) -> None:
        """Until a signal comes, a tick at most: the health must not grow old."""
        came = self._inbox.wait(min(seconds, _TICK_SECONDS))
        if not STOP_SIGNALS.isdisjoint(came):
            self._know(stopping=True)
        self._know()

    def _know(self, **news: Any) -> None:
        # The thread that reads the daemon's output knows things too.
        with self._knowing:
            self.health = replace(self.health, beat=time.monotonic(), **news)
