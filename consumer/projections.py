"""Finds the projection that CONSUMER_PROJECTION names: `package.module:Name`, or a name that a package registers.

A package registers a projection as an entry point:

    [project.entry-points."limits_consumer.projections"]
    wallets = "wallets.projection:Wallets"
"""

from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import Any

from consumer.engine.errors import SettingsError
from consumer.engine.projection import Codec, Projection
from consumer.settings import variable

GROUP = "limits_consumer.projections"

DEFAULT = "limits"
SHIPPED: Mapping[str, str] = {DEFAULT: "consumer.limits.projection:Limits"}
"""Registered by this package, in pyproject.toml as well. Known here, so that no start searches the packages for it."""

MEMBERS = [name for protocol in (Codec, Projection) for name in vars(protocol) if not name.startswith("_")]
"""What a projection must have."""


@cache
def load(name: str) -> Projection[Any, Any]:
    """The projection, one object per process. Raises SettingsError with one line."""
    module, _, attribute = _place(name).partition(":")
    kind = getattr(_imported(name, module), attribute, None)
    if not isinstance(kind, type):
        raise _wrong(name, f"{module} has no class {attribute}: correct the name")
    try:
        made = kind()
    except Exception as error:  # noqa: BLE001 - whatever another's class raises
        raise _wrong(name, f"{attribute}() raises {_said(error)}: it must need no arguments") from None
    if problem := _problem(made):
        raise _wrong(name, f"{attribute} {problem}")
    projection: Projection[Any, Any] = made
    return projection


def preload(environment: Mapping[str, str]) -> None:
    """Loads the projection before it is needed. What is wrong with it is said when it is needed."""
    with suppress(SettingsError):
        load(environment.get(variable("projection")) or DEFAULT)


def _place(name: str) -> str:
    """Module and class, separated by a colon."""
    if ":" in name:
        return name
    return SHIPPED.get(name) or _registered(name)


def _registered(name: str) -> str:
    from importlib.metadata import entry_points

    found: dict[str, set[str]] = {}
    for each in entry_points(group=GROUP):
        found.setdefault(each.name, set()).add(f"{each.module}:{each.attr}")
    places = sorted(found.get(name, ()))
    if not places:
        known = ", ".join(sorted({*SHIPPED, *found}))
        raise _wrong(name, f"no package registers it: use package.module:Name, or one of {known}")
    if len(places) > 1:
        raise _wrong(name, f"several packages register it: use {' or '.join(places)}")
    return places[0]


def _imported(name: str, module: str) -> object:
    try:
        return import_module(module)
    except ModuleNotFoundError as missing:
        if f"{module}.".startswith(f"{missing.name}."):
            raise _wrong(
                name, f"there is no module {missing.name}: install it, or add its folder to PYTHONPATH"
            ) from None
        raise _wrong(name, f"{module} needs {missing.name}, which is not installed: install it") from None
    except Exception as error:  # noqa: BLE001 - whatever another's module raises
        raise _wrong(name, f"{module} cannot be imported: {_said(error)}: correct it") from None


def _problem(made: object) -> str | None:
    """Why an object is not a projection."""
    lacks = [member for member in MEMBERS if not hasattr(made, member)]
    if lacks:
        return f"is not a projection: it lacks {', '.join(lacks)}; docs/how-to/keep-another-projection.md"
    names = getattr(made, "key_names")  # noqa: B009 - it is there, but mypy does not know it
    if isinstance(names, tuple) and len(set(names)) == 2 and all(isinstance(each, str) and each for each in names):
        return None
    return f"has the key_names {names!r}: two different names of attributes are needed"


def _said(error: Exception) -> str:
    """The error on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def _wrong(name: str, problem: str) -> SettingsError:
    return SettingsError([f"{variable('projection')}={name}: {problem}"])
