"""The memory of a service's processes over time, and whether it grows (Linux)."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from statistics import linear_regression

from consumer.monitoring.process_metrics import resident_bytes
from tests.support.driven.service import Service

SUPERVISOR, JVM, RECORD_PROCESSOR = "supervisor", "JVM", "record processor"


@dataclass(frozen=True)
class Reading:
    """Resident memory of a process at `moment`, in seconds."""

    moment: float
    role: str
    process: int
    mib: float


@dataclass(frozen=True)
class Life:
    """The memory of one process from `since` on, for `seconds`: in MiB, the slope in MiB per minute.

    `growth` is the slope times the duration; unlike `end`, it does not depend on a single reading.
    """

    role: str
    process: int
    since: float
    seconds: float
    start: float
    most: float
    end: float
    slope: float

    @property
    def growth(self) -> float:
        return self.slope * self.seconds / 60


def readings(running: Service, moment: float) -> list[Reading]:
    """A reading of every process that is running now."""
    jvm = running.jvm()
    roles = [(SUPERVISOR, running.process.pid)] + ([(JVM, jvm)] if jvm else [])
    roles += [(RECORD_PROCESSOR, process) for process in running.record_processors()]
    found = ((role, process, resident_mib(process)) for role, process in roles)
    return [Reading(moment, role, process, mib) for role, process, mib in found if mib]


def resident_mib(process: int) -> float:
    """0 if the process has exited."""
    return (resident_bytes(process) or 0) / 2**20


def longest_lives(taken: Iterable[Reading], warm_up: float, record_processors: int) -> list[Life]:
    """The lives of the supervisor, the JVM and the record processors that were observed longest.

    The first `warm_up` seconds of each do not count; a process that did not live longer is left out.
    """
    by_process: dict[tuple[str, int], list[Reading]] = defaultdict(list)
    for reading in taken:
        by_process[reading.role, reading.process].append(reading)
    lives = sorted(filter(None, (_life(some, warm_up) for some in by_process.values())), key=lambda life: -life.seconds)
    most = {SUPERVISOR: 1, JVM: 1, RECORD_PROCESSOR: record_processors}
    return [life for role, count in most.items() for life in islice((one for one in lives if one.role == role), count)]


def _life(taken: list[Reading], warm_up: float) -> Life | None:
    warm = [reading for reading in taken if reading.moment - taken[0].moment >= warm_up]
    if len(warm) < 2:
        return None
    sizes = [reading.mib for reading in warm]
    slope = linear_regression([reading.moment / 60 for reading in warm], sizes).slope
    first, last = warm[0], warm[-1]
    seconds = last.moment - first.moment
    return Life(first.role, first.process, first.moment, seconds, sizes[0], max(sizes), sizes[-1], slope)
