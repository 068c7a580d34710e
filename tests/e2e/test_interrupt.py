"""Ctrl-C at any time: every command exits at once with 130 and without a traceback."""

import fcntl
import json
import signal
import socket
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import IO

import pytest

from consumer.__main__ import INTERRUPTED
from tests.support.driven.waiting import until

SOUND = {
    "AWS_REGION": "eu-west-1",
    "AWS_ACCESS_KEY_ID": "a",
    "AWS_SECRET_ACCESS_KEY": "b",
    "CONSUMER_STREAM_NAME": "s",
    "CONSUMER_QUARANTINE": "s3://bucket",
    "CONSUMER_ARCHIVE": "s3://archive",
}
FIRST_OF_OURS = "consumer.cli"
"""The first import of the package after the start of a command. Earlier imports belong to the start of Python."""
ASKING = [
    *(("provision",), ("doctor",), ("status",), ("status", "--watch"), ("limits", "u-1"), ("quarantine", "list")),
    *(("quarantine", "replay"), ("put", "--generate", "5"), ("put", "--from", "s3://archive")),
    *(("rebuild",), ("verify", "--processes", "2")),
]
"""Commands that call AWS."""
OTHERS = [("apply", "-"), ("lambda-invoke", "-"), ("put", "-"), ("properties",), ("run",), ("--version",), ("--help",)]


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that accepts connections and never responds."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@contextmanager
def started(
    arguments: Sequence[str], server: socket.socket, options: Sequence[str] = ("-m", "consumer")
) -> Iterator[subprocess.Popen[str]]:
    host, port = server.getsockname()
    command = [sys.executable, *options, *arguments]
    variables: Mapping[str, str] = SOUND | {"AWS_ENDPOINT_URL": f"http://{host}:{port}"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=variables, text=True, **pipes) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[str]) -> tuple[int, str, list[str]]:
    """Exit code, stdout, and the lines of stderr without Python's report of imports."""
    assert process.stdout
    assert process.stderr
    output, errors = process.stdout.read(), process.stderr.read().splitlines()
    return process.wait(), output, [line for line in errors if not line.startswith("import time:")]


def imported(process: subprocess.Popen[str]) -> Iterator[str]:
    """The imported modules, as Python reports them."""
    assert process.stderr
    for line in process.stderr:
        yield line.rpartition("|")[2].strip()


def interrupted_after(arguments: Sequence[str], imports: int, server: socket.socket) -> tuple[int, str, list[str]]:
    """Interrupts a command after this number of imports."""
    with started(arguments, server, ("-X", "importtime", "-m", "consumer")) as process:
        modules = imported(process)
        assert FIRST_OF_OURS in modules
        assert len([module for module, _ in zip(modules, range(imports), strict=False)]) == imports
        process.send_signal(signal.SIGINT)
        return ended(process)


@pytest.mark.parametrize("arguments", [*ASKING, *OTHERS], ids=" ".join)
def test_while_a_command_is_imported(arguments: Sequence[str], silent: socket.socket) -> None:
    imports = Random(" ".join(arguments)).randrange(200)
    assert interrupted_after(arguments, imports, silent) == (INTERRUPTED, "", [])


@pytest.mark.parametrize("imports", [0, 1, *range(2, 400, 40)])
def test_after_any_number_of_imports(imports: int, silent: socket.socket) -> None:
    assert interrupted_after(("status",), imports, silent) == (INTERRUPTED, "", [])


@pytest.mark.parametrize("imports", [0, 5, 20])
def test_during_the_liveness_check(imports: int, silent: socket.socket) -> None:
    assert interrupted_after(("doctor", "--live"), imports, silent) == (INTERRUPTED, "", [])


@pytest.mark.parametrize("arguments", ASKING, ids=" ".join)
def test_while_aws_does_not_answer(arguments: Sequence[str], silent: socket.socket) -> None:
    with started(arguments, silent) as process:
        connection, _ = silent.accept()
        process.send_signal(signal.SIGINT)
        code, output, errors = ended(process)
        connection.close()
    assert (code, output) == (INTERRUPTED, "")
    assert [line for line in errors if "Traceback" in line or "Exception" in line] == []


@pytest.mark.parametrize("arguments", [("apply", "-"), ("lambda-invoke", "-"), ("put", "-")], ids=" ".join)
def test_while_it_reads_standard_input(arguments: Sequence[str], silent: socket.socket) -> None:
    with started(arguments, silent) as process:
        send_poison(process)
        process.send_signal(signal.SIGINT)
        assert ended(process) == (INTERRUPTED, "", [])


def send_poison(process: subprocess.Popen[str]) -> IO[str]:
    """Returns the open input of the command, which has read the line and waits for more."""
    assert process.stdin
    process.stdin.write("poison\n")
    process.stdin.flush()
    pipe = process.stdin.fileno()
    until(lambda: _unread(pipe) == 0 and _sleeps(process.pid), "the command to wait for more")
    return process.stdin


def _unread(pipe: int) -> int:
    """The number of unread bytes in a pipe."""
    return int(struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0])


def _sleeps(process: int) -> bool:
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "S"


IGNORING = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
os.execv(sys.executable, [sys.executable, "-m", "consumer", "apply", "-", "--json"])
"""
"""A script starts its background jobs in this way."""


def test_an_ignored_signal_stays_ignored(silent: socket.socket) -> None:
    with started((), silent, ("-c", IGNORING)) as process:
        stdin = send_poison(process)
        process.send_signal(signal.SIGINT)
        stdin.close()
        code, output, errors = ended(process)
    assert (code, json.loads(output)["outcomes"]["quarantined"], errors) == (0, 1, [])


SCRIPT = """
import threading
from consumer.cli import main as command_line
from consumer.__main__ import main

def run():
    threading.Thread(target=threading.Event().wait).start()
    print("done", flush=True)

command_line.main = run
main()
"""
"""A command that has finished while a thread has not. Python waits for the thread."""


@pytest.mark.parametrize("signals", [1, 3])
def test_while_python_waits_for_threads(signals: int, silent: socket.socket) -> None:
    with started((), silent, ("-c", SCRIPT)) as process:
        assert process.stdout
        assert process.stdout.readline() == "done\n"
        for _ in range(signals):
            process.send_signal(signal.SIGINT)
        assert ended(process) == (INTERRUPTED, "", [])


HELD = """
from consumer.cli import main as command_line
from consumer.__main__ import main

def run():
    try:
        print("begun", flush=True)
        while True: pass
    finally:
        print("cleaning up", flush=True)
        while True: pass

command_line.main = run
main()
"""
"""A command whose cleanup never ends."""


def test_the_first_signal_allows_cleanup_and_the_second_exits(silent: socket.socket) -> None:
    with started((), silent, ("-c", HELD)) as process:
        assert process.stdout
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "cleaning up\n"
        process.send_signal(signal.SIGINT)
        assert ended(process) == (INTERRUPTED, "", [])
