"""The record processors of one worker, started as the service starts them: as forks, if there are enough of them."""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.child import Child, Command, Failed, cpu_seconds, piped, pss_bytes, tail
from consumer.settings import Settings
from consumer.supervisor import processes
from consumer.supervisor.fork_server import listen

FORK_FROM: int = Settings.model_fields["fork_from_shards"].default
"""With so many shards, a worker forks its record processors."""
FORK_SERVER = "fork-server"
"""The command."""


@dataclass(frozen=True, slots=True)
class Group:
    """Initialized record processors, one per shard.

    fork_server  the process from which they were forked; None if each of them has imported everything
    """

    children: Sequence[Child]
    fork_server: int | None = None

    def record_processors(self) -> set[int]:
        """Their process ids."""
        return _pids(self.children) if self.fork_server is None else processes.children(self.fork_server)

    def all_processes(self) -> set[int]:
        """The process ids of all that these shards need: with the fork server and what waits for each fork."""
        server = set() if self.fork_server is None else {self.fork_server}
        return self.record_processors() | _pids(self.children) | server

    def pss_bytes(self) -> int:
        return sum(map(pss_bytes, self.all_processes()))

    def cpu_seconds(self) -> float:
        """Of the record processors."""
        return sum(map(cpu_seconds, self.record_processors()))


def _pids(children: Sequence[Child]) -> set[int]:
    return {each.pid for each in children}


@contextmanager
def started(command: Command, count: int, directory: Path) -> Iterator[Group]:
    """`count` record processors during the block. `directory`: the run directory that the command's environment names.

    Raises Failed if one of them does not start, or is no fork although there are enough.
    """
    with ExitStack() as stack:
        server = stack.enter_context(_fork_server(command, directory)) if count >= FORK_FROM else None
        logs = [directory / f"log-{number}" for number in range(count)]
        children = [
            Child(stack.enter_context(piped(command, log)), log, f"shardId-{number:012}")
            for number, log in enumerate(logs)
        ]
        for each in children:
            each.initialize()
        group = Group(children, server)
        if (found := len(group.record_processors())) != count:
            raise Failed(f"{found} of {count} record processors were forked: {tail(_log(directory))}")
        yield group
        for each in children:
            each.shut_down()


@contextmanager
def _fork_server(command: Command, directory: Path) -> Iterator[int]:
    """The process id of a fork server with the command's environment. The kernel also kills it if this process dies."""
    line = [*command.line[:-1], FORK_SERVER]
    with listen(directory) as listener, _log(directory).open("wb") as log:
        process = processes.start(line, command.environment, log.fileno(), listener.fileno())
    try:
        yield process
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


def _log(directory: Path) -> Path:
    return directory / "fork-server.log"
