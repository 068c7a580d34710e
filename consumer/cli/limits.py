"""`consumer limits`: show what is stored of a user, and delete one limit that cannot be repaired otherwise.

`consumer limits USER_ID` is `consumer limits show USER_ID`: of a user called as a command is, `show` has to be written.
"""

import getpass
import json
import logging
import os
import socket
import sys
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from consumer import bootstrap
from consumer.cli import tables
from consumer.cli.parameters import LimitId, UserId
from consumer.engine.projection import Key
from consumer.engine.repository import Stored, Unreadable
from consumer.limits.state import LimitState
from consumer.limits.view import view
from consumer.monitoring import logs
from consumer.settings import AwsSettings, load

log = logging.getLogger(__name__)


class ShowByDefault(TyperGroup):
    """Whatever is no command is the user of `show`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        known = {*self.commands, *ctx.help_option_names}
        return super().parse_args(ctx, args if args and args[0] in known else ["show", *args])


app = typer.Typer(cls=ShowByDefault, help="The limits of a user: `consumer limits USER_ID` shows them.")


@app.command()
def show(
    user_id: UserId, as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False
) -> None:
    """Show the limits of a user, as they are stored now. Exit code 1: one of them cannot be read."""
    found = bootstrap.user_limits(load(AwsSettings)).for_user(user_id)
    if as_json:
        print(json.dumps([limit.to_json() for limit in found.limits]))
    elif found.limits:
        tables.console().print(tables.limits_table(found.limits))
    elif not found.unreadable:
        print("no limits are stored for this user")
    for row in found.unreadable:
        _complain(f"the limit {json.dumps(row.key[1])} cannot be read: {row.detail}")
    raise typer.Exit(bool(found.unreadable))


@app.command()
def forget(
    user_id: UserId,
    limit_id: LimitId,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
) -> None:
    """Show one limit and delete it, so that it can be built again from its events. A line on stderr tells who did it.

    Exit code 1: it is not there, it has changed since it was shown, or the answer was no.
    """
    settings = load(AwsSettings)
    logs.configure(settings.log_level)
    limits, key = bootstrap.user_limits(settings), (user_id, limit_id)
    found = limits.load([key]).get(key)
    if found is None:
        _give_up(f"no limit {limit_id} of the user {user_id} is stored in {settings.table_name}", 1)
    _show(found)
    _confirm(yes=yes)
    if not limits.forget(key, found):
        _give_up("the limit has changed since it was shown: nothing is deleted; run the command again", 1)
    log.warning("limit forgotten", extra=_audit(settings.table_name, key, found))
    print("deleted. Records of it that are in the quarantine can be replayed now: consumer quarantine replay")


def _show(found: Stored[LimitState]) -> None:
    if isinstance(found, Unreadable):
        print(f"the limit cannot be read: {found.detail}")
    else:
        tables.console().print(tables.limits_table([view(found.state, bootstrap.now_millis())]))


def _confirm(*, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        _give_up("there is no terminal to ask at: --yes deletes without asking", 2)
    if not typer.confirm("Delete this limit?", err=True):
        _give_up("nothing is deleted", 1)


def _audit(table: str, key: Key, found: Stored[LimitState]) -> dict[str, object]:
    """Who, where and what: the one line that names a user, as a deletion must be accounted for."""
    return {
        "user": _who(),
        "host": socket.gethostname(),
        "table": table,
        "user_id": key[0],
        "user_limit_id": key[1],
        "version": found.version,
    }


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # a container's user may have no name
        return str(os.getuid())


def _give_up(problem: str, code: int) -> NoReturn:
    _complain(problem)
    raise typer.Exit(code)


def _complain(problem: str) -> None:
    sys.stderr.write(f"consumer: {problem}\n")
