"""`consumer` commands as processes that start at once: forks of one process that has imported the command line.

A new Python needs most of a second for these imports, and the tests run hundreds of commands. A fork has the arguments,
the environment, the directory and the standard streams that it is given, and exits as any Python does.
"""

import atexit
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from tempfile import TemporaryFile
from typing import IO

ROOT = Path(__file__).parents[3]
LARGEST = 100_000
"""Bytes of a request."""
IMPORTED_LATE = (
    *("consumer.bootstrap", "consumer.limit_readers", "consumer.pages.compose", "consumer.supervisor.start"),
    "typer.rich_utils",
)
"""What commands import when they run, besides the tools of consumer.admin."""


def run(
    *arguments: str | bytes,
    environment: Mapping[str, str],
    given: bytes = b"",
    directory: Path = ROOT,
    output: int | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Runs a command with `given` on stdin. `output`: the file descriptor of its stdout, which is then not returned."""
    with ExitStack() as stack:
        stdin, stdout, stderr = (stack.enter_context(TemporaryFile()) for _ in range(3))
        stdin.write(given)
        stdin.seek(0)
        request = [[os.fsdecode(each) for each in arguments], dict(environment), str(directory)]
        files = [stdin.fileno(), stdout.fileno() if output is None else output, stderr.fileno()]
        return subprocess.CompletedProcess(arguments, _exit_code(request, files), _content(stdout), _content(stderr))


def in_text(run: subprocess.CompletedProcess[bytes]) -> subprocess.CompletedProcess[str]:
    return subprocess.CompletedProcess(run.args, run.returncode, run.stdout.decode(), run.stderr.decode())


def _content(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


def _exit_code(request: object, files: Sequence[int]) -> int:
    server = _server()
    socket.send_fds(server, [json.dumps(request).encode()], files)
    code = server.recv(LARGEST)
    if not code:
        raise ChildProcessError("the process that forks commands has exited")
    return int(code)


@cache
def _server() -> socket.socket:
    """Starts the process that forks. It exits with this one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        # Modules must not see an environment that a command is not given. Ctrl-C is for the tests.
        process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=theirs.fileno(),
            env={"PATH": os.environ["PATH"]},
            cwd=ROOT,
            start_new_session=True,
        )
    atexit.register(_stop, process, ours)
    return ours


def _stop(process: subprocess.Popen[bytes], connection: socket.socket) -> None:
    connection.close()
    process.kill()
    process.wait()


def _import_all() -> None:
    from consumer import admin
    from consumer.cli import main  # noqa: F401

    tools = [module.name for module in iter_modules(admin.__path__, "consumer.admin.")]
    for name in (*tools, *IMPORTED_LATE):
        import_module(name)


def _serve() -> None:
    """Forks for each request, and answers with the exit code. Returns in the forks only."""
    requests = socket.socket(fileno=os.dup(0))
    while True:
        request, files, _, _ = socket.recv_fds(requests, LARGEST, 3)
        if not request:
            os._exit(0)  # nobody is left who asks
        if os.fork() == 0:
            requests.close()
            _become(request, files)
            return
        for file in files:
            os.close(file)
        _, status = os.wait()
        requests.send(str(os.waitstatus_to_exitcode(status)).encode())


def _become(request: bytes, files: Sequence[int]) -> None:
    """Makes this process the requested one."""
    arguments, environment, directory = json.loads(request)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    sys.argv[1:] = arguments


if __name__ == "__main__":
    from consumer.__main__ import main

    _import_all()
    _serve()
    main()
