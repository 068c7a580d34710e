"""`consumer notices`: sends the notices of a captured event, or prints them."""

import json
from typing import Annotated

import typer

from consumer.admin.files import read_contents
from consumer.engine.errors import SettingsError
from consumer.monitoring import logs
from consumer.settings import NoticeSettings, load

FILE_HELP = (
    "An event of the limits table's stream, or what its mapping sent to the failure bucket; - reads standard input."
)


def notices(
    *,
    once: Annotated[str, typer.Option("--once", metavar="FILE", help=FILE_HELP)],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the notices as JSON lines and send none.")] = False,
) -> None:
    """Send the notices of a captured event: which limits have reached a threshold."""
    from consumer.aws_lambda.handler import MalformedInvocation

    settings = load(NoticeSettings)
    logs.configure(settings.log_level)
    try:
        complete = _print(settings, once) if dry_run else _send(settings, once)
    except MalformedInvocation as malformed:
        raise SettingsError([f"{once}: {malformed}"]) from None
    raise typer.Exit(not complete)


def _print(settings: NoticeSettings, file: str) -> bool:
    from consumer.admin.notices import computed

    for message in computed(settings, read_contents(file)):
        print(json.dumps(message.content))
    return True


def _send(settings: NoticeSettings, file: str) -> bool:
    """Prints each response when it is there. Returns whether every notice was sent."""
    from consumer.admin.notices import send

    complete = True
    for answer in send(settings, read_contents(file)):
        print(json.dumps(answer))
        complete &= not answer["batchItemFailures"]
    return complete
