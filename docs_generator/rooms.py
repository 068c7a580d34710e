"""The rooms of the package, and which of them use which: what docs/explanation/architecture.md shows."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

from docs_generator import ROOT

PACKAGE = ROOT / "consumer"


def arrows(package: Path = PACKAGE) -> dict[str, set[str]]:
    """For each room, that is each folder or module of the package, the other rooms that it imports."""
    found: dict[str, set[str]] = {}
    for path in sorted(package.rglob("*.py")):
        room = path.relative_to(package).parts[0].removesuffix(".py")
        found.setdefault(room, set()).update(set(_imported(path)) - {room})
    found.pop("__init__")
    return found


def direct(uses: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Without the arrows that a way over other rooms implies. The arrows must not form a circle."""
    return {room: used - set().union(*(_reached(uses, each) for each in used)) for room, used in uses.items()}


def _reached(uses: Mapping[str, set[str]], room: str) -> set[str]:
    return uses[room].union(*(_reached(uses, each) for each in uses[room]))


def _imported(path: Path) -> Iterator[str]:
    """The second part of every `consumer.X` that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "consumer":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("consumer."):
            yield str(node.module).split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("consumer."))
