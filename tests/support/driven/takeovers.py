"""How long shards stand still when a worker dies, stops or freezes: `python -m tests.support.driven.takeovers`.

Each play runs real workers on MiniStack under a steady load, and measures from the death until the checkpoint of every
shard moves again. At its end, everything that was put must be settled exactly. Only the figures of a quiet machine are
worth comparing.
"""

import argparse
import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from tests.support.driven.leases import hand_over, leader, leases, lost, owed, owners
from tests.support.driven.load import Producer
from tests.support.driven.scenario import Stage, poison, until_equal
from tests.support.driven.service import RUN, Service, consumer, environment, gone, send
from tests.support.driven.waiting import until
from tests.support.driven.watch import Watch
from tests.support.driven.workers import processes, worker
from tests.support.emulators.aws import Emulator, ministack
from tests.support.faults.tunnel import tunnel

SHARDS = 2
RATE = 20.0
AS_SHIPPED: Mapping[str, str] = {
    "CONSUMER_FAILOVER_MILLIS": "5000",
    "CONSUMER_LEASE_ASSIGNMENT_MILLIS": "2000",
    "CONSUMER_IDLE_MILLIS": "1000",
}
"""The defaults, instead of the shorter intervals of other tests. Checkpoints are still made every second."""
ON_A_NEW_MACHINE: Sequence[str] = ("tests.support.driven.new_machine", *RUN)
PATIENCE_SECONDS = 300.0


@dataclass
class Scene:
    """A stage with a load, its workers, and everything to close at the end."""

    aws: Emulator
    stage: Stage
    directory: Path
    stack: ExitStack
    settings: Mapping[str, str]
    workers: dict[str, Service] = field(default_factory=dict)

    def start(self, name: str, command: Sequence[str] = RUN, **settings: str) -> Service:
        variables = {**self.settings, "CONSUMER_WORKER_ID": name, **settings}
        running = self.stack.enter_context(worker(self.stage, self.directory, name, command, **variables))
        self.workers[name] = running
        return running

    def consuming(self, *names: str) -> None:
        """Waits until these workers hold all shards and every checkpoint moves."""
        until(lambda: set(owners(self.stage)) == set(names), f"{names} to hold the shards", seconds=PATIENCE_SECONDS)
        self.seconds_until_moving()

    def two(self, other: Mapping[str, str] = MappingProxyType({}), **settings: str) -> tuple[Service, Service]:
        """The leader and another worker, with a shard each. `settings`: of the leader; `other`: of the other one."""
        first = self.start("leader", **settings)
        self.consuming("leader")
        until(lambda: leader(self.stage) == "leader", "a leader")
        second = self.start("other", **other)
        until(lambda: self._reports("other"), "the report of the other worker")
        if len(owners(self.stage)) == 1:
            hand_over(self.stage, min(leases(self.stage)), "other")
        self.consuming("leader", "other")
        return first, second

    def logged(self, message: str, *names: str) -> list[dict[str, Any]]:
        """The lines with this message in the logs of these workers, by default of all."""
        chosen = [self.workers[name] for name in names or self.workers if name in self.workers]
        return [line for running in chosen for line in running.lines() if line["message"] == message]

    def seconds_until_moving(self, since: float | None = None) -> float:
        """Waits until the checkpoint of every shard has moved from where it is now; seconds since `since`, or now."""
        since = time.monotonic() if since is None else since
        before = self._checkpoints()
        until(
            lambda: all(now != before[shard] for shard, now in self._checkpoints().items()),
            "every checkpoint to move",
            seconds=PATIENCE_SECONDS,
        )
        return time.monotonic() - since

    def _checkpoints(self) -> dict[str, str]:
        return {shard: lease.checkpoint for shard, lease in leases(self.stage).items()}

    def _reports(self, name: str) -> bool:
        rows = self.stage.items(f"{self.stage.variables['CONSUMER_APPLICATION_NAME']}-WorkerMetricStats")
        return any(row["wid"]["S"] == name for row in rows)


def signalled(running: Service, number: int, *, jvm_only: bool = False) -> float:
    """Signals all processes of the worker, or its JVM and the record processors alone; returns the monotonic time."""
    everything = processes(running)
    send(number, everything[1:] if jvm_only else everything)
    if number == signal.SIGKILL:
        running.process.wait()
        gone(everything)
    return time.monotonic()


# --- The plays -----------------------------------------------------------------------------------------------------


def first_record(scene: Scene) -> float:
    begun = time.monotonic()
    running = scene.start("first")
    until(lambda: running.received() > 0, "the first record", every=0.05)
    return time.monotonic() - begun


def leader_killed(scene: Scene) -> float:
    first, _ = scene.two()
    died = signalled(first, signal.SIGKILL)
    return scene.seconds_until_moving(died)


