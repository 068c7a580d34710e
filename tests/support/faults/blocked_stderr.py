"""Runs a module whose standard error is a pipe that is never read.

Usage: `python -m tests.support.faults.blocked_stderr full|closed MODULE ARGUMENT...`.
`full`: the pipe takes no more bytes. `closed`: the reading end is closed.
"""

import fcntl
import os
import sys

PIPE_BYTES = 4096


def main(how: str, module: str, *arguments: str) -> None:
    read, write = os.pipe()
    if how == "full":
        os.set_inheritable(read, True)
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        os.write(write, bytes(PIPE_BYTES))
    else:
        os.close(read)
    os.dup2(write, 2)
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])


if __name__ == "__main__":
    main(*sys.argv[1:])
