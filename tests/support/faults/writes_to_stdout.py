"""A record processor in its own process, whose store writes to stdout and reads stdin.

Run it with `python -m tests.support.faults.writes_to_stdout`.

It prints, writes to file descriptor 1, starts a child that prints, and tries to read standard input.
"""

import os
import subprocess
import sys
import time

from consumer.kcl.pipes import Pipes, take_over

STRAY_OUTPUT = '{"action": "status", "responseFor": "processRecords"}'
"""Text that the daemon would take for a message."""


def write_stray_output() -> None:
    print(STRAY_OUTPUT)
    sys.stdout.flush()
    os.write(1, f"\n{STRAY_OUTPUT}\n".encode())
    subprocess.run([sys.executable, "-c", f"print({STRAY_OUTPUT!r})"], check=True)
    sys.stderr.write(f"read: {sys.stdin.read()!r} {os.read(0, 100)!r}\n")


def process(pipes: Pipes) -> None:
    from consumer.engine.checkpoints import CheckpointPolicy
    from consumer.engine.stream import BelievedStream
    from consumer.kcl.record_processor import ShardConsumer, ShardRules, serve
    from consumer.kcl.retry import Runtime
    from tests.support.simulation.core import Core, FlakyRepository, memory

    core = Core(FlakyRepository(memory(), before_save=write_stray_output))
    rules = ShardRules(CheckpointPolicy(seconds=60, records=1), batch_deadline=5)
    runtime = Runtime(time.monotonic, time.time, time.sleep, lambda: 0.5, lambda: False, sys.exit)
    serve(ShardConsumer(core.processor, BelievedStream("limits"), rules, lambda *_: None, runtime), pipes)


if __name__ == "__main__":
    # before any other import, as in `consumer process`
    process(take_over())
