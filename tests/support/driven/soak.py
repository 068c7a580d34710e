"""The whole service under a steady load and random faults, for minutes or hours: `make soak MINUTES=10 SEED=...`.

Two workers share the shards; one that dies is replaced under another id. In the first half every fault is drawn; in the
second half only those that all processes survive, so that some live long enough to show whether memory grows. The next
fault comes when every shard moves again. At the end the table must equal the oracle's, the quarantine must hold exactly
the poison records, nothing may be lost, the outcomes must add up, memory must not have grown, and apart from outages no
shard may have waited for longer than --patience.

Prints progress on stderr and the result on stdout. Exit code: 0 success, 1 a problem was found, 2 usage error.
"""

import argparse
import json
import secrets
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from types import FrameType
from typing import Any

from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from consumer.settings import Settings
from tests.support.driven.background import background
from tests.support.driven.leases import lost, owed
from tests.support.driven.load import Producer
from tests.support.driven.memory import JVM, RECORD_PROCESSOR, SUPERVISOR, Life, Reading, longest_lives, readings
from tests.support.driven.progress import Progress
from tests.support.driven.replicas import Replicas
from tests.support.driven.scenario import Stage, expected, first_difference, poison
from tests.support.driven.service import consumer, environment
from tests.support.driven.trial import with_endpoints
from tests.support.driven.waiting import until
from tests.support.driven.watch import Watch
from tests.support.driven.workers import worker
from tests.support.emulators.aws import ministack
from tests.support.faults.chaos import Targets, draw
from tests.support.faults.proxy import fault_proxy

SHARDS = 2
SETTINGS: Mapping[str, str] = {
    # more than the faults that are drawn: this tests that nothing is lost, not when the worker gives up
    "CONSUMER_RESTARTS": "1000",
    "CONSUMER_RESTART_WINDOW_SECONDS": "30",
    # the shipped heap, allocated at the start, so that growth shows only memory outside of it
    "CONSUMER_JAVA_OPTIONS": f"{Settings.model_fields['java_options'].default} -Xms256m -XX:+AlwaysPreTouch",
}
WARM_UP_SECONDS = 60.0
CHECK_SECONDS = 1.0
LINE_SECONDS = 10.0
"""Between two lines of progress if standard error is not a terminal."""
RECOVERY_SECONDS = 300.0
WORKERS = 2
FIRST = 500
"""Records put before the clock starts."""

Show = Callable[[str], None]


@dataclass(frozen=True)
class Bounds:
    """Limits on the memory of each role, in MiB: the maximum, and the growth after the warm-up."""

    most: Mapping[str, float]
    growth: Mapping[str, float]


BOUNDS = Bounds(
    most={SUPERVISOR: 80.0, JVM: 512.0, RECORD_PROCESSOR: 128.0},
    growth={SUPERVISOR: 4.0, JVM: 64.0, RECORD_PROCESSOR: 12.0},
)


@dataclass(frozen=True)
class Plan:
    """`rate`: records per second. `patience`: for how long a shard may wait apart from outages, in seconds."""

    seconds: float
    seed: int
    rate: float = 100.0
    patience: float = 20.0

    @property
    def warm_up(self) -> float:
        """The first seconds of a process, which do not count: code is compiled, caches and the heap fill."""
        return min(WARM_UP_SECONDS, self.seconds / 6)

    @property
    def shows_growth(self) -> bool:
        """Whether the run is long enough to tell growth from warm-up. The maximum applies to every run."""
        return self.seconds >= 5 * WARM_UP_SECONDS


@dataclass(frozen=True)
class Report:
    """The result. `problems`: empty on success; `injected`: faults by name; `hits`: how much each of them hit."""

    seed: int
    seconds: float
    put: int
    received: int
    outcomes: Mapping[str, int]
    poison: int
    injected: Mapping[str, int]
    hits: Mapping[str, int]
    daemon_restarts: int
    longest_lag_seconds: float
    longest_wait_seconds: float
    longest_recovery_seconds: float
    recovery_seconds: float
    table_polls: int
    memory: Sequence[Life]
    problems: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Soak:
    """A run in progress. `now`: the current fault."""

    plan: Plan
    stage: Stage
    targets: Targets
    progress: Progress
    begun: float
    injected: Counter[str] = field(default_factory=Counter)
    hits: Counter[str] = field(default_factory=Counter)
    taken: list[Reading] = field(default_factory=list)
    lag: float = 0.0
    now: str = ""

    @property
    def age(self) -> float:
        return time.monotonic() - self.begun

    def inject_faults(self, over: threading.Event) -> None:
        """Injects one fault after another until `over` is set."""
        for fault in draw(self.plan.seed):
            if over.is_set():
                return
            if fault.ends_processes and self.age > self.plan.seconds / 2:
                continue
            over.wait(fault.pause)
            self.now = fault.name
            with self.progress.outage(RECOVERY_SECONDS) if fault.is_outage else nullcontext():
                hits = fault.inject(self.targets, over.wait)
            self.progress.until_moving(RECOVERY_SECONDS)
            self.injected[fault.name] += 1
            self.hits[fault.name] += hits
            self.now = ""

    @property
    def replicas(self) -> Replicas:
        return self.targets.replicas

    def observe(self) -> str:
        """Takes readings and returns one line of progress."""
        sizes = [reading for running in self.replicas.running for reading in readings(running, self.age)]
        self.taken += sizes
        lag = max(self.values("consumer_shard_behind_latest_seconds"), default=0.0)
        self.lag = max(self.lag, lag)
        return (
            f"{_clock(self.age)} of {_clock(self.plan.seconds)}  put {len(self.targets.produce.put):,}"
            f"  lag {lag:.0f} s  {self.injected.total()} faults  longest wait {self.progress.longest_wait:.0f} s"
            f"  MiB {' '.join(f'{reading.mib:.0f}' for reading in sizes)}  {self.now}"
        )

    def values(self, name: str) -> list[float]:
        """The values of a metric of all running workers."""
        return [sample.value for sample in self.replicas.samples() if sample.name == name]


