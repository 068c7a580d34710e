"""The shipped record processor with hold points, on a shard that seems to be behind while the test wants it (lag.py).

Run it with `python -m tests.support.driven.gathering_child process`.

The environment variable TEST_HOLD_POINTS names the folder of the hold points and of the lag.
"""

import os
from pathlib import Path
from typing import Any

from consumer.kcl.pipes import take_over
from tests.support.driven.held_child import hold
from tests.support.faults.lag import Lag

EXECUTABLE = "python -m tests.support.driven.gathering_child process"


def main() -> None:
    # before any other import, as in `consumer process`
    pipes = take_over()
    hold()
    seem_behind(Lag(Path(os.environ["TEST_HOLD_POINTS"])))
    from consumer.kcl import process

    process.process(pipes)


def seem_behind(lag: Lag) -> None:
    """Replaces the lag that the daemon reports, and writes down how many records are gathered after each delivery."""
    from consumer.kcl import record_processor

    class BehindConsumer(record_processor.ShardConsumer):
        def process_records(self, process_records_input: Any) -> None:
            process_records_input._millis_behind_latest = lag.reported(process_records_input.millis_behind_latest)
            super().process_records(process_records_input)
            lag.note(len(self._gathered.records))

    record_processor.ShardConsumer = BehindConsumer  # type: ignore[misc]


if __name__ == "__main__":
    main()
