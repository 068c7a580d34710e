"""The record processor as it ships, but its store talks where it should not (writes_to_stdout.py).

python -m tests.support.driven.stdout_child process
"""

from typing import Any

from consumer.kcl.pipes import take_over
from tests.support.faults.writes_to_stdout import write_stray_output
from tests.support.simulation.core import FlakyRepository

EXECUTABLE = "python -m tests.support.driven.stdout_child process"


def main() -> None:
    # as in `consumer process`, all else comes after
    pipes = take_over()
    from consumer import bootstrap
    from consumer.kcl import process

    repository = bootstrap.repository

    def noisy(*asked: Any, **more: Any) -> Any:
        return FlakyRepository(repository(*asked, **more), before_save=write_stray_output)

    bootstrap.repository = noisy
    process.process(pipes)


if __name__ == "__main__":
    main()
