"""The record processor as it ships, but its store talks where it should not (noisy.py).

python -m tests.support.noisy_child process
"""

from concurrent.futures import Executor

from botocore.config import Config

from consumer.entrypoints.pipes import take_over
from consumer.limits.state import LimitState
from consumer.settings import AwsSettings
from tests.support.core import UnsteadyRepository
from tests.support.noisy import talk

EXECUTABLE = "python -m tests.support.noisy_child process"


def main() -> None:
    # as in `consumer process`, all else comes after
    pipes = take_over()
    from consumer import bootstrap
    from consumer.entrypoints import child

    repository = bootstrap.repository

    def noisy(settings: AwsSettings, requests: Executor, config: Config) -> UnsteadyRepository[LimitState]:
        return UnsteadyRepository(repository(settings, requests, config), before_save=talk)

    bootstrap.repository = noisy  # type: ignore[assignment]
    child.process(pipes)


if __name__ == "__main__":
    main()
