"""The client configuration that the AWS stores share, and one exception for all failures of a request."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from botocore.config import Config
from botocore.credentials import DeferredRefreshableCredentials
from botocore.exceptions import BotoCoreError, ClientError

from consumer.engine.errors import Unavailable

CLIENT = Config(  # type: ignore[call-arg] # the stubs do not know ignore_configured_endpoint_urls
    connect_timeout=3,
    read_timeout=10,
    retries={"mode": "standard", "total_max_attempts": 2},
    tcp_keepalive=True,
    max_pool_connections=16,
    ignore_configured_endpoint_urls=True,
)
"""Short timeouts and few attempts, because the processor retries and knows when to stop.

Endpoints from the environment and from profiles are ignored: only those that settings.py has validated are used.
"""

SHORT_TIMEOUTS = CLIENT.merge(
    Config(connect_timeout=1, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 1})
)
"""For callers that must respond within seconds."""


@dataclass(frozen=True, slots=True)
class RoleCredentials:
    """What botocore resolves credentials with: those of a role, renewed before they expire.

    sts           a client of STS, with the credentials that may assume the role
    session_name  who the log of the role's account says it is
    """

    sts: Any
    role_arn: str
    session_name: str

    def load_credentials(self) -> DeferredRefreshableCredentials:
        return DeferredRefreshableCredentials(self._renewed, "assume-role")

    def _renewed(self) -> dict[str, str]:
        found = self.sts.assume_role(RoleArn=self.role_arn, RoleSessionName=self.session_name)["Credentials"]
        return {
            "access_key": found["AccessKeyId"],
            "secret_key": found["SecretAccessKey"],
            "token": found["SessionToken"],
            "expiry_time": found["Expiration"].isoformat(),
        }


@contextmanager
def unavailable(what: str) -> Iterator[None]:
    """Converts errors of boto3 to Unavailable. A failed request is never the fault of a record, so it is retried."""
    try:
        yield
    except ClientError as error:
        raise Unavailable(f"{what}: {error.response.get('Error', {}).get('Code', 'unknown error')}") from error
    except BotoCoreError as error:
        raise Unavailable(f"{what}: {type(error).__name__}") from error
