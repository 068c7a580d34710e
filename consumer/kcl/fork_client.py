"""The process that the daemon starts for a shard, if a fork of the fork server is its record processor.

`hand_over` passes the pipes to the daemon to the fork, and replaces this process with a small one. That one has to
stay, because the daemon waits for the exit of the process that it started. This module imports only small parts of the
standard library: without a fork server, it must cost nothing.
"""

import os
import signal
import socket
import sys

SOCKET = "fork-server"
"""The name of the socket in the run directory."""
READY = b"r"
"""Sent by a fork that can take the pipes. A connection that is closed instead is a request to go on alone."""
PIPES = (0, 1, 2)
ANSWER_SECONDS = 20.0
"""The fork server may have to start first."""

# Waits for the exit code of the fork. Without one, the fork was killed. Exits with the daemon, and the fork with it.
_WAITER = """
import os, select, sys
connection, daemon = int(sys.argv[1]), int(sys.argv[2])
answer = select.poll()
answer.register(connection, select.POLLIN)
while not answer.poll(1000) and os.getppid() == daemon:
    pass
code = answer.poll(0) and os.read(connection, 1)
os._exit(code[0] if code else 1)
"""


def hand_over(run_directory: str | None) -> None:
    """Returns if this process is to be the record processor itself."""
    connection = _connected(run_directory) if run_directory else None
    if connection is None:
        return
    daemon = os.getppid()
    socket.send_fds(connection, [READY], PIPES)
    # From here on the fork is the record processor. If this process kept the pipes, the daemon would not see their end.
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    connection.set_inheritable(True)
    arguments = ("-I", "-S", "-c", _WAITER, str(connection.fileno()), str(daemon))
    os.execv(sys.executable, (sys.executable, *arguments))  # noqa: S606


def _connected(run_directory: str) -> socket.socket | None:
    """A connection to a fork that waits for the pipes; None if this process is to go on alone."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(ANSWER_SECONDS)
        _connect(connection, run_directory)
        if connection.recv(1) == READY:
            connection.settimeout(None)
            return connection
    except OSError:
        pass
    connection.close()
    return None


def _connect(connection: socket.socket, run_directory: str) -> None:
    folder = os.open(run_directory, os.O_PATH | os.O_DIRECTORY)
    try:
        # The path of a socket is limited to 107 bytes.
        connection.connect(f"/proc/self/fd/{folder}/{SOCKET}")
    finally:
        os.close(folder)
