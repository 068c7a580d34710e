"""The quarantine in a directory: for one machine, containers with a shared file system, trials and tests."""

import errno
import fcntl
import json
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

from consumer.engine.entry_names import may_be_entry, named, stem, summary_of
from consumer.engine.errors import Unavailable
from consumer.engine.quarantine import (
    Copy,
    Foreign,
    Listed,
    NotAnEntry,
    OnForeign,
    Quarantined,
    by_position,
    positions,
    read,
    refuse,
    with_copies,
)
from consumer.engine.records import Position
from consumer.stores.parallel import all_of, put_each

SCRATCH = re.compile(r"([^/]+/){2}(\.[0-9a-f]{32}|[^/.]+\.[0-9]+)\.tmp")
"""Paths of incomplete files. Earlier versions used the second form."""

SCRATCH_NAME = re.compile(r"\.[0-9a-f]{32}\.tmp")

FOLDER = re.compile(r"[\w~%-]+(/[\w~%-]+)?", re.ASCII)
"""Paths of folders that contain entries: `<stream>` and `<stream>/<shard>`."""

DEPTH = 2

REGULAR = ""
FILE_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
FOLDER_FLAGS = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class DirectoryQuarantine:
    """One JSON file per record, with a name of engine/entry_names.py; files appear atomically.

    Only the owner can read the folders and files. Below `root`, no symbolic link is followed. Records that are put
    together are written on `pool`, or one after the other without a pool.
    """

    def __init__(self, root: Path, pool: Executor | None = None) -> None:
        self._root = root
        self._pool = pool

    def put(self, entries: Iterable[Quarantined]) -> None:
        batch = list(entries)
        try:
            put_each(self._pool, self._write, batch)
        finally:
            with self._unavailable():
                for folder in {_place(entry)[0] for entry in batch}:
                    self._sync(folder)

    def listing(self, on_foreign: OnForeign = refuse) -> Iterator[Listed]:
        for copies in by_position(self._copies(on_foreign)):
            if listed := self._described(copies, on_foreign):
                yield listed

    def find(self, position: Position) -> Listed | None:
        start = stem(position)
        folder, _, first = start.rpartition("/")
        with self._unavailable():
            try:
                with self._opened(folder) as parent, os.scandir(parent) as found:
                    paths = sorted(f"{folder}/{each.name}" for each in found if each.name.startswith(f"{first}."))
            except FileNotFoundError:
                return None
            copies = [copy for path in paths if may_be_entry(path) and (copy := self._copy(path))]
        return next(filter(None, (self._described(each, refuse) for each in by_position(copies))), None)

    def read(self, listed: Iterable[Listed], on_foreign: OnForeign = refuse) -> Iterator[tuple[Listed, Quarantined]]:
        for each in listed:
            newest = self._entry(each.newest, on_foreign)
            if newest:
                older = ((copy, self._entry(copy, on_foreign)) for copy in each.copies[:-1])
                yield with_copies([*((copy, entry) for copy, entry in older if entry), (each.newest, newest)])

    def entries(self, on_foreign: OnForeign = refuse) -> Iterator[Quarantined]:
        return (entry for _, entry in self.read(self.listing(on_foreign), on_foreign))

    def drop(self, listed: Sequence[Listed]) -> Sequence[bool]:
        """Removes each file under a lock, for which writers that replace it wait (`_held`).

        On a file system without locks, it may be replaced between the comparison and the removal.
        """
        return all_of(self._pool, self._drop, listed)

    def size(self) -> int:
        return positions(path for path, wrong in self._files() if may_be_entry(path) and wrong == REGULAR)

    def clear_scratch(self) -> int:
        """Removes incomplete files of exited writers, and returns how many. Running writers lock theirs."""
        with self._unavailable():
            return sum(self._clear(path) for path, wrong in self._files() if SCRATCH.fullmatch(path) and not wrong)

    def _files(self) -> list[tuple[str, str]]:
        """Sorted paths below the root, each with an error, which is REGULAR for a regular file."""
        with self._unavailable():
            try:
                return sorted(_walk(self._root))
            except FileNotFoundError:
                return []

    def _copies(self, on_foreign: OnForeign) -> Iterator[Copy]:
        """The files that may be entries. The others go to `on_foreign`, except incomplete files."""
        for path, wrong in self._files():
            if may_be_entry(path) and wrong == REGULAR:
                with self._unavailable():
                    if copy := self._copy(path):
                        yield copy
            elif not SCRATCH.fullmatch(path):
                lost = may_be_entry(path) or FOLDER.fullmatch(path) is not None
                on_foreign(Foreign(str(self._root / path), wrong or "not an entry of the quarantine", lost))

    def _copy(self, path: str) -> Copy | None:
        """None if it was removed after the listing."""
        try:
            found = (self._root / path).lstat()
        except FileNotFoundError:
            return None
        return Copy(path, _version(found), found.st_mtime_ns, found.st_size)

    def _described(self, copies: Sequence[Copy], on_foreign: OnForeign) -> Listed | None:
        """From the name, or from the file if the name does not say all."""
        summary = summary_of(copies[-1].path)
        if summary is None:
            entry = self._entry(copies[-1], on_foreign)
            summary = entry.summary if entry else None
        return Listed(summary, copies) if summary else None

    def _entry(self, copy: Copy, on_foreign: OnForeign) -> Quarantined | None:
        """None if it was removed after the listing, or cannot be read."""
        folder, _, name = copy.path.rpartition("/")
        try:
            with self._opened(folder) as parent, opened_file(name, parent) as descriptor:
                return read(copy.path, content_of(descriptor))
        except FileNotFoundError:
            return None
        except NotAnEntry as reason:
            wrong = str(reason)
        except OSError as error:
            wrong = str(error.strerror)
        on_foreign(Foreign(str(self._root / copy.path), wrong, lost=True))
        return None

    def _drop(self, listed: Listed) -> bool:
        # The newest goes last: until then it is the one that is listed.
        return all(self._unlink(copy) for copy in listed.copies)

    def _unlink(self, copy: Copy) -> bool:
        folder, _, name = copy.path.rpartition("/")
        with self._unavailable(), suppress(FileNotFoundError), self._opened(folder) as parent:
            return _drop(name, parent, copy.version)
        return True

    def _write(self, entry: Quarantined) -> None:
        folder, name = _place(entry)
        with self._unavailable(), self._opened(folder, make=True) as parent, written(parent) as (descriptor, scratch):
            with open(descriptor, "wb", closefd=False) as file:
                file.write(json.dumps(entry.to_json()).encode())
            os.fsync(descriptor)
            with _held(name, parent):
                os.replace(scratch, name, src_dir_fd=parent, dst_dir_fd=parent)

    def _clear(self, path: str) -> bool:
        folder, _, name = path.rpartition("/")
        with suppress(FileNotFoundError), self._opened(folder) as parent:
            return _cleared(name, parent)
        return False

    def _sync(self, folder: str) -> None:
        """Syncs the folder: without it, the name of a new file may be lost in a power failure."""
        with suppress(FileNotFoundError), self._opened(folder) as descriptor:
            os.fsync(descriptor)

    def _opened(self, folder: str, *, make: bool = False) -> AbstractContextManager[int]:
        return opened(self._root, folder.split("/"), make=make)

    @contextmanager
    def _unavailable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise Unavailable(f"quarantine {self._root}: {error.strerror}") from error


