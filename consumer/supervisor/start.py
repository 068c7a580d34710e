"""`consumer run`: checks, prepares, and runs the supervisor, whose exit code is the service's."""

import logging
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial

from prometheus_client import CollectorRegistry

from consumer.access.checks import Clients, Connect
from consumer.daemon import memory, properties
from consumer.leases import unread_leases
from consumer.leases.unread_leases import LeaseWatch
from consumer.monitoring.endpoints import Exporter, NoLeases, Seconds
from consumer.monitoring.metrics import (
    DAEMON_UP,
    GIVEN_BACK,
    LEASES_OWNED,
    LOCKS_REMOVED,
    OPEN_SHARDS,
    RESTARTS,
    RETENTION,
    STILL_SECONDS,
    TAKEN,
)
from consumer.monitoring.prometheus import PrometheusSink
from consumer.monitoring.server import Server, listen
from consumer.monitoring.worker_emf import WorkerLines
from consumer.settings import Settings
from consumer.supervisor import periodic, preflight
from consumer.supervisor.checks import check
from consumer.supervisor.container_memory import ContainerMemory
from consumer.supervisor.fork_server import fork_server
from consumer.supervisor.launch import prepare
from consumer.supervisor.lease_taking import taking_leases
from consumer.supervisor.metric_lines import metric_lines
from consumer.supervisor.relay import stderr_relay
from consumer.supervisor.run_directory import METRICS, run_directory
from consumer.supervisor.signals import signals
from consumer.supervisor.supervisor import Supervisor

OWN = (RESTARTS, DAEMON_UP, LEASES_OWNED, OPEN_SHARDS, RETENTION, TAKEN, STILL_SECONDS, GIVEN_BACK, LOCKS_REMOVED)
"""The metrics that the supervisor measures itself."""

log = logging.getLogger("consumer.supervisor")


def run(
    settings: Settings,
    environment: Mapping[str, str],
    *,
    executable: str = properties.EXECUTABLE,
    command: Sequence[str] | None = None,
    clients: Clients | None = None,
) -> int:
    """Runs the worker until a stop is requested (exit code 0) or it gives up (1). Call it on the main thread.

    The JVM and the record processors get `environment` and what `daemon_environment` adds to it. `executable` is what
    the daemon runs for each shard, split on blanks; `command` replaces the daemon. `clients` give access to the
    tables, the stream and the quarantine; without them these are not checked.
    Raises SettingsError with one line per problem before anything is started.
    """
    settings = memory.fitted(settings, memory.limit())
    with ExitStack() as stack:
        # First of all, so that a stop requested during the checks is not lost.
        inbox = stack.enter_context(signals())
        check(settings, environment, executable, command)
        listener = stack.enter_context(listen(settings.metrics_address))
        if settings.metrics_leave_the_machine:
            log.warning(
                "metrics are reachable from other machines without authentication",
                extra={"address": settings.metrics_address},
            )
        directory = stack.enter_context(run_directory(settings.run_directory))
        if clients:
            preflight.examine(settings, clients)
        relay = stack.enter_context(stderr_relay())
        plan = prepare(settings, directory, environment, executable, command)
        figures = CollectorRegistry()
        figures.register(ContainerMemory())
        plan = replace(plan, address=_address(settings, listener))
        measure = PrometheusSink(OWN, figures)
        supervisor = Supervisor(plan, inbox, relay, measure)
        if forks := fork_server(settings, executable, plan.environment, directory, relay):
            forks.start(lambda: supervisor.record_processors() >= settings.fork_from_shards)
        watch = LeaseWatch(plan.worker_id, measure)
        seconds = Seconds(settings.hang_seconds, settings.healthy_after_seconds)
        leases = watch if clients else NoLeases()
        exporter = Exporter(directory / METRICS, figures, lambda: supervisor.health, seconds, leases)
        stack.enter_context(_serving(Server(listener, exporter.app())))
        if settings.emf_seconds:
            lines = WorkerLines(exporter.collect, settings.application_name)
            stack.enter_context(metric_lines(settings.emf_seconds, lines))
        if clients:
            check_leases = partial(_check_leases, watch, clients.application, exporter, supervisor)
            stack.enter_context(periodic.every(unread_leases.EVERY_SECONDS, check_leases))
            if settings.take_leases:
                stack.enter_context(taking_leases(settings, clients.application, supervisor, exporter, measure))
        return supervisor.run(exporter.has_settled)


def _check_leases(watch: LeaseWatch, connect: Connect, exporter: Exporter, supervisor: Supervisor) -> None:
    watch.check(connect(), exporter.shards(), initialised=supervisor.health.initialised)


def _address(settings: Settings, listener: socket.socket) -> str:
    """The address of the metrics, with the port that the system chose if the setting names port 0."""
    return f"{settings.metrics_address.rpartition(':')[0]}:{listener.getsockname()[1]}"


@contextmanager
def _serving(server: Server) -> Iterator[None]:
    server.start()
    log.info("serving metrics", extra={"port": server.port})
    try:
        yield
    finally:
        server.stop()
