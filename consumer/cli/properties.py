"""`consumer properties`: prints the properties that the daemon is started with."""

import sys

from consumer.settings import Settings, load


def properties() -> None:
    """Print the daemon's effective properties: the packaged ones, overridden by the settings."""
    from consumer.daemon import memory
    from consumer.daemon import properties as daemon

    settings = memory.fitted(load(Settings), memory.limit())
    shipped = daemon.read(settings.properties / "consumer.properties")
    sys.stdout.write(daemon.render(shipped, settings, settings.worker_id or "(generated at start)"))
