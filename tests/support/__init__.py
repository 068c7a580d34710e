"""What the tests and the demo need to run servers on this machine (Linux)."""

from tests.support.driven.processes import ServerDidNotStartError, free_port

__all__ = ["ServerDidNotStartError", "free_port"]
