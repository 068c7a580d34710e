"""A worker with a lease that is not read, or with one of another stream, is not ready."""

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from consumer.engine.errors import SettingsError
from consumer.leases.kcl_tables import Lease
from consumer.leases.shards import Shard
from consumer.leases.unread_leases import STREAM_EVERY_SECONDS, UNREAD_SECONDS, LeaseWatch
from consumer.monitoring.metrics import LEASES_OWNED, OPEN_SHARDS, RETENTION, Metric

ME, ORIGIN = "worker-1", "arn:aws:kinesis:eu-north-1:000000000000:stream/events made at 2026-01-31T00:00:00Z"


def lease(shard: str, owner: str | None = ME, checkpoint: str = "49", parents: tuple[str, ...] = ()) -> Lease:
    return Lease(shard, owner, checkpoint, 0, 1, 0, parents=parents, origin=ORIGIN)


def foreign(shard: str) -> Lease:
    return replace(
        lease(shard), origin="arn:aws:kinesis:eu-north-1:000000000000:stream/other made at 2026-01-31T00:00:00Z"
    )


@dataclass
class StubApplication:
    """The application as the watch sees it, and what the watch measures."""

    found: Sequence[Lease] = ()
    wrong: str = ""
    settled: int = 0
    stream: Sequence[Shard] | None = ()
    measured: dict[Metric, list[float]] = field(default_factory=lambda: defaultdict(list))
    time: float = 0.0

    def leases(self) -> Sequence[Lease]:
        return self.found

    def settle(self, found: Sequence[Lease]) -> str:
        assert found == self.found
        self.settled += 1
        if self.wrong:
            raise SettingsError([self.wrong])
        return ORIGIN

    def shards(self) -> Sequence[Shard]:
        if self.stream is None:
            raise TimeoutError("the stream does not respond")
        return self.stream

    def retention_seconds(self) -> int:
        return 86_400

    def measure(self, metric: Metric, value: float, *_: str) -> None:
        self.measured[metric].append(value)


@dataclass
class Watched:
    application: StubApplication
    watch: LeaseWatch

    def check(self, *living: str, after: float = 0.0, initialised: bool = True) -> list[str]:
        """Why the worker is not ready, `after` seconds later."""
        application: Any = self.application
        self.application.time += after
        self.watch.check(application, living, initialised=initialised)
        return self.watch.reasons(living)


@pytest.fixture
def watched() -> Watched:
    application = StubApplication()
    return Watched(application, LeaseWatch(ME, application.measure, lambda: application.time))


def test_a_lease_without_a_record_processor_is_reported_after_a_minute(watched: Watched) -> None:
    watched.application.found = [lease("a"), lease("b")]
    assert watched.check("a") == []
    assert watched.check("a", after=UNREAD_SECONDS) == []
    assert watched.check("a", after=1.0) == ["b is leased, but has had no record processor for 61 s"]
    assert watched.check("a", "b") == []
    assert watched.application.measured[LEASES_OWNED] == [2, 2, 2, 2]


def test_it_is_ready_as_soon_as_a_record_processor_runs(watched: Watched) -> None:
    watched.application.found = [lease("a")]
    watched.check()
    assert watched.check(after=100.0)
    assert watched.watch.reasons(["a"]) == []


@pytest.mark.parametrize(
    "found",
    [
        [lease("a", owner="worker-2")],
        [lease("a", owner=None)],
        [lease("a", checkpoint="SHARD_END")],
        [lease("p", owner="worker-2"), lease("a", parents=("p",))],
        [lease("p", "worker-2"), lease("q", "worker-2", "SHARD_END"), lease("a", parents=("p", "q"))],
        [],
    ],
    ids=["of another", "of nobody", "at its end", "waits for its parent", "waits for one parent", "none"],
)
def test_a_lease_that_need_not_be_read_is_not_reported(watched: Watched, found: list[Lease]) -> None:
    watched.application.found = found
    watched.check()
    assert watched.check(after=1_000.0) == []
    assert watched.application.measured[LEASES_OWNED] == [0, 0]


@pytest.mark.parametrize("parents", [[], [lease("p", "worker-2", "SHARD_END")]], ids=["gone", "at its end"])
def test_a_lease_whose_parents_are_read_is_reported(watched: Watched, parents: list[Lease]) -> None:
    watched.application.found = [*parents, lease("a", parents=("p",))]
    watched.check()
    assert watched.check(after=1_000.0)


