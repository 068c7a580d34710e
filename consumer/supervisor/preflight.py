"""What is checked in AWS before Java starts: faults that retries do not fix and that the KCL would not report."""

import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from consumer.engine.errors import SettingsError
from consumer.leases import tables
from consumer.leases.origin import Application
from consumer.leases.tables import Table
from consumer.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Connect = Callable[[], Application]
"""Creates the clients. Raises BotoCoreError, for instance for an unknown profile."""

log = logging.getLogger("consumer.supervisor")


def examine(settings: Settings, connect: Connect) -> None:
    """Raises SettingsError for tables with unexpected keys and for leases of another stream; marks leases of this one.

    A check that cannot be completed is logged and does not prevent the start: its cause may be temporary.
    """
    problems: list[str] = []
    try:
        for what, check in _checks(settings, connect()):
            problems += _problems(what, check)
    except BotoCoreError as error:
        # AWS cannot be reached, or there are no credentials: the remaining checks would fail in the same way.
        _not_checked("AWS", type(error).__name__)
    if problems:
        raise SettingsError(problems)


def _checks(settings: Settings, application: Application) -> Iterator[tuple[str, Callable[[], object]]]:
    limits = [tables.limits_table(settings.table_name)] if settings.enable_dynamo_db else []
    for table in (*limits, *tables.kcl_tables(settings.application_name)):
        yield f"table {table.name}", partial(_check_keys, application.dynamodb, table)
    yield f"leases of {application.name}", application.settle


def _problems(what: str, check: Callable[[], object]) -> list[str]:
    try:
        check()
    except SettingsError as wrong:
        return wrong.problems
    except ClientError as error:
        _not_checked(what, error.response.get("Error", {}).get("Code", "unknown error"))
    return []


def _check_keys(dynamodb: "DynamoDBClient", table: Table) -> None:
    found = tables.described(dynamodb, table.name)
    if wrong := found and tables.wrong_keys(found, table):
        raise SettingsError([wrong])


def _not_checked(what: str, cause: str) -> None:
    log.warning("not checked before the start", extra={"part": what, "cause": cause})
