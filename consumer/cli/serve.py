"""`consumer serve`: the HTTP API and its pages."""

import os
import sys

from consumer.engine.errors import SettingsError
from consumer.monitoring import logs
from consumer.settings import PageSettings, load
from consumer.supervisor.signals import STOP_SIGNALS, signals

EXTRA = ("fastapi", "jwt", "cryptography", "jinja2", "authlib")
"""What the extra `api` installs: the packages that only the API and its pages import."""


def serve() -> None:
    """Serve the limits over HTTP: the API, pages for people, metrics and health checks.

    Shuts down gracefully on SIGTERM: requests under way are answered. A second SIGTERM ends it at once. It needs the
    packages of the extra `api`.
    """
    try:
        from consumer.api import server
        from consumer.pages.compose import compose
    except ModuleNotFoundError as missing:
        raise _explained(missing) from None
    settings = load(PageSettings)
    with signals() as inbox:
        logs.configure(settings.log_level)
        code = server.serve(
            settings, compose(settings), lambda seconds: not STOP_SIGNALS.isdisjoint(inbox.wait(seconds))
        )
    sys.stderr.flush()
    # A normal exit would wait for threads that wait for AWS. Nobody waits for what they read.
    os._exit(code)


def _explained(missing: ModuleNotFoundError) -> Exception:
    """The error for the user if a package of the extra is missing. Otherwise the error itself."""
    package = (missing.name or "").partition(".")[0]
    if package not in EXTRA:
        return missing
    return SettingsError([f"consumer serve needs {package}, which is not installed: install limits-consumer[api]"])
