"""Measures what an event costs, beside what users would write instead, and shows tables: `make bench`."""

import argparse
import logging
import os
import platform
import subprocess
import sys
import time
from collections.abc import Collection
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench import archive_cost, cpu, growth, page, results, shards, tables, throttling, worker, write_cost
from bench.child import Failed
from bench.others import PYTHON
from bench.results import Figure, Growth, Report, Results, Rounds
from bench.store import Store, in_memory

OTHERS = ("write", "archive", "throttled", "memory", "behind-memory", "worker", "growth")
ROWS = (*cpu.KEYS, *OTHERS)


def main() -> None:
    chosen = _arguments()
    logging.disable()  # the core's warnings about the throttling that is measured
    start = time.monotonic()
    try:
        found = _measured(chosen, lambda line: _report(start, line))
    except Failed as failed:
        sys.exit(f"bench: {failed}")
    sys.stdout.write(tables.text(found))
    if chosen.json:
        results.save(found, chosen.json)
    if chosen.write:
        _write(found)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        epilog=f"rows: {', '.join(ROWS)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", type=_row, help="measure only these rows")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of the rows that are compared (5)")
    parser.add_argument("--size", type=float, default=1.0, help="multiplies the number of events")
    parser.add_argument("--worker", type=int, default=60_000, help="events of the whole worker (60000)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to a file")
    parser.add_argument("--write", action="store_true", help="write the page and the pictures of the documentation")
    chosen = parser.parse_args()
    if chosen.write and chosen.rows:
        parser.error("--write needs all rows: a page of several runs would compare what was not measured together")
    return chosen


def _row(text: str) -> str:
    if text not in ROWS:
        raise argparse.ArgumentTypeError(f"{text} is none of {', '.join(ROWS)}")
    return text


def _measured(chosen: argparse.Namespace, report: Report) -> Results:
    before = os.getloadavg()[0]
    wanted = set(chosen.rows or ROWS)
    with in_memory() as store:
        rounds = _rounds(store, wanted, chosen, report)
        figures, grown = _others(store, wanted, chosen, report)
    return Results(_machine(before), rounds, figures, grown)


def _rounds(store: Store, wanted: Collection[str], chosen: argparse.Namespace, report: Report) -> list[Rounds]:
    if not set(cpu.KEYS) & set(wanted):
        return []
    with cpu.rows(wanted) as rows:
        return cpu.measure(store, rows, chosen.rounds, chosen.size, report)


def _others(
    store: Store, wanted: Collection[str], chosen: argparse.Namespace, report: Report
) -> tuple[list[Figure], list[Growth]]:
    figures: list[Figure] = []
    grown: list[Growth] = []
    if "write" in wanted:
        figures += write_cost.measure(store, chosen.rounds, report)
    if "archive" in wanted:
        figures += archive_cost.measure(store, chosen.rounds, report)
    if "throttled" in wanted:
        figures += throttling.measure(report)
    if "memory" in wanted:
        memory, by_shards = shards.measure(store, report)
        figures += memory
        grown += by_shards
    if "behind-memory" in wanted:
        figures += shards.behind(store, round(shards.EVENTS_BEHIND * chosen.size), report)
    if "growth" in wanted:
        grown += growth.measure(store, chosen.size, report)
    if "worker" in wanted:
        figures += worker.measure(chosen.worker, report)
    return figures, grown


def _report(start: float, line: str) -> None:
    sys.stderr.write(f"{time.monotonic() - start:6.1f} s  {line}\n")


def _machine(load_before: float) -> dict[str, str]:
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "Python": platform.python_version(),
        "boto3": version("boto3"),
        "boto3 of peers (b) and (c)": _boto3_of_peers(),
        "load average": f"{load_before:.1f} before, {os.getloadavg()[0]:.1f} after",
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _boto3_of_peers() -> str:
    line = [str(PYTHON), "-c", "import boto3; print(boto3.__version__)"]
    return subprocess.run(line, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def _write(found: Results) -> None:
    results.save(found, page.RESULTS)
    page.PAGE.write_text(page.page(), encoding="utf-8")
    subprocess.run(
        [str(PYTHON), "-m", "bench.pictures", str(page.RESULTS), str(page.PICTURES)], check=True, cwd=page.ROOT
    )


if __name__ == "__main__":
    main()
