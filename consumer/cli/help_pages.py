"""What the help of each command ends with: an example, exit codes, the settings it needs; one table for all."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_settings import BaseSettings

from consumer.settings import AwsSettings, CoreSettings, RecordSettings, Settings, variable


@dataclass(frozen=True, slots=True)
class Page:
    """`failure` is what exit code 1 means. `settings` are those the command loads, None when it needs none."""

    example: str
    failure: str
    settings: type[BaseSettings] | None


PAGES: Mapping[str, Page] = {
    "": Page("consumer doctor", "the command failed", None),
    "process": Page("consumer process", "the record processor cannot go on", Settings),
    "run": Page("consumer run", "the daemon cannot be kept running", Settings),
    "provision": Page("consumer provision --dry-run", "AWS refused a request or did not answer", Settings),
    "properties": Page("consumer properties", "the properties cannot be read", Settings),
    "doctor": Page("consumer doctor", "a check failed", Settings),
    "status": Page("consumer status --watch", "AWS refused a request or did not answer", Settings),
    "put": Page("consumer put events.json", "Kinesis did not take all records", Settings),
    "limits": Page("consumer limits u-anna", "the table, or one of the limits, cannot be read", AwsSettings),
    "limits show": Page("consumer limits show u-anna", "the table, or one of the limits, cannot be read", AwsSettings),
    "limits forget": Page("consumer limits forget u-anna l-loss-week", "the limit was not deleted", AwsSettings),
    "apply": Page("consumer apply examples/events.json", "the result cannot be written", RecordSettings),
    "lambda-invoke": Page("consumer lambda-invoke object.json", "a record is not settled", CoreSettings),
    "quarantine": Page("consumer quarantine list", "the command failed", CoreSettings),
    "quarantine list": Page("consumer quarantine list", "the quarantine cannot be read", CoreSettings),
    "quarantine show": Page(
        "consumer quarantine show events/shardId-000000000000/17", "the quarantine cannot be read", CoreSettings
    ),
    "quarantine replay": Page("consumer quarantine replay", "a record stays in the quarantine", CoreSettings),
    "quarantine drop": Page(
        "consumer quarantine drop events/shardId-000000000000/17", "the quarantine cannot be changed", CoreSettings
    ),
}
"""By the command's words. A command without a page fails tests/unit/cli/test_help_pages.py."""


def with_pages(root: Any) -> Any:
    """The command line `root` (typer's), each command with its page at the end of its help."""
    for name, command in commands(root):
        if name in PAGES:
            # a blank line keeps lines apart
            command.epilog = "\n\n".join(lines(PAGES[name]))
    return root


def commands(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every command with its words: groups, and what is in them."""
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
    return f"{', '.join(names)} {'are' if len(names) > 1 else 'is'} required; README.md lists all"
