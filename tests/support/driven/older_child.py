"""The record processor of an older version, which does not know the resets of limits: it ignores them.

Run it with `python -m tests.support.driven.older_child process`.
"""

from consumer.kcl.pipes import take_over

EXECUTABLE = "python -m tests.support.driven.older_child process"
NOT_KNOWN = "USER_LIMIT_RESET"


def main() -> None:
    # before any other import, as in `consumer process`
    pipes = take_over()
    from consumer.limits import event_types

    event_types.EVENTS = {name: known for name, known in event_types.EVENTS.items() if name != NOT_KNOWN}
    from consumer.kcl import process

    process.process(pipes)


if __name__ == "__main__":
    main()
