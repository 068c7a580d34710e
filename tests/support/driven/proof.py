"""Shows that the limits are right whatever happens, and that this can be proven: `make proof EVENTS=200000 SEED=...`.

Two workers with an archive consume events with duplicates, in disorder and with poison records, while record
processors, JVMs, workers and all workers at once get `kill -9`. Then the commands of an operator must find what is
promised: a line for each promise. MiniStack has the stream, the archive and the quarantine, DynamoDB Local the tables.

Prints progress on stderr and the result on stdout. Exit code: 0 every promise is kept, 1 one is not, 2 usage error.
"""

import argparse
import gzip
import json
import secrets
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from random import Random
from subprocess import TimeoutExpired
from tempfile import mkdtemp

from rich.console import Console
from rich.text import Text

from consumer.limits.sample import Sample, histories
from tests.support.driven.archives import data_by_position
from tests.support.driven.leases import BEGINNING, leases, lost, owed
from tests.support.driven.load import Producer
from tests.support.driven.proving import (
    Item,
    Key,
    change_by_hand,
    items_of,
    kinds_of,
    new_table,
    rebuilt,
    verified,
)
from tests.support.driven.replicas import Replicas
from tests.support.driven.scenario import Stage, expected, first_difference, poison
from tests.support.driven.service import consumer, environment
from tests.support.driven.soak import Show, showing
from tests.support.driven.waiting import until
from tests.support.driven.workers import worker
from tests.support.emulators.aws import dynamodb_local, ministack
from tests.support.faults.chaos import RandomFault, Targets, kills
from tests.support.faults.proxy import ACCESS_DENIED, FaultProxy, fault_proxy

SHARDS = 2
WORKERS = 2
DISORDER = 500
"""Records within which the order is random."""
PATIENCE_SECONDS = 600.0
LEAST = 1_000
"""Events: fewer may not have ten limits to change."""
WRITES = (
    *("BatchExecuteStatement", "ExecuteStatement", "ExecuteTransaction", "TransactWriteItems"),
    *("PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem"),
)
"""The requests with which a table can be changed."""
SETTINGS: Mapping[str, str] = {
    "CONSUMER_ARCHIVE_SECONDS": "3",
    # more than the kills: this shows that nothing is lost, not when a worker gives up
    "CONSUMER_RESTARTS": "1000",
}


@dataclass(frozen=True)
class Plan:
    """`kills`: how many, after a first part of the events that is consumed undisturbed."""

    events: int
    kills: int
    seed: int


@dataclass(frozen=True)
class Result:
    """A promise and the figures that were found. `wrong`: why it is not kept, empty if it is."""

    promise: str
    found: str = ""
    wrong: str = ""


@dataclass(frozen=True)
class Proof:
    """A run in progress. `proxy`: in front of DynamoDB."""

    plan: Plan
    stage: Stage
    folder: Path
    proxy: FaultProxy
    produce: Producer
    show: Show
    live: dict[Key, Item] = field(default_factory=dict)
    """The items of the limits table after everything was consumed."""

    @property
    def made(self) -> Sequence[Sample]:
        return self.produce.put


def checked(promise: str, check: Callable[[], str]) -> Result:
    """`check` returns the figures that it has found, and raises if the promise is not kept."""
    begun = time.monotonic()
    try:
        found = check()
    except (AssertionError, TimeoutError, TimeoutExpired) as broken:
        return Result(promise, wrong=str(broken) or "not kept")
    return Result(promise, f"{found}, {time.monotonic() - begun:.0f} s")


# --- The promises ----------------------------------------------------------------------------------------------------


def consumed(proof: Proof) -> str:
    killed = _consume(proof)
    stage, made = proof.stage, proof.made
    proof.live.update(items_of(stage))
    difference, missing = first_difference(stage.limits(), expected(made)), lost(stage)
    quarantined, bad = stage.quarantined(), poison(made)
    assert difference is None, difference
    assert not missing, f"{len(missing)} records lost, the first one {missing[0]}"
    assert quarantined == bad, f"{quarantined.total()} records quarantined, where {bad.total()} are poison"
    return f"{len(made):,} records, {bad.total():,} of them poison, {len(proof.live):,} limits, {_named(killed)}"


