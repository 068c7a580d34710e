"""Measures how many requests the HTTP API bears, beside the least that reads the same limits: `make api-load`.

The least is a Starlette route with one query of DynamoDB (bench/api_bare.py), on the same server, table and core. Each
server has a core of its own; DynamoDB Local and the client have the others. The servers take turns, so that whatever
else the machine does hits all of them. CPU is the server's alone; the requests per second also depend on how fast
DynamoDB Local and the client are.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from bench import load
from bench.child import Failed, cpu_seconds
from bench.http_load import Load, Outcome
from bench.store import Store, in_memory
from tests.support.driven.processes import LOOPBACK, Server, free_port, running
from tests.support.driven.service import environment
from tests.support.emulators.aws import ROOT, dynamodb_local
from tests.support.emulators.issuer import AUDIENCE, Issuer, issuer

USERS = 200
MOST = 2.0
"""How many times as much as the bare route a request of the API may cost."""
WARM_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Contender:
    """A server that is measured. `command`: the arguments of Python. `headers`: of each request."""

    title: str
    command: Sequence[str]
    port: int
    variables: Mapping[str, str]
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Round:
    """One measurement. `rate`: requests per second. `p50`, `p99`: milliseconds. `cpu`: the server's, ms per request."""

    rate: float
    p50: float
    p99: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Row:
    """The medians of a contender's rounds, and how many times as much as the bare route it costs."""

    title: str
    rate: float
    p50: float
    p99: float
    cpu: float
    slower: float
    dearer: float


