"""Every generated file and the function that returns its text. A new one is a line here."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from bench import page as performance
from consumer.monitoring import metrics
from deploy import alerts, dashboard, templates, terraform_modules
from docs_generator import cli, decisions, pictures, settings

FILES: Mapping[str, Callable[[], str]] = MappingProxyType(
    {
        "docs/reference/settings.md": settings.page,
        "docs/reference/cli.md": cli.page,
        "docs/reference/metrics.md": metrics.document,
        "docs/decisions/index.md": decisions.index,
        "docs/explanation/performance.md": performance.page,
        "docs/images/rooms.svg": pictures.rooms,
        "docs/images/record.svg": pictures.record,
        "docs/images/processes.svg": pictures.processes,
        "deploy/grafana/consumer.json": dashboard.text,
        "deploy/prometheus/alerts.yaml": lambda: alerts.rules(alerts.Service()),
        "deploy/prometheus/prometheus_rule.yaml": lambda: alerts.prometheus_rule(alerts.Service()),
        "deploy/helm/limits-consumer/alerts.yaml": lambda: alerts.rules(alerts.CHART),
        **{f"deploy/terraform/{name}/main.tf": partial(terraform_modules.module, name) for name in templates.names()},
    }
)
