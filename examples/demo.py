"""Runs the service on this machine: `make demo`.

MiniStack provides Kinesis and DynamoDB; the MultiLangDaemon is the real one. The demo puts the events of
examples/events.json and some thousands of generated events on a stream of two shards, shows the progress of the
consumer, and prints the resulting limits. `consumer serve` shows the limits of one user to people. On a terminal, and
elsewhere with DEMO_KEEP=1, this page stays, and the limit on it moves, until Enter or Ctrl-C.
"""

import argparse
import json
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from consumer.admin.files import read_records
from consumer.admin.put import Outgoing, outgoing
from consumer.cli import tables
from consumer.engine.folding import Outcome
from consumer.limits.sample import histories
from consumer.limits.view import UserLimit
from examples.demo_page import moving, wait_of
from examples.local_service import LocalService, local_service, until_interrupted
from tests.support.driven.service import Service, consumer
from tests.support.driven.waiting import until

STORY = Path(__file__).with_name("events.json")
POLL_SECONDS = 0.2
"""Seconds between two reads of the metrics."""
PACE_SECONDS = 0.3
"""Seconds between two events of the limit that moves."""
NEXT = """\
try next:
  make playground    the same with a producer that goes on, and ten commands to try on it
  docs/tutorial.md   in 20 minutes, an event type of your own
  README.md          how to run it on AWS"""


def main() -> None:
    options = _options()
    is_over = wait_of(os.environ)
    until_interrupted("demo", lambda console, folder: show(console, folder, options.events, options.seed, is_over))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--events", type=int, default=5_000, help="number of generated events (5000)")
    parser.add_argument("--seed", type=int, default=2026, help="seed of the generated events")
    return parser.parse_args()


def show(
    console: Console, directory: Path, events: int, seed: int, is_over: Callable[[float], bool] | None = None
) -> None:
    """Runs the demo and prints it to `console`. Its files go to `directory`.

    is_over  waits at most so many seconds for the end of the demo, and returns whether it has come. None: it ends when
             everything is shown
    """
    live = moving(lambda: time.time_ns() // 1_000_000)
    records = [next(live), *_records(events, seed)]
    with local_service(console, directory, "demo", is_kept=is_over is not None) as here:
        _consume(console, here, records)
        _print_result(console, here.variables, here.worker, records)
        if is_over:
            console.print(f"the page: {here.page}\nEnter or Ctrl-C ends the demo", soft_wrap=True)
            _keep_moving(here, live, is_over)


def _records(events: int, seed: int) -> list[Outgoing]:
    generated = [sample.data for sample in histories(random.Random(seed), events, duplicates=0.02, poison=0.002)]
    return [outgoing(data) for data in [record.data for record in read_records(str(STORY))] + generated]


def _consume(console: Console, here: LocalService, records: Sequence[Outgoing]) -> None:
    start = time.monotonic()
    columns = (TextColumn("{task.description:9}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, TimeElapsedColumn(), console=console) as bars:
        sent = bars.add_task("put", total=len(records), note="")
        received = bars.add_task("consumed", total=len(records), note="waiting for the first record")
        here.put(records, lambda count: bars.advance(sent, count))

        def all_received() -> bool:
            count = here.worker.received()
            if count:
                bars.update(received, completed=count, note=f"lag {_lag(here.worker):,.0f} ms")
            return count >= len(records)

        until(here.worker.received, "the first record", every=POLL_SECONDS)
        first = time.monotonic() - start
        until(all_received, "all records to be consumed", seconds=120, every=POLL_SECONDS)
    console.print(f"first records consumed {first:.1f} s after the start")


def _lag(running: Service) -> float:
    lags = [sample.value for sample in running.samples() if sample.name == "consumer_shard_behind_latest_seconds"]
    return 1000 * max(lags, default=0.0)


def _print_result(
    console: Console, variables: Mapping[str, str], running: Service, records: Sequence[Outgoing]
) -> None:
    first = records[: 1 + len(read_records(str(STORY)))]
    users = list(dict.fromkeys(record.partition_key for record in first))
    limits = [limit for user in users for limit in _limits(variables, user)]
    console.print(tables.limits_table(limits))
    outcomes = running.outcomes()
    console.print(tables.outcomes_table({outcome: outcomes[outcome] for outcome in Outcome}, _warnings(running)))
    console.print(_summary(len(records), outcomes), highlight=False)
    console.print(NEXT, style="dim")


def _summary(put: int, outcomes: Mapping[str, int]) -> str:
    """What the numbers mean: duplicates and records that can never be applied are among the events on purpose."""
    settled = sum(outcomes.values())
    missing = "nothing is missing" if settled >= put else f"{put - settled:,} are missing"
    return f"""\
{put:,} records were put, and {settled:,} have an outcome: {missing}.
{outcomes[Outcome.DUPLICATE]:,} are duplicates and changed nothing: some records were put twice on purpose.
{outcomes[Outcome.QUARANTINED]:,} can never be applied: put on purpose, and in the quarantine with their reasons."""


def _keep_moving(here: LocalService, live: Iterator[Outgoing], is_over: Callable[[float], bool]) -> None:
    with suppress(KeyboardInterrupt):
        while not is_over(PACE_SECONDS):
            here.put([next(live)])


def _limits(variables: Mapping[str, str], user: str) -> list[UserLimit]:
    found = json.loads(consumer(variables, "limits", user, "--json"))
    return [UserLimit.model_validate(limit) for limit in found]


def _warnings(running: Service) -> dict[str, int]:
    return {
        sample.labels["kind"]: int(sample.value)
        for sample in running.samples()
        if sample.name == "consumer_warnings_total" and sample.value
    }


if __name__ == "__main__":
    main()
