"""Runs a module with the memory limit of a small container, which is not enforced.

Usage: `python -m tests.support.faults.small_memory BYTES MODULE ARGUMENT...`.
The module finds the limit in the file where a container has it, in a mount namespace of its own. The kernel does not
enforce the limit, so no permission to create control groups is needed. tests/image tests with an enforced limit.
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
