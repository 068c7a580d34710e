"""`consumer status --serve`: the process of the watcher."""

import logging
import os
import sys
import threading
from functools import partial
from typing import NoReturn

from botocore.config import Config
from pydantic import TypeAdapter, ValidationError

from consumer.admin.observer import Observer
from consumer.admin.watcher import Watcher
from consumer.engine.errors import SettingsError
from consumer.monitoring import logs
from consumer.monitoring.server import Server, listen
from consumer.settings import Address, Settings, is_loopback
from consumer.stores.aws import SHORT_TIMEOUTS
from consumer.supervisor.signals import STOP_SIGNALS, signals

OPTION = "--serve"
CLIENT = SHORT_TIMEOUTS.merge(Config(retries={"mode": "standard", "total_max_attempts": 3}))
"""A shard's five reads per second are shared, so a read may be throttled once; a check must not take minutes."""
WAIT_SECONDS = 3_600.0
"""How long the main thread waits at a time. A signal ends the wait."""

log = logging.getLogger("consumer.watcher")


def serve(settings: Settings, address: str, every: float, *, lag: bool) -> NoReturn:
    """Serves the status until a stop is requested, then exits with 0. Call it on the main thread.

    Raises SettingsError if the address cannot be used. Whatever AWS answers, the process goes on.
    """
    with signals() as inbox:
        logs.configure(settings.log_level)
        listener = listen(_checked(address), OPTION)
        if not is_loopback(address.rpartition(":")[0]):
            log.warning("metrics are reachable from other machines without authentication", extra={"address": address})
        observer = Observer.of(settings, CLIENT)
        watcher = Watcher(partial(observer.look, lag=lag, quarantine=False), observer.quarantine.size, every)
        server, stopped = Server(listener, watcher.app()), threading.Event()
        watcher.start(stopped)
        server.start()
        log.info("serving metrics", extra={"port": server.port})
        while STOP_SIGNALS.isdisjoint(inbox.wait(WAIT_SECONDS)):
            pass
        log.info("stopping")
        stopped.set()
        server.stop()
    sys.stderr.flush()
    # A normal exit would wait for threads that wait for AWS. They have nothing to finish.
    os._exit(0)


def _checked(address: str) -> str:
    try:
        return TypeAdapter(Address).validate_python(address)
    except ValidationError:
        raise SettingsError([f"{OPTION}: {address} is not HOST:PORT"]) from None
