"""`consumer run` and `consumer process`: the service and its record processors."""

import os
from functools import partial
from typing import TYPE_CHECKING

import typer

from consumer import bootstrap
from consumer.monitoring import logs
from consumer.settings import Settings, load
from consumer.stores.aws import SHORT_TIMEOUTS

if TYPE_CHECKING:
    from consumer.leases.origin import Application


def process() -> None:
    """Run the record processor of one shard. The daemon starts it; it waits for the daemon's messages on stdin."""
    # __main__ handles `consumer process` before this module is imported. This function provides its --help.


def run() -> None:
    """Run the service: the daemon, one record processor per shard, metrics and health checks.

    Shuts down gracefully on SIGTERM.
    """
    from consumer.access.checks import Clients
    from consumer.supervisor import start

    settings = load(Settings)
    logs.configure(settings.log_level)
    clients = Clients(partial(_application, settings), partial(bootstrap.client, settings, "s3", SHORT_TIMEOUTS))
    raise typer.Exit(start.run(settings, os.environ, clients=clients))


def _application(settings: Settings) -> "Application":
    """The leases and the stream, with clients that make one short attempt per request."""
    from consumer.leases.origin import Application

    kinesis, dynamodb = (bootstrap.client(settings, service, SHORT_TIMEOUTS) for service in ("kinesis", "dynamodb"))
    return Application(settings.application_name, settings.stream_name, kinesis, dynamodb)
