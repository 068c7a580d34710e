"""The `consumer` command. Commands that must start fast or early run without the imports of the command line."""

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130
"""The exit code after Ctrl-C: 128 + SIGINT."""


def main() -> None:
    # Imports take most of a second and need no cleanup. Ctrl-C exits at once, without a traceback.
    on_interrupt(exit_now)
    if sys.argv[1:] == ["process"]:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # Before all other imports: they are not needed here if the record processor is forked,
        from consumer.kcl.fork_client import hand_over

        hand_over(os.environ.get("CONSUMER_RUN_DIRECTORY"))
        # and whatever they print must not reach the daemon.
        from consumer.kcl.pipes import take_over

        pipes = take_over()
        from consumer.kcl.malloc import return_memory

        return_memory()
        from consumer.kcl.process import process

        process(pipes)
    elif sys.argv[1:] == ["fork-server"]:
        from socket import socket

        from consumer.kcl.malloc import return_memory

        return_memory()
        from consumer.kcl.fork_server import serve

        serve(socket(fileno=0))
    elif sys.argv[1:] == ["doctor", "--live"]:
        from os import environ

        from consumer.cli.probe import check

        sys.exit(check(environ))
    else:
        command_line()


def command_line() -> None:
    """Runs a command. The first Ctrl-C interrupts it, the second one exits at once."""
    from consumer.cli.main import main as run

    try:
        on_interrupt(interrupt)
        try:
            run()
        finally:
            on_interrupt(exit_now)
    except KeyboardInterrupt:
        exit_now()
    except SystemExit as error:
        if error.code == INTERRUPTED:
            # A normal exit would wait for threads that wait for AWS.
            exit_now()
        raise


def on_interrupt(handler: Callable[[int, FrameType | None], NoReturn]) -> None:
    """Sets the handler of Ctrl-C, unless SIGINT is ignored, as in background jobs of a script."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, handler)


def interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGINT, exit_now)
    raise KeyboardInterrupt


def exit_now(*_: object) -> NoReturn:
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
