"""The options with which `consumer quarantine` selects records."""

from collections.abc import Collection
from typing import Annotated

import typer

from consumer.admin.selection import Selection
from consumer.settings import moment_of


def _millis(text: str) -> int:
    """Epoch milliseconds. Raises BadParameter, a usage error."""
    found = moment_of(text)
    if found is None:
        raise typer.BadParameter("use a time such as 2026-01-31T00:00:00Z; epoch seconds have ten digits")
    return round(found.timestamp() * 1_000)


OptionalPosition = Annotated[
    str | None, typer.Argument(metavar="POSITION", help="As `list` prints it. Without it, the options select.")
]
Reasons = Annotated[
    list[str] | None, typer.Option("--reason", metavar="REASON", help="Records with this reason; may be repeated.")
]
Types = Annotated[
    list[str] | None,
    typer.Option("--type", metavar="TYPE", help="Events of this type, UNREADABLE if unknown; may be repeated."),
]
Shards = Annotated[
    list[str] | None, typer.Option("--shard", metavar="SHARD", help="Records of this shard; may be repeated.")
]
Since = Annotated[
    int | None, typer.Option(metavar="TIME", parser=_millis, help="Records that arrived at the stream then or later.")
]
Until = Annotated[
    int | None, typer.Option(metavar="TIME", parser=_millis, help="Records that arrived at the stream before then.")
]
Limit = Annotated[int | None, typer.Option(metavar="N", min=1, help="At most N records of the quarantine.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Change nothing, and print what would be done.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]


def selection(
    reasons: Collection[str] | None,
    types: Collection[str] | None,
    shards: Collection[str] | None,
    period: tuple[int | None, int | None],
    limit: int | None,
) -> Selection:
    since, until = period
    return Selection(_upper(reasons), _upper(types), frozenset(shards or ()), since, until, limit)


def _upper(names: Collection[str] | None) -> frozenset[str]:
    """Reasons and types are in capitals."""
    return frozenset(name.upper() for name in names or ())
