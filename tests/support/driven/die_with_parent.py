"""Runs a command that cannot outlive the process that started it (Linux).

    python die_with_parent.py COMMAND ARGUMENT...

Start it in a new session, with a pipe as standard input to which nothing is ever written. A forked watcher reads that
pipe. However the parent exits, also after `kill -9`, the kernel closes the pipe; the watcher then kills the whole
process group, including itself. The command replaces this process, so it has the process id that the parent knows.
"""

import os
import signal
import sys


def main(command: list[str]) -> None:
    if os.fork() == 0:
        _watch()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.execvp(command[0], command)


def _watch() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # meant for the command; the watcher stays until the pipe closes
    while os.read(0, 1):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])
