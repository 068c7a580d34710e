"""No test reaches an AWS account by accident."""

from collections.abc import Mapping

import pytest

from tests.support.emulators.place import Place, PlaceError, chosen

REAL = {"AWS_PROFILE": "production", "AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL": "https://kinesis.eu-west-1.api.aws"}


def test_aws_variables_are_ignored_by_default() -> None:
    assert chosen(REAL) == Place()
    assert chosen({**REAL, "CONSUMER_TEST_AWS": ""}) == Place()


@pytest.mark.parametrize("kind", ["ministack", "localstack", "kinesis-mock"])
def test_an_emulator_may_already_be_running(kind: str) -> None:
    named = {"AWS_ENDPOINT_URL_KINESIS": "http://127.0.0.1:4566"}
    assert chosen({"CONSUMER_TEST_AWS": kind, **named, "AWS_ENDPOINT_URL_DYNAMODB": ""}) == Place(kind, named)


def test_an_account_is_used_if_its_number_is_given() -> None:
    requested = {"CONSUMER_TEST_AWS": "account", "CONSUMER_TEST_ACCOUNT": "111122223333", "AWS_PROFILE": "trial"}
    assert chosen(requested) == Place("account", account="111122223333")


@pytest.mark.parametrize(
    "environ",
    [
        {"CONSUMER_TEST_AWS": "aws"},
        {"CONSUMER_TEST_AWS": "account"},
        {"CONSUMER_TEST_AWS": "account", "CONSUMER_TEST_ACCOUNT": "production"},
        {"CONSUMER_TEST_AWS": "account", "CONSUMER_TEST_ACCOUNT": "111122223333", "AWS_ENDPOINT_URL": "http://[::1]:1"},
        {"CONSUMER_TEST_AWS": "localstack", "AWS_ENDPOINT_URL": "https://kinesis.eu-west-1.amazonaws.com"},
        {
            "CONSUMER_TEST_AWS": "ministack",
            "AWS_ENDPOINT_URL_DYNAMODB": "https://1.ddb.eu-west-1.amazonaws.com.cn:443/",
        },
        {"CONSUMER_TEST_AWS": "localstack", "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:4566"},
    ],
)
def test_contradictory_or_unsafe_variables_are_refused(environ: Mapping[str, str]) -> None:
    with pytest.raises(PlaceError):
        chosen(environ)
