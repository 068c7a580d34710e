"""The environment of the Lambda function: its variables, and the table and the bucket that they name."""

from collections import Counter
from collections.abc import Mapping

from consumer.bootstrap import pool
from consumer.stores.s3 import S3Quarantine
from tests.support.emulators.aws import Emulator, session

PREFIX = "quarantined"


def variables(test: str, aws: Emulator) -> dict[str, str]:
    """The variables that Lambda does not set itself. Neither the table nor the bucket exists yet."""
    name = test.removeprefix("test_")[:40].strip("_").replace("_", "-")
    return {
        "AWS_ENDPOINT_URL": aws.endpoint,
        "AWS_TABLE_NAME": f"{name}-limits",
        "CONSUMER_QUARANTINE": f"s3://{name}-quarantine/{PREFIX}",
    }


def make_table(variables: Mapping[str, str]) -> None:
    names = ("userId", "userLimitId")
    dynamodb = session().client("dynamodb", endpoint_url=variables["AWS_ENDPOINT_URL"])
    dynamodb.create_table(
        TableName=variables["AWS_TABLE_NAME"],
        KeySchema=[
            {"AttributeName": names[0], "KeyType": "HASH"},
            {"AttributeName": names[1], "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names],
        BillingMode="PAY_PER_REQUEST",
    )


def make_bucket(variables: Mapping[str, str]) -> None:
    s3 = session().client("s3", endpoint_url=variables["AWS_ENDPOINT_URL"])
    s3.create_bucket(Bucket=_bucket(variables))


def _bucket(variables: Mapping[str, str]) -> str:
    return variables["CONSUMER_QUARANTINE"].removeprefix("s3://").partition("/")[0]


def quarantined(variables: Mapping[str, str], prefix: str = PREFIX) -> Counter[bytes]:
    """The bytes of every record in the quarantine."""
    s3 = session().client("s3", endpoint_url=variables["AWS_ENDPOINT_URL"])
    kept = S3Quarantine(s3, _bucket(variables), prefix, pool())
    return Counter(entry.record.data for entry in kept.entries())
