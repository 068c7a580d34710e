"""Moves the pipes to the daemon to private file descriptors.

The MultiLangDaemon communicates over the standard input and output of the process, where a stray print is a protocol
error. This module imports only small parts of the standard library, so that it can run before all other imports.
"""

import os
import select
import sys
from collections.abc import Callable
from typing import NamedTuple, TextIO


class Pipes(NamedTuple):
    """The ends of the pipes.

    input        carries messages from the daemon
    output       carries messages to it
    is_readable  waits up to so many seconds for a message; the daemon sends none before the last one is answered
    """

    input: TextIO
    output: TextIO
    is_readable: Callable[[float], bool]


def take_over() -> Pipes:
    """Moves file descriptors 0 and 1. Afterwards 0 is empty and 1 writes to standard error."""
    sys.stdout.flush()
    daemon_in, daemon_out = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return Pipes(
        os.fdopen(daemon_in, "r", encoding="utf-8", newline="\n"),
        os.fdopen(daemon_out, "w", encoding="utf-8", newline="\n"),
        lambda seconds: bool(select.select([daemon_in], [], [], seconds)[0]),
    )
