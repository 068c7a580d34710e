"""`consumer provision`: creates the AWS resources that the service needs."""

import sys
from typing import Annotated

import typer

from consumer import bootstrap
from consumer.settings import Settings, load
from consumer.stores.aws import unavailable


def provision(
    stream: Annotated[int | None, typer.Option(metavar="SHARDS", help="Create the stream too.", min=1)] = None,
    bucket: Annotated[
        bool, typer.Option("--bucket", help="Create the buckets of the quarantine and the archive too.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be created.")] = False,
    forget_leases: Annotated[
        bool,
        typer.Option(
            "--forget-leases", help="Delete all leases and checkpoints first; reading restarts at CONSUMER_START_AT."
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --forget-leases: do not ask for confirmation.")] = False,
) -> None:
    """Create the tables the service needs, and the first leases. Safe to run again: existing resources stay as is."""
    from consumer.admin import provision as provisioning
    from consumer.admin.forget_leases import forget

    settings = load(Settings)
    clients = provisioning.Clients(
        bootstrap.stream_client(settings), bootstrap.client(settings, "dynamodb"), bootstrap.client(settings, "s3")
    )
    with unavailable("provisioning"):
        if forget_leases:
            forget(settings, clients.dynamodb, lambda question: yes or typer.confirm(question, abort=True), print)
        steps = provisioning.plan(clients, provisioning.wanted(settings, shards=stream, buckets=bucket))
        if dry_run:
            sys.stdout.writelines(f"{step}\n" for step in steps)
        else:
            provisioning.apply(steps, print)
