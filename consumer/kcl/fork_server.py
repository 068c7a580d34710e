"""`consumer fork-server`: the process from which record processors are forked.

It has imported everything and created the clients, and its forks share that memory. A fork receives the pipes to the
daemon from the process that the daemon has started (fork_client.py). The server has one thread and waits for nobody
but the next connection; its forks do the rest.
"""

import gc
import os
import signal
import socket
import sys
from contextlib import suppress
from functools import partial
from typing import NoReturn

from consumer.engine.errors import SettingsError
from consumer.kcl import pipes
from consumer.kcl.fork_client import PIPES, READY
from consumer.kcl.process import Prepared, exit_process, prepare, run

_HANDOVER_SECONDS = 10.0


def serve(listener: socket.socket) -> NoReturn:
    """Forks a record processor for each connection to the listener."""
    # The supervisor ends this process. Without SIGCHLD, the kernel reaps the forks.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_IGN)
    try:
        prepared = prepare()
    except SettingsError:
        sys.exit(2)  # each record processor reports it
    gc.collect()
    # The collector would otherwise write to the pages of every object, and thereby copy them.
    gc.freeze()
    while True:
        connection, _ = listener.accept()
        # If the fork fails, the connection is closed, and the process at its other end is the record processor.
        with connection:
            if _fork() == 0:
                _become(connection, listener, prepared)


def _fork() -> int:
    """As os.fork; -1 if there is no memory or process for it."""
    try:
        return os.fork()
    except OSError as error:
        sys.stderr.write(f"consumer: fork server: {error.strerror}\n")
        return -1


def _become(connection: socket.socket, listener: socket.socket, prepared: Prepared) -> NoReturn:
    """Becomes the record processor whose pipes the other end of the connection has."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    received = _receive(connection)
    if len(received) != len(PIPES):
        exit_process(1)
    # The listener is standard input, so it has kept that number from being one of those received.
    listener.close()
    for number, descriptor in zip(PIPES, received, strict=True):
        os.dup2(descriptor, number)
        os.close(descriptor)
    end = partial(_end, connection)
    run(pipes.take_over(), lambda: prepared, partial(_until_closed, connection), end)
    end(1)


def _receive(connection: socket.socket) -> list[int]:
    """The descriptors of the pipes; none if the other end is gone."""
    try:
        connection.settimeout(_HANDOVER_SECONDS)
        connection.sendall(READY)
        _, received, _, _ = socket.recv_fds(connection, 1, len(PIPES))
        connection.settimeout(None)
    except OSError:
        return []
    return received


def _until_closed(connection: socket.socket) -> None:
    """Returns when the process that the daemon has started is gone. It sends nothing."""
    with suppress(OSError):
        connection.recv(1)


def _end(connection: socket.socket, code: int) -> NoReturn:
    with suppress(OSError):
        connection.send(bytes([code]))
    exit_process(code)
