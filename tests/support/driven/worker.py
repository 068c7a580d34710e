"""Runs `consumer run` with another record processor: `python -m tests.support.driven.worker EXECUTABLE ARGUMENT...`."""

import os
import sys

from consumer.admin.clients import clients
from consumer.monitoring import logs
from consumer.settings import Settings, load
from consumer.supervisor import start

if __name__ == "__main__":
    settings = load(Settings)
    logs.configure(settings.log_level)
    sys.exit(start.run(settings, os.environ, executable=" ".join(sys.argv[1:]), clients=clients(settings)))
