"""Empty stores of every kind: in memory, on MiniStack, on DynamoDB Local, on the benchmark's store, in a directory.

If CONSUMER_TEST_AWS is set (tests/support/emulators/place.py), the tables are created there instead of on MiniStack.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from uuid import uuid4

import pytest

from bench.store import in_memory
from consumer.engine.projection import Codec
from consumer.engine.quarantine import InMemoryQuarantine, QuarantineStore
from consumer.engine.repository import ErasableRepository, InMemoryRepository, ScannableRepository
from consumer.limits.projection import Limits
from consumer.limits.state import LimitState
from consumer.stores.aws import CLIENT
from consumer.stores.directory import DirectoryQuarantine
from consumer.stores.dynamodb import DynamoRepository
from consumer.stores.raw_json import RAW_JSON, RawJson
from consumer.stores.s3 import S3Quarantine
from tests.support.emulators.aws import dynamodb_local, ministack, session
from tests.support.emulators.place import Place, opened

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

S = TypeVar("S")


class Served(Protocol):
    """A running emulator."""

    @property
    def endpoint(self) -> str: ...


LAUNCHERS: dict[str, Callable[[], AbstractContextManager[Served]]] = {
    "ministack": ministack,
    "dynamodb-local": dynamodb_local,
    "bench": in_memory,
}
DYNAMODB = [pytest.param("ministack"), pytest.param("dynamodb-local", marks=pytest.mark.conformance)]


@dataclass
class Emulators:
    """Emulators. Each is started on first use and runs until the end of the session."""

    stack: ExitStack
    place: Place
    running: dict[str, Served] = field(default_factory=dict)

    @cached_property
    def theirs(self) -> Mapping[str, str]:
        return self.stack.enter_context(opened(self.place))

    def tables(self, name: str) -> str | None:
        """The endpoint of the tables, None for AWS itself."""
        if name != "ministack" or self.place == Place():
            return self.endpoint(name)
        return self.theirs.get("AWS_ENDPOINT_URL_DYNAMODB") or self.theirs.get("AWS_ENDPOINT_URL")

    def table(self, name: str, pool: Executor, stack: ExitStack) -> "Dynamo":
        """An empty table of limits. Outside the emulators, it is deleted with `stack`."""
        made = Dynamo(self.tables(name), pool, stack)
        made.create(Limits().key_names)
        if self.place != Place():
            stack.callback(made.remove)
        return made

    def endpoint(self, name: str) -> str:
        if name not in self.running:
            self.running[name] = self.stack.enter_context(LAUNCHERS[name]())
        return self.running[name].endpoint


class WholeRepository(ErasableRepository[S], ScannableRepository[S], Protocol[S]):
    """All that a store of states can do."""


class Kept(Protocol):
    """A place for states. All its repositories access the same states."""

    def limits(self) -> WholeRepository[LimitState]: ...


class Memory:
    def __init__(self) -> None:
        self._kept = InMemoryRepository(Limits())

    def limits(self) -> WholeRepository[LimitState]:
        return self._kept


@dataclass
class Dynamo:
    """A table. Each repository has its own client."""

    endpoint: str | None
    pool: Executor
    stack: ExitStack
    name: str = field(default_factory=lambda: f"table-{uuid4()}")

    def client(self) -> "DynamoDBClient":
        made = session().client("dynamodb", endpoint_url=self.endpoint, config=CLIENT.merge(RAW_JSON))
        return self.stack.enter_context(closing(made))

    def requests(self) -> RawJson:
        """What a repository uses."""
        return RawJson(self.client(), session().get_credentials())

    def create(self, key_names: tuple[str, str]) -> None:
        partition, sort = key_names
        client = self.client()
        client.create_table(
            TableName=self.name,
            KeySchema=[{"AttributeName": partition, "KeyType": "HASH"}, {"AttributeName": sort, "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in key_names],
            BillingMode="PAY_PER_REQUEST",
        )
        client.get_waiter("table_exists").wait(TableName=self.name, WaiterConfig={"Delay": 1})

    def remove(self) -> None:
        self.client().delete_table(TableName=self.name)

    def limits(self) -> WholeRepository[LimitState]:
        return self.repository(Limits())

    def repository(self, codec: Codec[S], client: Any = None) -> DynamoRepository[S]:
        return DynamoRepository(client or self.requests(), self.name, codec, self.pool)


@dataclass
class Bucket:
    """An S3 bucket with quarantines in it."""

    client: "S3Client"
    pool: Executor
    name: str = field(default_factory=lambda: f"bucket-{uuid4()}")

    def quarantine(self, prefix: str = "quarantine") -> S3Quarantine:
        return S3Quarantine(self.client, self.name, prefix, self.pool)


@pytest.fixture(scope="session")
def emulators(aws_place: Place) -> Iterator[Emulators]:
    with ExitStack() as stack:
        yield Emulators(stack, aws_place)


@pytest.fixture
def pool() -> Iterator[Executor]:
    with ThreadPoolExecutor(8) as executor:
        yield executor


@pytest.fixture(params=DYNAMODB)
def dynamo(request: pytest.FixtureRequest, emulators: Emulators, pool: Executor) -> Iterator[Dynamo]:
    """An empty table of limits."""
    with ExitStack() as stack:
        yield emulators.table(request.param, pool, stack)


@pytest.fixture(params=["memory", *DYNAMODB, "bench"])
def place(request: pytest.FixtureRequest, emulators: Emulators, pool: Executor) -> Iterator[Kept]:
    if request.param == "memory":
        yield Memory()
        return
    with ExitStack() as stack:
        yield emulators.table(request.param, pool, stack)


@pytest.fixture
def bucket(emulators: Emulators, pool: Executor) -> Iterator[Bucket]:
    client = session().client("s3", endpoint_url=emulators.endpoint("ministack"), config=CLIENT)
    with closing(client):
        made = Bucket(client, pool)
        client.create_bucket(Bucket=made.name)
        yield made


@pytest.fixture(params=["memory", "directory", "s3"])
def quarantine(request: pytest.FixtureRequest, tmp_path: Path) -> QuarantineStore:
    if request.param == "memory":
        return InMemoryQuarantine()
    if request.param == "directory":
        return DirectoryQuarantine(tmp_path / "quarantine")
    bucket: Bucket = request.getfixturevalue("bucket")
    return bucket.quarantine()
