"""Reads configurations of Terraform."""

import re
from typing import Any

import hcl2


def parsed(text: str) -> dict[str, Any]:
    """The blocks of a file by kind; names and strings without their quotes."""
    found: dict[str, Any] = _unquoted(hcl2.loads(text))
    return found


def _unquoted(value: Any) -> Any:
    if isinstance(value, dict):
        return {_unquoted(name): _unquoted(each) for name, each in value.items() if name != "__is_block__"}
    if isinstance(value, list):
        return [_unquoted(each) for each in value]
    return value[1:-1] if isinstance(value, str) and re.fullmatch(r'"[^"]*"', value) else value


def blocks(of: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    return {name: block for each in of.get(kind, []) for name, block in each.items()}
