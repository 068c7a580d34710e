"""The service and all that it needs on this machine: an emulator of AWS, stream, tables, `consumer serve`, a worker."""

import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

from rich.console import Console

from consumer.admin.put import Outgoing, put
from examples.demo_page import page
from tests.support.driven.service import Service, consumer, environment, service
from tests.support.emulators.aws import Emulator, ministack, session

SHARDS = 2


@dataclass(frozen=True)
class LocalService:
    """`variables`: the environment of its processes. `page`: the address of the page of a limit that moves."""

    aws: Emulator
    variables: Mapping[str, str]
    worker: Service
    page: str

    def put(self, records: Iterable[Outgoing], progress: Callable[[int], None] = lambda _: None) -> None:
        """Puts records on the stream. Calls `progress` with the number of records of each request."""
        kinesis = session().client("kinesis", endpoint_url=self.aws.endpoint)
        put(kinesis, self.variables["CONSUMER_STREAM_NAME"], records, progress)


def until_interrupted(name: str, show: Callable[[Console, Path], None]) -> None:
    """Calls `show` with a folder for its files. Exits with 130 if SIGINT or SIGTERM interrupts it."""
    signal.signal(signal.SIGTERM, _interrupt)
    console = Console(highlight=False)
    try:
        with TemporaryDirectory(prefix=f"{name}-") as directory:
            show(console, Path(directory))
    except KeyboardInterrupt:
        console.print("interrupted: all processes are stopped")
        sys.exit(130)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def local_service(
    console: Console, directory: Path, name: str, *, is_kept: bool, **settings: str
) -> Iterator[LocalService]:
    """Runs everything during the block, and prints what starts and stops. `is_kept`: people may open the page."""
    console.print("starting MiniStack (Kinesis and DynamoDB on this machine)")
    with ministack() as aws:
        variables = environment(name, directory, AWS_ENDPOINT_URL=aws.endpoint, **settings)
        console.print(consumer(variables, "provision", "--stream", str(SHARDS)).strip(), style="dim")
        with (
            _page(console, variables, directory / "page.log", is_kept=is_kept) as address,
            _worker(console, variables, directory / "consumer.log") as worker,
        ):
            yield LocalService(aws, variables, worker, address)
    console.print("all processes are stopped")


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
def _worker(console: Console, variables: Mapping[str, str], log: Path) -> Iterator[Service]:
    console.print("starting the consumer: supervisor, MultiLangDaemon, one record processor per shard")
    with service(variables, log) as running:
        try:
            yield running
        finally:
            start = time.monotonic()
            code = running.stop()
            console.print(f"stopped: exit code {code} after {time.monotonic() - start:.1f} s")
