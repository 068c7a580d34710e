"""`consumer run`: the container's only process tree, supervisor -> JVM -> one record processor a shard.

The supervisor may be process 1. It starts the daemon, starts it again under the same worker id when it ends unasked
(a new id would wait two minutes for KCL's leader lock), passes the request to stop on to the JVM alone, and leaves no
process behind. All waiting is done in one place, for a signal or for time.
"""

import json
import logging
import os
import random
import re
import secrets
import select
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from prometheus_client import CollectorRegistry

from consumer.daemon import aggregator_shim, java, memory, properties
from consumer.daemon.memory import Share
from consumer.engine.errors import SettingsError
from consumer.leases import lease_watch
from consumer.leases.lease_watch import LeaseWatch
from consumer.monitoring import logs
from consumer.monitoring.exporter import Exporter, Health
from consumer.monitoring.metrics import DAEMON_UP, LEASES_OWNED, RESTARTS, Sink
from consumer.monitoring.prometheus import PrometheusSink
from consumer.monitoring.server import Server, listen
from consumer.settings import Settings, is_aws, variable
from consumer.supervisor import preflight, processes
from consumer.supervisor.preflight import Connect
from consumer.supervisor.relay import Relay
from consumer.supervisor.restarts import Restarts
from consumer.supervisor.run_directory import CLASSES, METRICS, PROPERTIES, STOPPING, run_directory, write

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
_STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})
_TERMINATED = (0, 128 + signal.SIGTERM)
"""How a JVM ends that was asked to, and had the time."""
_ALL_STARTED_SECONDS = 3.0
"""Once no shard has come or gone for this long, the worker holds what it is to hold, for now."""
_NONE_COMES_SECONDS = 30.0
"""The same for a worker that holds none: the leader deals out leases every few seconds."""

