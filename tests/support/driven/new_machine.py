"""Runs a module with a monotonic clock of its own, as on a machine that was started four seconds ago.

python -m tests.support.driven.new_machine consumer run

Needs root, and Linux 6.1, since which a program that replaces its process enters the new time namespace.
"""

import os
import sys
import time

UPTIME_SECONDS = 4

if __name__ == "__main__":
    offset = UPTIME_SECONDS - int(time.monotonic())
    os.execvp("unshare", ["unshare", "-T", "--monotonic", str(offset), sys.executable, "-m", *sys.argv[1:]])
