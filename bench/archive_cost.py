"""What the archive costs an event, and what it costs to rebuild and to verify the limits from it.

    python -m bench.archive_cost ROUNDS

A process of its own, with the settings in the environment; prints a line of JSON for each round: microseconds of CPU
an event, by figure.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bench import load
from bench.child import SHARD, Failed
from bench.contenders import Service, environment
from bench.load import Load
from bench.results import Figure, Report
from bench.store import Store
from consumer import bootstrap
from consumer.admin import rebuild, verify
from consumer.admin.sources import Origin
from consumer.admin.verify import Verification, Verified
from consumer.archive.segment import PlaceArchive
from consumer.engine.records import Position, Record
from consumer.settings import Settings
from consumer.settings import load as load_settings
from consumer.stores.places import DirectoryPlace

STREAM = "bench"
EVENTS = 20_000
OBJECT = 10_000
"""Events in an object of the archive: a minute of a shard with 170 events a second."""
BATCH = 1_000
TITLES = {
    "archive": "CPU of archiving an event, batches of 1,000",
    "rebuild": "CPU of rebuilding an event into an empty table",
    "verify": "CPU of verifying an event and the table",
}


def measure(store: Store, rounds: int, report: Report) -> list[Figure]:
    """Raises Failed if a rebuilt table is wrong."""
    found = []
    with TemporaryDirectory(prefix="bench-archive-") as directory:
        variables = {
            **environment(store, "none", Path(directory)),
            "CONSUMER_STREAM_NAME": STREAM,
            "CONSUMER_QUARANTINE": f"dir:{directory}/quarantine",
        }
        line = [sys.executable, "-m", "bench.archive_cost", str(rounds)]
        with subprocess.Popen(line, env=variables, stdout=subprocess.PIPE, cwd=directory) as process:
            for number, text in enumerate(process.stdout or (), 1):
                found.append(json.loads(text))
                costs = ", ".join(f"{key} {micros:.1f} us" for key, micros in found[-1].items())
                report(f"archive, {number} of {rounds}: {costs}")
    if process.returncode or len(found) < rounds:
        raise Failed(f"the archive: exit code {process.returncode}")
    return [_figure(key, [each[key] for each in found]) for key in TITLES]


def _figure(key: str, micros: Sequence[float]) -> Figure:
    return Figure(key, TITLES[key], "us", median(micros), min(micros), max(micros))


def main() -> None:
    made, store = load.realistic(EVENTS), Store(load_settings(Settings).endpoint_of("dynamodb") or "")
    bootstrap.collect_rarely()
    for number in range(int(sys.argv[1])):
        table = f"archived-{number}"
        store.create(table)
        with TemporaryDirectory() as folder:
            micros = _round(load_settings(Settings, table_name=table), Path(folder), made)
        Service("rebuild").check(store.items(table), made.events)
        sys.stdout.write(f"{json.dumps(micros)}\n")
        sys.stdout.flush()


def _round(settings: Settings, folder: Path, made: Load) -> Mapping[str, float]:
    archive = PlaceArchive(DirectoryPlace(folder), bootstrap.now_millis)
    setup, paid = (list(_records(events, first)) for events, first in ((made.setup, 0), (made.paid, EVENTS)))
    _write(archive, setup)
    found: dict[str, float] = {}
    with _timed(found, "archive"):
        _write(archive, paid)
    origin = Origin(f"dir:{folder}", STREAM)
    _rebuild(settings, origin, found)
    _verify(settings, origin, found)
    return found


def _records(events: Sequence[load.Event], first: int) -> Iterator[Record]:
    for number, event in enumerate(events, first):
        yield Record(Position(STREAM, SHARD, f"4959{number:052}"), load.data(event), load.START + number)


def _write(archive: PlaceArchive, records: Sequence[Record]) -> None:
    for begin in range(0, len(records), OBJECT):
        segment = archive.segment()
        for start in range(begin, min(begin + OBJECT, len(records)), BATCH):
            segment.add(records[start : start + BATCH])
        while segment.left:
            segment.write()


def _rebuild(settings: Settings, origin: Origin, found: dict[str, float]) -> None:
    done = rebuild.rebuild(rebuild.Plan(settings, origin), origin.opened(settings).files(), 1)
    next(done)  # the setup, with the start of the client
    total = rebuild.Total()
    with _timed(found, "rebuild"):
        for each in done:
            total.add(each)
    if total.damage or total.outcomes.total() < EVENTS:
        raise Failed(f"rebuilt: {total.to_json()}")


def _verify(settings: Settings, origin: Origin, found: dict[str, float]) -> None:
    table = bootstrap.repository(settings, bootstrap.pool())
    made = Verification(verify.Plan(settings, origin), table, 0.0, lambda _size, _records: None)
    result = Verified()
    with _timed(found, "verify"):
        result = made.run(origin.opened(settings), 0, 1)
    if not result.ok or result.outcomes.total() < EVENTS:
        raise Failed(f"verified: {result.to_json(counts=True)}")


@contextmanager
def _timed(found: dict[str, float], key: str) -> Iterator[None]:
    before = time.process_time()
    yield
    found[key] = 1e6 * (time.process_time() - before) / EVENTS


if __name__ == "__main__":
    main()
