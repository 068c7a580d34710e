"""Processes as a container's first one must treat them: none is left behind, none stays a zombie. Linux."""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36

# The daemon is started through this: it must not outlive a supervisor that was killed, or two workers would share an
# id. Had the supervisor gone before prctl took effect, the parent would be another process.
_PARENT_DEATH_SIGNAL = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


def adopt_orphans() -> None:
    """A child of a child becomes ours when its parent dies, even when we are not process 1."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def start(command: Sequence[str], environment: Mapping[str, str], output: int) -> int:
    """The id of a new process, leader of a session of its own, both outputs to the descriptor `output`."""
    tethered = (sys.executable, "-I", "-S", "-c", _PARENT_DEATH_SIGNAL, str(os.getpid()), *command)
    files = (
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, output, 1),
        (os.POSIX_SPAWN_DUP2, output, 2),
    )
    # Python ignores SIGPIPE, and an ignored signal would be inherited.
    return os.posix_spawn(
        sys.executable, tethered, dict(environment), file_actions=files, setsid=True, setsigdef=[signal.SIGPIPE]
    )


def ended(process: int) -> int | None:
    """How our child ended, as a shell says it (128 + signal), None while it runs. It stays to be reaped."""
    result = os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if result is None:
        return None
    return result.si_status + (0 if result.si_code == os.CLD_EXITED else 128)


def reap(spare: int) -> None:
    """Lets dead children go, up to `spare`, whose id stays its own that way."""
    while (dead := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and dead.si_pid != spare:
        _reap_one(dead.si_pid)


def _reap_one(child: int) -> None:
    try:
        os.waitpid(child, os.WNOHANG)
    except ChildProcessError:
        return


def sweep(leader: int, spared: Collection[int], seconds: float = 5.0) -> bool:
    """Kills what is left of the session of `leader` and every orphan that came to us; True when none is left.

    `spared`: children that are none of the daemon's.
    """
    deadline = time.monotonic() + seconds
    _kill_group(leader)
    while left := children() - set(spared):
        for child in left:
            _kill(child)
            _reap_one(child)
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def children(parent: int | None = None) -> set[int]:
    """The children of a process, or our own, dead ones included."""
    its = str(parent or os.getpid())
    return {int(path.name) for path in Path("/proc").glob("[0-9]*") if _parent(path) == its}


def _parent(process: Path) -> str | None:
    try:
        # The name, in parentheses, may hold anything.
        return (process / "stat").read_text(errors="replace").rpartition(")")[2].split()[1]
    except (OSError, IndexError):
        return None


def _kill_group(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return


def _kill(process: int) -> None:
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return
