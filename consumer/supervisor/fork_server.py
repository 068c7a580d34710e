"""Starts the fork server of the record processors (kcl/fork_server.py) once the daemon has enough of them.

Each process that the daemon starts for a shard connects to a socket in the run directory. While the daemon has fewer
than CONSUMER_FORK_FROM_SHARDS of them, their connections are closed, and each imports all that it needs. As soon as
there are as many, the fork server gets the socket, and with it the connections that nobody has answered yet.
"""

import logging
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from consumer.daemon.properties import EXECUTABLE
from consumer.engine.errors import SettingsError
from consumer.settings import Settings, variable
from consumer.supervisor import launch, processes
from consumer.supervisor.relay import Relay
from consumer.supervisor.run_directory import FORK_SERVER

_TOGETHER_SECONDS = 0.2
"""Shards that a worker is assigned together start within this time."""
_BACKLOG = 1_000
"""More than the shards of a worker."""

log = logging.getLogger("consumer.supervisor")


class ForkServer:
    """The listener of the record processors' connections, and the process that answers them in the end."""

    def __init__(
        self, listener: socket.socket, command: Sequence[str], environment: Mapping[str, str], relay: Relay
    ) -> None:
        self.listener = listener
        self._command = command
        self._environment = environment
        self._relay = relay

    def start(self, is_needed: Callable[[], bool]) -> None:
        # The thread does not end, because the fork server would be killed with it.
        threading.Thread(target=self._run, args=(is_needed,), name="fork server", daemon=True).start()

    def _run(self, is_needed: Callable[[], bool]) -> None:
        while True:
            select.select([self.listener], [], [])
            if not is_needed():
                time.sleep(_TOGETHER_SECONDS)
            if is_needed():
                self._serve()
            self._close_connections()

    def _serve(self) -> None:
        """Returns when the fork server has exited. Until then, it answers all connections."""
        read, write = os.pipe()
        try:
            processes.start(self._command, self._environment, write, self.listener.fileno())
        except OSError as error:
            log.warning("cannot start the fork server", extra={"cause": error.strerror})
        finally:
            os.close(write)
        # The forks do not hold its output: they have the pipes to the daemon.
        self._relay.follow(os.fdopen(read, "rb"), lambda _: None).join()

    def _close_connections(self) -> None:
        while select.select([self.listener], [], [], 0)[0]:
            self.listener.accept()[0].close()


def fork_server(
    settings: Settings, executable: str, environment: Mapping[str, str], directory: Path, relay: Relay
) -> ForkServer | None:
    """None if it is switched off, or if the daemon runs another program than ours. Raises SettingsError."""
    if not (settings.fork_from_shards and executable.endswith(EXECUTABLE)):
        return None
    program, *arguments = executable.split()[:-1]
    command = [launch.on_path(program, environment) or program, *arguments, "fork-server"]
    return ForkServer(listen(directory), command, environment, relay)


def listen(directory: Path) -> socket.socket:
    """The listener of the socket in the run directory `directory`. Raises SettingsError."""
    listener = socket.socket(socket.AF_UNIX)
    folder = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    try:
        # The path of a socket is limited to 107 bytes.
        listener.bind(f"/proc/self/fd/{folder}/{FORK_SERVER}")
        (directory / FORK_SERVER).chmod(0o600)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise SettingsError([f"{variable('run_directory')}: {error.strerror}: {directory / FORK_SERVER}"]) from None
    finally:
        os.close(folder)
    return listener
