"""Work on many items in several processes, in memory for a few of them.

`each` divides the items: one process works on an item. `together` divides what is in them: all processes work on every
item, in the same order.
"""

import ctypes
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

from consumer.bootstrap import collect_rarely
from consumer.engine.errors import Unavailable

S = TypeVar("S")
T = TypeVar("T")
R = TypeVar("R")

AHEAD = 2
"""Items per process that are handed out at the same time, so that no process waits for its next one."""
FURTHEST = 8
"""So many items a process may be ahead of another that works on the same ones."""
_SET_PARENT_DEATH_SIGNAL = 1


class _Process:
    """What this process does with an item."""

    work: Callable[[Any], Any]


def each(
    processes: int, begin: Callable[[S], Callable[[T], R]], given: S, items: Iterable[T]
) -> Generator[R, None, None]:
    """The result of the work on each item, in the order in which they are ready.

    Each process calls `begin(given)` once, which returns the work. `begin`, `given`, items and results must be
    picklable. One process is this one. An exception of the work, or a process that exits, ends it all: Unavailable.
    """
    if processes == 1:
        yield from map(begin(given), items)
        return
    pool = _pool(processes, begin, given)
    with _ended(pool):
        yield from _results(pool, iter(items), processes * AHEAD)


def together(
    begin: Callable[[S], Callable[[T], R]], given: Sequence[S], items: Iterable[T]
) -> Generator[list[R], None, None]:
    """For each item, in their order, what every process makes of it.

    There is a process for each of `given`, which calls `begin` with it once, and works on one item after the other.
    Otherwise as `each`.
    """
    if len(given) == 1:
        yield from ([result] for result in map(begin(given[0]), items))
        return
    pools = [_pool(1, begin, one) for one in given]
    with _ended(*pools):
        running: deque[list[Future[R]]] = deque()
        for item in items:
            with _interrupts_held():
                running.append([pool.submit(_work, item) for pool in pools])
            if len(running) == FURTHEST:
                yield [future.result() for future in running.popleft()]
        yield from ([future.result() for future in futures] for futures in running)


def _pool(processes: int, begin: Callable[[S], Callable[[T], R]], given: S) -> ProcessPoolExecutor:
    # A fork would copy the threads of the caller, which may hold locks.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(processes, context, _begin, (os.getpid(), begin, given))


@contextmanager
def _ended(*pools: ProcessPoolExecutor) -> Iterator[None]:
    """Ends the processes of the pools after the block. Raises Unavailable if one of them exited before."""
    try:
        yield
    except BrokenProcessPool:
        raise Unavailable("a process exited unexpectedly, perhaps for lack of memory") from None
    finally:
        # What they are doing can be done again, and nobody waits for it.
        for process in multiprocessing.active_children():
            process.kill()
        for pool in pools:
            pool.shutdown(cancel_futures=True)


def _results(pool: ProcessPoolExecutor, items: Iterator[Any], most: int) -> Iterator[Any]:
    running: set[Future[Any]] = set()
    while True:
        following = list(islice(items, most - len(running)))
        with _interrupts_held():
            running |= {pool.submit(_work, item) for item in following}
        if not running:
            return
        done, running = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            yield future.result()


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """A process that is started meanwhile never gets SIGINT. This one gets it afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(parent: int, begin: Callable[[S], Callable[[T], R]], given: S) -> None:
    """Ctrl-C ends the parent, and the kernel ends this process with it."""
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    _Process.work = staticmethod(begin(given))
    collect_rarely()


def _work(item: Any) -> Any:
    return _Process.work(item)
