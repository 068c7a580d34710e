"""The CPU of one conditional write: the service's repository alone, as the record processor uses it.

    python -m bench.write_cost

A process of its own, with the settings in the environment; prints microseconds of CPU a write.
"""

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bench import load
from bench.contenders import environment
from bench.results import Figure, Report
from bench.store import Store
from consumer import bootstrap
from consumer.engine.projection import Ignored, Key
from consumer.engine.repository import PendingWrite, Versioned
from consumer.limits.projection import Limits
from consumer.limits.state import LimitState
from consumer.settings import AwsSettings
from consumer.settings import load as load_settings

LIMITS = 500
SAVES = 10
"""Saves of all limits; before them, one creates the items."""


def measure(store: Store, rounds: int, report: Report) -> list[Figure]:
    found = []
    for number in range(1, rounds + 1):
        table = f"write-{number}"
        store.create(table)
        with TemporaryDirectory(prefix="bench-write-") as directory:
            variables = environment(store, table, Path(directory))
            line = [sys.executable, "-m", "bench.write_cost"]
            found.append(float(subprocess.run(line, env=variables, check=True, stdout=subprocess.PIPE).stdout))
        report(f"one conditional write, {number} of {rounds}: {found[-1]:.1f} us")
    return [Figure("write", "CPU of one conditional write", "us", median(found), min(found), max(found))]


def main() -> None:
    repository = bootstrap.repository(load_settings(AwsSettings), bootstrap.pool())
    known: dict[Key, Versioned[LimitState]] = {}
    seconds = 0.0
    for number, states in enumerate(_saves()):
        writes = {key: PendingWrite(known.get(key), state) for key, state in states.items()}
        before = time.process_time()
        saved = repository.save(writes)
        seconds += time.process_time() - before if number else 0.0
        if len(saved.stored) < len(writes):
            raise SystemExit(f"{len(writes) - len(saved.stored)} of {len(writes)} writes failed")
        known |= saved.stored
    sys.stdout.write(f"{1e6 * seconds / (LIMITS * SAVES)}\n")


def _saves() -> Iterator[Mapping[Key, LimitState]]:
    """The states of all limits after their creation, and after each further event."""
    limits, made = Limits(), load.spread(LIMITS * SAVES, LIMITS)
    states: dict[Key, LimitState] = {}
    for turn in range(1 + SAVES):
        for event in made.events[turn * LIMITS : (turn + 1) * LIMITS]:
            decoded = limits.decode(load.data(event))
            if isinstance(decoded, Ignored):
                raise TypeError(f"ignored: {decoded.type}")
            key, state = limits.key(decoded), limits.state_of(decoded)
            states[key] = limits.merge(states[key], state) if key in states else state
        yield dict(states)


if __name__ == "__main__":
    main()
