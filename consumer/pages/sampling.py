"""The metrics of the workers over the last minutes, kept in memory. They are read only while somebody views them."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from consumer.pages.scrapes import NotScraped, Scrape, scrape

EVERY_SECONDS = 5.0
"""The time between two samples."""
WINDOW_SECONDS = 600.0
"""How long a sample is kept."""
WATCHED_SECONDS = 60.0
"""For how long sampling goes on after somebody has viewed it. An open page asks several times in this time."""

_AT_ONCE = 8
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sample:
    """What all workers served at one time. Every address is either in `scrapes` or, with the reason, in `failures`.

    at     Unix seconds
    clock  monotonic seconds
    """

    at: float
    clock: float
    scrapes: Mapping[str, Scrape]
    failures: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a test replaces: the clocks, the pause between two samples, the start of a thread."""

    now: Callable[[], float] = time.time
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], object] = time.sleep
    start: Callable[[Callable[[], None]], object] = lambda run: threading.Thread(
        target=run, name="samples", daemon=True
    ).start()


class Sampler:
    """Scrapes `addresses` on a thread of its own, which ends WATCHED_SECONDS after the last `view`."""

    def __init__(
        self,
        addresses: Sequence[str],
        read: Callable[[str], Scrape] = scrape,
        surroundings: Surroundings | None = None,
    ) -> None:
        self.addresses = addresses
        self._read = read
        self._around = surroundings or Surroundings()
        self._lock = threading.Lock()
        self._samples: deque[Sample] = deque(maxlen=int(WINDOW_SECONDS / EVERY_SECONDS) + 1)
        self._viewed_at = 0.0
        self._is_running = False

    def view(self) -> Sequence[Sample]:
        """The samples of the last WINDOW_SECONDS, the oldest first. Never waits for a worker."""
        with self._lock:
            self._viewed_at = self._around.clock()
            is_first = bool(self.addresses) and not self._is_running
            self._is_running = self._is_running or is_first
            oldest = self._viewed_at - WINDOW_SECONDS
            samples = [sample for sample in self._samples if sample.clock >= oldest]
        if is_first:
            self._around.start(self._run)
        return samples

    def _run(self) -> None:
        with ThreadPoolExecutor(min(_AT_ONCE, len(self.addresses)), thread_name_prefix="scrape") as pool:
            while self._goes_on():
                outcomes = dict(zip(self.addresses, pool.map(self._attempt, self.addresses), strict=True))
                self._keep(outcomes)
                self._around.pause(EVERY_SECONDS)

    def _goes_on(self) -> bool:
        with self._lock:
            self._is_running = self._around.clock() - self._viewed_at <= WATCHED_SECONDS
            return self._is_running

    def _attempt(self, address: str) -> Scrape | str:
        """The scrape, or why there is none."""
        try:
            return self._read(address)
        except NotScraped as cause:
            return str(cause)
        except Exception:
            # Without this thread, the charts would stay empty until the next start.
            log.exception("the metrics of a worker cannot be read")
            return "an error of this server; its log has the reason"

    def _keep(self, outcomes: Mapping[str, Scrape | str]) -> None:
        scrapes = {address: each for address, each in outcomes.items() if isinstance(each, Scrape)}
        failures = {address: each for address, each in outcomes.items() if isinstance(each, str)}
        sample = Sample(self._around.now(), self._around.clock(), scrapes, failures)
        with self._lock:
            self._samples.append(sample)
