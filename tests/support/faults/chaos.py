"""Faults drawn at random, one after another, on everything that a service stands on.

for strike in draw(seed):
    hits = strike.befall(scene, wait)

The same seed draws the same strikes: which, how hard, for how long.
"""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Literal, TypeAlias

from consumer.limits.sample import histories
from tests.support.driven.load import Producer
from tests.support.driven.service import Service
from tests.support.faults.proxy import (
    FAILING,
    THROTTLED,
    TOKEN_EXPIRED,
    UNAVAILABLE,
    Effect,
    FaultProxy,
    delay,
    hang_up,
    leave_unread,
    lose_reply,
    spoil_statements,
    swallow,
)

BURST = 300
"""Records."""


@dataclass(frozen=True)
class Scene:
    """`limits`: the way of the record processors to DynamoDB; `leases`: the daemon's."""

    running: Service
    produce: Producer
    limits: FaultProxy
    leases: FaultProxy


Wait: TypeAlias = Callable[[float], object]
"""Lets so many seconds pass, or fewer when all is over."""
Deed: TypeAlias = Callable[[Scene, "Strike", Wait], int]
"""Does it, and says how often it hit: requests, processes or records."""


@dataclass(frozen=True)
class Strike:
    """`strength`: 0 to 1; it lasts for so many `seconds` after a `pause`; `lot`: what else is to be drawn for it."""

    name: str
    strength: float
    seconds: float
    pause: float
    lot: int

    @property
    def ends_processes(self) -> bool:
        """Whether a process may end by it: kills, and what makes a lease run out."""
        return self.name in LETHAL

    def befall(self, scene: Scene, wait: Wait) -> int:
        return DEEDS[self.name](scene, self, wait)


def draw(seed: int) -> Iterator[Strike]:
    """Without end: all there are in a random order, then all again in another. A kill comes first, for short runs."""
    random = Random(seed)
    for turn in count():
        names = random.sample(sorted(DEEDS), len(DEEDS))
        for name in names if turn else sorted(names, key=lambda name: name != KILL):
            yield Strike(
                name, random.random(), random.uniform(1.0, 5.0), random.uniform(0.5, 3.0), random.getrandbits(32)
            )


# --- What can befall a service -------------------------------------------------------------------------------------


def _on(
    plane: Literal["limits", "leases"], effect: Callable[[float], Effect], *operations: str, chance: float = 1.0
) -> Deed:
    """Requests of that plane, each with that chance at the most; `effect` gets the strength."""

    def befall(scene: Scene, strike: Strike, wait: Wait) -> int:
        proxy: FaultProxy = getattr(scene, plane)
        with proxy.fault(effect(strike.strength), *operations, probability=chance * _share(strike)) as fault:
            wait(strike.seconds)
        return fault.hits.total()

    return befall


def _share(strike: Strike) -> float:
    """Of requests that are hit: the stronger half of all strikes hits every one."""
    return min(1.0, 0.2 + 1.6 * strike.strength)


def _always(effect: Effect) -> Callable[[float], Effect]:
    return lambda _strength: effect


def _both_black_holes(scene: Scene, strike: Strike, wait: Wait) -> int:
    with scene.limits.fault(swallow) as limits, scene.leases.fault(swallow) as leases:
        wait(strike.seconds)
    return limits.hits.total() + leases.hits.total()


def _kill_record_processor(scene: Scene, strike: Strike, wait: Wait) -> int:
    return _kill(sorted(scene.running.record_processors()), strike, wait)


def _kill_jvm(scene: Scene, strike: Strike, wait: Wait) -> int:
    return _kill([jvm for jvm in [scene.running.jvm()] if jvm], strike, wait)


def _kill(processes: list[int], strike: Strike, wait: Wait) -> int:
    """One of them. There may be none, as an earlier strike has not been got over yet."""
    for process in processes[strike.lot % max(1, len(processes)) :][:1]:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
            wait(strike.seconds)
            return 1
    return 0


def _poison(scene: Scene, strike: Strike, _wait: Wait) -> int:
    scene.produce.put_these(list(histories(Random(strike.lot), BURST, users=20, poison=1.0)))
    return BURST


def _duplicates(scene: Scene, strike: Strike, _wait: Wait) -> int:
    """Of anything put so far, the oldest included."""
    before = list(scene.produce.put)
    scene.produce.put_these(Random(strike.lot).choices(before, k=BURST) if before else [])
    return BURST if before else 0


KILL = "kill -9 of a record processor"
WRITE, READ = "BatchExecuteStatement", "BatchGetItem"

LASTING: Mapping[str, Deed] = {
    "limits throttled": _on("limits", _always(THROTTLED)),
    "limits: statements throttled": _on("limits", lambda strength: spoil_statements(0.1 + 0.8 * strength), WRITE),
    "limits: keys left unread": _on("limits", lambda strength: leave_unread(0.1 + 0.8 * strength), READ),
    "limits: 500": _on("limits", _always(FAILING)),
    "limits: 503": _on("limits", _always(UNAVAILABLE)),
    "limits: credentials expired": _on("limits", _always(TOKEN_EXPIRED)),
    "limits: replies lost": _on("limits", _always(lose_reply)),
    "limits: delays": _on("limits", lambda strength: delay(2 * strength)),
    "limits: black hole": _on("limits", _always(swallow)),
    "limits: connections cut": _on("limits", _always(hang_up)),
    "leases throttled": _on("leases", _always(THROTTLED), chance=0.3),
    "leases: 500": _on("leases", _always(FAILING), chance=0.3),
    "leases: delays": _on("leases", lambda strength: delay(0.5 * strength)),
    "burst of poison": _poison,
    "burst of duplicates": _duplicates,
}
"""What every process survives."""

LETHAL: Mapping[str, Deed] = {
    KILL: _kill_record_processor,
    "kill -9 of the JVM": _kill_jvm,
    "leases: replies lost": _on("leases", _always(lose_reply)),
    "leases: black hole": _on("leases", _always(swallow)),
    "leases: connections cut": _on("leases", _always(hang_up)),
    "both: black hole": _both_black_holes,
}

DEEDS: Mapping[str, Deed] = {**LASTING, **LETHAL}
