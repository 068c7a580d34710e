"""Parameters that several commands take."""

from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from consumer.limits.events import Id

_ID = TypeAdapter(Id)


def an_id(value: str) -> str:
    """An id as events have it (docs/reference/events.md). Raises BadParameter, a usage error."""
    try:
        return _ID.validate_python(value)
    except ValidationError:
        raise typer.BadParameter("1 to 128 characters, none of them a control character") from None


UserId = Annotated[str, typer.Argument(metavar="USER_ID", callback=an_id)]
LimitId = Annotated[str, typer.Argument(metavar="LIMIT_ID", callback=an_id)]
