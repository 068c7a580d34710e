"""The advice on an AWS error fits its cause."""

import pytest
from botocore import exceptions
from botocore.exceptions import BotoCoreError, ClientError

from consumer.access.advice import advise

ALLOW = "allow dynamodb:Scan on table t to the role that runs this"


def refused(code: str, operation: str = "Scan") -> ClientError:
    return ClientError({"Error": {"Code": code}}, operation)


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (refused("AccessDeniedException"), ALLOW),
        (refused("AccessDenied"), ALLOW),
        (refused("403"), ALLOW),
        (refused("AccessDenied", "AssumeRole"), "allow sts:AssumeRole on CONSUMER_STREAM_ROLE_ARN"),
        (refused("ResourceNotFoundException"), "make it"),
        (refused("NoSuchBucket"), "make it"),
        (refused("ExpiredTokenException"), "renew the credentials"),
        (refused("ExpiredToken"), "renew the credentials"),
        (refused("UnrecognizedClientException"), "check the access key, AWS_REGION and the clock"),
        (refused("InvalidSignatureException"), "check the access key, AWS_REGION and the clock"),
        (refused("PermanentRedirect"), "set AWS_REGION"),
        (refused("ThrottlingException"), "try again later"),
        (refused("SlowDown"), "try again later"),
        (refused("InternalServerError"), "try again later"),
        (refused("ValidationException"), "see the message, the response of AWS to dynamodb:Scan on table t"),
        (exceptions.NoCredentialsError(), "give boto3 credentials"),
        (exceptions.ProfileNotFound(profile="p"), "give boto3 credentials"),
        (exceptions.EndpointConnectionError(endpoint_url="https://x"), "check AWS_REGION, the AWS_ENDPOINT_URL"),
        (exceptions.ConnectTimeoutError(endpoint_url="https://x"), "check AWS_REGION, the AWS_ENDPOINT_URL"),
        (exceptions.ReadTimeoutError(endpoint_url="https://x"), "check AWS_REGION, the AWS_ENDPOINT_URL"),
        (exceptions.ConnectionClosedError(endpoint_url="https://x"), "check AWS_REGION, the AWS_ENDPOINT_URL"),
        (exceptions.SSLError(endpoint_url="https://x", error=OSError("e")), "check AWS_REGION, the AWS_ENDPOINT_URL"),
    ],
)
def test_the_advice_fits_the_cause(error: ClientError | BotoCoreError, advice: str) -> None:
    assert advise(error, resource="table t", missing="make it").startswith(advice)
