"""The composition root: builds the core and its stores from the settings, for the projection that they name.

It is the only module that names every implementation.
"""

import gc
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar
from urllib.parse import urlsplit

from botocore.config import Config
from botocore.loaders import Loader
from botocore.session import Session, get_session

from consumer import projections
from consumer.archive.place import Place
from consumer.engine import optional_parts
from consumer.engine.archive import Archive
from consumer.engine.messages import MessageBus
from consumer.engine.processor import Known, Processor
from consumer.engine.projection import Projection
from consumer.engine.quarantine import InMemoryQuarantine, QuarantineStore
from consumer.engine.repository import InMemoryRepository
from consumer.engine.stream import Stream
from consumer.settings import (
    AwsSettings,
    CoreSettings,
    InvokeSettings,
    NoticeSettings,
    RecordSettings,
    Settings,
)
from consumer.stores.aws import CLIENT, SHORT_TIMEOUTS, RoleCredentials
from consumer.stores.directory import DirectoryQuarantine
from consumer.stores.dynamodb import DynamoRepository
from consumer.stores.eventbridge import EventBridge
from consumer.stores.kinesis import KinesisStream, address
from consumer.stores.places import DirectoryPlace, S3Place
from consumer.stores.raw_json import RAW_JSON, RawJson
from consumer.stores.requests import OnRequest, observe_requests
from consumer.stores.s3 import S3Quarantine

P = ParamSpec("P")
R = TypeVar("R")

REQUESTS = 8
"""How many requests of one process run at the same time."""

QUARANTINE_REQUESTS = 16
"""The same for the quarantine: half of the records that are quarantined together (processor.QUARANTINE_GROUP)."""

OBJECTS = 10_000
"""How many more objects there must be before the garbage collector looks for cycles."""


def client(
    settings: AwsSettings,
    service: Literal["dynamodb", "s3", "events", "sts"],
    config: Config = CLIENT,
    on_request: OnRequest | None = None,
) -> Any:
    """A boto3 client with credentials from boto3's own chain. Calls `on_request` after each request.

    For Kinesis, there is `stream_client`.
    """
    made = _session().create_client(
        service, region_name=settings.region, endpoint_url=settings.endpoint_of(service), config=config
    )
    if on_request:
        observe_requests(made, on_request)
    return made


def stream_client(settings: InvokeSettings, config: Config = CLIENT) -> Any:
    """A client for the stream: in the stream's region, with its role, and by its ARN if the settings have one."""
    made: Any = _stream_session(settings, config).create_client(
        "kinesis", region_name=settings.stream_region, endpoint_url=settings.endpoint_of("kinesis"), config=config
    )
    address(made, settings.stream_arn)
    return made


def _stream_session(settings: InvokeSettings, config: Config) -> Session:
    if settings.stream_role_arn is None:
        return _session()
    credentials = RoleCredentials(client(settings, "sts", config), settings.stream_role_arn, settings.role_session_name)
    session = Session()
    session.register_component("data_loader", _session().get_component("data_loader"))
    session.register_component("credential_provider", credentials)
    return session


@cache
def _session() -> Session:
    """What boto3.client() uses. boto3 itself also imports its transfers to S3: 3 MB more in each record processor."""
    return get_session()


class _Descriptions(Loader):
    """Botocore's descriptions of services and regions, which can be forgotten."""

    def forget(self) -> None:
        self._cache.clear()  # type: ignore[attr-defined] # not in the stubs


@contextmanager
def frugal_clients() -> Iterator[None]:
    """Clients are created within this context. Afterwards, what botocore keeps for more of them is freed: 8 MB."""
    descriptions = _Descriptions()
    _session.cache_clear()
    _session().register_component("data_loader", descriptions)
    try:
        yield
    finally:
        # The clients keep the loader, and the session keeps the regions.
        _session.cache_clear()
        descriptions.forget()
        # They are in cycles, and would otherwise stay until a batch has taken more memory.
        gc.collect()


def collect_rarely() -> None:
    """A batch makes many objects and no cycles. Python's own thresholds would search for some in every batch."""
    gc.freeze()  # what exists now stays
    gc.set_threshold(OBJECTS, *gc.get_threshold()[1:])


