"""Simulated time: events in their order, processes that freeze and die, clocks that drift, tasks that wait.

A task is a generator. It yields a number of seconds to wait, or requests whose results it needs; `Blocking` makes a
task of code that blocks instead. One task runs at a time, so that a seed gives the same run everywhere.
"""

import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import Any, Protocol, TypeAlias

Reply: TypeAlias = Callable[[Any], None]
Request: TypeAlias = Callable[[Reply], None]
"""Sends a request. The reply gets its result, or an Unanswered."""
Waits: TypeAlias = float | Sequence[Request]
Steps: TypeAlias = Generator[Waits, Any, None]


class Unanswered(Exception):
    """A request failed, or was not answered in time. Whether it took effect is unknown."""


class Killed(BaseException):
    """Ends the thread of a killed process."""


class Task(Protocol):
    def send(self, value: Any, /) -> Waits:
        """Continues until the next wait. Raises StopIteration at the end."""

    def close(self) -> None: ...


class Timeline:
    """Runs events in the order of their times, in seconds."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        heappush(self._events, (self.now + seconds, next(self._numbers), event))

    def run_until(self, end: float) -> None:
        while self._events and self._events[0][0] <= end:
            self.now, _, event = heappop(self._events)
            event()
        self.now = end


@dataclass
class Clock:
    """The monotonic clock of a machine. `rate`: its seconds per second."""

    timeline: Timeline
    rate: float = 1.0
    uptime: float = 1_000.0

    def __call__(self) -> float:
        return self.uptime + self.timeline.now * self.rate

    def jump(self, seconds: float) -> None:
        self.uptime += seconds


@dataclass(eq=False)
class Process:
    """Runs tasks until it is killed. While it is frozen, its events wait; its requests that are under way do not."""

    timeline: Timeline
    clock: Clock
    alive: bool = True
    frozen: bool = False
    _tasks: list[Task] = field(default_factory=list)
    _held: list[Callable[[], None]] = field(default_factory=list)

    def run(self, task: Task) -> None:
        self._tasks.append(task)
        self._deliver(partial(self._step, task, None))

    def freeze(self) -> None:
        self.frozen = True

    def thaw(self) -> None:
        self.frozen = False
        held, self._held = self._held, []
        for event in held:
            self._deliver(event)

    def kill(self) -> None:
        self.alive = False
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.close()

    def _deliver(self, event: Callable[[], None]) -> None:
        if self.frozen:
            self._held.append(event)
        elif self.alive:
            event()

    def _step(self, task: Task, value: Any) -> None:
        try:
            waits = task.send(value)
        except StopIteration:
            if task in self._tasks:
                self._tasks.remove(task)
            return
        if isinstance(waits, float):
            self.timeline.after(waits / self.clock.rate, partial(self._deliver, partial(self._step, task, None)))
        else:
            _Replies(len(waits), lambda results: self._deliver(partial(self._step, task, results))).send(waits)


class _Replies:
    """Waits for the results of several requests."""

    def __init__(self, number: int, done: Reply) -> None:
        self._results: list[Any] = [None] * number
        self._open = number
        self._done = done

    def send(self, requests: Sequence[Request]) -> None:
        for place, request in enumerate(requests):
            request(partial(self._reply, place))

    def _reply(self, place: int, result: Any) -> None:
        self._results[place] = result
        self._open -= 1
        if not self._open:
            self._done(self._results)


class Blocking:
    """Runs a function that blocks as a task, on a thread that runs only while the timeline waits for it.

    The function calls `wait`, or what it calls does.
    """

    _here = threading.local()

    def __init__(self, function: Callable[[], None]) -> None:
        self._function = function
        self._thread: threading.Thread | None = None
        self._turn, self._other_turn = threading.Semaphore(0), threading.Semaphore(0)
        self._ended = self._killed = False
        self._error: BaseException | None = None
        self._value: Any = None
        self._waits: Waits = 0.0

    @classmethod
    def wait(cls, waits: Waits) -> Any:
        """Called on the thread of the function. Returns the results of the requests."""
        running: Blocking = cls._here.running
        return running._wait(waits)

    def _wait(self, waits: Waits) -> Any:
        self._waits = waits
        self._other_turn.release()
        self._turn.acquire()
        if self._killed:
            raise Killed
        return self._value

    def send(self, value: Any, /) -> Waits:
        self._value = value
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
        else:
            self._turn.release()
        self._other_turn.acquire()
        if self._error:
            raise self._error
        if self._ended:
            raise StopIteration
        return self._waits

    def close(self) -> None:
        if self._thread and not self._ended and threading.current_thread() is not self._thread:
            self._killed = True
            self._turn.release()
            self._thread.join()

    def _run(self) -> None:
        self._here.running = self
        try:
            self._function()
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again by send
            self._error = error
        self._ended = True
        self._other_turn.release()