def soak(plan: Plan, directory: Path, show: Show) -> Report:
    """Runs the soak. All its files, including the logs of the workers, are in `directory`."""
    with ExitStack() as stack:
        aws = stack.enter_context(ministack())
        limits = stack.enter_context(fault_proxy(aws.endpoint, plan.seed))
        leases = stack.enter_context(fault_proxy(aws.endpoint, plan.seed + 1))
        stage = Stage({**environment("soak", directory, AWS_ENDPOINT_URL=aws.endpoint), **SETTINGS})
        consumer(stage.variables, "provision", "--stream", str(SHARDS))
        command = with_endpoints(AWS_ENDPOINT_URL_DYNAMODB=limits.endpoint)
        endpoint = {"AWS_ENDPOINT_URL_DYNAMODB": leases.endpoint}
        replicas = Replicas(lambda name: worker(stage, directory, name, command, **endpoint), stack)
        for _ in range(WORKERS):
            replicas.add()
        produce = Producer(stage, plan.seed, users=200)
        produce(FIRST)
        show("starting the service")
        until(lambda: owed(stage) == 0, "the first records to be settled", seconds=120)
        targets = Targets(replicas, produce, limits, leases)
        under_way = Soak(plan, stage, targets, Progress(stage), time.monotonic())
        with Watch(stage, pause=5.0) as watch:
            with (
                produce.steadily(plan.rate),
                background(under_way.progress.watch, "progress"),
                background(under_way.inject_faults, "chaos"),
            ):
                while under_way.age < plan.seconds:
                    show(under_way.observe())
                    time.sleep(CHECK_SECONDS)
            show(f"{_clock(under_way.age)}  put {len(produce.put):,}  load finished, waiting for the last records")
            begun = time.monotonic()
            problems = list(_problems(under_way))
            recovery = time.monotonic() - begun
        problems += [f"went back: {key}" for key in watch.went_back]
        return _report(under_way, watch.polls, recovery, problems)


def _problems(under_way: Soak) -> Iterator[str]:
    """Yields what is wrong after all records should be settled."""
    stage, made, replicas = under_way.stage, under_way.targets.produce.put, under_way.replicas
    try:
        until(lambda: owed(stage) == 0, "the last checkpoints", seconds=RECOVERY_SECONDS, every=1.0)
        until(
            lambda: sum(under_way.values("consumer_batch_records_sum")) == replicas.outcomes().total(),
            "the outcomes to add up to what was delivered",
        )
    except TimeoutError as late:
        yield str(late)
    if difference := first_difference(stage.limits(), expected(made)):
        yield f"the table differs from the oracle: {difference}"
    if missing := lost(stage):
        yield f"{len(missing)} records lost, the first one {missing[0]}"
    if (found := stage.quarantined()) != (wanted := poison(made)):
        yield f"quarantined {found.total()} records, where {wanted.total()} are poison"
    if (longest := under_way.progress.longest_wait) > under_way.plan.patience:
        yield f"a shard waited for {longest:.1f} s"


def _report(under_way: Soak, looks: int, recovery: float, problems: list[str]) -> Report:
    plan, made, replicas = under_way.plan, under_way.targets.produce.put, under_way.replicas
    outcomes, restarts = replicas.outcomes(), sum(under_way.values("consumer_daemon_restarts_total"))
    lives = longest_lives(under_way.taken, plan.warm_up, SHARDS)
    codes = [running.stop() for running in replicas.running]
    return Report(
        seed=plan.seed,
        seconds=plan.seconds,
        put=len(made),
        received=outcomes.total(),
        outcomes=dict(sorted(outcomes.items())),
        poison=poison(made).total(),
        injected=dict(sorted(under_way.injected.items())),
        hits=dict(sorted(under_way.hits.items())),
        daemon_restarts=int(restarts),
        longest_lag_seconds=round(under_way.lag, 1),
        longest_wait_seconds=round(under_way.progress.longest_wait, 1),
        longest_recovery_seconds=round(under_way.progress.longest_recovery, 1),
        recovery_seconds=round(recovery, 1),
        table_polls=looks,
        memory=lives,
        problems=[
            *problems,
            *(f"exit code {code}" for code in codes if code),
            *memory_problems(plan, under_way.taken, lives),
        ],
    )


