"""The end of each command's help: an example, its exit codes and the settings it requires."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_settings import BaseSettings

from consumer.settings import (
    AwsSettings,
    CoreSettings,
    HistorySettings,
    InvokeSettings,
    LimitSettings,
    NoticeSettings,
    PageSettings,
    RecordSettings,
    Settings,
    variable,
)


@dataclass(frozen=True, slots=True)
class Page:
    """`failure` is the meaning of exit code 1. `settings` is the class that the command loads, if any."""

    example: str
    failure: str
    settings: type[BaseSettings] | None


PAGES: Mapping[str, Page] = {
    "": Page("consumer doctor", "the command failed", None),
    "process": Page("consumer process", "the record processor cannot continue", Settings),
    "run": Page("consumer run", "the daemon keeps failing", Settings),
    "provision": Page("consumer provision --dry-run", "AWS refused a request or did not answer", Settings),
    "properties": Page("consumer properties", "the properties cannot be read", Settings),
    "doctor": Page("consumer doctor", "a check failed", Settings),
    "status": Page("consumer status --watch", "AWS refused a request or did not answer", Settings),
    "rewind": Page(
        "consumer rewind --to 2026-01-31T00:00:00Z --dry-run", "a worker runs, or AWS refused a request", Settings
    ),
    "put": Page("consumer put events.json", "Kinesis did not accept all records", Settings),
    "limits": Page("consumer limits u-anna", "the table, or one of the limits, cannot be read", LimitSettings),
    "limits show": Page(
        "consumer limits show u-anna", "the table, or one of the limits, cannot be read", LimitSettings
    ),
    "limits forget": Page("consumer limits forget u-anna l-loss-week", "the limit was not deleted", LimitSettings),
    "show": Page("consumer show u-anna l-loss-week", "the table, or one of the states, cannot be read", AwsSettings),
    "apply": Page("consumer apply examples/events.json", "the result cannot be written", RecordSettings),
    "lambda-invoke": Page("consumer lambda-invoke object.json", "a record is not settled", InvokeSettings),
    "rebuild": Page(
        "consumer rebuild --from s3://my-archive/limits",
        "a part of a file could not be read, or a store does not answer",
        Settings,
    ),
    "verify": Page(
        "consumer verify --since 36h",
        "a limit differs, a part of the archive could not be read, or a store does not answer",
        Settings,
    ),
    "notices": Page("consumer notices --once event.json", "a notice was not sent", NoticeSettings),
    "serve": Page("consumer serve", "a second signal ended it while requests were under way", PageSettings),
    "history": Page("consumer history u-anna l-loss-week", "a part of the archive cannot be read", HistorySettings),
    "repair": Page("consumer repair u-anna l-loss-week --without e-4711", "the limit was not changed", HistorySettings),
    "archive": Page("consumer archive index", "an object of the archive cannot be read", HistorySettings),
    "archive index": Page(
        "consumer archive index --since 2026-01-31T00:00:00Z",
        "an object of the archive cannot be read",
        HistorySettings,
    ),
    "quarantine": Page("consumer quarantine list", "the command failed", CoreSettings),
    "quarantine list": Page(
        "consumer quarantine list --reason SCHEMA --since 2026-01-31T00:00:00Z",
        "the quarantine cannot be read",
        CoreSettings,
    ),
    "quarantine show": Page(
        "consumer quarantine show events/shardId-000000000000/17", "the quarantine cannot be read", CoreSettings
    ),
    "quarantine replay": Page("consumer quarantine replay", "records are left in the quarantine", CoreSettings),
    "quarantine drop": Page(
        "consumer quarantine drop events/shardId-000000000000/17",
        "the quarantine cannot be changed, or records are left",
        CoreSettings,
    ),
    "quarantine export": Page(
        "consumer quarantine export --reason SCHEMA --to refused.jsonl", "the quarantine cannot be read", CoreSettings
    ),
}
"""By command name. A command without a page fails tests/unit/cli/test_help_pages.py."""


def with_pages(root: Any) -> Any:
    """Adds its page to the help of each command of `root`, typer's command line."""
    for name, command in commands(root):
        if name in PAGES:
            # typer joins lines that no blank line separates
            command.epilog = "\n\n".join(lines(PAGES[name]))
    return root


def commands(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every command and group with its full name."""
    yield name, command
    for word, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, f"{name} {word}".strip())


def lines(page: Page) -> list[str]:
    return [
        f"Example: {page.example}",
        f"Exit codes: 0 success; 1 {page.failure}; 2 usage or configuration error; 130 interrupted",
        f"Settings: {_required(page.settings)}",
    ]


def _required(settings: type[BaseSettings] | None) -> str:
    names = [variable(name) for name, field in settings.model_fields.items() if field.is_required()] if settings else []
    if not names:
        return "none are required"
    return f"{', '.join(names)} {'are' if len(names) > 1 else 'is'} required; docs/reference/settings.md lists all"
