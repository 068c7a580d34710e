"""Arguments and options that several commands share."""

from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from consumer.limits.events import Id

_ID = TypeAdapter(Id)


def checked_id(value: str) -> str:
    """An id in the form that events have (docs/reference/events.md). Raises BadParameter, a usage error."""
    try:
        return _ID.validate_python(value)
    except ValidationError:
        raise typer.BadParameter("1 to 128 characters, none of them a control character") from None


Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
UserId = Annotated[str, typer.Argument(metavar="USER_ID", callback=checked_id)]
LimitId = Annotated[str, typer.Argument(metavar="LIMIT_ID", callback=checked_id)]
FILE_HELP = "One event, a JSON array of events, one event per line, or a captured Lambda event; - reads standard input."
