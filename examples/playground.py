"""Runs the service on this machine and keeps it: `make playground`.

Everything is up: an emulator of Kinesis and DynamoDB, a worker, `consumer serve`, and a producer of 20 events a second.
The output has the variables for a second terminal, and commands to try there. Ctrl-C stops everything.
"""

import random
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import chain, repeat
from pathlib import Path

from rich.console import Console

from consumer.admin.put import Outgoing, outgoing
from consumer.limits.sample import histories
from examples.demo_page import LIMIT, USER, moving
from examples.local_service import LocalService, local_service, until_interrupted
from tests.support.driven.waiting import until

BATCH, PAUSE_SECONDS = 2, 0.1
"""Two events ten times a second."""
OTHERS = 9
"""Events of generated users for each event of the limit that moves."""
TRIES = (
    ("consumer status", "the shards, who reads them, and how far behind they are"),
    (f"consumer limits {USER}", "a limit that moves: call it twice"),
    ("consumer put --raw examples/events.json", "put 22 records of four users"),
    ("consumer limits u-anna", "the limits of one of them"),
    ("consumer lambda-invoke examples/events.json", "the same events through the Lambda handler: nothing changes"),
    (f"consumer history {USER} {LIMIT}", "which events led to the limit; the archive is written every 5 seconds"),
    ("echo poison | consumer put --raw -", "put a record that can never be applied"),
    ("consumer quarantine list", "it is here, among others that the producer puts on purpose"),
    ("kill -9 {jvm}", "kill the JVM: the worker starts another one, and nothing is lost"),
    ("consumer doctor", "checks of this machine and of AWS"),
)
"""What to enter in the second terminal, and what it shows."""


def main() -> None:
    until_interrupted("playground", play)


def play(console: Console, directory: Path) -> None:
    """Runs until Ctrl-C."""
    archive = {"CONSUMER_ARCHIVE": f"dir:{directory / 'archive'}", "CONSUMER_ARCHIVE_SECONDS": "5"}
    with local_service(console, directory, "playground", is_kept=True, **archive) as here:
        records = events(random.Random(), time.time_ns)
        here.put([next(records)])
        until(here.worker.received, "the first record")
        console.print(guide(here), soft_wrap=True, markup=False)
        with suppress(KeyboardInterrupt):
            while True:
                here.put([next(records) for _ in range(BATCH)])
                time.sleep(PAUSE_SECONDS)


def events(seeded: random.Random, nanos: Callable[[], int]) -> Iterator[Outgoing]:
    """Events without an end: of a limit that moves, and of generated users, some twice, some that cannot be applied."""
    live = moving(lambda: nanos() // 1_000_000)
    others = (outgoing(sample.data) for sample in histories(seeded, sys.maxsize, duplicates=0.02, poison=0.002))
    return chain.from_iterable((next(live), *(next(others) for _ in range(OTHERS))) for _ in repeat(None))


def exports(variables: Mapping[str, str]) -> str:
    """The commands for the shell that set the environment of a second terminal."""
    ours = {name: value for name, value in variables.items() if name.startswith(("AWS_", "CONSUMER_"))}
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in sorted(ours.items()))


def guide(here: LocalService) -> str:
    """What to do in the second terminal."""
    tries = [(command.format(jvm=here.worker.jvm()), what) for command, what in TRIES]
    wide = max(len(command) for command, _ in tries)
    listed = "\n".join(f"{number:3}. {command:{wide}}  {what}" for number, (command, what) in enumerate(tries, 1))
    return f"""
everything runs: a worker on two shards, a producer of 20 events a second, the HTTP API and its pages
the page: {here.page}

in a second terminal, in this folder:

. .venv/bin/activate
{exports(here.variables)}

ten things to try there:

{listed}

Ctrl-C stops everything"""


if __name__ == "__main__":
    main()
