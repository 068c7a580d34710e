"""Permanent faults are refused before Java starts; a check that cannot be completed does not prevent the start."""

import logging
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ProfileNotFound

from consumer.engine.errors import SettingsError
from consumer.leases.origin import Application
from consumer.settings import Settings, load
from consumer.supervisor import preflight

KEYS = {
    "limits": ("userId", "userLimitId"),
    "app": ("leaseKey",),
    "app-WorkerMetricStats": ("wid",),
    "app-CoordinatorState": ("key",),
}
NOTHING: Any = SimpleNamespace()


class Missing(ClientError):
    """The table does not exist."""


class Dynamo:
    """Tables with the keys in KEYS, except that `odd` replaces the description of one; no leases."""

    exceptions = SimpleNamespace(ResourceNotFoundException=Missing)

    def __init__(self, **odd: Callable[[], Any]) -> None:
        self._odd = odd
        self.requested: list[str] = []

    def describe_table(self, TableName: str) -> Any:  # noqa: N803
        self.requested.append(TableName)
        return {"Table": self._odd.get(TableName, lambda: table(*KEYS[TableName]))()}

    def get_paginator(self, _: str) -> Any:
        self.requested.append("leases")
        return SimpleNamespace(paginate=self._scan)

    def _scan(self, **_: Any) -> Iterator[Any]:
        yield from self._odd.get("leases", lambda: [{"Items": []}])()


def table(*keys: str, kind: str = "S") -> Any:
    return {
        "KeySchema": [
            {"AttributeName": key, "KeyType": use} for key, use in zip(keys, ("HASH", "RANGE"), strict=False)
        ],
        "AttributeDefinitions": [{"AttributeName": key, "AttributeType": kind} for key in keys],
    }


def failing(error: Exception) -> Callable[[], Any]:
    def fail() -> Any:
        raise error

    return fail


def refused(code: str, kind: type[ClientError] = ClientError) -> Callable[[], Any]:
    return failing(kind({"Error": {"Code": code}}, "DescribeTable"))


def settings(**more: Any) -> Settings:
    given = {"region": "eu-north-1", "stream_name": "events", "quarantine": "dir:q", "application_name": "app"}
    return load(Settings, **given, table_name="limits", **more)


def examined(dynamodb: Any, **more: Any) -> list[str]:
    """The problems found."""
    try:
        preflight.examine(settings(**more), lambda: Application("app", "events", NOTHING, dynamodb))
    except SettingsError as wrong:
        return wrong.problems
    return []


def test_correct_tables_have_no_problems() -> None:
    dynamodb = Dynamo()
    assert examined(dynamodb) == []
    assert dynamodb.requested == [*KEYS, "leases"]


def test_limits_in_memory_have_no_table() -> None:
    dynamodb = Dynamo(limits=refused("AccessDeniedException"))
    assert examined(dynamodb, enable_dynamo_db=False) == []
    assert "limits" not in dynamodb.requested


def test_all_problems_are_reported_at_once() -> None:
    wrong = Dynamo(limits=lambda: table("userId"), app=lambda: table("leaseKey", kind="N"))
    assert [line.partition(":")[0] for line in examined(wrong)] == [
        "table limits has the keys userId (S), not userId (S), userLimitId (S)",
        "table app has the keys leaseKey (N), not leaseKey (S)",
    ]


@pytest.mark.parametrize("name", [*KEYS, "leases"])
def test_a_missing_table_is_no_problem(name: str, caplog: pytest.LogCaptureFixture) -> None:
    assert examined(Dynamo(**{name: refused("ResourceNotFoundException", Missing)})) == []
    assert caplog.records == []


@pytest.mark.parametrize("name", [*KEYS, "leases"])
def test_a_denied_request_is_logged_and_the_other_checks_continue(name: str, caplog: pytest.LogCaptureFixture) -> None:
    dynamodb = Dynamo(**{name: refused("AccessDeniedException")})
    with caplog.at_level(logging.WARNING):
        assert examined(dynamodb) == []
    part = "leases of app" if name == "leases" else f"table {name}"
    (record,) = caplog.records
    assert (record.message, vars(record)["part"]) == ("not checked before the start", part)
    assert vars(record)["cause"] == "AccessDeniedException"
    assert dynamodb.requested == [*KEYS, "leases"]


def test_after_a_request_without_an_answer_no_other_is_made(caplog: pytest.LogCaptureFixture) -> None:
    dynamodb = Dynamo(limits=failing(EndpointConnectionError(endpoint_url="https://dynamodb")))
    with caplog.at_level(logging.WARNING):
        assert examined(dynamodb) == []
    assert [vars(record)["cause"] for record in caplog.records] == ["EndpointConnectionError"]
    assert dynamodb.requested == ["limits"]


def test_problems_found_before_an_outage_are_reported() -> None:
    silent = failing(EndpointConnectionError(endpoint_url="https://dynamodb"))
    assert len(examined(Dynamo(limits=lambda: table("userId"), app=silent))) == 1


def test_clients_that_cannot_be_created_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        preflight.examine(settings(), failing(ProfileNotFound(profile="p")))
    assert [vars(record)["cause"] for record in caplog.records] == ["ProfileNotFound"]
