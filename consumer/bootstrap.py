"""Puts the parts together: the only module that knows every other."""

import os
import random
import sys
import time
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn
from urllib.parse import urlsplit

import boto3

from consumer.engine.checkpoints import CheckpointPolicy
from consumer.engine.processor import Known, Processor
from consumer.engine.quarantine import InMemoryQuarantine, Quarantine
from consumer.engine.repository import InMemoryRepository, Repository
from consumer.limits.events import LimitEvent
from consumer.limits.projection import Limits
from consumer.limits.repository import UserLimitRepository
from consumer.limits.state import LimitState
from consumer.settings import AwsSettings, Settings
from consumer.stores.aws import CLIENT
from consumer.stores.directory import DirectoryQuarantine
from consumer.stores.dynamodb import DynamoRepository
from consumer.stores.s3 import S3Quarantine

if TYPE_CHECKING:
    from consumer.entrypoints.kcl import ShardConsumer
    from consumer.entrypoints.waiting import World

REQUESTS = 8
"""Requests of one process under way at once."""


def client(settings: AwsSettings, service: Literal["kinesis", "dynamodb", "s3"]) -> Any:
    """A boto3 client; credentials by boto3's own chain."""
    return boto3.client(service, region_name=settings.region, endpoint_url=settings.endpoint_of(service), config=CLIENT)


def pool() -> Executor:
    return ThreadPoolExecutor(REQUESTS, thread_name_prefix="store")


def repository(settings: AwsSettings, requests: Executor) -> Repository[LimitState]:
    if not settings.enable_dynamo_db:
        return InMemoryRepository(Limits())
    return DynamoRepository(client(settings, "dynamodb"), settings.table_name, Limits(), requests)


def user_limits(settings: AwsSettings) -> UserLimitRepository:
    return UserLimitRepository(repository(settings, pool()), now_millis)


def quarantine(settings: AwsSettings, place: str, requests: Executor) -> Quarantine:
    """`place` is `dir:PATH` or `s3://bucket/prefix`."""
    if place.startswith("dir:"):
        return DirectoryQuarantine(Path(place.removeprefix("dir:")))
    parts = urlsplit(place)
    return S3Quarantine(client(settings, "s3"), parts.netloc, parts.path, requests)


def processor(settings: Settings) -> Processor[LimitEvent, LimitState]:
    requests = pool()
    return Processor(
        Limits(),
        repository(settings, requests),
        quarantine(settings, settings.quarantine, requests),
        time.monotonic,
        settings.record_cap_bytes,
        settings.breaker,
        Known(settings.cache_limits),
    )


def in_memory_processor() -> Processor[LimitEvent, LimitState]:
    """The same core without AWS."""
    return Processor(Limits(), InMemoryRepository(Limits()), InMemoryQuarantine(), time.monotonic)


def shard_consumer(settings: Settings) -> "ShardConsumer":
    """The record processor of one shard."""
    # late, so that the environment of the metrics is set before prometheus_client is imported
    from prometheus_client import REGISTRY

    from consumer.entrypoints.kcl import ShardConsumer, ShardRules
    from consumer.metrics import processor_metrics

    rules = ShardRules(
        CheckpointPolicy(settings.checkpoint_seconds, settings.checkpoint_records), settings.batch_deadline_seconds
    )
    return ShardConsumer(processor(settings), settings.stream_name, rules, processor_metrics(REGISTRY), world(settings))


def world(settings: Settings) -> "World":
    from consumer.entrypoints.waiting import World

    run_directory = settings.run_directory
    return World(
        clock=time.monotonic,
        now=time.time,
        sleep=time.sleep,
        chance=random.random,
        stopping=lambda: run_directory is not None and (run_directory / "stopping").exists(),
        leave=leave,
    )


def leave(code: int) -> NoReturn:
    """Ends the process at once: threads that wait for AWS would hold up an ordinary exit."""
    sys.stderr.flush()
    os._exit(code)


def now_millis() -> int:
    return time.time_ns() // 1_000_000