def memory_problems(plan: Plan, taken: Sequence[Reading], lives: Sequence[Life], bounds: Bounds = BOUNDS) -> list[str]:
    """A line for each role that exceeded its maximum, and for each process that grew."""
    most = {role: max((reading.mib for reading in taken if reading.role == role), default=0.0) for role in bounds.most}
    large = [f"{role} used {most[role]:.0f} MiB" for role, bound in bounds.most.items() if most[role] > bound]
    if not plan.shows_growth:
        return large
    unobserved = [
        f"no {role} lived long enough to show growth"
        for role in sorted(bounds.growth.keys() - {life.role for life in lives})
    ]
    grown = [life for life in lives if life.growth > bounds.growth[life.role]]
    return large + unobserved + [f"{life.role} grew by {life.growth:.1f} MiB in {life.seconds:.0f} s" for life in grown]


# --- The command ---------------------------------------------------------------------------------------------------


def main() -> None:
    options = _options()
    signal.signal(signal.SIGTERM, _interrupt)
    progress, result = Console(stderr=True, highlight=False), Console(highlight=False)
    plan = Plan(60 * options.minutes, options.seed, options.rate, options.patience)
    progress.print(f"repeat with SEED={plan.seed}")
    directory = Path(mkdtemp(prefix="soak-"))
    try:
        with showing(progress) as show:
            report = soak(plan, directory, show)
    except KeyboardInterrupt:
        progress.print(f"interrupted: all processes are stopped; the files are in {directory}")
        sys.exit(130)
    if options.json:
        print(json.dumps(report.to_json()))
    else:
        print_report(result, report)
    if report.problems:
        progress.print(f"log and quarantine are in {directory}")
        sys.exit(1)
    shutil.rmtree(directory)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.support.driven.soak", description=__doc__)
    parser.add_argument("--minutes", type=_positive, default=10.0, help="of load (10)")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32), help="of faults and records (drawn)")
    parser.add_argument("--rate", type=_positive, default=Plan.rate, help=f"records a second ({Plan.rate:g})")
    parser.add_argument(
        "--patience", type=_positive, default=Plan.patience, help=f"with waiting shards, seconds ({Plan.patience:g})"
    )
    parser.add_argument("--json", action="store_true", help="the result as JSON")
    return parser.parse_args()


def _positive(text: str) -> float:
    with suppress(ValueError):
        if 0 < (number := float(text)) < float("inf"):
            return number
    raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def showing(console: Console) -> Iterator[Show]:
    """Yields a function that shows progress: on a terminal in one line, else as one line every ten seconds."""
    if console.is_terminal:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            yield lambda line: live.update(Text(line, overflow="ellipsis", no_wrap=True), refresh=True)
        return
    last = float("-inf")

    def show(line: str) -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_SECONDS:
            last = time.monotonic()
            console.print(line, soft_wrap=True, markup=False)

    yield show


def print_report(console: Console, report: Report) -> None:
    console.print(faults_table(report))
    console.print(memory_table(report.memory))
    outcomes = ", ".join(f"{count:,} {outcome}" for outcome, count in report.outcomes.items())
    console.print(f"{report.put:,} records put, {report.received:,} received by the last workers: {outcomes}")
    console.print(
        f"{report.daemon_restarts} restarts of the daemon, lag up to {report.longest_lag_seconds:.0f} s,"
        f" {report.table_polls} polls of the table; apart from outages, a shard waited for"
        f" {report.longest_wait_seconds:.1f} s at most; after outages, all moved within"
        f" {report.longest_recovery_seconds:.1f} s"
    )
    if not report.problems:
        console.print(f"no problems; recovered {report.recovery_seconds:.1f} s after the load; seed {report.seed}")
    for problem in report.problems:
        console.print(Text(problem, style="red"), soft_wrap=True)


def faults_table(report: Report) -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style="bold")
    table.add_column("fault")
    table.add_column("times", justify="right")
    table.add_column("requests, processes or records hit", justify="right")
    for name, times in report.injected.items():
        table.add_row(name, str(times), f"{report.hits[name]:,}")
    return table


def memory_table(lives: Sequence[Life]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style="bold")
    table.add_column("MiB resident")
    for heading in ("watched", "start", "max", "end", "per minute"):
        table.add_column(heading, justify="right")
    for life in lives:
        sizes = (f"{size:.1f}" for size in (life.start, life.most, life.end))
        table.add_row(life.role, f"{life.seconds:.0f} s", *sizes, f"{life.slope:+.2f}")
    return table


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60:02}:{int(seconds) % 60:02}"


if __name__ == "__main__":
    main()
