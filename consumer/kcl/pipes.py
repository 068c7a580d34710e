"""The pipes to the daemon, put out of everybody else's reach.

The MultiLangDaemon speaks over the child's standard input and output, where a stray print is a protocol error.
This module imports nothing but the standard library's smallest parts, so that it can run before all else.
"""

import os
import sys
from typing import NamedTuple, TextIO


class Pipes(NamedTuple):
    """What the daemon writes to us, and what we write to the daemon."""

    input: TextIO
    output: TextIO


def take_over() -> Pipes:
    """Moves file descriptors 0 and 1 away: afterwards 0 reads nothing and 1 writes to standard error."""
    sys.stdout.flush()
    daemon_in, daemon_out = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return Pipes(
        os.fdopen(daemon_in, "r", encoding="utf-8", newline="\n"),
        os.fdopen(daemon_out, "w", encoding="utf-8", newline="\n"),
    )
