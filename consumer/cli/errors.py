"""Error messages and questions of the command line."""

import sys
from typing import NoReturn

import typer


def report(*problems: str) -> None:
    """Prints each problem as one line on stderr."""
    sys.stderr.writelines(f"consumer: {problem}\n" for problem in problems)


def fail(problem: str, code: int = 1) -> NoReturn:
    report(problem)
    raise typer.Exit(code)


def confirm(question: str, *, yes: bool, to: str, done: str) -> None:
    """Asks, unless `yes`. Exits if the answer is no, or if nobody can be asked. `to`, `done`: delete, deleted."""
    if yes:
        return
    if not sys.stdin.isatty():
        fail(f"there is no terminal for the confirmation: use --yes to {to} without it", 2)
    if not typer.confirm(question, err=True):
        fail(f"nothing is {done}")
