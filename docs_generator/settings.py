"""docs/reference/settings.md, from consumer/settings.py."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from consumer.settings import ApiSettings, AwsSettings, CoreSettings, NoticeSettings, PageSettings, Settings, variable

OPENING = """\
# Settings

<!-- Generated from consumer/settings.py by `make docs`. Do not edit. -->

All settings are environment variables. The service checks all of them when it starts. It reports every error at
once, one line each, and exits with code 2 before it starts Java or connects to AWS. An empty variable counts as unset.

A variable that begins with `CONSUMER_` and resembles the name of a setting is reported as misspelled. Other variables
are ignored.

Credentials are not settings of the service. boto3 and the AWS SDK for Java find them in their usual places, for
example `AWS_ACCESS_KEY_ID`, a profile, or the role of the task.
"""
GROUPS = (
    (AwsSettings, "AWS and the table", "Used by every command that connects to AWS, and by the Lambda functions."),
    (
        CoreSettings,
        "Processing",
        "Used by the service, the Lambda function of the limits, and `consumer quarantine`.",
    ),
    (Settings, "The service", "Used by `consumer run`, and by the commands that prepare or inspect it."),
    (NoticeSettings, "Notices", "Used by the Lambda function that sends notices, and by `consumer notices`."),
    (ApiSettings, "The HTTP API", "Used by `consumer serve`, and by the Lambda function of the API."),
    (PageSettings, "The pages", "Used by `consumer serve`, for the pages that people see."),
)
CLOSING = """\
## Timeouts

The timeouts of a shutdown must increase in this order. The service checks the order when it starts.

{timeouts}

`CONSUMER_HANDOFF_SECONDS` is part of the order only if it is greater than 0.
"""
TIMEOUTS = ("batch_deadline_seconds", "handoff_seconds", "shutdown_grace_seconds", "stop_timeout_seconds")
UNITS = {
    "seconds": "seconds",
    "millis": "milliseconds",
    "bytes": "bytes",
    "records": "records",
    "limits": "limits",
    "requests": "requests",
    "connections": "connections",
}


def page() -> str:
    """The text of the page."""
    timeouts = "\n".join(f"{place}. `{variable(name)}`" for place, name in enumerate(TIMEOUTS, 1))
    return "\n".join([OPENING, *_groups(), CLOSING.format(timeouts=timeouts)])


def _groups() -> Iterator[str]:
    shown: set[str] = set()
    for kind, title, used_by in GROUPS:
        new = {name: field for name, field in kind.model_fields.items() if name not in shown}
        shown |= new.keys()
        rows = (_row(name, field) for name, field in new.items())
        head = "| variable | default | unit or values | meaning |\n|---|---|---|---|"
        yield "\n".join([f"## {title}", "", used_by, "", head, *rows, ""])


def _row(name: str, field: FieldInfo) -> str:
    return f"| `{variable(name)}` | {_default(field.default)} | {_unit(name, field)} | {field.description} |"


def _default(default: object) -> str:
    if default is PydanticUndefined:
        return "**required**"
    if default in (None, ()):
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, tuple):
        return f"`{','.join(map(str, default))}`"
    if isinstance(default, Path):
        return f"`{default.name}/` in the package"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def _unit(name: str, field: FieldInfo) -> str:
    """What a number counts, or the words that are allowed."""
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{word}`" for word in get_args(field.annotation))
    if field.annotation is bool:
        return "`true`, `false`"
    return UNITS.get(name.rpartition("_")[2], "")
