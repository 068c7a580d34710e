"""Several workers of one application. One that dies is replaced by a new one with another id, as ECS does it."""

import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from itertools import count

from tests.support.driven.service import Sample, Service, send
from tests.support.driven.workers import kill, processes


@dataclass
class Replicas:
    """`start` runs a worker of a name. `running`: those that run now, the newest last; `stack` ends them."""

    start: Callable[[str], AbstractContextManager[Service]]
    stack: ExitStack
    running: list[Service] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=count)

    def add(self) -> Service:
        started = self.stack.enter_context(self.start(f"worker-{next(self._numbers)}"))
        self.running = [*self.running, started]
        return started

    def pick(self, number: int) -> Service:
        return self.running[number % len(self.running)]

    def kill(self, *dead: Service) -> None:
        """Kills all processes of these workers at once and replaces the workers."""
        kill(*dead)
        self._replace(*dead)

    def stop(self, old: Service) -> int:
        """Starts a new worker, then stops the old one; its exit code."""
        self.add()
        code = old.stop(within=60.0)
        self.running = [worker for worker in self.running if worker is not old]
        return code

    def freeze(self, worker: Service, *, jvm_only: bool) -> Callable[[], None]:
        """Freezes all processes of the worker, or only its JVM and record processors. The result continues them."""
        frozen = processes(worker)[1 if jvm_only else 0 :]
        send(signal.SIGSTOP, frozen)
        return lambda: send(signal.SIGCONT, frozen)

    def samples(self) -> list[Sample]:
        """The metrics of all running workers."""
        return [sample for worker in self.running for sample in worker.samples()]

    def outcomes(self) -> Counter[str]:
        return sum((worker.outcomes() for worker in self.running), Counter[str]())

    def _replace(self, *dead: Service) -> None:
        self.running = [worker for worker in self.running if worker not in dead]
        for _ in dead:
            self.add()
