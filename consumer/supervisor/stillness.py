"""Whether the JVM shows signs of life. None of them depends on AWS, so no outage is taken for a hang.

A stopped process uses no CPU time, while a JVM always uses some. A deadlock may leave some threads running: then the
main loop of the KCL is missed, which logs its state every 30 s. An operator's own logback.xml may leave that line out,
so its absence counts only after it was seen repeatedly.
"""

LOOPING = b"Current thread pool executor state"
"""What the main loop of KCL's Scheduler logs at INFO every 30 s, whatever AWS does."""
LOOP_SECONDS = 30.0
"""The pause between two of these lines."""
SEEN = 2
"""How often the line must have been seen until its absence counts."""
_LONGEST_PAUSE = 5.0


class Stillness:
    """Counts for how long there was no sign of life. `now`: monotonic seconds.

    Time in which this process itself did not run does not count: the whole container may have been frozen.
    """

    def __init__(self, now: float) -> None:
        self._looked = now
        self._cpu: float | None = None
        self._without_cpu = self._without_loop = 0.0
        self._loops = 0

    def looped(self) -> None:
        """The main loop has logged its line."""
        self._loops += 1
        self._without_loop = 0.0

    def seconds(self, cpu: float | None, now: float) -> float:
        """For how long the JVM has been still. `cpu`: the CPU time that it has used, None if that is unknown."""
        passed = min(now - self._looked, _LONGEST_PAUSE)
        self._looked = now
        self._without_cpu = 0.0 if cpu is None or cpu != self._cpu else self._without_cpu + passed
        self._without_loop += passed
        self._cpu = cpu
        return max(self._without_cpu, self._without_loop - LOOP_SECONDS if self._loops >= SEEN else 0.0)
