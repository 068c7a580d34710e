"""Arguments and options that several commands share."""

import os
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from consumer.limits.events import Id
from consumer.settings import moment_of

_ID = TypeAdapter(Id)
MOST_KEY_BYTES = 2_048
"""Of a partition key in DynamoDB."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def checked_id(value: str) -> str:
    """An id in the form that events have (docs/reference/events.md). Raises BadParameter, a usage error."""
    try:
        return _ID.validate_python(value)
    except ValidationError:
        raise typer.BadParameter("1 to 128 characters, none of them a control character") from None


def checked_key(value: str | None) -> str | None:
    """A part of a key. Raises BadParameter for one that no table has."""
    if value is not None and not 1 <= len(value.encode("utf-8", "surrogatepass")) <= MOST_KEY_BYTES:
        raise typer.BadParameter(f"1 to {MOST_KEY_BYTES:,} bytes")
    return value


def millis(moment: datetime) -> int:
    """Epoch milliseconds."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def checked_moment(value: str | None) -> datetime | None:
    """A time, or one that lies the given time before now. Raises BadParameter."""
    if value is None:
        return None
    ago = re.fullmatch(r"([0-9]{1,6})([mhd])", value)
    moment = datetime.now(UTC) - _UNITS[ago[2]] * int(ago[1]) if ago else moment_of(value)
    if moment is None:
        raise typer.BadParameter(
            "use a time such as 2026-01-31T00:00:00Z, or how long ago it was, such as 90m, 36h, 7d"
        )
    return moment


_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}

Since = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Only what arrived since then: 2026-01-31T00:00:00Z, or 36h for 36 hours ago."),
]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Only what arrived before then.")]
Processes = Annotated[
    int | None, typer.Option(metavar="N", help="Number of processes; one per core without it.", min=1, max=256)
]


def cores() -> int:
    """How many processes can compute at the same time."""
    return len(os.sched_getaffinity(0))


Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
UserId = Annotated[str, typer.Argument(metavar="USER_ID", callback=checked_id)]
LimitId = Annotated[str, typer.Argument(metavar="LIMIT_ID", callback=checked_id)]
AnyLimitId = Annotated[
    str | None, typer.Argument(metavar="LIMIT_ID", callback=lambda value: None if value is None else checked_id(value))
]
PartitionKey = Annotated[str, typer.Argument(metavar="KEY", callback=checked_key, help="For limits, a user.")]
SortKey = Annotated[
    str | None, typer.Argument(metavar="SORT_KEY", callback=checked_key, help="For limits, the id of one.")
]
FILE_HELP = "One event, a JSON array of events, one event per line, or a captured Lambda event; - reads standard input."
