"""`consumer doctor`: checks the environment of the service, or the running worker."""

import json
import os
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from consumer.cli import tables
from consumer.cli.parameters import Json
from consumer.settings import Settings, load

if TYPE_CHECKING:
    from consumer.admin.doctor import Finding


def doctor(
    as_json: Json = False,
    live: Annotated[bool, typer.Option("--live", help="Only check that the running worker is healthy.")] = False,
) -> None:
    """Check what the service needs: Java, jars, timeouts, credentials, stream, tables, leases, quarantine."""
    raise typer.Exit(not (_probe(as_json=as_json) if live else _examine(as_json=as_json)))


def _probe(*, as_json: bool) -> bool:
    from consumer.cli.probe import probe

    health = probe(os.environ)
    print(health.to_json() if as_json else health)
    return health.ok


def _examine(*, as_json: bool) -> bool:
    from consumer.admin.doctor import examine

    findings = list(examine(load(Settings), os.environ))
    if as_json:
        print(json.dumps([finding.to_json() for finding in findings]))
    else:
        for finding in findings:
            tables.console().print(_line(finding), soft_wrap=True)
    return all(finding.ok for finding in findings)


def _line(finding: "Finding") -> Text:
    return (Text("ok   ", "green") if finding.ok else Text("FAIL ", "bold red")) + str(finding)
