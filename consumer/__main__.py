"""The `consumer` command. What must be light or early never gets as far as the command line's imports."""

import sys


def main() -> None:
    if sys.argv[1:] == ["process"]:
        # before anything else is imported: whatever it prints must not reach the daemon
        from consumer.entrypoints.pipes import take_over

        pipes = take_over()
        from consumer.entrypoints.child import process

        process(pipes)
    elif sys.argv[1:] == ["doctor", "--live"]:
        from os import environ

        from consumer.entrypoints.live import check

        sys.exit(check(environ))
    else:
        from consumer.entrypoints.cli import main as command_line

        command_line()


if __name__ == "__main__":
    main()
