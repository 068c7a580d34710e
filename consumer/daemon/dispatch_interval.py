"""A class of the KCL with one constant changed, so that shards start sooner after their lease was taken.

The KCL's main loop advances each shard by one step and then pauses for `shardConsumerDispatchPollIntervalMillis`. A
shard needs four steps until its first batch. The pause is a second, and the MultiLangDaemon has no property for it (KCL
3.1.3 to 3.5.1). It is a constant of CoordinatorConfig, which is read from the locked jar.

`schedulerInitializationBackoffTimeMillis` has the same constant; consumer.properties sets it.
"""

import zipfile

from consumer.daemon import jars

NAME = "software/amazon/kinesis/coordinator/CoordinatorConfig"
MILLIS = 200
"""A fifth of the KCL's second."""
_LONG = b"\x05"
"""The tag of a long in the constants of a class file."""
_BEFORE = 1_000


def class_file() -> bytes:
    """Raises ValueError when the class is not the expected one: look at it again after an upgrade of the KCL."""
    with zipfile.ZipFile(jars.path_of("amazon-kinesis-client")) as jar:
        return changed(jar.read(f"{NAME}.class"))


def changed(original: bytes) -> bytes:
    """The class file with the other constant. Raises ValueError unless it occurs exactly once."""
    before, after = (_LONG + millis.to_bytes(8, "big") for millis in (_BEFORE, MILLIS))
    if original.count(before) != 1:
        raise ValueError(f"{NAME} does not have the constant {_BEFORE} once")
    return original.replace(before, after)
