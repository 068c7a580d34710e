"""`consumer limits`: shows the stored limits of a user, and deletes a limit that cannot be repaired in another way.

`consumer limits USER_ID` is short for `consumer limits show USER_ID`. A user whose id is the name of a command needs
the long form.
"""

import json
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from consumer import bootstrap, limit_readers
from consumer.cli import tables
from consumer.cli.errors import confirm, fail, report
from consumer.cli.parameters import Json, LimitId, UserId
from consumer.engine.repository import Stored, Unreadable
from consumer.limits.state import LimitState
from consumer.limits.view import view
from consumer.monitoring import logs
from consumer.settings import LimitSettings, load


class ShowByDefault(TyperGroup):
    """Runs `show` if the first argument is not a command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        known = {*self.commands, *ctx.help_option_names}
        return super().parse_args(ctx, args if args and args[0] in known else ["show", *args])


app = typer.Typer(cls=ShowByDefault, help="The limits of a user: `consumer limits USER_ID` shows them.")


@app.command()
def show(user_id: UserId, as_json: Json = False) -> None:
    """Show the limits of a user as they are stored now. Exit code 1: a limit cannot be read."""
    found = limit_readers.user_limits(load(LimitSettings)).for_user(user_id)
    if as_json:
        print(json.dumps([limit.to_json() for limit in found.limits]))
    elif found.limits:
        tables.console().print(tables.limits_table(found.limits))
    elif not found.unreadable:
        print("no limits are stored for this user")
    report(*(f"the limit {json.dumps(row.key[1])} cannot be read: {row.detail}" for row in found.unreadable))
    raise typer.Exit(bool(found.unreadable))


@app.command()
def forget(
    user_id: UserId,
    limit_id: LimitId,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without confirmation.")] = False,
) -> None:
    """Show one limit and delete it, so that it can be rebuilt from its events. A log line on stderr records who did it.

    Exit code 1: the limit does not exist, it has changed since it was shown, or the answer was no.
    """
    from consumer.admin import forget_limit

    settings = load(LimitSettings)
    logs.configure(settings.log_level)
    limits, key = limit_readers.user_limits(settings), (user_id, limit_id)
    found = limits.load([key]).get(key)
    if found is None:
        fail(f"no limit {limit_id} of the user {user_id} is stored in {settings.table_name}", 1)
    _show(found)
    confirm("Delete this limit?", yes=yes, to="delete", done="deleted")
    if not forget_limit.forget(limits, settings.table_name, key, found):
        fail("the limit has changed since it was shown: nothing is deleted; run the command again", 1)
    print("deleted. Quarantined records of this limit can be replayed now: consumer quarantine replay")


def _show(found: Stored[LimitState]) -> None:
    if isinstance(found, Unreadable):
        print(f"the limit cannot be read: {found.detail}")
    else:
        tables.console().print(tables.limits_table([view(found.state, bootstrap.now_millis())]))
