"""What the AWS stores share: one word for every way in which a call can fail."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.config import Config
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
"""Short tries: waiting and trying again is the processor's business, which knows when to stop. And no endpoint but
those that settings.py has checked: boto3 would look for more in the environment and in profiles."""

IMPATIENT = CLIENT.merge(
    Config(connect_timeout=1, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 1})
)
"""For callers whose own time is short."""


@contextmanager
def unavailable(what: str) -> Iterator[None]:
    """Turns boto3's errors into Unavailable: whatever AWS answers, no record is to blame for it."""
    try:
        yield
    except ClientError as error:
        raise Unavailable(f"{what}: {error.response.get('Error', {}).get('Code', 'unknown error')}") from error
    except BotoCoreError as error:
        raise Unavailable(f"{what}: {type(error).__name__}") from error
