"""What is aimed at. A goal's key is that of a row or a figure."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Goal:
    """What a row or a figure should reach.

    must  at least, if it is a ratio to peer (a), else at most
    cpu   whether it is CPU time, which depends on the machine
    """

    must: float
    aim: float | None = None
    cpu: bool = False

    def compared(self, value: float, peer: float | None) -> float:
        """The figure's value to compare with `must`. `peer`: what an event of peer (a) cost in the same run, in us."""
        return value * PEER_MICROS / peer if self.cpu and peer else value


PEER_MICROS = 466.0
"""What an event of peer (a) cost on the machine for which the goals of CPU time were set, in us, at its best."""


RATIOS: Mapping[str, Goal] = {
    "caught-up": Goal(12, 18),
    "behind-1000": Goal(22, 35),
    "behind-10000": Goal(25, 40),
    "replay": Goal(20, 30),
    "worst-case": Goal(6, 8),
}
FIGURES: Mapping[str, Goal] = {
    "write": Goal(60, 35, cpu=True),
    "archive": Goal(3, cpu=True),
    "rebuild": Goal(20, cpu=True),  # 50,000 events a second on a core
    "verify": Goal(20, cpu=True),
    "worker": Goal(45, 30, cpu=True),
    "idle-jvm": Goal(65, 30),  # 35 % less than the JVM's own settings, 100 ms/s; hardly depends on the machine
    "memory-1": Goal(55, 40),
    "memory-4": Goal(50, 30),
    "memory-16": Goal(25, 20),
    "memory-behind-1000": Goal(80, 60),
    "memory-behind-10000": Goal(80, 60),
    "throttled": Goal(0.5, 0),
    "latency-p50": Goal(600),
    "latency-p99": Goal(1_500),
}