def _consume(proof: Proof) -> Counter[str]:
    """Puts all records while the workers consume them, and stops the workers. What was killed, by name."""
    stage, plan, show = proof.stage, proof.plan, proof.show
    killed: Counter[str] = Counter()
    with ExitStack() as stack:
        replicas = Replicas(lambda name: worker(stage, proof.folder, name), stack)
        for _ in range(WORKERS):
            replicas.add()
        targets, faults = Targets(replicas, proof.produce, proof.proxy, proof.proxy), kills(plan.seed)
        for number, part in enumerate(_parts(disordered(plan), plan.kills + 1)):
            before, settled = _checkpoints(stage), replicas.outcomes().total()
            proof.produce.put_these(part)
            if number:
                # What is settled is written to the archive and checkpointed later: it will be delivered again.
                until(partial(_have_settled, replicas, settled), "a part to be settled", seconds=PATIENCE_SECONDS)
                killed[_inject(next(faults), targets)] += 1
            show(f"put {len(proof.made):,} of {plan.events:,}, {killed.total()} kills")
            until(partial(_have_moved, stage, before), "every checkpoint to move", seconds=PATIENCE_SECONDS)
        seconds, pause = PATIENCE_SECONDS + plan.events / 100, 1.0 + plan.events / 20_000
        until(partial(_settled, proof), "the last checkpoints", seconds=seconds, every=pause)
        codes = [running.stop(within=60.0) for running in replicas.running]
    assert codes == [0] * WORKERS, f"the workers exited with {codes}"
    return killed


def _have_settled(replicas: Replicas, more_than: int) -> bool:
    return replicas.outcomes().total() > more_than


def _inject(fault: RandomFault, targets: Targets) -> str:
    until(lambda: fault.inject(targets, lambda _: None), f"something for {fault.name}", seconds=PATIENCE_SECONDS)
    return fault.name


def archived(proof: Proof) -> str:
    place = proof.stage.archive()
    found = Counter(data_by_position(place).values())
    assert found == Counter(sample.data for sample in proof.made), f"{found.total():,} records in the archive"
    objects = list(place.list())
    lines = sum(gzip.decompress(place.read(each.path)).count(b"\n") for each in objects)
    size = sum(each.size for each in objects)
    return f"{lines:,} lines in {len(objects):,} objects of {size:,} bytes, {lines - found.total():,} of them repeats"


def nothing_found(proof: Proof) -> str:
    proof.show("verifying")
    found = verified(proof.stage, proof.folder, "--processes", "2")
    assert found["ok"], f"{found['missing']} missing, {found['unexplained']} unexplained, damage {found['damaged']}"
    assert found["limits"] == len(proof.live), f"{found['limits']} limits were compared"
    return f"{sum(found['records'].values()):,} records, {found['limits']:,} limits"


def nothing_written(proof: Proof) -> str:
    proof.show("rebuilding the table in use")
    before = proof.proxy.forwarded["BatchGetItem"]
    with proof.proxy.fault(ACCESS_DENIED, *WRITES) as fault:
        found = rebuilt(proof.stage, proof.folder, "--processes", "2", AWS_ENDPOINT_URL_DYNAMODB=proof.proxy.endpoint)
    assert not fault.hits, f"requests that write: {dict(fault.hits)}"
    assert items_of(proof.stage) == proof.live, "the table has changed"
    reads = proof.proxy.forwarded["BatchGetItem"] - before
    assert reads, "the table was not read"
    return f"{found['records']:,} records, {reads:,} reads"


def the_same_items(proof: Proof) -> str:
    proof.show("rebuilding into an empty table")
    table = new_table(proof.stage)
    found = rebuilt(proof.stage, proof.folder, "--into", table, "--processes", "2")
    assert (difference := first_difference(items_of(proof.stage, table), proof.live)) is None, difference
    return f"{len(proof.live):,} items, {found['writes']:,} writes"


def exactly_the_ten(proof: Proof) -> str:
    proof.show("changing ten items by hand, and verifying")
    wanted = change_by_hand(proof.stage)
    found = kinds_of(verified(proof.stage, proof.folder, "--processes", "2"))
    assert (difference := first_difference(found, wanted)) is None, difference
    return f"{len(found)} of {len(proof.live):,} items"


PROMISES: Mapping[str, Callable[[Proof], str]] = {
    "every event has its effect once": consumed,
    "the archive has every record as it came": archived,
    "verify finds nothing": nothing_found,
    "a rebuild of the table in use writes nothing": nothing_written,
    "a rebuild into an empty table makes the same items": the_same_items,
    "verify names the ten items changed by hand": exactly_the_ten,
}