log = logging.getLogger("consumer.supervisor")


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is decided before the first start.

    command        the daemon's command line with the first share of memory
    launch         writes the properties for another one and returns the command line with it; raises OSError
    grace_seconds  from asking the JVM to stop to killing it
    address        where the metrics are
    """

    command: Sequence[str]
    share: Share
    launch: Callable[[Share], Sequence[str]]
    environment: Mapping[str, str]
    directory: Path
    restarts: Restarts
    grace_seconds: float
    worker_id: str
    address: str


@dataclass(frozen=True, slots=True)
class Launcher:
    """How a daemon is started. `command` takes the place of ours."""

    settings: Settings
    environment: Mapping[str, str]
    properties: Path
    worker_id: str
    executable: str
    command: Sequence[str] | None

    def launch(self, share: Share) -> Sequence[str]:
        """Writes the properties for the share and returns the command line with it. Raises OSError."""
        sized = share.records and self.settings.model_copy(update={"max_records": share.records})
        write(self.properties, _rendered(sized or self.settings, self.worker_id, self.executable))
        return self.command or self._daemon(share)

    def _daemon(self, share: Share) -> Sequence[str]:
        options = memory.options(self.settings.java_options.split(), memory.limit(), share.heap)
        class_path = (self.properties.with_name(CLASSES), java.jars_directory() / "*")
        log_file = self.settings.properties / "logback.xml"
        return java.command(java.find_java(self.environment), class_path, options, self.properties, log_file)


def run(
    settings: Settings,
    environment: Mapping[str, str],
    *,
    executable: str = properties.EXECUTABLE,
    command: Sequence[str] | None = None,
    connect: Connect | None = None,
) -> int:
    """Runs the worker until it is asked to stop (0) or cannot be kept alive (1). Call it on the main thread.

    The JVM and the record processors get `environment` and what `daemon_environment` adds to it. `executable` is what
    the daemon runs for each shard, split on blanks; `command` takes the daemon's place. `connect` gives access to the
    tables and the stream, without which they are not examined.
    Raises SettingsError, a line for each problem, before anything is started.
    """
    settings = memory.fitted(settings, memory.limit())
    connect = connect and cache(connect)
    with ExitStack() as stack:
        inbox = stack.enter_context(signals())
        check(settings, environment, executable, command)
        listener = stack.enter_context(listen(settings.metrics_address))
        if settings.metrics_leave_the_machine:
            log.warning("metrics leave this machine unprotected", extra={"address": settings.metrics_address})
        directory = stack.enter_context(run_directory(settings.run_directory))
        if connect:
            preflight.examine(settings, connect)
        relay = stack.enter_context(stderr_relay())
        plan = prepare(settings, directory, environment, executable, command)
        figures = CollectorRegistry()
        plan = replace(plan, address=_address(settings, listener))
        measure = PrometheusSink((RESTARTS, DAEMON_UP, LEASES_OWNED), figures)
        supervisor = Supervisor(plan, inbox, relay, measure)
        watch = LeaseWatch(plan.worker_id, measure)
        exporter = Exporter(
            directory / METRICS, figures, lambda: supervisor.health, settings.hang_seconds, watch.reasons
        )
        stack.enter_context(serving(Server(listener, exporter.answer)))
        if connect:
            look = partial(_look, watch, connect, exporter, supervisor)
            stack.enter_context(lease_watch.every(lease_watch.EVERY_SECONDS, look))
        return supervisor.run()


def _look(watch: LeaseWatch, connect: Connect, exporter: Exporter, supervisor: "Supervisor") -> None:
    watch.look(connect(), exporter.shards(), initialised=supervisor.health.initialised)


def _address(settings: Settings, listener: socket.socket) -> str:
    """Where the metrics are, the port that was taken included."""
    return f"{settings.metrics_address.rpartition(':')[0]}:{listener.getsockname()[1]}"


# --- Before the start ----------------------------------------------------------------------------------------------


def check(
    settings: Settings, environment: Mapping[str, str], executable: str, command: Sequence[str] | None = None
) -> None:
    """Raises SettingsError with everything that would keep the worker from running, found without starting Java."""
    checks: list[Callable[[], object]] = [
        lambda: _rendered(settings, "unknown yet", executable),
        lambda: _need(_on_path(executable, environment), f"{executable.split(maxsplit=1)[0]} is not on the PATH"),
        lambda: _need("PROMETHEUS_MULTIPROC_DIR" not in environment, "PROMETHEUS_MULTIPROC_DIR is the worker's to set"),
    ]
    if command is None:
        log_file = settings.properties / "logback.xml"
        checks += [
            lambda: _need(
                log_file.is_file() or not log_file.parent.is_dir(), f"{variable('properties')}: {log_file} is not there"
            ),
            lambda: java.find_java(environment),
            lambda: _none(java.installed_problems()),
        ]
    if problems := [line for one in checks for line in _problems(one)]:
        raise SettingsError(problems)


def _problems(check_one: Callable[[], object]) -> list[str]:
    try:
        check_one()
    except SettingsError as error:
        return error.problems
    return []


def _need(condition: object, problem: str) -> None:
    if not condition:
        raise SettingsError([problem])


def _none(problems: list[str]) -> None:
    if problems:
        raise SettingsError(problems)


def _on_path(executable: str, environment: Mapping[str, str]) -> str | None:
    return shutil.which(executable.split(maxsplit=1)[0], path=_path(environment))


def _path(environment: Mapping[str, str]) -> str:
    # The daemon splits `executableName` on blanks, so no path may stand there: ours is found first on the PATH.
    return f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', os.defpath)}"


def _rendered(settings: Settings, worker_id: str, executable: str) -> str:
    shipped = properties.read(settings.properties / PROPERTIES)
    return properties.render(shipped, settings, worker_id, executable)


def prepare(
    settings: Settings,
    directory: Path,
    environment: Mapping[str, str],
    executable: str,
    command: Sequence[str] | None = None,
) -> Plan:
    """Writes the effective properties into the run directory `directory`, and says what is to be started and how."""
    worker_id = settings.worker_id or make_worker_id()
    share = memory.share(settings, memory.limit())
    launcher = Launcher(settings, environment, directory / PROPERTIES, worker_id, executable, command)
    try:
        first = launcher.launch(share)
        aggregator_shim.write(directory / CLASSES)
    except OSError as error:
        raise SettingsError([f"{variable('run_directory')}: {error.strerror}: {directory / PROPERTIES}"]) from None
    log.info("worker", extra={"worker_id": worker_id, "run_directory": str(directory)})
    # Time for the JVM to end after its own limit, without coming near the container's.
    margin = min(2.0, (settings.stop_timeout_seconds - settings.shutdown_grace_seconds) / 2)
    return Plan(
        command=first,
        launch=launcher.launch,
        share=share,
        environment=daemon_environment(settings, environment, directory),
        directory=directory,
        restarts=Restarts(settings.restarts, settings.restart_window_seconds),
        grace_seconds=settings.shutdown_grace_seconds + margin,
        worker_id=worker_id,
        address=settings.metrics_address,
    )


def make_worker_id() -> str:
    """No two workers ever share it, and it tells where to look."""
    host = re.sub(r"[^a-zA-Z0-9_.-]", "-", socket.gethostname())[:64]
    return f"{host}:{os.getpid()}:{secrets.token_hex(4)}"


def daemon_environment(settings: Settings, given: Mapping[str, str], directory: Path) -> dict[str, str]:
    """The environment of the JVM and of every record processor."""
    ours = {
        "PATH": _path(given),
        variable("run_directory"): str(directory),
        "PROMETHEUS_MULTIPROC_DIR": str(directory / METRICS),
    }
    # With an arena for every thread, memory that was freed would stay with the process.
    defaults = {"MALLOC_ARENA_MAX": "2"}
    # No emulator speaks CBOR; AWS does, and it is cheaper.
    plain = {} if is_aws(settings.endpoint_of("kinesis")) else {"CBOR_ENABLED": "false"}
    return defaults | plain | dict(given) | ours


@contextmanager
def stderr_relay() -> Iterator[Relay]:
    """Everything that this process logs to stderr goes through the relay."""
    relay = Relay(sys.stderr.fileno(), logs.for_terminal if sys.stderr.isatty() else None)
    handlers = [each for each in logging.getLogger().handlers if isinstance(each, logging.StreamHandler)]
    before = [(handler, handler.setStream(relay)) for handler in handlers]
    try:
        yield relay
    finally:
        relay.close()
        for handler, stream in before:
            handler.setStream(stream)


@contextmanager
def serving(server: Server) -> Iterator[None]:
    server.start()
    log.info("serving metrics", extra={"port": server.port})
    try:
        yield
    finally:
        server.stop()


class Inbox:
    """Requests to stop and deaths of children, as they come through the descriptor `source`."""

    def __init__(self, source: int) -> None:
        self._source = source

    def wait(self, seconds: float) -> Sequence[int]:
        """The numbers of the signals that have come, none after so many seconds without."""
        ready, _, _ = select.select([self._source], [], [], max(0.0, seconds))
        return os.read(self._source, 4096) if ready else b""


@contextmanager
def signals() -> Iterator[Inbox]:
    """Signals come as bytes of a pipe, so none is missed between looking and waiting.

    There are handlers, if empty ones, so that signals reach process 1 too.
    """
    read, write = os.pipe()
    os.set_blocking(write, False)
    pipe_before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    before = {number: signal.signal(number, lambda *_: None) for number in (*_STOP_SIGNALS, signal.SIGCHLD)}
    try:
        yield Inbox(read)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(pipe_before)
        os.close(read)
        os.close(write)


# --- At work -------------------------------------------------------------------------------------------------------


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
        if not _STOP_SIGNALS.isdisjoint(came):
            self._know(stopping=True)
        self._know()

    def _know(self, **news: Any) -> None:
        # The thread that reads the daemon's output knows things too.
        with self._knowing:
            self.health = replace(self.health, beat=time.monotonic(), **news)
