"""Draws random faults, one after another, for everything that a service depends on.

for fault in draw(seed):
    hits = fault.inject(targets, wait)

The same seed draws the same faults, with the same strength and duration.
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
from tests.support.driven.replicas import Replicas
from tests.support.faults.proxy import (
    FAILING,
    THROTTLED,
    TOKEN_EXPIRED,
    UNAVAILABLE,
    Effect,
    FaultProxy,
    delay,
    fail_statements,
    hang_up,
    lose_reply,
    skip_keys,
    swallow,
)

BURST = 300
"""Records."""
FREEZE_SECONDS = 15.0
"""Longer than the failover time, so that another worker takes the leases."""


@dataclass(frozen=True)
class Targets:
    """`limits`: the proxy between record processors and DynamoDB. `leases`: the one between daemon and DynamoDB."""

    replicas: Replicas
    produce: Producer
    limits: FaultProxy
    leases: FaultProxy


Wait: TypeAlias = Callable[[float], object]
"""Waits for a number of seconds, or until the run is over."""
Action: TypeAlias = Callable[[Targets, "RandomFault", Wait], int]
"""Injects the fault and returns how many requests, processes or records it hit."""


@dataclass(frozen=True)
class RandomFault:
    """A fault of a `strength` of 0 to 1 that lasts for `seconds` after a `pause`.

    `random_bits` seed whatever else is drawn for it.
    """

    name: str
    strength: float
    seconds: float
    pause: float
    random_bits: int

    @property
    def ends_processes(self) -> bool:
        """Whether a process may exit because of it: a death, or an expired lease."""
        return self.name not in SURVIVABLE

    @property
    def is_outage(self) -> bool:
        """Whether something that all workers need fails: their shards wait for its end."""
        return self.name not in DEATHS

    def inject(self, targets: Targets, wait: Wait) -> int:
        return ACTIONS[self.name](targets, self, wait)


def draw(seed: int) -> Iterator[RandomFault]:
    """Endless: all faults in random order, then all again in another order. Short runs begin with a kill."""
    random = Random(seed)
    for turn in count():
        names = random.sample(sorted(ACTIONS), len(ACTIONS))
        for name in names if turn else sorted(names, key=lambda name: name != KILL):
            yield RandomFault(
                name, random.random(), random.uniform(1.0, 5.0), random.uniform(0.5, 3.0), random.getrandbits(32)
            )


def kills(seed: int) -> Iterator[RandomFault]:
    """Endless: the same, but only what gets `kill -9`."""
    return (fault for fault in draw(seed) if fault.name.startswith("kill -9"))


# --- What can go wrong for a service ---------------------------------------------------------------------------------


def _on(
    plane: Literal["limits", "leases"], effect: Callable[[float], Effect], *operations: str, chance: float = 1.0
) -> Action:
    """Applies `effect` of the strength to requests of the plane, each with a probability of at most `chance`."""

    def inject(targets: Targets, fault: RandomFault, wait: Wait) -> int:
        proxy: FaultProxy = getattr(targets, plane)
        with proxy.fault(effect(fault.strength), *operations, probability=chance * _share(fault)) as proxied:
            wait(fault.seconds)
        return proxied.hits.total()

    return inject


def _share(fault: RandomFault) -> float:
    """The share of requests that are hit. The stronger half of all faults hits every request."""
    return min(1.0, 0.2 + 1.6 * fault.strength)


def _always(effect: Effect) -> Callable[[float], Effect]:
    return lambda _strength: effect


def _both_black_holes(targets: Targets, fault: RandomFault, wait: Wait) -> int:
    with targets.limits.fault(swallow) as limits, targets.leases.fault(swallow) as leases:
        wait(fault.seconds)
    return limits.hits.total() + leases.hits.total()


def _kill_record_processor(targets: Targets, fault: RandomFault, _wait: Wait) -> int:
    running = targets.replicas.running
    return _kill(sorted(process for worker in running for process in worker.record_processors()), fault)


def _kill_jvm(targets: Targets, fault: RandomFault, _wait: Wait) -> int:
    return _kill([jvm for jvm in [targets.replicas.pick(fault.random_bits).jvm()] if jvm], fault)


def _kill(processes: list[int], fault: RandomFault) -> int:
    """Kills one of the processes. There may be none right after a start."""
    for process in processes[fault.random_bits % max(1, len(processes)) :][:1]:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
            return 1
    return 0


def _kill_worker(targets: Targets, fault: RandomFault, _wait: Wait) -> int:
    targets.replicas.kill(targets.replicas.pick(fault.random_bits))
    return 1


def _kill_all(targets: Targets, _fault: RandomFault, _wait: Wait) -> int:
    dead = targets.replicas.running
    targets.replicas.kill(*dead)
    return len(dead)


def _stop_worker(targets: Targets, fault: RandomFault, _wait: Wait) -> int:
    code = targets.replicas.stop(targets.replicas.pick(fault.random_bits))
    if code:
        raise AssertionError(f"a worker that was stopped exited with {code}")
    return 1


def _freeze(*, jvm_only: bool) -> Action:
    def inject(targets: Targets, fault: RandomFault, wait: Wait) -> int:
        resume = targets.replicas.freeze(targets.replicas.pick(fault.random_bits), jvm_only=jvm_only)
        try:
            wait(FREEZE_SECONDS + fault.seconds)
        finally:
            resume()
        return 1

    return inject


def _poison(targets: Targets, fault: RandomFault, _wait: Wait) -> int:
    targets.produce.put_these(list(histories(Random(fault.random_bits), BURST, users=20, poison=1.0)))
    return BURST


def _duplicates(targets: Targets, fault: RandomFault, _wait: Wait) -> int:
    """Puts records again that were put at any time before."""
    before = list(targets.produce.put)
    targets.produce.put_these(Random(fault.random_bits).choices(before, k=BURST) if before else [])
    return BURST if before else 0


KILL = "kill -9 of a record processor"
WRITE, READ = "BatchExecuteStatement", "BatchGetItem"

SURVIVABLE: Mapping[str, Action] = {
    "limits throttled": _on("limits", _always(THROTTLED)),
    "limits: statements throttled": _on("limits", lambda strength: fail_statements(0.1 + 0.8 * strength), WRITE),
    "limits: keys left unread": _on("limits", lambda strength: skip_keys(0.1 + 0.8 * strength), READ),
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
"""Faults that every process survives."""

CUT_OFF: Mapping[str, Action] = {
    "leases: replies lost": _on("leases", _always(lose_reply)),
    "leases: black hole": _on("leases", _always(swallow)),
    "leases: connections cut": _on("leases", _always(hang_up)),
    "both: black hole": _both_black_holes,
}
"""Outages in which leases may expire."""

DEATHS: Mapping[str, Action] = {
    KILL: _kill_record_processor,
    "kill -9 of the JVM": _kill_jvm,
    "kill -9 of a worker": _kill_worker,
    "kill -9 of all workers": _kill_all,
    "SIGTERM to a worker": _stop_worker,
    "a worker frozen": _freeze(jvm_only=False),
    "the JVM of a worker frozen": _freeze(jvm_only=True),
}
"""Another worker, or a new one, reads the shards meanwhile."""

ACTIONS: Mapping[str, Action] = {**SURVIVABLE, **CUT_OFF, **DEATHS}
