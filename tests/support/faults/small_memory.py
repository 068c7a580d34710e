"""Runs a module as in a container with little memory.

Usage: `python -m tests.support.faults.small_memory BYTES MODULE ARGUMENT...`.
It sees the limit where a container sees its own, in a mount namespace of its own; the kernel does not enforce it, so
this needs no right to make control groups. What is enforced is in tests/image.
"""

import os
import sys
from pathlib import Path

from consumer.daemon.memory import GROUPS
from tests.support.faults.small_disk import mount_in_memory


def main(size: str, module: str, *arguments: str) -> None:
    mount_in_memory(str(GROUPS), "64k")
    Path(GROUPS, "memory.max").write_text(f"{size}\n")
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])


if __name__ == "__main__":
    main(*sys.argv[1:])
