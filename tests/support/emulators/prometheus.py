"""The real Prometheus with the shipped configuration and rules, scraping one worker, no watcher and no API."""

import json
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consumer.settings import Settings
from tests.support.driven.processes import LOOPBACK, Server, free_port, running

SHIPPED = Path(__file__).parents[3] / "deploy" / "prometheus"
TARGET = str(Settings.model_fields["metrics_address"].default)


def tool(name: str) -> str:
    """The path of `prometheus` or `promtool`."""
    path = shutil.which(name)
    if path is None:
        raise FileNotFoundError(f"this test needs {name} on the PATH (Debian: prometheus)")
    return path


@dataclass(frozen=True)
class Prometheus:
    """The HTTP API of Prometheus."""

    port: int

    def get(self, path: str, **parameters: str) -> Any:
        """The `data` of a response. Raises OSError with the error that Prometheus reports."""
        url = f"http://{LOOPBACK}:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise OSError(error.read().decode()) from error

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that the expression evaluates to now, each with `metric` and `value`."""
        result: list[dict[str, Any]] = self.get("query", query=expression)["result"]
        return result

    def value(self, expression: str) -> float | None:
        """The value of the first series of the expression now; None if there is none."""
        found = self.query(expression)
        return float(found[0]["value"][1]) if found else None

    def names(self) -> set[str]:
        """The names of all series."""
        return set(self.get("label/__name__/values"))

    def rules(self) -> list[dict[str, Any]]:
        return [rule for group in self.get("rules")["groups"] for rule in group["rules"]]

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{LOOPBACK}:{self.port}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@contextmanager
def prometheus(worker: str, directory: Path) -> Iterator[Prometheus]:
    """Scrapes `worker`, HOST:PORT, and evaluates the rules every second. `directory`: an empty directory."""
    shutil.copy(SHIPPED / "alerts.yaml", directory)
    shipped = (SHIPPED / "prometheus.yaml").read_text(encoding="utf-8")
    assert TARGET in shipped
    assert "_interval: 15s" in shipped
    config = directory / "prometheus.yaml"
    config.write_text(shipped.replace(TARGET, worker).replace("_interval: 15s", "_interval: 1s"), encoding="utf-8")
    made = Prometheus(free_port())
    command = (
        tool("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address={LOOPBACK}:{made.port}",
        "--log.level=warn",
    )
    with running(Server("Prometheus", command, {"HOME": str(directory)}, directory, made.answers)):
        yield made
