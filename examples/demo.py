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
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from consumer.admin.files import read_records
from consumer.admin.put import Outgoing, outgoing, put
from consumer.cli import tables
from consumer.engine.folding import Outcome
from consumer.limits.sample import histories
from consumer.limits.view import UserLimit
from examples.demo_page import moving, page, wait_of
from tests.support.driven.service import Service, consumer, environment, service
from tests.support.driven.waiting import until
from tests.support.emulators.aws import Emulator, ministack, session

STORY = Path(__file__).with_name("events.json")
SHARDS = 2
POLL_SECONDS = 0.2
"""Seconds between two reads of the metrics."""
PACE_SECONDS = 0.3
"""Seconds between two events of the limit that moves."""


def main() -> None:
    options = _options()
    signal.signal(signal.SIGTERM, _interrupt)
    console = Console(highlight=False)
    try:
        with TemporaryDirectory(prefix="demo-") as directory:
            show(console, Path(directory), options.events, options.seed, wait_of(os.environ))
    except KeyboardInterrupt:
        console.print("interrupted: all processes are stopped")
        sys.exit(130)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--events", type=int, default=5_000, help="number of generated events (5000)")
    parser.add_argument("--seed", type=int, default=2026, help="seed of the generated events")
    return parser.parse_args()


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def show(
    console: Console, directory: Path, events: int, seed: int, is_over: Callable[[float], bool] | None = None
) -> None:
    """Runs the demo and prints it to `console`. Its files go to `directory`.

    is_over  waits at most so many seconds for the end of the demo, and returns whether it has come. None: it ends when
             everything is shown
    """
    live = moving(lambda: time.time_ns() // 1_000_000)
    records = [next(live), *_records(events, seed)]
    console.print("starting MiniStack (Kinesis and DynamoDB on this machine)")
    with ministack() as aws:
        variables = environment("demo", directory, AWS_ENDPOINT_URL=aws.endpoint)
        console.print(consumer(variables, "provision", "--stream", str(SHARDS)).strip(), style="dim")
        with (
            _page(console, variables, directory / "page.log", is_kept=is_over is not None) as address,
            _service(console, variables, directory / "consumer.log") as running,
        ):
            _consume(console, aws, variables, running, records)
            _print_result(console, variables, running, records)
            if is_over:
                console.print(f"the page: {address}\nEnter or Ctrl-C ends the demo", soft_wrap=True)
                _keep_moving(aws, variables["CONSUMER_STREAM_NAME"], live, is_over)
    console.print("all processes are stopped")


def _records(events: int, seed: int) -> list[Outgoing]:
    generated = [sample.data for sample in histories(random.Random(seed), events, duplicates=0.02, poison=0.002)]
    return [outgoing(data) for data in [record.data for record in read_records(str(STORY))] + generated]


@contextmanager
def _page(console: Console, variables: Mapping[str, str], log: Path, *, is_kept: bool) -> Iterator[str]:
    console.print("starting the page: consumer serve")
    with page(variables, log) as address:
        if is_kept:
            console.print(f"open {address} and watch: a limit moves while events arrive", soft_wrap=True)
        yield address
    if not is_kept:
        console.print(f"the page was {address}\non a terminal, or with DEMO_KEEP=1, it stays open", soft_wrap=True)


@contextmanager
def _service(console: Console, variables: Mapping[str, str], log: Path) -> Iterator[Service]:
    console.print("starting the consumer: supervisor, MultiLangDaemon, one record processor per shard")
    with service(variables, log) as running:
        try:
            yield running
        finally:
            start = time.monotonic()
            code = running.stop()
            console.print(f"stopped: exit code {code} after {time.monotonic() - start:.1f} s")


def _consume(
    console: Console, aws: Emulator, variables: Mapping[str, str], running: Service, records: list[Outgoing]
) -> None:
    start = time.monotonic()
    columns = (TextColumn("{task.description:9}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, TimeElapsedColumn(), console=console) as bars:
        sent = bars.add_task("put", total=len(records), note="")
        received = bars.add_task("consumed", total=len(records), note="waiting for the first record")
        kinesis = session().client("kinesis", endpoint_url=aws.endpoint)
        put(kinesis, variables["CONSUMER_STREAM_NAME"], records, lambda count: bars.advance(sent, count))

        def all_received() -> bool:
            count = running.received()
            if count:
                bars.update(received, completed=count, note=f"lag {_lag(running):,.0f} ms")
            return count >= len(records)

        until(running.received, "the first record", every=POLL_SECONDS)
        first = time.monotonic() - start
        until(all_received, "all records to be consumed", seconds=120, every=POLL_SECONDS)
    console.print(f"first records consumed {first:.1f} s after the start")


def _lag(running: Service) -> float:
    lags = [sample.value for sample in running.samples() if sample.name == "consumer_shard_behind_latest_seconds"]
    return 1000 * max(lags, default=0.0)


def _print_result(console: Console, variables: Mapping[str, str], running: Service, records: list[Outgoing]) -> None:
    first = records[: 1 + len(read_records(str(STORY)))]
    users = list(dict.fromkeys(record.partition_key for record in first))
    limits = [limit for user in users for limit in _limits(variables, user)]
    console.print(tables.limits_table(limits))
    outcomes = running.outcomes()
    console.print(tables.outcomes_table({outcome: outcomes[outcome] for outcome in Outcome}, _warnings(running)))


def _keep_moving(aws: Emulator, stream: str, live: Iterator[Outgoing], is_over: Callable[[float], bool]) -> None:
    kinesis = session().client("kinesis", endpoint_url=aws.endpoint)
    with suppress(KeyboardInterrupt):
        while not is_over(PACE_SECONDS):
            put(kinesis, stream, [next(live)], lambda _: None)


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