class _Pool(ThreadPoolExecutor):
    """Threads that run in the context of their caller, so that their log lines have its fields (logs.fields)."""

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        return super().submit(copy_context().run, partial(fn, *args, **kwargs))


def pool(requests: int = REQUESTS) -> Executor:
    return _Pool(requests, thread_name_prefix="store")


def projection(settings: RecordSettings) -> Projection[Any, Any]:
    """The projection that the settings name. Raises SettingsError."""
    return optional_parts.bounded(projections.load(settings.projection), settings.max_sequence_number)


def repository(
    settings: AwsSettings, requests: Executor, config: Config = CLIENT, on_request: OnRequest | None = None
) -> DynamoRepository[Any] | InMemoryRepository[Any]:
    codec = projections.load(settings.projection)
    if not settings.enable_dynamo_db:
        return InMemoryRepository(codec)
    return DynamoRepository(raw_json(settings, config, on_request), settings.table_name, codec, requests)


def raw_json(settings: AwsSettings, config: Config = CLIENT, on_request: OnRequest | None = None) -> RawJson:
    """What a repository sends its requests with."""
    made = client(settings, "dynamodb", config.merge(RAW_JSON), on_request)
    return RawJson(made, _session().get_credentials())


def quarantine_directory(settings: CoreSettings, requests: Executor | None = None) -> DirectoryQuarantine | None:
    """The quarantine if it is a directory, otherwise None."""
    place = settings.quarantine
    return DirectoryQuarantine(Path(place.removeprefix("dir:")), requests) if place.startswith("dir:") else None


def quarantine(
    settings: CoreSettings, requests: Executor, config: Config = CLIENT, on_request: OnRequest | None = None
) -> QuarantineStore:
    if directory := quarantine_directory(settings, requests):
        return directory
    parts = urlsplit(settings.quarantine)
    return S3Quarantine(client(settings, "s3", config, on_request), parts.netloc, parts.path, requests)


def place_of(
    settings: AwsSettings, address: str, config: Config = CLIENT, on_request: OnRequest | None = None
) -> Place:
    """The place with the address `dir:PATH` or `s3://bucket/prefix`."""
    if address.startswith("dir:"):
        return DirectoryPlace(Path(address.removeprefix("dir:")))
    parts = urlsplit(address)
    return S3Place(client(settings, "s3", config, on_request), parts.netloc, parts.path)


def archive(settings: CoreSettings, config: Config = CLIENT, on_request: OnRequest | None = None) -> Archive | None:
    """The archive if there is one, otherwise None."""
    if settings.archive is None:
        return None
    from consumer.archive.segment import PlaceArchive  # with a library that no other part needs

    place = place_of(settings, settings.archive, config, on_request)
    return PlaceArchive(place, now_millis, settings.aggregate_records)


def stream(settings: Settings) -> Stream:
    # A slow response must not delay the start of a shard, and the check at its end is retried.
    return KinesisStream(stream_client(settings, SHORT_TIMEOUTS), settings.stream_name)


def message_bus(settings: NoticeSettings, config: Config = CLIENT, on_request: OnRequest | None = None) -> MessageBus:
    return EventBridge(client(settings, "events", config, on_request), settings.event_bus)


def processor(
    settings: CoreSettings, config: Config = CLIENT, on_request: OnRequest | None = None
) -> Processor[Any, Any]:
    """The core with the stores that the settings name. Calls `on_request` after each request to them."""
    return Processor(
        projection(settings),
        repository(settings, pool(), config, on_request),
        quarantine(settings, pool(QUARANTINE_REQUESTS), config, on_request),
        time.monotonic,
        settings.record_cap_bytes,
        settings.breaker,
        Known(settings.cache_limits),
        settings.aggregate_records,
        archive(settings, config, on_request),
    )


def in_memory_processor(settings: RecordSettings) -> tuple[Processor[Any, Any], InMemoryRepository[Any]]:
    """The core without AWS, and the repository that it writes to."""
    kept = projection(settings)
    states: InMemoryRepository[Any] = InMemoryRepository(kept)
    core: Processor[Any, Any] = Processor(
        kept,
        states,
        InMemoryQuarantine(),
        time.monotonic,
        settings.record_cap_bytes,
        aggregate_cap=settings.aggregate_records,
    )
    return core, states


def now_millis() -> int:
    return time.time_ns() // 1_000_000
