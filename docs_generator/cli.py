"""docs/reference/cli.md, from the commands themselves: what `consumer COMMAND --help` says."""

import re
from collections.abc import Iterator

import typer
from typer.core import TyperCommand, TyperGroup

from consumer.cli import main

OPENING = """\
# Command line

<!-- Generated from the commands of consumer/cli by `make docs`. Do not edit. -->

`consumer COMMAND --help` shows the same text. Settings come from the environment ([Settings](settings.md)). Commands
print results on stdout and errors on stderr, one line per error.

{exit_codes}
"""


def page() -> str:
    """The text of the page."""
    (exit_codes,) = re.findall(r"Exit codes: [^\n]+(?:\n(?!\n)[^\n]+)*", main.__doc__ or "")
    return "\n".join([OPENING.format(exit_codes=exit_codes.strip()), *_sections()]).rstrip("\n") + "\n"


def _sections() -> Iterator[str]:
    group = typer.main.get_command(main.app)
    return _of(group, typer.Context(group, info_name="consumer"))


def _of(command: object, context: typer.Context) -> Iterator[str]:
    """A section for each command, a group's in the order of `--help`."""
    if isinstance(command, TyperCommand):
        yield _section(command, context)
    elif isinstance(command, TyperGroup):
        for name in command.list_commands(context):
            below = command.commands[name]
            yield from _of(below, typer.Context(below, info_name=name, parent=context))


def _section(command: TyperCommand, context: typer.Context) -> str:
    usage = command.get_usage(context).removeprefix("Usage: ").strip()
    parts = [f"## {context.command_path}", f"```text\n{usage}\n```", *_paragraphs(command.help)]
    records = [param.get_help_record(context) for param in command.get_params(context) if param.name != "help"]
    rows = [f"| `{_without_type(name)}` | {_cell(text)} |" for name, text in filter(None, records)]
    if rows:
        parts.append("\n".join(["| argument or option | meaning |", "|---|---|", *rows]))
    return "\n\n".join([*parts, *_paragraphs(command.epilog)]) + "\n"


def _paragraphs(text: str | None) -> Iterator[str]:
    """Paragraphs as Markdown; what the command line shows line by line (after `\\b`, or commands) as code."""
    for paragraph in re.split(r"\n\s*\n", text or ""):
        lines = paragraph.strip("\n").removeprefix("\b").strip("\n")
        shown = paragraph.lstrip().startswith("\b") or re.fullmatch(r"(\s*(\$ |consumer )[^\n]*\n?)+", lines)
        if lines:
            yield f"```text\n{lines}\n```" if shown else " ".join(lines.split())


def _without_type(name: str) -> str:
    return re.sub(r" <.*>$", "", name)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
