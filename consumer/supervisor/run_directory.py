"""The run directory of one worker. Nobody else may place files there, as the worker would read or run them.

Its properties name the program to start, and a jar in it may come before the KCL's jars on the class path. A directory
that belongs to another user, or that others can write to, is therefore refused. Leftovers are removed, and files are
created without following links.
"""

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from consumer.daemon import shim_jar
from consumer.engine.errors import SettingsError
from consumer.settings import variable

STOPPING = "stopping"
"""The file that announces to the record processors that the worker is stopping."""
METRICS = "metrics"
PROPERTIES = "consumer.properties"
FORK_SERVER = "fork-server"
"""The socket of fork_server.py."""
_LOCK = "lock"
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


@contextmanager
def run_directory(wanted: Path | None) -> Iterator[Path]:
    """A directory with an empty folder METRICS and no files of an earlier run.

    Without `wanted` it is temporary and removed at the end. Raises SettingsError when it cannot be created, when
    other users can write to it, or when another worker uses it.
    """
    try:
        directory = _made(wanted)
        claim = _claim(directory)
    except OSError as error:
        raise SettingsError([f"{variable('run_directory')}: {error.strerror}: {error.filename}"]) from None
    try:
        yield directory
    finally:
        os.close(claim)
        if wanted is None:
            shutil.rmtree(directory, ignore_errors=True)


def write(path: Path, text: str) -> None:
    """Replaces the file atomically with one that only its owner can read. Raises OSError."""
    write_bytes(path, text.encode("ascii"))


def write_bytes(path: Path, content: bytes) -> None:
    """As `write`."""
    scratch = path.with_name(f"{path.name}.new")
    scratch.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        scratch.replace(path)
    except OSError:
        scratch.unlink(missing_ok=True)
        raise


def not_ours(found: os.stat_result, user: int) -> str | None:
    """Why a run directory is refused, None when it is acceptable for `user`."""
    if not stat.S_ISDIR(found.st_mode):
        return "is a link or a file"
    if found.st_uid != user:
        return f"belongs to user {found.st_uid}, and the worker runs as user {user}"
    if found.st_mode & _OTHERS_WRITE:
        return "is writable by other users"
    return None


def _made(wanted: Path | None) -> Path:
    if wanted is None:
        return Path(tempfile.mkdtemp(prefix="consumer-"))
    try:
        wanted.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        if reason := not_ours(wanted.lstat(), os.geteuid()):
            advice = "use a directory that does not exist yet, or one that only this user can write to"
            raise SettingsError([f"{variable('run_directory')}: {wanted} {reason}: {advice}"]) from None
    return wanted


def _claim(directory: Path) -> int:
    """Locks the directory, then removes what an earlier run left. The descriptor that holds the lock."""
    claim = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for name in (METRICS, STOPPING, PROPERTIES, FORK_SERVER, shim_jar.FILE):
            _remove(directory / name)
        (directory / METRICS).mkdir(mode=0o700)
    except BlockingIOError:
        os.close(claim)
        raise SettingsError([f"{variable('run_directory')}: another worker uses {directory}"]) from None
    except OSError:
        os.close(claim)
        raise
    return claim


def _remove(path: Path) -> None:
    """Removes a file or a folder; of a link, only the link itself."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
