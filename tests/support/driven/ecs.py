"""Checks the health of a running service as ECS does for a container, with the health check of the Fargate template.

A check runs every `interval` and fails after `timeout`. One success makes the container healthy. Failures within the
start period do not count; after it, `retries` of them in a row make it unhealthy.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from tests.support.driven.background import background
from tests.support.driven.service import Service
from tests.support.driven.waiting import until
from tests.support.emulators.cloudformation import resources, template


class Status(StrEnum):
    UNKNOWN = "UNKNOWN"
    HEALTHY = "HEALTHY"
    UNHEALTHY = "UNHEALTHY"


@dataclass(frozen=True)
class HealthCheck:
    """Times in seconds."""

    command: tuple[str, ...]
    interval: float
    timeout: float
    retries: int
    start_period: float

    @classmethod
    def of_template(cls, factor: float = 1.0) -> Self:
        """The template's check, with all times multiplied by `factor`."""
        task = resources(template("fargate.yaml"), "AWS::ECS::TaskDefinition")["TaskDefinition"]
        (check,) = [each["HealthCheck"] for each in task["ContainerDefinitions"] if "HealthCheck" in each]
        kind, *command = check["Command"]
        assert kind == "CMD", "no shell"
        interval, timeout, start = (factor * check[name] for name in ("Interval", "Timeout", "StartPeriod"))
        return cls(tuple(command), interval, timeout, check["Retries"], start)

    def passes(self, variables: Mapping[str, str]) -> bool:
        command = [sys.executable, "-m", *self.command]
        try:
            done = subprocess.run(command, env=variables, check=False, capture_output=True, timeout=self.timeout)
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0


@dataclass
class Container:
    """A running service and its status so far.

    statuses  every status that it has had, and after how many seconds
    exited    after how many seconds it exited, and the exit code
    """

    running: Service
    statuses: list[tuple[float, Status]] = field(default_factory=lambda: [(0.0, Status.UNKNOWN)])
    exited: tuple[float, int] | None = None

    @property
    def status(self) -> Status:
        return self.statuses[-1][1]

    def was(self, status: Status) -> bool:
        return any(status is each for _, each in self.statuses)

    def until(self, status: Status, seconds: float) -> float:
        """Waits until it has had the status, and returns after how many seconds that was."""
        until(lambda: self.was(status) or self.exited, f"{status}; so far {self.statuses}", seconds=seconds)
        assert self.was(status), (self.statuses, self.exited)
        return next(at for at, each in self.statuses if each is status)

    def until_exit(self, seconds: float) -> tuple[float, int]:
        """Waits until it has exited, and returns after how many seconds, and the exit code."""
        return until(lambda: self.exited, f"the exit; so far {self.statuses}", seconds=seconds) or (0.0, 0)


@contextmanager
def supervised(running: Service, variables: Mapping[str, str], check: HealthCheck) -> Iterator[Container]:
    """Checks a service that has just been started, during the block or until it exits."""
    container = Container(running)
    with background(lambda over: _check(container, variables, check, over), "ecs"):
        yield container


def _check(container: Container, variables: Mapping[str, str], check: HealthCheck, over: threading.Event) -> None:
    start, failures = time.monotonic(), 0
    due = start + check.interval
    while not over.wait(0.05):
        now = time.monotonic()
        if (code := container.running.process.poll()) is not None:
            container.exited = (now - start, code)
            return
        if now < due:
            continue
        passed = check.passes(variables)
        counts = passed or now - start > check.start_period
        failures = 0 if passed or not counts else failures + 1
        if passed and container.status is not Status.HEALTHY:
            container.statuses.append((now - start, Status.HEALTHY))
        elif failures >= check.retries and container.status is not Status.UNHEALTHY:
            container.statuses.append((now - start, Status.UNHEALTHY))
        due = max(due + check.interval, time.monotonic())
