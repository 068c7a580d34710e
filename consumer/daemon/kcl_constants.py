"""Classes of the KCL with one constant changed, so that shards start sooner after their lease was taken.

The MultiLangDaemon has no property for either of them (KCL 3.1.3 to 3.5.1). The classes are read from the locked jar;
shim_jar.py puts them before the KCL's jars on the class path.
"""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass

from consumer.daemon import jars

_LONG = b"\x05"
"""The tag of a long in the constants of a class file."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A long that the class `name` has once. It becomes `after`."""

    name: str
    before: int
    after: int

    def class_file(self) -> bytes:
        """Raises ValueError when the class is not the expected one: look at it again after an upgrade of the KCL."""
        with zipfile.ZipFile(jars.path_of("amazon-kinesis-client")) as jar:
            return self.changed(jar.read(f"{self.name}.class"))

    def changed(self, original: bytes) -> bytes:
        """The class file with the other constant. Raises ValueError unless it occurs exactly once."""
        before, after = (_LONG + number.to_bytes(8, "big") for number in (self.before, self.after))
        if original.count(before) != 1:
            raise ValueError(f"{self.name} does not have the constant {self.before} once")
        return original.replace(before, after)


DISPATCH_MILLIS = Constant("software/amazon/kinesis/coordinator/CoordinatorConfig", 1_000, 200)
"""The pause of the KCL's main loop, which advances each shard by one step. A shard needs four until its first batch.

`schedulerInitializationBackoffTimeMillis` has the same constant; consumer.properties sets it.
"""

LOCK_SECONDS = Constant("software/amazon/kinesis/leader/DynamoDBLockBasedLeaderDecider", 30, 2)
"""How often the leader renews its lock, and others look at it. It is also how long the main loop of a worker stands
still that lost a race for the lock; it starts no shard meanwhile."""

CONSTANTS: Sequence[Constant] = (DISPATCH_MILLIS, LOCK_SECONDS)