def test_the_minute_restarts_after_a_record_processor_ran_or_the_daemon_started(watched: Watched) -> None:
    watched.application.found = [lease("a")]
    for living, initialised in ((("a",), True), ((), False)):
        watched.check()
        assert watched.check(*living, after=50.0, initialised=initialised) == []
        assert watched.check(after=50.0) == []


def test_a_start_has_to_read_every_lease_at_once(watched: Watched) -> None:
    assert watched.watch.unread([]) == ["the leases are not known yet"]
    watched.application.found = [lease("a"), lease("b"), lease("c", owner="worker-2")]
    watched.check(initialised=False)
    assert watched.watch.unread(["a", "b"]) == ["the leases are not known yet"]
    watched.check()
    assert watched.watch.unread(["a"]) == ["b is leased, but not read yet"]
    assert watched.watch.unread(["a", "b"]) == []


def test_without_a_lease_nothing_is_unread(watched: Watched) -> None:
    watched.check()
    assert watched.watch.unread([]) == []


def test_leases_of_another_stream_are_never_read(watched: Watched) -> None:
    watched.application.found = [lease("a")]
    watched.application.wrong = "leases of another stream"
    watched.check("a")
    assert watched.watch.unread(["a"]) == ["leases of another stream"]


def test_with_leases_of_another_stream_it_is_not_ready_and_logs_them_once(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    watched.application.found = [lease("a")]
    watched.application.wrong = "leases of application app are of stream x, not y"
    with caplog.at_level(logging.INFO):
        assert watched.check("a") == ["leases of application app are of stream x, not y"]
        assert watched.check("a") == ["leases of application app are of stream x, not y"]
    assert [record.message for record in caplog.records] == ["leases of another stream"]
    watched.application.wrong = ""
    assert watched.check("a") == []


def test_leases_that_the_kcl_created_are_marked(watched: Watched) -> None:
    """None of them is marked then, and the worker does not know its stream yet."""
    watched.application.found = [Lease("a", ME, "TRIM_HORIZON", 0, 1, 0)]
    watched.check("a")
    assert watched.application.settled == 1


def test_it_is_ready_again_when_the_lease_of_another_stream_is_gone(watched: Watched) -> None:
    watched.application.found = [lease("a")]
    watched.check("a")
    watched.application.found, watched.application.wrong = [lease("a"), foreign("b")], "leases of another stream"
    assert watched.check("a") == ["leases of another stream"]
    watched.application.found = [lease("a")]
    assert watched.check("a") == []


def test_verified_leases_are_not_verified_again_until_there_is_a_new_one(watched: Watched) -> None:
    watched.application.found = [lease("a")]
    watched.check("a")
    watched.check("a")
    assert watched.application.settled == 1
    watched.application.found = [lease("a"), Lease("b", ME, "TRIM_HORIZON", 0, 1, 0)]
    watched.check("a", "b")
    assert watched.application.settled == 2


def test_the_shards_that_should_be_read_and_the_retention_are_measured(watched: Watched) -> None:
    watched.application.stream = [Shard("p", open=False), Shard("a", True, ("p",)), Shard("b", True, ("p",))]
    watched.application.found = [lease("p", "worker-2")]
    watched.check()
    watched.application.found = [lease("p", "worker-2", "SHARD_END"), lease("a")]
    watched.check()
    assert watched.application.measured[OPEN_SHARDS] == [1, 2]
    assert watched.application.measured[RETENTION] == [86_400]


def test_the_stream_is_read_once_a_minute_and_again_as_soon_as_it_failed(watched: Watched) -> None:
    watched.application.stream = None
    for _ in range(2):
        with pytest.raises(TimeoutError):
            watched.check(after=1.0)
    watched.application.stream = [Shard("a", True)]
    watched.check(after=1.0)
    watched.application.stream = [Shard("a", True), Shard("b", True)]
    watched.check(after=STREAM_EVERY_SECONDS - 1.0)
    watched.check(after=1.0)
    assert watched.application.measured[OPEN_SHARDS] == [1, 1, 2]


def test_a_stream_that_does_not_respond_hides_no_unread_lease(watched: Watched) -> None:
    watched.application.found, watched.application.stream = [lease("a")], None
    for _ in range(2):
        with pytest.raises(TimeoutError):
            watched.check(after=UNREAD_SECONDS + 1.0)
    assert watched.watch.reasons([]) == ["a is leased, but has had no record processor for 61 s"]
