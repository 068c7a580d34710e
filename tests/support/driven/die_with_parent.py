"""Become a command that cannot outlive the process that started it (Linux).

    python die_with_parent.py COMMAND ARGUMENT...

is to be started in a session of its own, with a pipe as its standard input to which nothing is ever written.
A forked watcher reads that pipe. However the parent ends, a `kill -9` included, the kernel closes the pipe:
then the watcher kills the whole process group, itself with it. The command replaces this process, so the
process id that the parent knows is the command's own.
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
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # meant for the command: the leash holds until the end
    while os.read(0, 1):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])
