"""Draws docs/images/status.svg from a real run: `python -m examples.status_picture docs/images/status.svg`.

Two workers share four shards of a stream on this machine. One is killed, so that its shards fall behind. The picture is
the output of `consumer status` at that moment. The script also prints the resident memory of the other worker's
processes.
"""

import os
import random
import re
import signal
import sys
from collections.abc import Mapping
from contextlib import ExitStack, chdir
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from consumer.admin.observer import Observer
from consumer.admin.put import outgoing, put
from consumer.admin.status import Problem, Status
from consumer.cli import status_tables
from consumer.limits.sample import histories
from consumer.settings import Settings, load
from tests.support.driven.processes import LOOPBACK, free_port
from tests.support.driven.service import Service, children, consumer, environment, service
from tests.support.driven.waiting import until
from tests.support.emulators.aws import Emulator, ministack, session

SHARDS = 4
WIDTH = 104
FORM = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
"""Rich's template of a terminal picture, without the fonts that it would download."""


def main() -> None:
    target = Path(sys.argv[1]).resolve()
    with TemporaryDirectory(prefix="status-") as directory, ministack() as aws, ExitStack() as stack:
        stack.enter_context(chdir(directory))
        place = Path(directory)
        variables = environment("limits", place, AWS_ENDPOINT_URL=aws.endpoint, CONSUMER_QUARANTINE="dir:quarantine")
        consumer(variables, "provision", "--stream", str(SHARDS))
        first, second = (
            stack.enter_context(service(_worker(variables, name), place / name)) for name in ("task-7f3a", "task-c20e")
        )
        _put(aws, variables, seed=1, poison=0.001)
        # half of the workers' failover time, so that the silence is noticed before the takeover
        os.environ.update(variables, CONSUMER_FAILOVER_MILLIS="10000")
        observer = Observer.of(load(Settings))
        until(lambda: _is_shared(observer.look()), "two workers to share the shards", seconds=120, every=1)
        until(first.record_processors, "a record processor of the first worker")
        print(f"MiB, resident: {_memory(first)}")
        os.kill(second.process.pid, signal.SIGKILL)
        until(lambda: _is_silent(observer.look(lag=False)), "the second worker to count as silent", every=0.5)
        _put(aws, variables, seed=2, poison=0.0)
        status = until(lambda: _is_behind(observer.look()), "its shards to fall behind", every=0.5)
        if status:
            _draw(status, target)


def _worker(variables: Mapping[str, str], name: str) -> dict[str, str]:
    """A failover time that is long enough for the picture, and short enough for the second worker to get its share."""
    address = f"{LOOPBACK}:{free_port()}"
    rest = {"CONSUMER_METRICS_ADDRESS": address, "CONSUMER_WORKER_ID": name, "CONSUMER_FAILOVER_MILLIS": "20000"}
    return {**variables, **rest}


def _put(aws: Emulator, variables: Mapping[str, str], seed: int, poison: float) -> None:
    made = histories(random.Random(seed), 5_000, poison=poison)
    kinesis = session().client("kinesis", endpoint_url=aws.endpoint)
    put(kinesis, variables["CONSUMER_STREAM_NAME"], [outgoing(sample.data) for sample in made], lambda _: None)


def _is_shared(status: Status) -> bool:
    owners = {shard.lease.owner for shard in status.shards if shard.lease}
    return len(owners) == 2 and None not in owners and all(shard.lag.seconds == 0 for shard in status.shards)


def _is_silent(status: Status) -> bool:
    return any(Problem.OWNER_SILENT in shard.problems for shard in status.shards)


def _is_behind(status: Status) -> Status | None:
    silent = [shard for shard in status.shards if Problem.OWNER_SILENT in shard.problems]
    others = [shard for shard in status.shards if shard not in silent]
    behind = silent and all(shard.lag.seconds for shard in silent) and not any(each.lag.seconds for each in others)
    return status if behind else None


def _memory(running: Service) -> dict[str, list[int]]:
    jvm = running.jvm() or 0
    named = {"supervisor": [running.process.pid], "JVM": [jvm], "record processors": children(jvm)}
    return {name: [_resident(pid) for pid in pids] for name, pids in named.items()}


def _resident(pid: int) -> int:
    (kilobytes,) = re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(kilobytes) // 1024


def _draw(status: Status, target: Path) -> None:
    console = Console(record=True, width=WIDTH, file=StringIO(), highlight=False, markup=False, force_terminal=True)
    console.print(status_tables.whole(status))
    target.write_text(console.export_svg(title="consumer status", code_format=FORM, unique_id="status"))


if __name__ == "__main__":
    main()
