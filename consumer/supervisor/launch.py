"""What the supervisor starts, and how: the daemon's command line, environment and properties."""

import logging
import os
import re
import secrets
import shutil
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from consumer.daemon import aot_cache, jars, java, memory, properties, shim_jar
from consumer.daemon.memory import Share
from consumer.engine.errors import SettingsError
from consumer.settings import Settings, is_aws, variable
from consumer.supervisor.restarts import Restarts
from consumer.supervisor.run_directory import METRICS, PROPERTIES, write, write_bytes

log = logging.getLogger("consumer.supervisor")


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is decided before the first start.

    command        the daemon's command line with the first share of memory
    launch         writes the properties for another share and returns its command line; raises OSError
    grace_seconds  from the stop request to the JVM until it is killed
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
    """How a daemon is started. `command`, if given, replaces the daemon's command line."""

    settings: Settings
    environment: Mapping[str, str]
    properties: Path
    worker_id: str
    executable: str
    command: Sequence[str] | None

    def launch(self, share: Share) -> Sequence[str]:
        """Writes the properties for the share and returns its command line. Raises OSError."""
        sized = share.records and self.settings.model_copy(update={"max_records": share.records})
        write(self.properties, rendered(sized or self.settings, self.worker_id, self.executable))
        return self.command or self._daemon(share)

    def _daemon(self, share: Share) -> Sequence[str]:
        found, given = java.find_java(self.environment), self.settings.java_options.split()
        shim = aot_cache.shim()
        if shim and (cached := aot_cache.options(found, given)):
            command = self._command(found, shim, cached, share)
            if aot_cache.accepted(command, self.environment):
                return command
        return self._command(found, shim or self._written_shim(), (), share)

    def _command(self, found: Path, shim: Path, cached: Sequence[str], share: Share) -> Sequence[str]:
        given = self.settings.java_options.split()
        options = [*cached, *memory.options(given, memory.limit(), memory.cpus(), share.heap)]
        log_file = self.settings.properties / "logback.xml"
        return java.command(found, jars.class_path(shim), options, self.properties, log_file)

    def _written_shim(self) -> Path:
        jar = self.properties.with_name(shim_jar.FILE)
        write_bytes(jar, shim_jar.contents())
        return jar


def prepare(
    settings: Settings,
    directory: Path,
    environment: Mapping[str, str],
    executable: str,
    command: Sequence[str] | None = None,
) -> Plan:
    """Writes the effective properties into the run directory `directory` and returns what to start and how."""
    worker_id = settings.worker_id or make_worker_id()
    share = memory.share(settings, memory.limit())
    launcher = Launcher(settings, environment, directory / PROPERTIES, worker_id, executable, command)
    try:
        first = launcher.launch(share)
    except OSError as error:
        raise SettingsError([f"{variable('run_directory')}: {error.strerror}: {directory / PROPERTIES}"]) from None
    log.info("worker", extra={"worker_id": worker_id, "run_directory": str(directory)})
    # The JVM needs a moment to exit after its own grace period, but must be killed before the container is.
    margin = min(2.0, (settings.stop_timeout_seconds - settings.shutdown_grace_seconds) / 2)
    return Plan(
        command=first,
        launch=launcher.launch,
        share=share,
        environment=daemon_environment(settings, environment, directory),
        directory=directory,
        restarts=Restarts(settings.restarts, settings.restart_window_seconds, settings.healthy_after_seconds),
        grace_seconds=settings.shutdown_grace_seconds + margin,
        worker_id=worker_id,
        address=settings.metrics_address,
    )


def make_worker_id() -> str:
    """An id that no other worker has. It names the host and the process, to find the worker by."""
    host = re.sub(r"[^a-zA-Z0-9_.-]", "-", socket.gethostname())[:64]
    return f"{host}:{os.getpid()}:{secrets.token_hex(4)}"


def daemon_environment(settings: Settings, given: Mapping[str, str], directory: Path) -> dict[str, str]:
    """The environment of the JVM and of every record processor."""
    ours = {
        "PATH": search_path(given),
        variable("run_directory"): str(directory),
        # Java ignores AWS_DEFAULT_REGION.
        variable("region"): settings.region,
        "PROMETHEUS_MULTIPROC_DIR": str(directory / METRICS),
    }
    # With one malloc arena per thread, the process would not return freed memory to the system.
    defaults = {"MALLOC_ARENA_MAX": "2"}
    # No emulator supports CBOR; AWS does, and it is cheaper.
    plain = {} if is_aws(settings.endpoint_of("kinesis")) else {"CBOR_ENABLED": "false"}
    # For the classes of daemon/stream_arn_shim.py.
    arn = {variable("stream_arn"): settings.stream_arn} if settings.stream_arn else {}
    return defaults | plain | dict(given) | ours | arn


def rendered(settings: Settings, worker_id: str, executable: str) -> str:
    """The text of the effective properties. Raises SettingsError."""
    shipped = properties.read(settings.properties / PROPERTIES)
    return properties.render(shipped, settings, worker_id, executable)


def on_path(executable: str, environment: Mapping[str, str]) -> str | None:
    """Where the daemon will find `executable`, None when it will not."""
    return shutil.which(executable.split(maxsplit=1)[0], path=search_path(environment))


def search_path(environment: Mapping[str, str]) -> str:
    """The daemon's PATH. This Python's folder comes first, so that its `consumer` is the one found."""
    # A full path in `executableName` would break at its blanks, where the daemon splits it.
    return f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
