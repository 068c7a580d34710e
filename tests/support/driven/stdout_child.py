"""The shipped record processor with a store that writes to stdout and reads stdin (writes_to_stdout.py).

python -m tests.support.driven.stdout_child process
"""

from typing import Any

from consumer.kcl.pipes import take_over
from tests.support.faults.writes_to_stdout import write_stray_output
from tests.support.simulation.core import FlakyRepository

EXECUTABLE = "python -m tests.support.driven.stdout_child process"


def main() -> None:
    # before any other import, as in `consumer process`
    pipes = take_over()
    from consumer import bootstrap
    from consumer.kcl import process

    repository = bootstrap.repository

    def writing_to_stdout(*requested: Any, **more: Any) -> Any:
        return FlakyRepository(repository(*requested, **more), before_save=write_stray_output)

    bootstrap.repository = writing_to_stdout
    process.process(pipes)


if __name__ == "__main__":
    main()
