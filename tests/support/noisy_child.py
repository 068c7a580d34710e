"""The record processor as it ships, but its store talks where it should not (noisy.py).

python -m tests.support.noisy_child process
"""

from typing import Any

from consumer.entrypoints.pipes import take_over
from tests.support.core import UnsteadyRepository
from tests.support.noisy import talk

EXECUTABLE = "python -m tests.support.noisy_child process"


def main() -> None:
    # as in `consumer process`, all else comes after
    pipes = take_over()
    from consumer import bootstrap
    from consumer.entrypoints import child

    repository = bootstrap.repository

    def noisy(*asked: Any, **more: Any) -> Any:
        return UnsteadyRepository(repository(*asked, **more), before_save=talk)

    bootstrap.repository = noisy
    child.process(pipes)


if __name__ == "__main__":
    main()
