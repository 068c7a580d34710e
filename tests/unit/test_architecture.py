"""Imports point one way: what each room may import from the package and from third parties."""

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

ENGINE, LIMITS, ARCHIVE, STORES, SETTINGS, BOOTSTRAP = (
    f"consumer.{name}" for name in ("engine", "limits", "archive", "stores", "settings", "bootstrap")
)
TESTING = "consumer.testing"
METRICS, LOGS, MONITORING = "consumer.monitoring.metrics", "consumer.monitoring.logs", "consumer.monitoring"
KCL, API, PAGES, AWS_LAMBDA, DAEMON, LEASES, ACCESS, SUPERVISOR, ADMIN, CLI = (
    f"consumer.{name}"
    for name in ("kcl", "api", "pages", "aws_lambda", "daemon", "leases", "access", "supervisor", "admin", "cli")
)
RECORD_PROCESSOR, RETRY, PIPES, MESSAGES, FORK_CLIENT, MALLOC = (
    f"consumer.kcl.{name}" for name in ("record_processor", "retry", "pipes", "messages", "fork_client", "malloc")
)
PROJECTIONS, LIMIT_READERS = "consumer.projections", "consumer.limit_readers"
CORE = (ENGINE, ARCHIVE, STORES, SETTINGS, PROJECTIONS, BOOTSTRAP)
OF_LIMITS = (LIMITS, LIMIT_READERS)
"""What a part has that is for limits only. All others keep any projection."""
ANYTHING = ("consumer",)

OURS: Mapping[str, Sequence[str]] = {
    ENGINE: (ENGINE,),
    LIMITS: (ENGINE, LIMITS),
    ARCHIVE: (ENGINE, ARCHIVE),
    STORES: (ENGINE, ARCHIVE, STORES),
    SETTINGS: (ENGINE,),
    TESTING: (ENGINE, "consumer.stores.attributes"),
    PROJECTIONS: (ENGINE, SETTINGS),
    BOOTSTRAP: (ENGINE, ARCHIVE, STORES, SETTINGS, PROJECTIONS),
    LIMIT_READERS: (*CORE, LIMITS),
    METRICS: (ENGINE,),
    LOGS: (ENGINE,),
    "consumer.monitoring.prometheus": (METRICS,),
    "consumer.monitoring.emf": (METRICS,),
    MONITORING: (ENGINE, SETTINGS, MONITORING),
    PIPES: (),
    MESSAGES: (),
    FORK_CLIENT: (),
    MALLOC: (),
    RETRY: (ENGINE,),
    RECORD_PROCESSOR: (ENGINE, METRICS, LOGS, PIPES, MESSAGES, RETRY),
    KCL: (*CORE, MONITORING, KCL),
    API: (*CORE, *OF_LIMITS, MONITORING, API),
    PAGES: (*CORE, *OF_LIMITS, MONITORING, API, LEASES, ADMIN, PAGES),
    AWS_LAMBDA: (*CORE, MONITORING, AWS_LAMBDA),
    f"{AWS_LAMBDA}.notices": (*CORE, LIMITS, MONITORING, AWS_LAMBDA),
    f"{AWS_LAMBDA}.api": (*CORE, MONITORING, API, AWS_LAMBDA),
    DAEMON: (ENGINE, SETTINGS, DAEMON),
    LEASES: (ENGINE, SETTINGS, METRICS, LEASES),
    ACCESS: (ENGINE, SETTINGS, PROJECTIONS, STORES, LEASES, ACCESS),
    SUPERVISOR: (ENGINE, SETTINGS, PROJECTIONS, MONITORING, DAEMON, LEASES, ACCESS, SUPERVISOR),
    ADMIN: (*CORE, MONITORING, AWS_LAMBDA, DAEMON, LEASES, ACCESS, ADMIN),
    f"{ADMIN}.forget_limit": (*CORE, *OF_LIMITS),
    f"{ADMIN}.repair": (*CORE, *OF_LIMITS, f"{ADMIN}.forget_limit"),
    CLI: (*CORE, *OF_LIMITS, MONITORING, AWS_LAMBDA, API, PAGES, DAEMON, LEASES, ACCESS, SUPERVISOR, ADMIN, CLI),
    "consumer.__main__": (PIPES, FORK_CLIENT, MALLOC, "consumer.kcl.fork_server", "consumer.kcl.process", CLI),
    "consumer": (),
}
"""The parts of the package that each room may import. The longest name that matches a module counts."""

