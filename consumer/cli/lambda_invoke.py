"""`consumer lambda-invoke`: runs the Lambda handler on this machine."""

import json
from typing import Annotated

import typer

from consumer.admin.files import read_contents
from consumer.cli.errors import report
from consumer.engine.errors import BreakerOpen, SettingsError
from consumer.monitoring import logs
from consumer.settings import InvokeSettings, load

FILE_HELP = "As for `apply`, or what an event source mapping sent to its failure destination."


def lambda_invoke(file: Annotated[str, typer.Argument(metavar="FILE", help=FILE_HELP)]) -> None:
    """Run the Lambda handler here, on a file of events or on a captured Lambda event, and print its response."""
    from consumer.aws_lambda.handler import MalformedInvocation

    settings = load(InvokeSettings)
    logs.configure(settings.log_level)
    try:
        complete = _invoke(settings, file)
    except MalformedInvocation as malformed:
        raise SettingsError([f"{file}: {malformed}"]) from None
    except BreakerOpen as stop:
        report(str(stop))
        raise typer.Exit(1) from None
    raise typer.Exit(not complete)


def _invoke(settings: InvokeSettings, file: str) -> bool:
    """Prints each response when it is there. Returns whether every record is settled."""
    from consumer.admin.invoke import invoke

    complete = True
    for invoked in invoke(settings, read_contents(file), file):
        print(json.dumps(invoked.answer))
        complete &= invoked.complete
        if invoked.missing:
            report(invoked.missing)
    return complete
