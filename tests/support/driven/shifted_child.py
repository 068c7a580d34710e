"""The record processor as it ships, but its clock is so many seconds ahead.

python -m tests.support.driven.shifted_child SECONDS process
"""

import sys
import time

from consumer.kcl.pipes import take_over


def executable(seconds: float) -> str:
    return f"python -m tests.support.driven.shifted_child {seconds:g} process"


def main(ahead: float) -> None:
    # as in `consumer process`, all else comes after
    pipes = take_over()
    true = time.time
    time.time = lambda: true() + ahead
    time.time_ns = lambda: round(1e9 * time.time())
    from consumer.kcl import process

    process.process(pipes)


if __name__ == "__main__":
    main(float(sys.argv[1]))