@contextmanager
def opened(root: Path, folders: Iterable[str], *, make: bool = False) -> Iterator[int]:
    """Opens a folder below the root. If it is absent, creates it (`make`) or raises FileNotFoundError."""
    if make:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as stack:
        descriptor = stack.enter_context(_open(root, os.O_DIRECTORY | os.O_CLOEXEC))
        # One component at a time, relative to its parent: a component that is a symbolic link is refused.
        for name in folders:
            if make:
                _make(name, descriptor)
            descriptor = stack.enter_context(_open(name, FOLDER_FLAGS, descriptor))
        yield descriptor


def _place(entry: Quarantined) -> tuple[str, str]:
    """The folder and the file name of an entry."""
    folder, _, name = named(entry.summary).rpartition("/")
    return folder, name


def _version(found: os.stat_result) -> str:
    """Differs for another file under the same name. The time is for one that has the number of a removed file."""
    return f"{found.st_ino}-{found.st_ctime_ns}"


def _walk(folder: Path | str, before: str = "") -> Iterator[tuple[str, str]]:
    with os.scandir(folder) as found:
        for each in found:
            path = before + each.name
            if each.is_dir(follow_symlinks=False) and path.count("/") < DEPTH:
                yield from _inside(each, path)
            else:
                yield path, REGULAR if each.is_file(follow_symlinks=False) else "Not a regular file"


