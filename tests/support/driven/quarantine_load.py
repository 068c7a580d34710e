"""How long the commands of the quarantine take for many entries in S3: `make quarantine-load ENTRIES=100000`.

Puts the entries into a bucket of MiniStack, of two shards, and runs each command as an operator does. At the end one
shard is dropped and the other one replayed: its events can be applied.

Prints progress on stderr and the result on stdout. Exit code: 0 success, 1 a command did not do all, 2 usage error.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from rich import box
from rich.console import Console
from rich.table import Table

from consumer.bootstrap import QUARANTINE_REQUESTS
from consumer.engine.errors import Reason
from consumer.engine.quarantine import Quarantined
from consumer.engine.records import Position, Record
from consumer.limits.event_types import EVENTS
from consumer.limits.sample import START, Sample, histories
from consumer.stores.s3 import S3Quarantine
from tests.support.driven.proving import ran
from tests.support.driven.scenario import Stage
from tests.support.driven.service import consumer, environment
from tests.support.driven.soak import Show, showing
from tests.support.emulators.aws import ministack, session

BUCKET, PREFIX = "many-quarantine", "kept"
DROPPED, REPLAYED = "shardId-000000000000", "shardId-000000000001"
TOGETHER = 20 * QUARANTINE_REQUESTS


@dataclass
class Load:
    """`seconds`: of each command, with the number of entries that it was about."""

    stage: Stage
    folder: Path
    entries: int
    show: Show
    seconds: dict[str, tuple[int, float]] = field(default_factory=dict)

    def timed(self, entries: int, *arguments: str) -> list[str]:
        """The lines that a command of the quarantine prints. It must succeed."""
        self.show(f"consumer quarantine {' '.join(arguments)}")
        begun = time.monotonic()
        done = ran(self.stage, self.folder, "quarantine", *arguments)
        self.seconds[arguments[0]] = (entries, time.monotonic() - begun)
        assert done.returncode == 0, done.stderr or done.stdout[-1_000:]
        return done.stdout.splitlines()


def measured(load: Load) -> None:
    half = load.entries // 2
    _fill(load)
    listed = load.timed(load.entries, "list", "--json")
    assert len(listed) == load.entries, f"{len(listed):,} entries were listed"
    shown = load.timed(1, "show", json.loads(listed[-1])["position"], "--json")
    assert json.loads("\n".join(shown))["reason"] == Reason.SCHEMA
    assert len(load.timed(load.entries, "export")) == load.entries
    dropped = load.timed(load.entries - half, "drop", "--shard", DROPPED, "--yes", "--json")
    assert json.loads(dropped[-1]) == {"dropped": load.entries - half, "left": []}
    *_, counts = load.timed(half, "replay", "--rate", "0", "--yes", "--json")
    replayed = json.loads(counts)
    assert (sum(replayed["outcomes"].values()), replayed["left"]) == (half, 0), counts
    left = load.stage.quarantine().size()
    assert left == 0, f"{left:,} entries are still in the quarantine"


def _fill(load: Load) -> None:
    client = session().client("s3", endpoint_url=load.stage.variables["AWS_ENDPOINT_URL"])
    entries, put = _entries(load.entries), 0
    with ThreadPoolExecutor(QUARANTINE_REQUESTS) as pool:
        kept = S3Quarantine(client, BUCKET, PREFIX, pool)
        while some := list(islice(entries, TOGETHER)):
            kept.put(some)
            put += len(some)
            load.show(f"put {put:,} of {load.entries:,} entries")


def _entries(count: int) -> Iterator[Quarantined]:
    """Events that an earlier version could not apply."""
    made = (sample for sample in histories(Random(1), 2 * count, max(1, count // 10)) if _is_known(sample))
    for number, sample in enumerate(islice(made, count)):
        shard = (DROPPED, REPLAYED)[number % 2]
        record = Record(Position("limits", shard, f"{number:056}"), sample.data, START + number)
        yield Quarantined(record, Reason.SCHEMA, "payload.status: not a status that is known", "USER_LIMIT_CREATED")


def _is_known(sample: Sample) -> bool:
    return sample.event is not None and sample.event["type"] in EVENTS


# --- The command -----------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.support.driven.quarantine_load", description=__doc__)
    parser.add_argument("--entries", type=int, default=100_000, help="in the quarantine (100,000)")
    options = parser.parse_args()
    progress = Console(stderr=True, highlight=False)
    with showing(progress) as show, ministack() as aws, TemporaryDirectory(prefix="quarantine-load-") as name:
        folder = Path(name)
        variables = environment("many", folder, AWS_ENDPOINT_URL=aws.endpoint)
        stage = Stage({**variables, "CONSUMER_QUARANTINE": f"s3://{BUCKET}/{PREFIX}"})
        consumer(stage.variables, "provision", "--stream", "1", "--bucket")
        load = Load(stage, folder, options.entries, show)
        wrong = _wrong(lambda: measured(load))
    Console(highlight=False).print(_table(load))
    if wrong:
        progress.print(wrong)
        sys.exit(1)


def _wrong(run: Callable[[], None]) -> str:
    try:
        run()
    except AssertionError as error:
        return str(error) or "a command did not do all"
    return ""


def _table(load: Load) -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style="bold")
    for heading in ("command", "entries", "seconds", "entries per second"):
        table.add_column(heading, justify="left" if heading == "command" else "right")
    for command, (entries, seconds) in load.seconds.items():
        table.add_row(command, f"{entries:,}", f"{seconds:.1f}", f"{entries / seconds:,.0f}")
    return table


if __name__ == "__main__":
    main()