def all_killed(scene: Scene, command: Sequence[str] = RUN) -> float:
    old = scene.start("old")
    scene.consuming("old")
    died = signalled(old, signal.SIGKILL)
    scene.start("new", command)
    return scene.seconds_until_moving(died)


def all_killed_on_a_new_machine(scene: Scene) -> float:
    return all_killed(scene, ON_A_NEW_MACHINE)


def only_one_stopped(scene: Scene) -> float:
    old = scene.start("old")
    scene.consuming("old")
    assert old.stop() == 0
    begun = time.monotonic()
    scene.start("new")
    return scene.seconds_until_moving(begun)


def one_of_two_stopped(scene: Scene) -> float:
    first, _ = scene.two()
    assert first.stop() == 0
    return scene.seconds_until_moving()


def leader_frozen(scene: Scene, *, jvm_only: bool = False) -> float:
    first, _ = scene.two()
    before = scene.logged("lease taken", "leader")
    frozen = signalled(first, signal.SIGSTOP, jvm_only=jvm_only)
    seconds = scene.seconds_until_moving(frozen)
    assert scene.logged("lease taken", "leader") == before
    signalled(first, signal.SIGCONT)
    return seconds


def jvm_of_the_leader_frozen(scene: Scene) -> float:
    return leader_frozen(scene, jvm_only=True)


def network_of_the_leader_cut(scene: Scene) -> float:
    line = scene.stack.enter_context(tunnel(scene.aws.endpoint))
    scene.two(AWS_ENDPOINT_URL=line.endpoint)
    line.stop()
    seconds = scene.seconds_until_moving()
    line.heal()
    return seconds


PLAYS: Mapping[str, Callable[[Scene], float]] = {
    play.__name__: play
    for play in (
        leader_killed,
        all_killed,
        all_killed_on_a_new_machine,
        only_one_stopped,
        one_of_two_stopped,
        leader_frozen,
        jvm_of_the_leader_frozen,
        network_of_the_leader_cut,
        first_record,
    )
}


@dataclass(frozen=True)
class Play:
    """A play that went well. `seconds`: what it measured."""

    seconds: float
    logged: Callable[..., list[dict[str, Any]]]


def played(
    name: str,
    aws: Emulator,
    directory: Path,
    seed: int,
    play: Callable[[Scene], float] | None = None,
    **settings: str,
) -> Play:
    """Runs a play, by default the one of this name. `settings`: of every worker.

    Raises AssertionError or TimeoutError if anything is lost or wrong.
    """
    variables = environment(name.replace("_", "-"), directory, AWS_ENDPOINT_URL=aws.endpoint)
    consumer(variables, "provision", "--stream", str(SHARDS))
    stage = Stage(variables)
    produce = Producer(stage, seed)
    produce(50)
    with ExitStack() as stack, Watch(stage, pause=1.0) as watch:
        scene = Scene(aws, stage, directory, stack, {**AS_SHIPPED, **settings})
        with produce.steadily(RATE):
            seconds = (play or PLAYS[name])(scene)
        until_equal(stage, produce.put)
        until(lambda: owed(stage) == 0, "the last checkpoints")
        assert lost(stage) == []
        assert stage.quarantined() == poison(produce.put)
        assert watch.went_back == []
        for running in scene.workers.values():
            if running.process.poll() is None:
                running.stop()
    return Play(seconds, scene.logged)


# --- The command ---------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.support.driven.takeovers", description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="of each play (3)")
    parser.add_argument("--seed", type=int, default=1, help="of the records (1)")
    parser.add_argument("--json", action="store_true", help="the result as JSON")
    parser.add_argument("plays", nargs="*", default=list(PLAYS), help=f"{', '.join(PLAYS)} (all)", metavar="PLAY")
    options = parser.parse_args()
    found: dict[str, list[float]] = {name: [] for name in options.plays}
    for run in range(options.runs):
        for name in options.plays:
            with ministack() as aws, TemporaryDirectory(prefix="takeover-") as directory:
                found[name].append(round(played(name, aws, Path(directory), options.seed + run).seconds, 1))
            print(f"{name}: {found[name][-1]:.1f} s, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    if options.json:
        print(json.dumps(found))
    else:
        Console(highlight=False).print(_table(found))


def _table(found: Mapping[str, Sequence[float]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style="bold")
    for heading in ("play", "median, s", "runs, s"):
        table.add_column(heading)
    for name, seconds in found.items():
        runs = "; ".join(f"{each:.1f}" for each in seconds)
        table.add_row(name.replace("_", " "), f"{statistics.median(seconds):.1f}", runs)
    return table


if __name__ == "__main__":
    main()