def _inside(folder: "os.DirEntry[str]", path: str) -> Iterator[tuple[str, str]]:
    try:
        yield from _walk(folder.path, f"{path}/")
    except OSError as error:
        yield path, str(error.strerror)


def _make(name: str, parent: int) -> None:
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=parent)
        os.fsync(parent)


@contextmanager
def _open(name: Path | str, flags: int, parent: int | None = None, mode: int = 0o600) -> Iterator[int]:
    descriptor = os.open(name, flags, mode, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def opened_file(name: str, parent: int) -> Iterator[int]:
    """Opens a regular file for reading."""
    with _open(name, FILE_FLAGS | os.O_RDONLY, parent) as descriptor:
        # O_NONBLOCK keeps the open of a named pipe from blocking; this check rejects it.
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Not a regular file")
        yield descriptor


def content_of(descriptor: int) -> bytes:
    with open(descriptor, "rb", closefd=False) as file:
        return file.read()


@contextmanager
def written(parent: int) -> Iterator[tuple[int, str]]:
    """Creates a file, locked while it is written. Removes it if writing fails."""
    name = f".{secrets.token_hex(16)}.tmp"
    with _open(name, FILE_FLAGS | os.O_WRONLY | os.O_CREAT | os.O_EXCL, parent) as descriptor:
        _lock(descriptor, fcntl.LOCK_EX)
        try:
            yield descriptor, name
        except BaseException:
            with suppress(OSError):
                os.unlink(name, dir_fd=parent)  # on a full disk, incomplete files would use up the free space
            raise


def clear_scratch(parent: int) -> None:
    """Removes the incomplete files of exited writers from a folder, as far as it may."""
    with os.scandir(parent) as found:
        names = [each.name for each in found if SCRATCH_NAME.fullmatch(each.name)]
    for name in names:
        with suppress(OSError):
            _cleared(name, parent)


def _cleared(name: str, parent: int) -> bool:
    """Removes an incomplete file unless its writer is running. Returns whether it was removed."""
    with opened_file(name, parent) as descriptor:
        if not _lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB):
            return False
        os.unlink(name, dir_fd=parent)
        return True


@contextmanager
def _held(name: str, parent: int) -> Iterator[None]:
    """Locks an existing entry that is about to be replaced, so that `drop` cannot remove the new one."""
    try:
        descriptor = os.open(name, FILE_FLAGS | os.O_RDONLY, dir_fd=parent)
    except OSError:
        descriptor = None
    try:
        if descriptor is not None:
            _lock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _lock(descriptor: int, how: int) -> bool:
    """Locks the file until the descriptor is closed. False if it is locked already or locks are unsupported."""
    try:
        fcntl.flock(descriptor, how)
    except OSError:
        return False
    return True


def _drop(name: str, parent: int, version: str) -> bool:
    """Removes the file if it is that version. Returns whether it was removed."""
    with opened_file(name, parent) as descriptor:
        _lock(descriptor, fcntl.LOCK_EX)
        # The name may refer to another file by now: a writer may have replaced it while this one waited for the lock.
        if _version(os.stat(name, dir_fd=parent, follow_symlinks=False)) != version:
            return False
        os.unlink(name, dir_fd=parent)
        return True
