"""The projections of examples/: the record processor and the Lambda function keep them, as they keep the limits."""

import json
import re
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn, TextIO, cast

import pytest

from consumer.engine.checkpoints import CheckpointPolicy
from consumer.engine.processor import Processor
from consumer.engine.projection import Projection
from consumer.engine.quarantine import InMemoryQuarantine
from consumer.engine.repository import InMemoryRepository
from consumer.engine.stream import BelievedStream
from consumer.kcl.pipes import Pipes
from consumer.kcl.record_processor import ShardConsumer, ShardRules, serve
from consumer.kcl.retry import Runtime
from consumer.monitoring.metrics import Metric
from consumer.testing import CHECKS
from device_position import LastPosition, Report
from tests.support.driven.daemon import INITIALIZE, SHUTDOWN_REQUESTED, Daemon, batch, delivered
from tests.support.driven.invocations import SUCCESS, Function, event
from tests.support.generators.events import records
from wallet_balance import Balance, Movement, Wallets

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "keep-another-projection.md"
REPORT = {"fleet": "north", "device": "van-7", "number": 1, "at": 5, "latitude": 7, "longitude": 8}
MOVEMENT = {"user": "u-1", "currency": "EUR", "source": "wins", "number": 1, "at": 5, "total": 900}

# mypy checks that they implement the protocol
POSITIONS: Projection[Report, Report] = LastPosition()
WALLETS: Projection[Movement, Balance] = Wallets()

PROJECTIONS = pytest.mark.parametrize(
    ("projection", "sound"), [(POSITIONS, REPORT), (WALLETS, MOVEMENT)], ids=["position", "wallet"]
)


class Kept:
    """A projection with stores in memory."""

    def __init__(self, projection: Projection[Any, Any]) -> None:
        self.repository: InMemoryRepository[Any] = InMemoryRepository(projection)
        self.quarantine = InMemoryQuarantine()
        self.core: Processor[Any, Any] = Processor(projection, self.repository, self.quarantine, lambda: 0.0)

    def has_one_state_and_the_poison(self) -> bool:
        poison = [entry.record.data for entry in self.quarantine.entries()]
        return len(self.repository.states()) == 1 and poison == [b"poison"]


@PROJECTIONS
def test_the_record_processor_keeps_it(projection: Projection[Any, Any], sound: dict[str, Any]) -> None:
    kept = Kept(projection)
    delivery = batch(delivered(1, json.dumps(sound).encode()), delivered(2, b"poison"))
    daemon = Daemon([INITIALIZE, delivery, SHUTDOWN_REQUESTED])
    rules = ShardRules(CheckpointPolicy(seconds=5, records=10_000), batch_deadline=5)
    shard = ShardConsumer(kept.core, BelievedStream("events"), rules, discard, frozen_runtime())
    pipe = cast("TextIO", daemon)
    serve(shard, Pipes(pipe, pipe, daemon.is_readable))
    assert daemon.done == ["initialize", "processRecords", "shutdownRequested"]
    assert daemon.made == [("2", 0)]
    assert kept.has_one_state_and_the_poison()


@PROJECTIONS
def test_the_lambda_handler_keeps_it(projection: Projection[Any, Any], sound: dict[str, Any]) -> None:
    kept = Kept(projection)
    function = Function(kept.core)
    assert function.invoke(event(records(json.dumps(sound).encode(), b"poison"))) == SUCCESS
    assert kept.has_one_state_and_the_poison()
    kind = projection.type_of(projection.decode(json.dumps(sound).encode()))
    assert any(f'"{kind}"' in line for line in function.lines)


@pytest.mark.parametrize("folder", ["position", "wallet"])
def test_its_entry_point_is_the_projection(folder: str) -> None:
    project = tomllib.loads((ROOT / "examples" / folder / "pyproject.toml").read_text())["project"]
    (target,) = project["entry-points"]["limits_consumer.projections"].values()
    module, _, name = target.partition(":")
    assert getattr(import_module(module), name) in (LastPosition, Wallets)


def test_the_tests_of_the_page_pass(pytester: pytest.Pytester) -> None:
    (tests,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    pytester.makepyfile(tests)
    pytester.inline_run().assertoutcome(passed=len(CHECKS) + 1)


def test_the_page_names_every_check() -> None:
    assert [check.__name__ for check in CHECKS if f"`{check.__name__}`" not in PAGE.read_text(encoding="utf-8")] == []


def discard(metric: Metric, value: float, *labels: str) -> None:
    """Discards metrics, which are not tested here."""


def frozen_runtime() -> Runtime:
    """A runtime in which no time passes and no stop is requested."""

    def leave(code: int) -> NoReturn:
        raise AssertionError(f"the record processor left with {code}")

    return Runtime(lambda: 0.0, lambda: 0.0, lambda _: None, lambda: 0.0, lambda: False, leave)
