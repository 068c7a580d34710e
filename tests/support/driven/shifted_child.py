"""The shipped record processor with a clock that is ahead by SECONDS.

python -m tests.support.driven.shifted_child SECONDS process
"""

import sys
import time

from consumer.kcl.pipes import take_over


def executable(seconds: float) -> str:
    return f"python -m tests.support.driven.shifted_child {seconds:g} process"


def main(ahead: float) -> None:
    # before any other import, as in `consumer process`
    pipes = take_over()
    true = time.time
    time.time = lambda: true() + ahead
    time.time_ns = lambda: round(1e9 * time.time())
    from consumer.kcl import process

    process.process(pipes)


if __name__ == "__main__":
    main(float(sys.argv[1]))