def disordered(plan: Plan) -> list[Sample]:
    """Records, 5 % of them duplicates and 2 % poison; each is at most DISORDER away from its place."""
    random = Random(plan.seed)
    users = max(40, plan.events // 50)
    made = list(histories(random, plan.events, users, duplicates=0.05, poison=0.02))
    blocks = [made[start : start + DISORDER] for start in range(0, len(made), DISORDER)]
    for block in blocks:
        random.shuffle(block)
    return [sample for block in blocks for sample in block]


def _parts(made: Sequence[Sample], count: int) -> list[Sequence[Sample]]:
    ends = [len(made) * number // count for number in range(count + 1)]
    return [made[start:end] for start, end in pairwise(ends)]


def _checkpoints(stage: Stage) -> dict[str, str]:
    return {shard: lease.checkpoint for shard, lease in leases(stage).items()}


def _have_moved(stage: Stage, before: Mapping[str, str]) -> bool:
    now = _checkpoints(stage)
    return len(now) == SHARDS and all(at != before.get(shard, BEGINNING) for shard, at in now.items())


def _settled(proof: Proof) -> bool:
    left = owed(proof.stage)
    proof.show(f"put {len(proof.made):,}, waiting for {left:,} records")
    return not left


def _named(killed: Counter[str]) -> str:
    return ", ".join(f"{name} ({times})" for name, times in sorted(killed.items())) or "nothing killed"


# --- The command -----------------------------------------------------------------------------------------------------


def proven(plan: Plan, folder: Path, show: Show) -> list[Result]:
    """Runs it all. The logs of the workers are in the folder."""
    show("starting the emulators")
    with ministack() as aws, dynamodb_local() as tables, fault_proxy(tables.endpoint, plan.seed) as proxy:
        endpoints = {"AWS_ENDPOINT_URL": aws.endpoint, "AWS_ENDPOINT_URL_DYNAMODB": tables.endpoint}
        places = {"CONSUMER_ARCHIVE": "s3://proof-archive/records", "CONSUMER_QUARANTINE": "s3://proof-quarantine/kept"}
        stage = Stage({**environment("proof", folder, **endpoints), **SETTINGS, **places})
        consumer(stage.variables, "provision", "--stream", str(SHARDS), "--bucket")
        proof = Proof(plan, stage, folder, proxy, Producer(stage, plan.seed), show)
        return [checked(promise, partial(check, proof)) for promise, check in PROMISES.items()]


def main() -> None:
    options = _options()
    progress, result = Console(stderr=True, highlight=False), Console(highlight=False)
    seed = secrets.randbelow(2**32) if options.seed is None else options.seed
    plan = Plan(options.events, options.kills or max(3, options.events // 20_000), seed)
    progress.print(f"{plan.events:,} events, {plan.kills} kills; repeat with SEED={plan.seed}")
    folder = Path(mkdtemp(prefix="proof-"))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with showing(progress) as show:
            results = proven(plan, folder, show)
    except KeyboardInterrupt:
        progress.print(f"interrupted: all processes are stopped; the logs of the workers are in {folder}")
        sys.exit(130)
    if options.json:
        print(json.dumps([asdict(each) for each in results]))
    else:
        print_results(result, results)
    if any(each.wrong for each in results):
        progress.print(f"the logs of the workers are in {folder}")
        sys.exit(1)
    shutil.rmtree(folder)


def print_results(console: Console, results: Sequence[Result]) -> None:
    for each in results:
        line = f"NOT KEPT  {each.promise}: {each.wrong}" if each.wrong else f"kept  {each.promise}: {each.found}"
        console.print(Text(line, style="red" if each.wrong else ""), soft_wrap=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.support.driven.proof", description=__doc__)
    parser.add_argument("--events", type=_events, default=200_000, help=f"at least {LEAST:,} (200,000)")
    parser.add_argument("--kills", type=int, help="how many (one for each 20,000 events, and at least 3)")
    parser.add_argument("--seed", type=int, help="of records and kills (drawn)")
    parser.add_argument("--json", action="store_true", help="the result as JSON")
    return parser.parse_args()


def _events(text: str) -> int:
    if not text.isdecimal() or int(text) < LEAST:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from {LEAST:,} on")
    return int(text)


if __name__ == "__main__":
    main()
