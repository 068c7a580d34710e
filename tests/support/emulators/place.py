"""Where the suites find AWS: in emulators that they start, or where the environment says. Safe by default.

CONSUMER_TEST_AWS selects it:

    ministack      (default) MiniStack for everything
    kinesis-mock   kinesis-mock for the streams, DynamoDB Local for the tables
    localstack     LocalStack for the streams, DynamoDB Local for the tables
    account        AWS itself, with the caller's credentials, in the account that CONSUMER_TEST_ACCOUNT names

If it is not set, all AWS_* variables are ignored. With an emulator's name, AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_KINESIS
and AWS_ENDPOINT_URL_DYNAMODB may name one that is already running; the others are started. Credentials are then always
fictitious, so an emulator's name never leads to an account.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import boto3

from tests.support.emulators.aws import (
    MADE_UP,
    VARIABLE,
    Emulator,
    answers_tables,
    dynamodb_local,
    kinesis_mock,
    localstack,
    ministack,
)

ACCOUNT = "CONSUMER_TEST_ACCOUNT"
ALL, KINESIS, DYNAMODB = "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_KINESIS", "AWS_ENDPOINT_URL_DYNAMODB"
STREAMS: Mapping[str, Callable[[], AbstractContextManager[Emulator]]] = {
    "kinesis-mock": lambda: kinesis_mock({"CREATE_STREAM_DURATION": "100ms"}),
    "localstack": localstack,
}
KINDS = ("ministack", *STREAMS, "account")
OF_AWS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".on.aws")


class PlaceError(Exception):
    """The variables are contradictory, or not safe."""


@dataclass(frozen=True)
class Place:
    """`named`: endpoint variables set by the caller. `account`: the account number for AWS itself, else None."""

    kind: str = "ministack"
    named: Mapping[str, str] = field(default_factory=dict)
    account: str | None = None


def chosen(environ: Mapping[str, str]) -> Place:
    """The place that the environment selects. Raises PlaceError."""
    kind = environ.get(VARIABLE, "")
    if not kind:
        return Place()
    if kind not in KINDS:
        raise PlaceError(f"{VARIABLE}={kind}: use one of {', '.join(KINDS)}")
    named = {name: value for name, value in environ.items() if name.startswith(ALL) and value}
    if kind == "account":
        return _account(environ, named)
    if strange := sorted(named.keys() - {ALL, KINESIS, DYNAMODB}):
        raise PlaceError(f"{', '.join(strange)}: the suites know {ALL}, {KINESIS} and {DYNAMODB}")
    for name, value in named.items():
        if (urlsplit(value).hostname or "").endswith(OF_AWS):
            raise PlaceError(f"{name} is an endpoint of AWS, but {VARIABLE}={kind} selects an emulator")
    return Place(kind, named)


def _account(environ: Mapping[str, str], named: Mapping[str, str]) -> Place:
    number = environ.get(ACCOUNT, "")
    if not (number.isdecimal() and len(number) == 12):
        raise PlaceError(f"{VARIABLE}=account creates, fills and deletes streams and tables: set {ACCOUNT}=<number>")
    if named:
        raise PlaceError(f"{VARIABLE}=account: unset {', '.join(sorted(named))}")
    return Place("account", account=number)


@contextmanager
def opened(place: Place) -> Iterator[Mapping[str, str]]:
    """Yields the endpoint variables for the service. Emulators that are not named run during the block."""
    with ExitStack() as stack:
        yield {**_started(place, stack), **place.named}


def _started(place: Place, stack: ExitStack) -> dict[str, str]:
    if place.kind == "account":
        return {}
    if place.kind == "ministack":
        whole = ALL in place.named or {KINESIS, DYNAMODB} <= place.named.keys()
        return {} if whole else {ALL: stack.enter_context(ministack()).endpoint}
    started = {}
    if not place.named.keys() & {ALL, KINESIS}:
        started[KINESIS] = stack.enter_context(STREAMS[place.kind]()).endpoint
    if DYNAMODB not in place.named and not (ALL in place.named and answers_tables(place.named[ALL])):
        started[DYNAMODB] = stack.enter_context(dynamodb_local()).endpoint
    return started


def identity(place: Place) -> dict[str, str]:
    """The variables with credentials and region for the service. Raises PlaceError for another account."""
    if place.kind != "account":
        return dict(MADE_UP)
    session = boto3.session.Session()
    found = session.get_credentials()
    if found is None or not session.region_name:
        raise PlaceError("no credentials, or no region: set AWS_PROFILE or AWS_ACCESS_KEY_ID, and AWS_REGION")
    if (number := session.client("sts").get_caller_identity()["Account"]) != place.account:
        raise PlaceError(f"the credentials are for account {number}, not for {place.account} ({ACCOUNT})")
    frozen = found.get_frozen_credentials()
    variables = {
        "AWS_ACCESS_KEY_ID": frozen.access_key,
        "AWS_SECRET_ACCESS_KEY": frozen.secret_key,
        "AWS_SESSION_TOKEN": frozen.token or "",
        "AWS_REGION": session.region_name,
        "AWS_DEFAULT_REGION": session.region_name,
    }
    return {name: value for name, value in variables.items() if value}
