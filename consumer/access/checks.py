"""What the service needs in AWS, as checks. `consumer doctor` prints them all, `consumer run` makes them before Java.

A check changes nothing. The checks of one resource form a group: the later ones make sense only if the first succeeds.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from consumer import projections
from consumer.access import advice, probes
from consumer.engine.errors import SettingsError
from consumer.leases import tables
from consumer.leases.origin import Application
from consumer.leases.tables import Table
from consumer.settings import Settings, variable
from consumer.stores.s3 import prefix_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

PROVISION = "create it: consumer provision"

Connect = Callable[[], Application]
"""Creates clients. Raises BotoCoreError, for instance for an unknown profile."""
ConnectS3 = Callable[[], "S3Client"]


@dataclass(frozen=True, slots=True)
class Clients:
    """How the clients of AWS are created. `application`: of Kinesis and DynamoDB."""

    application: Connect
    s3: ConnectS3

    def cached(self) -> Self:
        """The same, but each is created once."""
        return replace(self, application=cache(self.application), s3=cache(self.s3))


class NotThereYet(SettingsError):
    """Something is missing that may be there in a moment: KCL creates its index, a stream becomes active."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    what      the kind of thing that is checked
    resource  its name, for messages
    remedy    what to do if it does not exist, or cannot be written
    probe     returns what it found. Raises SettingsError, whose text ends with a colon and what to do, boto3's errors,
              and OSError
    required  False if KCL creates the resource when it does not exist
    """

    what: str
    resource: str
    remedy: str
    probe: Callable[[], str]
    required: bool = True


def groups(settings: Settings, clients: Clients) -> Iterator[Sequence[Check]]:
    """All groups, in the order in which they are reported."""
    yield _of_stream(settings, clients.application)
    yield from _of_tables(settings, clients.application)
    if settings.archive:
        yield (_of_place("archive", settings.archive, "", clients.s3),)
    yield (_of_place("quarantine", settings.quarantine, "quarantine", clients.s3),)


def _of_stream(settings: Settings, connect: Connect) -> Sequence[Check]:
    resource = f"stream {settings.stream_name}"
    missing = f"create it: consumer provision --stream SHARDS; or correct {variable('stream_name')} or AWS_REGION"
    if settings.stream_arn:
        missing = f"create it in its account, or correct {variable('stream_arn')}"
    return (
        Check("stream", resource, missing, lambda: _described_stream(connect())),
        Check("permissions", resource, missing, lambda: _read_stream(connect())),
    )


def _of_tables(settings: Settings, connect: Connect) -> Iterator[Sequence[Check]]:
    """A group for each table."""
    if settings.enable_dynamo_db:
        states = tables.states_table(settings.table_name, projections.load(settings.projection).key_names)
        yield _of_table(states, connect, _described_states, _states_permissions)
    for table in tables.kcl_tables(settings.application_name):
        yield _of_table(table, connect, _described_kcl, _kcl_permissions, required=False)


def _of_place(setting: str, place: str, default_prefix: str, connect: ConnectS3) -> Check:
    """Whether files can be written to the quarantine or the archive."""
    if place.startswith("dir:"):
        remedy = f"make it writable for this user only (chmod 700), or change {variable(setting)}"
        root = Path(place.removeprefix("dir:"))
        return Check(setting, f"directory {root}", remedy, lambda: probes.write_directory(root))
    missing = f"create it: consumer provision --bucket; or correct {variable(setting)}"
    return Check(setting, f"{place}/*", missing, lambda: _write_bucket(connect(), place, default_prefix))


def _described_stream(application: Application) -> str:
    found = application.kinesis.describe_stream_summary(StreamName=application.stream)["StreamDescriptionSummary"]
    state = found["StreamStatus"]
    line = f"{application.stream}: {state}, {found['OpenShardCount']} open shards"
    if state == "CREATING":
        raise NotThereYet([f"{line}: wait until it is ACTIVE"])
    if state == "DELETING":
        raise SettingsError([f"{line}: name another stream, or create it again"])
    return line


def _read_stream(application: Application) -> str:
    probes.read_stream(application.kinesis, application.stream)
    return f"stream {application.stream}: readable"


_Probe = Callable[["DynamoDBClient", Table], str]


def _of_table(
    table: Table, connect: Connect, described: _Probe, permitted: _Probe, *, required: bool = True
) -> Sequence[Check]:
    resource = f"table {table.name}"
    return (
        Check("table", resource, PROVISION, lambda: described(connect().dynamodb, table), required),
        Check("permissions", resource, PROVISION, lambda: permitted(connect().dynamodb, table)),
    )


def _described_states(dynamodb: "DynamoDBClient", table: Table) -> str:
    found = dynamodb.describe_table(TableName=table.name)["Table"]
    if wrong := tables.wrong_keys(found, table):
        raise SettingsError([wrong])
    return f"{table.name}: {found['TableStatus']}"


def _states_permissions(dynamodb: "DynamoDBClient", table: Table) -> str:
    probes.read_states(dynamodb, table)
    probes.update_states(dynamodb, table)
    return f"table {table.name}: states readable and writable"


def _described_kcl(dynamodb: "DynamoDBClient", table: Table) -> str:
    found = dynamodb.describe_table(TableName=table.name)["Table"]
    if wrong := tables.wrong_keys(found, table):
        raise SettingsError([wrong])
    if table.index and not tables.index_status(found, table.index):
        raise NotThereYet([f"table {table.name} has no index {table.index}: create it with `consumer provision`"])
    return f"{table.name}: {found['TableStatus']}"


def _kcl_permissions(dynamodb: "DynamoDBClient", table: Table) -> str:
    refused = list(probes.refusals(dynamodb, table))
    denied = [error for error in refused if advice.code_of(error) in advice.DENIED]
    if denied:
        actions = ", ".join(map(advice.action_of, denied))
        resource = f"table {table.name}"
        raise SettingsError([f"{resource}: {actions} denied: {advice.allow(actions, resource)}"])
    if refused:
        raise refused[0]
    return f"table {table.name}: readable and writable"


def _write_bucket(s3: "S3Client", place: str, default_prefix: str) -> str:
    parts = urlsplit(place)
    probes.write_object(s3, parts.netloc, f"{prefix_of(parts.path, default_prefix)}consumer-doctor")
    return f"{place}: writable"
