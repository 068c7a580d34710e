"""The record processor as it ships, but its store talks where it should not (noisy.py).

python -m tests.support.driven.noisy_child process
"""

from typing import Any

from consumer.kcl.pipes import take_over
from tests.support.faults.noisy import talk
from tests.support.simulation.core import UnsteadyRepository

EXECUTABLE = "python -m tests.support.driven.noisy_child process"


def main() -> None:
    # as in `consumer process`, all else comes after
    pipes = take_over()
    from consumer import bootstrap
    from consumer.kcl import process

    repository = bootstrap.repository

    def noisy(*asked: Any, **more: Any) -> Any:
        return UnsteadyRepository(repository(*asked, **more), before_save=talk)

    bootstrap.repository = noisy
    process.process(pipes)


if __name__ == "__main__":
    main()
