"""Whether the JVM shows signs of life. They must not depend on AWS: an outage is no hang.

A stopped process uses no CPU time, while a JVM always uses some, for its timers. The lines that KCL's main loop logs
every 30 s would say more, but the loop waits for DynamoDB in an outage, and then logs nothing (decision 65).
"""

_LONGEST_PAUSE = 5.0


class Stillness:
    """Counts the seconds without a sign of life. `now`: monotonic seconds.

    Time in which this process itself did not run does not count: the whole container may have been frozen.
    """

    def __init__(self, now: float) -> None:
        self._looked = now
        self._cpu: float | None = None
        self._seconds = 0.0

    def seconds(self, cpu: float | None, now: float) -> float:
        """For how long the JVM has been still. `cpu`: the CPU time that it has used, None if that is unknown."""
        passed = min(now - self._looked, _LONGEST_PAUSE)
        self._seconds = self._seconds + passed if cpu is not None and cpu == self._cpu else 0.0
        self._looked, self._cpu = now, cpu
        return self._seconds
