"""The README's table of settings is what the settings are."""

from pathlib import Path

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from consumer.settings import Settings, variable

README = Path(__file__).parents[2] / "README.md"
START, END = "<!-- settings:", "<!-- end of settings -->"


def test_the_readme_lists_every_setting() -> None:
    text = README.read_text(encoding="utf-8")
    shown = text[text.index(START) : text.index(END)].partition("-->\n")[2]

    assert shown == settings_table()


def settings_table() -> str:
    rows = [_row(name, field) for name, field in Settings.model_fields.items()]
    return "\n".join(["| variable | default | what it says |", "|---|---|---|", *rows]) + "\n"


def _row(name: str, field: FieldInfo) -> str:
    return f"| `{variable(name)}` | {_default(field.default)} | {field.description} |"


def _default(default: object) -> str:
    if default is PydanticUndefined:
        return "**required**"
    if default is None:
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, Path):
        return f"`{default.name}/` beside the package"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"
