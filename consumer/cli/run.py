"""`consumer run` and `consumer process`: the service and its record processors."""

import os

import typer

from consumer.monitoring import logs
from consumer.settings import Settings, load


def process() -> None:
    """Run the record processor of one shard. The daemon starts it; it waits for the daemon's messages on stdin."""
    # __main__ handles `consumer process` before this module is imported. This function provides its --help.


def run() -> None:
    """Run the service: the daemon, one record processor per shard, metrics and health checks.

    Shuts down gracefully on SIGTERM.
    """
    from consumer.admin.clients import clients
    from consumer.supervisor import start

    settings = load(Settings)
    logs.configure(settings.log_level)
    raise typer.Exit(start.run(settings, os.environ, clients=clients(settings)))