def main() -> None:
    chosen = _arguments()
    try:
        found = measured(chosen)
    except Failed as failed:
        sys.exit(f"api-load: {failed}")
    sys.stdout.write(text(found))
    if chosen.json:
        document = {
            "connections": chosen.connections,
            "seconds": chosen.seconds,
            "rows": [asdict(row) for row in found],
        }
        chosen.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.api_load", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a round (10)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each server (5)")
    parser.add_argument("--connections", type=int, default=16, help="requests at the same time (16)")
    parser.add_argument(
        "--memory", action="store_true", help="the DynamoDB of bench/dynamodb.py: much faster than DynamoDB Local"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to a file")
    return parser.parse_args()


def measured(chosen: argparse.Namespace) -> list[Row]:
    """The bare route first. Raises Failed."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="api-load-")))
        store = stack.enter_context(in_memory() if chosen.memory else _local())
        op = stack.enter_context(issuer())
        variables = environment("api-load", directory, AWS_ENDPOINT_URL=store.endpoint)
        users = _filled(store, variables, directory)
        contenders = _contenders(variables, op)
        pids = [stack.enter_context(_served(each, directory)) for each in contenders]
        rounds: list[list[Round]] = [[] for _ in contenders]
        for _ in range(chosen.rounds):
            for each, pid, found in zip(contenders, pids, rounds, strict=True):
                found.append(_round(each, pid, users, chosen))
        return rows(contenders, rounds)


def rows(contenders: Sequence[Contender], rounds: Sequence[Sequence[Round]]) -> list[Row]:
    bare = rounds[0]
    return [_row(each.title, found, bare) for each, found in zip(contenders, rounds, strict=True)]


def _row(title: str, found: Sequence[Round], bare: Sequence[Round]) -> Row:
    """The ratios are medians over the rounds, each with the round of the bare route beside it."""
    return Row(
        title,
        median(each.rate for each in found),
        median(each.p50 for each in found),
        median(each.p99 for each in found),
        median(each.cpu for each in found),
        median(least.rate / each.rate for least, each in zip(bare, found, strict=True)),
        median(each.cpu / least.cpu for least, each in zip(bare, found, strict=True)),
    )


def text(found: Sequence[Row]) -> str:
    """A table for a terminal."""
    head = ("", "requests/s", "p50 ms", "p99 ms", "CPU ms", "times slower", "times the CPU", f"within {MOST:g}x")
    cells = [head, *(_cells(row) for row in found)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(map(str.rjust, row[1:], widths[1:])) for row in cells)
    return "".join(f"{row[0].ljust(widths[0])}  {line}\n" for row, line in zip(cells, lines, strict=True))


def _cells(row: Row) -> Sequence[str]:
    numbers = (f"{row.rate:.0f}", *(f"{value:.2f}" for value in (row.p50, row.p99, row.cpu, row.slower, row.dearer)))
    return (row.title, *numbers, "yes" if max(row.slower, row.dearer) <= MOST else "no")


# --- The servers ---------------------------------------------------------------------------------------------------


def _contenders(variables: Mapping[str, str], op: Issuer) -> list[Contender]:
    ports = [free_port() for _ in range(3)]
    tokens = {"CONSUMER_API_ISSUER": op.url, "CONSUMER_API_AUDIENCE": AUDIENCE}
    token = op.token(sub="load", scope="limits:read", exp=2_000_000_000)
    serve = ("-m", "consumer", "serve")
    return [
        Contender("Starlette and one query", ("-m", "bench.api_bare", str(ports[0])), ports[0], variables, {}),
        Contender("consumer serve", serve, ports[1], {**variables, **_at(ports[1])}, {}),
        Contender(
            "consumer serve, with tokens",
            serve,
            ports[2],
            {**variables, **_at(ports[2]), **tokens},
            {"Authorization": f"Bearer {token}"},
        ),
    ]


def _at(port: int) -> Mapping[str, str]:
    return {"CONSUMER_API_ADDRESS": f"{LOOPBACK}:{port}"}


@contextmanager
def _served(contender: Contender, directory: Path) -> Iterator[int]:
    """The process id of the running server."""
    place = directory / str(contender.port)
    place.mkdir()
    server = Server(
        name=contender.title,
        command=[sys.executable, *contender.command],
        environment={**contender.variables, "PYTHONPATH": str(ROOT)},
        directory=place,
        answers=lambda: _called(contender, ["/readyz"], 0.2, 1).statuses.keys() == {"200"},
    )
    with running(server) as pid:
        _pin(pid, _cores()[:1])
        yield pid


@contextmanager
def _local() -> Iterator[Store]:
    """DynamoDB Local."""
    with dynamodb_local() as local:
        _pin(local.pid, _cores()[1:])
        yield Store(local.endpoint)


def _filled(store: Store, variables: Mapping[str, str], directory: Path) -> list[str]:
    """Stores three limits for each user. Returns the ids of the users."""
    events = load.realistic(0, users=USERS).setup
    store.create(variables["AWS_TABLE_NAME"])
    file = directory / "events.json"
    file.write_text(json.dumps(events), encoding="utf-8")
    line = [sys.executable, "-m", "consumer", "lambda-invoke", str(file)]
    done = subprocess.run(line, env=dict(variables), capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"the limits cannot be stored: {done.stderr}")
    return sorted({event["aggregateId"] for event in events})


# --- Measuring -----------------------------------------------------------------------------------------------------


def _round(contender: Contender, pid: int, users: Sequence[str], chosen: argparse.Namespace) -> Round:
    paths = [f"/user-limits/{user}" for user in users]
    _called(contender, paths, WARM_SECONDS, chosen.connections)
    before = cpu_seconds(pid)
    outcome = _called(contender, paths, chosen.seconds, chosen.connections)
    cpu = cpu_seconds(pid) - before
    if outcome.statuses.keys() != {"200"} or outcome.lost_connections:
        raise Failed(f"{contender.title} did not answer every request with 200: {outcome}")
    rate = outcome.requests / outcome.seconds
    return Round(rate, 1_000 * outcome.p50, 1_000 * outcome.p99, 1_000 * cpu / outcome.requests)


def _called(contender: Contender, paths: Sequence[str], seconds: float, connections: int) -> Outcome:
    wanted = Load(contender.port, seconds, connections, paths, contender.headers, _cores()[1:])
    done = subprocess.run(
        [sys.executable, "-m", "bench.http_load"],
        input=json.dumps(asdict(wanted)),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return Outcome(seconds, 0, 0.0, 0.0, {}, connections)
    found: dict[str, Any] = json.loads(done.stdout)
    return Outcome(**found)


def _cores() -> list[int]:
    return sorted(os.sched_getaffinity(0))


def _pin(pid: int, cores: Collection[int]) -> None:
    """Limits all threads of a process to these cores. On a machine with a single one, nothing is limited."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(ProcessLookupError):  # it has ended meanwhile
            os.sched_setaffinity(int(thread.name), cores or _cores())


if __name__ == "__main__":
    main()
