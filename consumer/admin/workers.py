"""Work on many items in several processes, in memory for a few of them."""

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Callable, Generator, Iterable, Iterator
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
    # A fork would copy the threads of the caller, which may hold locks.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, context, _begin, (os.getpid(), begin, given))
    try:
        yield from _results(pool, iter(items), processes * AHEAD)
    except BrokenProcessPool:
        raise Unavailable("a process exited unexpectedly, perhaps for lack of memory") from None
    finally:
        # What they are doing can be done again, and nobody waits for it.
        for process in multiprocessing.active_children():
            process.kill()
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
