"""The real service on this machine: `consumer run` with its JVM and record processors, seen from outside."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from tests.support.driven import commands
from tests.support.driven.processes import LOOPBACK, free_port, kill, start
from tests.support.driven.waiting import until
from tests.support.emulators.aws import caller

SAMPLE = re.compile(r"^(?P<name>\w+)(\{(?P<labels>[^}]*)\})? (?P<value>\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')

FAST: Mapping[str, str] = {
    "CONSUMER_FAILOVER_MILLIS": "3000",
    "CONSUMER_LEASE_ASSIGNMENT_MILLIS": "1000",
    "CONSUMER_IDLE_MILLIS": "250",
    "CONSUMER_CHECKPOINT_SECONDS": "1",
    "CONSUMER_HEALTHY_AFTER_SECONDS": "1",
}
"""Settings with shorter intervals than in production."""


def environment(name: str, directory: Path, **endpoints: str) -> dict[str, str]:
    """A complete environment for the service. Stream, tables and quarantine are named after `name`.

    `endpoints`: AWS_ENDPOINT_URL and the like.
    """
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "TMPDIR": str(directory),
        "AWS_EC2_METADATA_DISABLED": "true",
        **caller(),
        "AWS_TABLE_NAME": f"{name}-limits",
        "CONSUMER_STREAM_NAME": f"{name}-stream",
        "CONSUMER_APPLICATION_NAME": f"{name}-app",
        "CONSUMER_QUARANTINE": f"dir:{directory / 'quarantine'}",
        "CONSUMER_METRICS_ADDRESS": f"{LOOPBACK}:{free_port()}",
        **FAST,
        **endpoints,
    }


def consumer(environment: Mapping[str, str], *arguments: str) -> str:
    """The output of a `consumer` command. Raises CalledProcessError; its errors go to our standard error."""
    command = [sys.executable, "-m", "consumer", *arguments]
    return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


def provision(environment: Mapping[str, str], *options: str) -> None:
    """Runs `consumer provision`. Raises CalledProcessError; its errors go to our standard error."""
    done = commands.in_text(commands.run("provision", *options, environment=environment))
    sys.stderr.write(done.stderr)
    done.check_returncode()


@dataclass(frozen=True)
class Sample:
    """One value of `/metrics`."""

    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True)
class Service:
    """A running `consumer run`. Its log has one JSON object per line."""

    process: subprocess.Popen[bytes]
    address: str
    log: Path

    def samples(self) -> list[Sample]:
        """The current values of `/metrics`; empty while it does not respond."""
        status, body = self.get("/metrics")
        return [_sample(match) for match in SAMPLE.finditer(body)] if status == 200 else []

    def get(self, path: str) -> tuple[int, str]:
        """Status and body; status 0 if there is no response."""
        try:
            with urllib.request.urlopen(f"http://{self.address}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def outcomes(self) -> Counter[str]:
        """Records received so far, by outcome."""
        counts: Counter[str] = Counter()
        for sample in self.samples():
            if sample.name == "consumer_records_total":
                counts[sample.labels["outcome"]] += int(sample.value)
        return counts

    def received(self) -> int:
        return self.outcomes().total()

    def jvm(self) -> int | None:
        """The process id of the JVM; None while there is none."""
        return next((pid for pid in children(self.process.pid) if "MultiLangDaemon" in command_line(pid)), None)

    def record_processors(self) -> list[int]:
        """The process ids of the record processors, one per shard."""
        jvm = self.jvm()
        return [pid for pid in (children(jvm) if jvm else []) if command_line(pid).endswith("process")] + self.forks()

    def fork_server(self) -> int | None:
        """The process id of the fork server; None while there is none."""
        return next((pid for pid in children(self.process.pid) if _forks(pid) and _leads(pid)), None)

    def forks(self) -> list[int]:
        """The record processors that were forked. They become children of the supervisor if their server dies."""
        server = self.fork_server()
        found = [*children(self.process.pid), *(children(server) if server else [])]
        return [pid for pid in found if _forks(pid) and not _leads(pid)]

    def lines(self) -> list[dict[str, Any]]:
        """The parsed lines of the log. Fails if a line is not a JSON object."""
        found = [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]
        assert all(isinstance(line, dict) for line in found)
        return found

    def stop(self, within: float = 30.0) -> int:
        """Sends SIGTERM and returns the exit code. Raises TimeoutExpired."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(within)


RUN: Sequence[str] = ("consumer", "run")


@contextmanager
def service(
    environment: Mapping[str, str], log: Path, command: Sequence[str] = RUN, python: str = sys.executable
) -> Iterator[Service]:
    """Runs the service during the block and kills what is left afterwards. `command`: a module and its arguments."""
    with log.open("ab") as file:
        process = start([python, "-m", *command], environment, file, file)
    started = Service(process, environment["CONSUMER_METRICS_ADDRESS"], log)
    try:
        yield started
    finally:
        kill(process, *filter(None, [started.jvm()]))  # the JVM leads a process group of its own


@contextmanager
def serving(variables: Mapping[str, str], log: Path, **changes: str) -> Iterator[Service]:
    """Runs `consumer serve` during the block, ready. Its health checks and metrics are at the address of the API."""
    address = f"{LOOPBACK}:{free_port()}"
    addresses = {"CONSUMER_API_ADDRESS": address, "CONSUMER_METRICS_ADDRESS": address}
    with service({**variables, **addresses, **changes}, log, ("consumer", "serve")) as running:
        until(lambda: running.get("/readyz")[0] == HTTPStatus.OK, "the API to be ready")
        yield running


def children(parent: int) -> list[int]:
    """The process ids whose parent is `parent`."""
    return [pid for pid in _process_ids() if _parent(pid) == parent]


def command_line(pid: int) -> str:
    """Empty if the process has exited."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def alive(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pids: list[int], seconds: float = 10.0) -> None:
    """Waits until all of the processes have exited."""
    until(lambda: not any(map(alive, pids)), f"the processes {pids} to exit", seconds=seconds)


def send(number: int, pids: Iterable[int]) -> None:
    """Sends a signal to those of the processes that have not exited. The death of one may be the end of another."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _forks(pid: int) -> bool:
    return command_line(pid).endswith("fork-server")


def _leads(pid: int) -> bool:
    """Whether the process leads a session, as the fork server does, but not its forks."""
    with suppress(ProcessLookupError):
        return os.getsid(pid) == pid
    return False


def _process_ids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _parent(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def _sample(match: re.Match[str]) -> Sample:
    return Sample(match["name"], dict(LABEL.findall(match["labels"] or "")), float(match["value"]))