THEIRS: Mapping[str, Sequence[str]] = {
    ENGINE: (),
    LIMITS: ("msgspec", "pydantic", "pydantic_core"),
    ARCHIVE: ("isal", "msgspec"),
    STORES: (
        "boto3",
        "botocore",
        "msgspec",
        "mypy_boto3_dynamodb",
        "mypy_boto3_events",
        "mypy_boto3_kinesis",
        "mypy_boto3_s3",
    ),
    TESTING: ("hypothesis",),
    METRICS: (),
    PIPES: (),
    MESSAGES: ("amazon_kclpy", "msgspec"),
    FORK_CLIENT: (),
    MALLOC: (),
    RETRY: (),
    RECORD_PROCESSOR: ("amazon_kclpy",),
}
"""The third-party packages that the light rooms may import."""

IMPURE = ("time", "datetime", "os", "socket", "subprocess", "threading", "asyncio", "logging")
"""Modules that reach the clock, the environment or other processes; forbidden in pure rooms."""


def modules() -> Iterator[tuple[str, str]]:
    """The names and sources of the package's modules."""
    for path in sorted((ROOT / "consumer").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        yield name.removesuffix(".__init__"), path.read_text(encoding="utf-8")


def imports(source: str) -> set[str]:
    """Every import anywhere in the source. `from a import b` counts as a.b, which may be a module."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module, "imports are absolute here"
            assert not node.level, "imports are absolute here"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def within(name: str, rooms: Sequence[str]) -> bool:
    return any(f"{name}.".startswith(f"{room}.") for room in rooms)


def room(module: str) -> str:
    return max((name for name in OURS if within(module, [name])), key=len)


def upward(module: str, source: str) -> list[str]:
    """The imports from the package that the module's room may not have."""
    ours = (name for name in imports(source) if within(name, ANYTHING))
    return sorted(name for name in ours if not within(name, OURS[room(module)]))


def foreign(module: str, source: str) -> list[str]:
    """The third-party imports that the module's room may not have."""
    tops = {name.partition(".")[0] for name in imports(source)} - {"consumer"} - sys.stdlib_module_names
    allowed = THEIRS.get(room(module))
    return [] if allowed is None else sorted(tops - set(allowed))


MODULES = dict(modules())


def test_the_walk_finds_the_package() -> None:
    assert {"consumer.engine.processor", "consumer.limits", "consumer.kcl.record_processor"} <= MODULES.keys()


@pytest.mark.parametrize("module", MODULES)
def test_no_import_points_upward(module: str) -> None:
    assert upward(module, MODULES[module]) == []


@pytest.mark.parametrize("module", MODULES)
def test_the_light_rooms_stay_light(module: str) -> None:
    assert foreign(module, MODULES[module]) == []


@pytest.mark.parametrize("module", [name for name in MODULES if within(name, (ENGINE, LIMITS))])
def test_pure_rooms_use_no_clock_and_no_environment(module: str) -> None:
    assert [name for name in imports(MODULES[module]) if within(name, IMPURE)] == []


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        ("consumer.engine.new", "from consumer.limits import state", ["consumer.limits.state"]),
        ("consumer.engine.new", "def f():\n    import consumer.stores.aws", ["consumer.stores.aws"]),
        ("consumer.limits.new", "from consumer.monitoring import metrics", ["consumer.monitoring.metrics"]),
        ("consumer.stores.new", "from consumer.limits.state import LimitState", ["consumer.limits.state.LimitState"]),
        ("consumer.bootstrap", "from consumer.daemon import java", ["consumer.daemon.java"]),
        ("consumer.kcl.record_processor", "from consumer.limits import view", ["consumer.limits.view"]),
        ("consumer.new", "import consumer.engine.errors", ["consumer.engine.errors"]),
        ("consumer.engine.new", "from consumer.engine.errors import Reason", []),
        ("consumer.cli.main", "from consumer.daemon import java", []),
    ],
)
def test_an_upward_import_is_found(module: str, source: str, found: list[str]) -> None:
    assert upward(module, source) == found


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        ("consumer.engine.new", "import boto3", ["boto3"]),
        ("consumer.limits.new", "if TYPE_CHECKING:\n    from botocore.config import Config", ["botocore"]),
        ("consumer.limits.new", "from amazon_kclpy import kcl", ["amazon_kclpy"]),
        ("consumer.stores.new", "import prometheus_client.core", ["prometheus_client"]),
        ("consumer.limits.new", "import json, pydantic", []),
    ],
)
def test_a_heavy_import_is_found(module: str, source: str, found: list[str]) -> None:
    assert foreign(module, source) == found


