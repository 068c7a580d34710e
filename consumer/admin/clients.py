"""The clients of AWS with which `consumer run` and `consumer doctor` check what the service needs."""

from functools import partial

from consumer import bootstrap
from consumer.access.checks import Clients
from consumer.leases.origin import Application
from consumer.settings import Settings
from consumer.stores.aws import SHORT_TIMEOUTS


def clients(settings: Settings) -> Clients:
    """Clients that make one short attempt per request; each is created once, when it is first needed."""
    return Clients(partial(_application, settings), partial(bootstrap.client, settings, "s3", SHORT_TIMEOUTS)).cached()


def _application(settings: Settings) -> Application:
    kinesis = bootstrap.stream_client(settings, SHORT_TIMEOUTS)
    dynamodb = bootstrap.client(settings, "dynamodb", SHORT_TIMEOUTS)
    return Application(settings.application_name, settings.stream_name, kinesis, dynamodb)
