"""Writes the alert rules: `python -m deploy.alerts --job NAME --watcher NAME --api NAME --workers N DIRECTORY`, or
`make docs`.

The rules are the same for every service. What differs is the names under which Prometheus scrapes it, how many workers
it should have, and whether it has the HTTP API (`--no-api`). DIRECTORY gets alerts.yaml, a rule file, and
prometheus_rule.yaml, the same as a resource of the Prometheus Operator.
"""

import argparse
import re
from dataclasses import dataclass
from pathlib import Path
from string import Template
from textwrap import indent
from typing import Literal

TEMPLATE = Path(__file__).parent / "prometheus" / "alerts.template.yaml"
_HEADER = "# Generated from alerts.template.yaml by `python -m deploy.alerts`. Do not edit.\n"
_OPERATOR = """\
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: {name}
spec:
"""


@dataclass(frozen=True)
class Service:
    """The jobs of Prometheus that scrape the workers, `consumer status --serve`, and the file of `consumer verify`.

    workers  how many workers should respond at any time, at least; WORKERS where the Helm chart sets it
    api      the job that scrapes the HTTP API; None if there is none
    """

    job: str = "consumer"
    watcher: str = "consumer-watcher"
    workers: int | Literal["WORKERS"] = 2
    api: str | None = "consumer-api"
    verify: str = "consumer-verify"


CHART = Service("RELEASE", "RELEASE-watcher", "WORKERS", "RELEASE-api", "RELEASE-verify")
"""The names in the Helm chart, which replaces RELEASE and WORKERS."""


def rules(service: Service) -> str:
    """A rule file of Prometheus."""
    template = TEMPLATE.read_text(encoding="utf-8")
    of_all, group_of_api, of_api = template[template.index("groups:") :].partition("\n  - name: $api_job\n")
    # Prometheus' own variables begin with a dollar too: those that are unknown here stay.
    text = Template(of_all + group_of_api + of_api if service.api else of_all).safe_substitute(
        job=service.job,
        watcher_job=service.watcher,
        verify_job=service.verify,
        workers=service.workers,
        worker=f'job="{service.job}"',
        watcher=f'job="{service.watcher}"',
        verify=f'job="{service.verify}"',
        both=f'job=~"{service.job}|{service.watcher}"',
        api_job=service.api,
        api=f'job="{service.api}"',
    )
    return _HEADER + text


def prometheus_rule(service: Service) -> str:
    """The same rules, as a resource of the Prometheus Operator."""
    name = re.sub(r"[^a-z0-9]+", "-", service.job.lower()).strip("-")
    return _HEADER + _OPERATOR.format(name=name) + indent(rules(service).removeprefix(_HEADER), "  ")


def _job(text: str) -> str:
    if not re.fullmatch(r"[\w./-]+", text, re.ASCII):
        raise argparse.ArgumentTypeError("letters, digits and _ . / - only")
    return text


def main() -> None:
    usual = Service()
    parser = argparse.ArgumentParser(description="Writes the alert rules.")
    parser.add_argument("directory", type=Path, help="where to write alerts.yaml and prometheus_rule.yaml")
    parser.add_argument("--job", type=_job, default=usual.job, help="the job that scrapes the workers")
    parser.add_argument("--watcher", type=_job, default=usual.watcher, help="the job that scrapes the watcher")
    of_api = parser.add_mutually_exclusive_group()
    of_api.add_argument("--api", type=_job, default=usual.api, help="the job that scrapes the HTTP API")
    of_api.add_argument("--no-api", dest="api", action="store_const", const=None, help="there is no HTTP API")
    parser.add_argument("--workers", type=int, default=usual.workers, help="how many workers there should be, at least")
    parser.add_argument("--verify", type=_job, default=usual.verify, help="the job with the file of the verification")
    given = parser.parse_args()
    service = Service(given.job, given.watcher, given.workers, given.api, given.verify)
    (given.directory / "alerts.yaml").write_text(rules(service), encoding="utf-8")
    (given.directory / "prometheus_rule.yaml").write_text(prometheus_rule(service), encoding="utf-8")


if __name__ == "__main__":
    main()
