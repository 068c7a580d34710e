"""`consumer repair`: rebuilds one limit from the archive as if an event had not been."""

from typing import Annotated

import typer

from consumer import bootstrap, limit_readers
from consumer.cli import tables
from consumer.cli.errors import confirm, fail
from consumer.cli.parameters import LimitId, UserId
from consumer.engine.repository import Unreadable, Versioned
from consumer.limits.history import HistoryReader
from consumer.limits.repairing import Repair
from consumer.limits.state import LimitState
from consumer.limits.view import view
from consumer.monitoring import logs
from consumer.settings import HistorySettings, load

ADVICE = (
    "repaired. Running workers notice it. If the event is delivered again, by a replay of the stream or of the"
    " quarantine or by a rebuild from the archive, it takes effect again."
)


def repair(
    user_id: UserId,
    limit_id: LimitId,
    without: Annotated[str, typer.Option(metavar="EVENT_ID", help="The untrue event.")],
    yes: Annotated[bool, typer.Option("--yes", help="Write without confirmation.")] = False,
) -> None:
    """Rebuild one limit from the archive as if an event had not been. Shows both states; a log line records who did it.

    Exit code 1: the limit or the event does not exist, the archive does not explain the limit, the limit has changed
    since it was shown, or the answer was no.
    """
    from consumer.admin.repair import carry_out

    settings = load(HistorySettings)
    logs.configure(settings.log_level)
    limits = limit_readers.user_limits(settings)
    found = _found(limits.load([(user_id, limit_id)]).get((user_id, limit_id)), settings.table_name)
    planned = _planned(limit_readers.histories(settings), found, without)
    _show(planned)
    if planned.after == planned.before:
        print("the event has no effect on the limit: nothing is written")
        return
    confirm("Replace this limit?", yes=yes, to="write", done="written")
    if not carry_out(limits, settings.table_name, found, planned, without):
        fail("the limit has changed since it was shown: nothing is written; run the command again")
    print(ADVICE)


def _found(stored: Versioned[LimitState] | Unreadable | None, table: str) -> Versioned[LimitState]:
    if stored is None:
        fail(f"this limit is not stored in {table}: there is nothing to repair")
    if isinstance(stored, Unreadable):
        fail(f"the limit cannot be read: {stored.detail}: use consumer limits forget, and rebuild it")
    return stored


def _planned(reader: HistoryReader, found: Versioned[LimitState], event_id: str) -> Repair:
    from consumer.limits.repairing import repair

    history = reader.of_user(found.state.user_id)
    if history.unreadable:
        fail(f"the archive cannot be read completely: {history.unreadable[0]}: nothing is written")
    steps = history.of_limit(found.state.user_limit_id)
    planned = repair(reader.limits, found.state, steps, event_id, reader.record_cap)
    if not planned.is_known:
        fail(f"no event {event_id} of this limit is in the archive or in the limit: consumer history lists them")
    if planned.unexplained:
        fail(
            f"the archive does not explain {', '.join(planned.unexplained)} of the limit, which would be lost: nothing"
            " is written. The last events may not be archived yet: try again in some minutes; otherwise use consumer"
            " limits forget"
        )
    return planned


def _show(planned: Repair) -> None:
    from consumer.cli.history_tables import compared_table

    now = bootstrap.now_millis()
    after = None if planned.after is None else view(planned.after, now)
    console = tables.console()
    console.print(compared_table(("now", "without the event"), view(planned.before, now), after))
    if after is None:
        console.print("Nothing else is archived of this limit: it is deleted.")
