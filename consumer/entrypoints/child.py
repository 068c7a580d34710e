"""`consumer process`: the process around one record processor."""

import logging
import os
import signal
import sys
import threading
import time

from consumer import bootstrap, logs
from consumer.engine.errors import SettingsError
from consumer.entrypoints.kcl import serve
from consumer.entrypoints.pipes import Pipes
from consumer.settings import Settings, load

log = logging.getLogger("consumer.kcl")

PARENT_LOOKS = 1.0
"""Seconds between two looks at whether the daemon still lives."""


def process(pipes: Pipes) -> None:
    """Speaks with the daemon until it closes the pipe or dies. The daemon says when to stop, not a signal."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_outlive_nobody, args=(os.getppid(),), daemon=True).start()
    try:
        settings = load(Settings)
        logs.configure(settings.log_level)
        serve(bootstrap.shard_consumer(settings), pipes)
    except SettingsError as wrong:
        sys.stderr.write("".join(f"consumer: {problem}\n" for problem in wrong.problems))
        bootstrap.leave(2)
    except Exception:
        log.critical("leaving", exc_info=True)
        bootstrap.leave(1)
    bootstrap.leave(0)


def _outlive_nobody(daemon: int) -> None:
    """A record processor in the middle of a batch does not read its pipe, and would not notice."""
    while os.getppid() == daemon:
        time.sleep(PARENT_LOOKS)
    log.warning("the daemon is gone", extra={"daemon": daemon})
    bootstrap.leave(1)
