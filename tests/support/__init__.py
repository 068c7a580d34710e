"""Support code of the tests and the demo: servers, emulators, faults, generators (Linux)."""

from tests.support.driven.processes import ServerDidNotStartError, free_port

__all__ = ["ServerDidNotStartError", "free_port"]
