"""What the first process of a container must do for the others: leave none behind, and no zombies. Linux only."""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36

# The daemon is started through this program, so that the kernel kills it when the supervisor dies. If it outlived the
# supervisor, two workers would have the same id. A supervisor that died before prctl took effect sends no signal; the
# program then has another parent and does not start the daemon.
_PARENT_DEATH_SIGNAL = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


def adopt_orphans() -> None:
    """Makes this process the parent of its descendants whose parent has died, even if it is not process 1."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def start(
    command: Sequence[str], environment: Mapping[str, str], output: int, standard_input: int | None = None
) -> int:
    """Starts a process in a new session, with stdout and stderr going to the descriptor `output`; returns its id.

    It is killed when the thread that calls this exits.
    """
    guarded = (sys.executable, "-I", "-S", "-c", _PARENT_DEATH_SIGNAL, str(os.getpid()), *command)
    nothing = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
    files = (
        nothing if standard_input is None else (os.POSIX_SPAWN_DUP2, standard_input, 0),
        (os.POSIX_SPAWN_DUP2, output, 1),
        (os.POSIX_SPAWN_DUP2, output, 2),
    )
    # Python ignores SIGPIPE, and children inherit ignored signals.
    return os.posix_spawn(
        sys.executable, guarded, dict(environment), file_actions=files, setsid=True, setsigdef=[signal.SIGPIPE]
    )


def exit_code(process: int) -> int | None:
    """The exit code of a child as in a shell (128 + signal), None while it runs. Does not reap it."""
    result = os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if result is None:
        return None
    return result.si_status + (0 if result.si_code == os.CLD_EXITED else 128)


def cpu_seconds(process: int) -> float | None:
    """The CPU time that the process has used, in its exited threads as well. None if it has exited."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError):
        return None


def reap(spare: int) -> None:
    """Reaps dead children until it meets `spare`, which is not reaped, so that its id cannot be reused yet."""
    while (dead := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and dead.si_pid != spare:
        _reap_one(dead.si_pid)


def _reap_one(child: int) -> None:
    try:
        os.waitpid(child, os.WNOHANG)
    except ChildProcessError:
        return


def sweep(leader: int, spared: Collection[int], seconds: float = 5.0) -> bool:
    """Kills the rest of the process group of `leader` and every orphan that we adopted; True when none is left.

    `spared`: children that do not belong to the daemon.
    """
    deadline = time.monotonic() + seconds
    _kill_group(leader)
    # A killed process may leave orphans, which become our children in turn: repeat until there are none.
    while left := children() - set(spared):
        for child in left:
            _kill(child)
            _reap_one(child)
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def children(parent: int | None = None) -> set[int]:
    """The children of a process, by default of this one, zombies included."""
    its = str(parent or os.getpid())
    return {int(path.name) for path in Path("/proc").glob("[0-9]*") if _parent(path) == its}


def adopted_from(leader: int) -> set[int]:
    """Our children that the leader of a session has left behind, zombies included."""
    return {child for child in children() if child != leader and os.getsid(child) == leader}


def _parent(process: Path) -> str | None:
    try:
        # The name, in parentheses, may contain any character, so the fields are counted from its end.
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
