"""The command line. Exit codes: 0 success, 1 failure, 2 usage or configuration error, 130 interrupted.

This module registers the commands and turns exceptions into exit codes. Each command imports what only it needs when
it runs, so that no command waits for the imports of another.
"""

import os
import sys
from typing import Annotated, NoReturn

import typer

from consumer.cli import (
    apply,
    archive,
    doctor,
    help_pages,
    history,
    lambda_invoke,
    limits,
    notices,
    properties,
    provision,
    put,
    quarantine,
    rebuild,
    repair,
    rewind,
    run,
    serve,
    show,
    status,
    verify,
)
from consumer.cli.errors import report
from consumer.engine.errors import SettingsError, Unavailable

app = typer.Typer(
    name="consumer",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(hidden=True)(run.process)
app.command()(run.run)
app.command()(provision.provision)
app.command()(properties.properties)
app.command()(doctor.doctor)
app.command()(status.status)
app.command()(rewind.rewind)
app.command()(put.put)
app.command()(apply.apply)
app.command()(lambda_invoke.lambda_invoke)
app.command()(rebuild.rebuild)
app.command()(verify.verify)
app.command()(notices.notices)
app.command()(serve.serve)
app.command()(show.show)
app.command()(history.history)
app.command()(repair.repair)
app.add_typer(archive.app, name="archive")
app.add_typer(limits.app, name="limits")
app.add_typer(quarantine.app, name="quarantine")


def _print_version(wanted: bool) -> None:
    if wanted:
        from consumer.daemon import jars

        print(jars.versions())
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the versions and exit.")
    ] = False,
) -> None:
    """Keeps gamblers' spending limits up to date from a Kinesis stream. Settings come from the environment."""


def main() -> None:
    """The `consumer` command."""
    try:
        try:
            help_pages.with_pages(typer.main.get_command(app))(prog_name="consumer")
        finally:
            if sys.stdout:  # None if it was closed before the start
                sys.stdout.flush()
    except SettingsError as wrong:
        _fail(2, wrong.problems)
    except Unavailable as fault:
        _fail(1, [str(fault)])
    except BrokenPipeError:
        _fail(1, [])
    except OSError as error:
        _fail(1, [str(error)])


def _fail(code: int, problems: list[str]) -> NoReturn:
    report(*problems)
    # At exit Python writes what is left in the buffer of stdout again. If that fails too, it prints a traceback.
    if sys.stdout:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)
