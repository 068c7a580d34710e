"""A part of a page: one read for everybody, kept for some seconds, and never awaited for longer than allowed."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from consumer.engine.errors import Unavailable
from consumer.pages.reads import Part, SharedRead


@dataclass
class Source:
    """Counts its reads. A read waits until `may_end` is set."""

    fail: Callable[[int], None] = lambda _: None
    reads: int = 0
    now: float = 100.0
    may_end: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.may_end.set()

    def read(self) -> int:
        self.reads += 1
        number = self.reads
        assert self.may_end.wait(60)
        self.fail(number)
        return number


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as made:
        yield made


def shared(source: Source, pool: ThreadPoolExecutor) -> SharedRead[int]:
    return SharedRead(source.read, pool, 5.0, lambda: source.now)


def test_a_result_is_kept_for_its_time(pool: ThreadPoolExecutor) -> None:
    source = Source()
    reads = shared(source, pool)
    assert asyncio.run(reads.part(60)) == Part(1)
    source.now += 4.9
    assert asyncio.run(reads.part(60)) == Part(1)
    source.now += 0.2
    assert asyncio.run(reads.part(60)) == Part(2)


def test_all_who_wait_get_the_same_read(pool: ThreadPoolExecutor) -> None:
    source = Source()
    source.may_end.clear()
    reads = shared(source, pool)

    async def ask() -> list[Part[int]]:
        waiting = asyncio.gather(*(reads.part(60) for _ in range(5)))
        await asyncio.sleep(0)
        source.may_end.set()
        return await waiting

    assert asyncio.run(ask()) == [Part(1)] * 5
    assert source.reads == 1


def test_one_who_leaves_does_not_cancel_what_others_wait_for(pool: ThreadPoolExecutor) -> None:
    source = Source()
    source.may_end.clear()
    reads = shared(source, pool)

    async def ask() -> Part[int]:
        leaves, stays = (asyncio.create_task(reads.part(60)) for _ in range(2))
        await asyncio.sleep(0)
        leaves.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaves
        source.may_end.set()
        return await stays

    assert asyncio.run(ask()) == Part(1)


def test_a_slow_read_goes_on_for_those_who_come_later(pool: ThreadPoolExecutor) -> None:
    source = Source()
    source.may_end.clear()
    reads = shared(source, pool)
    assert asyncio.run(reads.part(0.01)) == Part(None, "no answer within 0.01 s; try again in a moment")
    # Later than a result is kept, but there is none yet.
    source.now += 100
    assert asyncio.run(reads.part(0.01)).value is None
    source.may_end.set()
    assert asyncio.run(reads.part(60)) == Part(1)
    assert source.reads == 1


def test_a_failure_is_kept_like_a_result(pool: ThreadPoolExecutor) -> None:
    def fail(number: int) -> None:
        if number == 1:
            raise Unavailable("table limits: Throttled\x1b")

    source = Source(fail)
    reads = shared(source, pool)
    assert [asyncio.run(reads.part(60)) for _ in range(2)] == [Part(None, "table limits: Throttled\\x1b")] * 2
    source.now += 5
    assert asyncio.run(reads.part(60)) == Part(2)


def test_an_error_is_logged_and_not_shown(pool: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: int) -> None:
        raise TimeoutError("secret")

    part = asyncio.run(shared(Source(fail), pool).part(60))
    assert part == Part(None, "an error of this server; its log has the reason")
    assert [record.message for record in caplog.records] == ["a part of a page cannot be read"]
