"""A verification names the limits that differ, and only those, also while the service writes."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from consumer.admin import verify as module
from consumer.admin.sources import Origin
from consumer.admin.verify import Clock, Plan, Verification, Verified
from consumer.engine.projection import Key
from consumer.engine.repository import InMemoryRepository, Page, Stored, Unreadable, Versioned
from consumer.limits.projection import Limits
from consumer.limits.state import LimitState, Register
from consumer.settings import Settings
from consumer.stores.places import DirectoryPlace
from tests.support.generators.archived import STREAM, numbered, write
from tests.support.generators.events import START, Event, created, encode, foreign, progress_changed, reset
from tests.support.generators.kpl import aggregate
from tests.support.simulation.core import Core

USERS = [f"u-{number}" for number in range(12)]
LIMIT = "l-day"


def history(user: str) -> list[Event]:
    return [created(1, userId=user), progress_changed(2, userId=user), reset(3, userId=user)]


class Rows(InMemoryRepository[LimitState]):
    """A table in which rows can be changed by hand."""

    def __init__(self) -> None:
        super().__init__(Limits())
        self.unreadable: dict[Key, Unreadable] = {}

    def change(self, user: str, change: Callable[[LimitState], LimitState]) -> None:
        stored = self._kept[(user, LIMIT)]
        self._kept[(user, LIMIT)] = Versioned(change(stored.state), stored.version)

    def remove(self, user: str) -> None:
        del self._kept[(user, LIMIT)]

    def load(self, keys: Iterable[Key]) -> Any:
        wanted = list(keys)
        return super().load(wanted) | {key: row for key, row in self.unreadable.items() if key in wanted}

    def scan(self) -> Iterator[Any]:
        yield from super().scan()
        yield self.unreadable

    def page(self, partition: str, *_: object, **__: object) -> Page[LimitState]:
        found: dict[Key, Stored[LimitState]] = dict(super().page(partition).stored)
        return Page(found | {key: row for key, row in self.unreadable.items() if key[0] == partition})


@dataclass
class World:
    """A table and an archive, and a time that passes only in sleep. `deeds` are done at their times."""

    folder: Path
    table: Rows = field(default_factory=Rows)
    now: float = 0.0
    deeds: list[tuple[float, Callable[[], object]]] = field(default_factory=list)
    archived: int = 0
    phases: list[str] = field(default_factory=list)

    def deliver(self, *events: Event) -> None:
        Core(self.table).deliver(*events)

    def archive(self, *events: object) -> None:
        data = [each if isinstance(each, bytes) else encode(each) for each in events]
        write(DirectoryPlace(self.folder), numbered(data, self.archived + 1, every_millis=1))
        self.archived += len(events)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        due = [deed for at, deed in self.deeds if at <= self.now]
        self.deeds = [(at, deed) for at, deed in self.deeds if at > self.now]
        for deed in due:
            deed()

    def verify(
        self,
        patience: float = 0.0,
        *,
        since: datetime | None = None,
        user: str | None = None,
        sample: float = 1.0,
        in_memory: int = 1_000,
    ) -> Verified:
        settings = Settings(region="eu-west-1", stream_name=STREAM, quarantine="dir:quarantine")
        plan = Plan(settings, Origin(f"dir:{self.folder}", STREAM, since=since), user, sample)
        clock = Clock(lambda: 1_000.0, lambda: self.now, self.sleep)
        source = plan.origin.opened(settings)
        made = Verification(plan, self.table, patience, lambda *_: None, self.phases.append, clock, in_memory=in_memory)
        return made.run(source, sum(found.size for found in source.files()), 1)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """The events of all users are in the archive and in the table."""
    made = World(tmp_path / "archive")
    for user in USERS:
        made.deliver(*history(user))
        made.archive(*history(user))
    return made


def named(found: Verified) -> dict[str, tuple[str, ...]]:
    """What is wrong with the limit of each user."""
    return {finding.key[0]: finding.kinds for finding in found.findings}


def with_value(value: str) -> Callable[[LimitState], LimitState]:
    def change(state: LimitState) -> LimitState:
        assert state.progress
        return replace(state, progress=Register(state.progress.stamp, Decimal(value)))

    return change


def older(state: LimitState) -> LimitState:
    """As it was before the reset."""
    assert state.progress
    stamp = replace(state.progress.stamp, sequence=2, event_id="e-0002", at=START + 2_000)
    return replace(state, progress=Register(stamp, Decimal(10)), last_reset=None)


def newer(state: LimitState) -> LimitState:
    assert state.progress
    return replace(state, progress=Register(replace(state.progress.stamp, sequence=9), Decimal(10)))


# A table that is at rest


@pytest.mark.parametrize("in_memory", [1_000, 3])
def test_a_table_that_agrees(world: World, in_memory: int) -> None:
    found = world.verify(600.0, in_memory=in_memory)
    assert found.ok
    assert world.now == 0.0, "nothing to wait for"
    assert found.to_json() == {
        "ok": True,
        "at": 1_000.0,
        "seconds": 0.0,
        "files": 12,
        "bytes": found.size,
        "records": {"applied": 36, "ignored": 0, "quarantined": 0},
        "limits": 12,
        "missing": 0,
        "unexplained": 0,
        "findings": [],
        "unlisted": 0,
        "damaged": [],
    }


@pytest.mark.parametrize("in_memory", [1_000, 3])
def test_exactly_the_limits_that_were_spoiled_are_named(world: World, in_memory: int) -> None:
    table = world.table
    table.change("u-0", with_value("5"))
    table.change("u-1", with_value("-5"))
    table.remove("u-2")
    table.change("u-3", older)
    table.change("u-4", newer)
    world.deliver(created(1, userId="u-added"))
    world.deliver(created(1, userId="u-5", userLimitId="l-added"))
    table.change("u-6", lambda state: replace(state, brand_id="zzz"))
    table.change("u-7", lambda state: replace(state, currency_code="AAA"))
    table.unreadable["u-8", LIMIT] = Unreadable(("u-8", LIMIT), "row 0: no number")

    found = world.verify(in_memory=in_memory)

    both, missing, unexplained = ("missing", "unexplained"), ("missing",), ("unexplained",)
    assert named(found) == {
        "u-0": both,
        "u-1": both,
        "u-2": missing,
        "u-3": missing,
        "u-4": unexplained,
        "u-5": unexplained,
        "u-6": both,
        "u-7": both,
        "u-8": unexplained,
        "u-added": unexplained,
    }
    assert (found.missing, found.unexplained, found.limits, found.ok) == (6, 8, 14, False)
    differs = {finding.key: [each.name for each in finding.differs] for finding in found.findings}
    assert differs["u-0", LIMIT] == ["progress"]
    assert differs["u-3", LIMIT] == ["progress", "lastReset"]
    assert differs["u-6", LIMIT] == ["brandId"]
    assert differs["u-5", "l-added"][:2] == ["userId", "userLimitId"]


def test_records_that_are_no_effects_are_counted(world: World) -> None:
    world.archive(b"poison", foreign("LIMIT_USER_CREATED"), aggregate(*map(encode, history("u-kpl"))))
    world.deliver(*history("u-kpl"))
    found = world.verify()
    assert found.ok
    assert found.outcomes == {"applied": 39, "ignored": 1, "quarantined": 1}


def test_an_event_of_another_brand_was_refused_and_is_not_missing(world: World) -> None:
    for event in (created(1, userId="u-b"), progress_changed(2, userId="u-b", brandId="0")):
        world.deliver(event)
        world.archive(event)
    assert world.verify().ok
    world.table.remove("u-b")
    assert named(world.verify()) == {"u-b": ("missing",)}


def test_what_is_damaged_in_the_archive_is_reported(world: World) -> None:
    place = DirectoryPlace(world.folder)
    path = next(place.list()).path
    place.write(path, place.read(path) + b"garbage")
    found = world.verify()
    assert (found.ok, found.missing, [each.startswith(path) for each in found.damage]) == (False, 0, [True])


def test_since_a_time_only_missing_effects_can_be_found(world: World) -> None:
    world.deliver(*(progress_changed(4, userId=user) for user in USERS))
    late = [
        each._replace(arrived_at=each.arrived_at + 7_200_000)
        for each in numbered([encode(progress_changed(4, userId=user)) for user in USERS], 1_000)
    ]
    write(DirectoryPlace(world.folder), late)
    since = datetime.fromtimestamp(START / 1_000, UTC) + timedelta(hours=2)
    world.table.change("u-0", older)
    world.table.change("u-1", with_value("5"))
    world.table.change("u-2", lambda state: replace(state, progress=None))
    world.table.change("u-3", newer)
    world.table.remove("u-4")
    world.deliver(created(1, userId="u-added"))

    found = world.verify(since=since)
    assert named(found) == dict.fromkeys(["u-0", "u-1", "u-2", "u-4"], ("missing",))
    assert (found.files, found.to_json()["unexplained"]) == (1, None)


def test_one_user(world: World) -> None:
    world.table.remove("u-1")
    world.table.change("u-2", newer)
    world.deliver(created(1, userId="u-2", userLimitId="l-added"), created(1, userId="u-added"))
    assert world.verify(user="u-3").ok
    assert {finding.key for finding in world.verify(user="u-2").findings} == {("u-2", LIMIT), ("u-2", "l-added")}
    assert named(world.verify(user="u-1")) == {"u-1": ("missing",)}
    assert named(world.verify(user="u-added")) == {"u-added": ("unexplained",)}


def test_a_sample_is_a_part_of_the_users_and_always_the_same(world: World) -> None:
    for user in USERS:
        world.table.change(user, newer)
    half, again, more = (set(named(world.verify(sample=sample))) for sample in (0.5, 0.5, 0.9))
    assert 0 < len(half) < len(USERS)
    assert half == again
    assert half <= more


def test_more_findings_than_are_listed_are_counted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CASES", 5)
    for user in USERS:
        world.table.change(user, newer)
    found = world.verify()
    assert (len(found.findings), found.unlisted, found.unexplained) == (5, 7, 12)


# A table and an archive that are written to meanwhile


def test_an_effect_on_its_way_to_the_table_is_waited_for(world: World) -> None:
    world.archive(*history("u-late"))
    world.deeds.append((20.0, lambda: world.deliver(*history("u-late"))))
    assert world.verify(60.0).ok
    assert 20.0 <= world.now < 60.0


def test_an_event_on_its_way_to_the_archive_is_waited_for(world: World) -> None:
    world.deliver(*history("u-late"))
    world.deeds.append((20.0, lambda: world.archive(*history("u-late"))))
    assert world.verify(60.0).ok
    assert 20.0 <= world.now < 60.0


def test_a_limit_that_never_rests_is_no_finding(world: World) -> None:
    """The table is always ahead of the archive, as it is in a limit with an event every second."""

    def goes_on(number: int) -> None:
        world.deliver(progress_changed(number + 1, userId="u-0"))
        world.archive(progress_changed(number, userId="u-0"))

    world.deliver(progress_changed(4, userId="u-0"))
    world.deeds += [(second, partial(goes_on, 3 + second)) for second in range(1, 600)]
    assert world.verify(600.0).ok
    assert world.now < 30.0


def test_what_is_wrong_stays_wrong_while_the_service_writes(world: World) -> None:
    world.table.change("u-0", newer)
    world.table.remove("u-1")
    for second in range(4, 60):
        event = created(second, userId="u-2")
        world.deeds += [(second, partial(world.archive, event)), (second, partial(world.deliver, event))]
    assert named(world.verify(60.0)) == {"u-0": ("unexplained",), "u-1": ("missing",)}
    assert world.now == 60.0


def test_a_row_that_can_be_read_again_is_compared(world: World) -> None:
    world.table.unreadable["u-0", LIMIT] = Unreadable(("u-0", LIMIT), "row 0: no number")
    world.deeds.append((5.0, world.table.unreadable.clear))
    assert world.verify(60.0).ok
    assert world.phases[-1] == "check again 1 limits that differ"
