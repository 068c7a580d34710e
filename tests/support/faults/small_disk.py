"""Runs a module on a small disk: `python -m tests.support.faults.small_disk FOLDER BYTES MODULE ARGUMENT...`.

The folder is a file system in memory, mounted in a namespace of this process and its children; it disappears with the
last of them. `seen_by` gives its path for other processes. Linux; needs root, or permission to create user namespaces.
"""

import ctypes
import os
import sys
from contextlib import suppress
from pathlib import Path

_NEW_MOUNTS, _NEW_USERS = 0x20000, 0x10000000
_RECURSIVE, _PRIVATE = 0x4000, 0x40000
PIECE = 4096


def seen_by(process: int, folder: Path) -> Path:
    """The path by which other processes reach the folder of `process`."""
    return Path(f"/proc/{process}/root{folder}")


def fill(folder: Path) -> Path:
    """Writes a file that uses all free space of the file system of `folder`."""
    filler = folder / "filler"
    with filler.open("ab", buffering=0) as file:
        for size in (64 * PIECE, PIECE, 1):
            with suppress(OSError):
                while file.write(bytes(size)):
                    pass
    return filler


def main(folder: str, size: str, module: str, *arguments: str) -> None:
    mount_in_memory(folder, size)
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])


def mount_in_memory(folder: str, size: str) -> None:
    """Mounts a file system in memory at `folder`, visible only to this process and its children."""
    user, group = os.getuid(), os.getgid()
    _call("unshare", _NEW_MOUNTS | (0 if user == 0 else _NEW_USERS))
    if user != 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _call("mount", b"none", b"/", None, _RECURSIVE | _PRIVATE, None)
    _call("mount", b"tmpfs", folder.encode(), b"tmpfs", 0, f"size={size}".encode())


def _call(name: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