def room_arrows() -> dict[str, set[str]]:
    """For each room (an entry of the package's folder), the other rooms that it imports."""
    arrows: dict[str, set[str]] = {}
    for module, source in MODULES.items():
        here = module.split(".")[1:2]
        used = {name.split(".")[1] for name in imports(source) if name.startswith("consumer.")}
        for name in here:
            arrows.setdefault(name, set()).update(used - {name})
    return arrows


def test_the_rooms_form_no_circle() -> None:
    order = TopologicalSorter(room_arrows()).static_order()
    assert {"limits", "engine", "kcl", "supervisor", "cli"} <= set(order)


def implementations() -> set[str]:
    """The modules of the stores that implement a protocol of the engine."""
    return {name for name in MODULES if within(name, (STORES,)) and "Implements engine." in MODULES[name]}


def test_only_the_composition_root_names_every_implementation() -> None:
    names = implementations()
    assert names
    knows = {
        module for module, source in MODULES.items() if all(any(within(i, [n]) for i in imports(source)) for n in names)
    }
    assert knows == {BOOTSTRAP}


HEAVY = ("boto3", "botocore", "amazon_kclpy", "prometheus_client", "rich", "typer")


def loaded_by(modules: str) -> set[str]:
    """The top-level modules that are loaded after an import in a new process."""
    code = f"import {modules}, sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    return set(run.stdout.split())


def test_the_core_loads_nothing_heavy() -> None:
    loaded = loaded_by("consumer.engine.processor, consumer.limits.projection")
    assert "pydantic" in loaded
    assert not loaded & set(HEAVY)


OF_THE_API = ("fastapi", "jwt", "cryptography", "jinja2", "authlib")
"""The extra `api`, which not every installation has."""


@pytest.mark.parametrize(
    "module", [name for name in MODULES if not within(name, (API, PAGES, "consumer.aws_lambda.api"))]
)
def test_only_the_api_imports_its_extra(module: str) -> None:
    assert [name for name in imports(MODULES[module]) if within(name, OF_THE_API)] == []


@pytest.mark.parametrize("module", [name for name in MODULES if name != TESTING])
def test_only_the_test_kit_imports_its_extra(module: str) -> None:
    assert [name for name in imports(MODULES[module]) if within(name, ("hypothesis",))] == []


@pytest.mark.parametrize(
    "entry",
    [
        "consumer.kcl.process",
        "consumer.kcl.fork_server",
        "consumer.supervisor.start",
        "consumer.aws_lambda.handler",
        "consumer.aws_lambda.notices",
        "consumer.cli.main",
    ],
)
def test_without_the_api_nothing_of_it_is_loaded(entry: str) -> None:
    """Record processors, both functions and every other command work without the extra, and take no memory for it."""
    loaded = loaded_by(entry)
    assert "consumer" in loaded
    assert not loaded & set(OF_THE_API)


def test_taking_over_the_pipes_loads_only_the_standard_library() -> None:
    assert loaded_by("consumer.kcl.pipes") - sys.stdlib_module_names <= {"consumer", "__main__", *site()}


def site() -> set[str]:
    """The modules that the interpreter loads at its start, for instance for editable installs."""
    return loaded_by("sys")
