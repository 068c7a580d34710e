"""The `consumer` command. What must be light or early never gets as far as the command line's imports."""

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130
"""The exit code after Ctrl-C: 128 + SIGINT."""


def main() -> None:
    # Imports take most of a second, and there is nothing to clean up: no KeyboardInterrupt, no traceback.
    on_interrupt(leave)
    if sys.argv[1:] == ["process"]:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # before anything else is imported: whatever it prints must not reach the daemon
        from consumer.kcl.pipes import take_over

        pipes = take_over()
        from consumer.kcl.process import process

        process(pipes)
    elif sys.argv[1:] == ["doctor", "--live"]:
        from os import environ

        from consumer.cli.probe import check

        sys.exit(check(environ))
    else:
        command_line()


def command_line() -> None:
    """A command, which Ctrl-C interrupts once; from the second one on nothing is waited for."""
    from consumer.cli.main import main as run

    try:
        on_interrupt(interrupt)
        try:
            run()
        finally:
            on_interrupt(leave)
    except KeyboardInterrupt:
        leave()
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            # an ordinary exit would wait for threads that wait for AWS
            leave()
        raise


def on_interrupt(handler: Callable[[int, FrameType | None], NoReturn]) -> None:
    """What Ctrl-C does from now on: still nothing, when it is ignored, as in the background jobs of a script."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, handler)


def interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGINT, leave)
    raise KeyboardInterrupt


def leave(*_: object) -> NoReturn:
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
