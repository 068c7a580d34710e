"""Sampling the metrics of workers: only while somebody views them, and never without bounds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from consumer.pages.sampling import EVERY_SECONDS, WATCHED_SECONDS, WINDOW_SECONDS, Sampler, Surroundings
from consumer.pages.scrapes import NotScraped, Scrape

EMPTY = Scrape({}, None)


@dataclass
class Time:
    """A clock that a pause moves on. `started` are the threads that would run."""

    now: float = 1_000.0
    started: list[Callable[[], None]] = field(default_factory=list)
    before_pause: Callable[[], object] = lambda: None

    def pause(self, seconds: float) -> None:
        self.before_pause()
        self.now += seconds

    def sampler(
        self, addresses: Sequence[str] = ("a", "b"), read: Callable[[str], Scrape] = lambda _: EMPTY
    ) -> Sampler:
        around = Surroundings(lambda: self.now, lambda: self.now, self.pause, self.started.append)
        return Sampler(addresses, read, around)

    def run(self) -> None:
        """Runs the thread that was started, to its end."""
        (thread,) = self.started
        self.started.clear()
        thread()


@pytest.fixture
def time() -> Time:
    return Time()


def test_nothing_is_read_before_somebody_views_it(time: Time) -> None:
    time.sampler()
    assert time.started == []


def test_many_viewers_start_one_thread(time: Time) -> None:
    sampler = time.sampler()
    assert [len(sampler.view()) for _ in range(3)] == [0, 0, 0]
    assert len(time.started) == 1


def test_sampling_ends_some_time_after_the_last_view(time: Time) -> None:
    sampler = time.sampler()
    sampler.view()
    time.run()
    assert WATCHED_SECONDS < time.now - 1_000.0 <= WATCHED_SECONDS + EVERY_SECONDS
    assert len(sampler.view()) == WATCHED_SECONDS / EVERY_SECONDS + 1
    assert len(time.started) == 1


def test_a_view_makes_it_go_on(time: Time) -> None:
    sampler = time.sampler()
    sampler.view()
    views = iter(range(20))
    time.before_pause = lambda: sampler.view() if next(views, None) is not None else None
    time.run()
    assert time.now - 1_000.0 > WATCHED_SECONDS + 19 * EVERY_SECONDS


def test_old_samples_are_forgotten(time: Time) -> None:
    sampler = time.sampler()
    sampler.view()
    views = iter(range(1_000))
    time.before_pause = lambda: sampler.view() if next(views, None) is not None else None
    time.run()
    samples = sampler.view()
    assert len(samples) <= WINDOW_SECONDS / EVERY_SECONDS + 1
    assert samples[0].clock >= time.now - WINDOW_SECONDS
    time.now += WINDOW_SECONDS + 1
    assert sampler.view() == []


def test_a_worker_that_fails_leaves_the_others(time: Time, caplog: pytest.LogCaptureFixture) -> None:
    def read(address: str) -> Scrape:
        if address == "a":
            raise NotScraped("status 500 instead of 200")
        if address == "b":
            raise KeyError("secret")
        return EMPTY

    sampler = time.sampler(("a", "b", "c"), read)
    sampler.view()
    time.run()
    sample = sampler.view()[-1]
    assert sample.scrapes == {"c": EMPTY}
    assert sample.failures == {
        "a": "status 500 instead of 200",
        "b": "an error of this server; its log has the reason",
    }
    assert {record.message for record in caplog.records} == {"the metrics of a worker cannot be read"}


def test_without_addresses_nothing_runs(time: Time) -> None:
    assert time.sampler(()).view() == []
    assert time.started == []
