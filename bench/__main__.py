"""`make bench`: measures, and shows tables. See --help."""

import argparse
import os
import platform
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from bench import cpu, results, tables
from bench.results import Results
from bench.store import in_memory


def main() -> None:
    chosen = _arguments()
    started = os.getloadavg()[0]
    start = time.monotonic()
    with in_memory() as store:
        wanted = [row for row in cpu.ROWS if row.key == cpu.PEER or not chosen.rows or row.key in chosen.rows]
        rounds = cpu.measure(store, wanted, chosen.rounds, chosen.size, lambda line: _report(start, line))
    found = Results(_machine(started), rounds)
    sys.stdout.write(tables.text(found))
    if chosen.json:
        results.save(found, chosen.json)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("rows", nargs="*", help="measure only these rows")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=float, default=1.0, help="multiplies the number of events")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    return parser.parse_args()


def _report(start: float, line: str) -> None:
    sys.stderr.write(f"{time.monotonic() - start:6.1f} s  {line}\n")


def _machine(load_at_start: float) -> dict[str, str]:
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        "load average": f"{load_at_start:.1f} to {os.getloadavg()[0]:.1f}",
    }


if __name__ == "__main__":
    main()
