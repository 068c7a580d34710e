"""Makes malloc return the memory of a large batch to the system, before the other imports use it."""

import ctypes
from contextlib import suppress

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_BYTES = 128 * 1024
"""Options of glibc's mallopt, and the value with which both of them start."""


def return_memory() -> None:
    """For this process and its forks.

    Otherwise glibc raises its thresholds with each large object that is freed, and keeps twice as much.
    """
    with suppress(AttributeError):  # a libc without mallopt
        for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            ctypes.CDLL(None).mallopt(option, _BYTES)
