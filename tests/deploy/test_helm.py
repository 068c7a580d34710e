"""The Helm chart: linted and rendered by Helm itself, validated by the schemas of Kubernetes and of the operators."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate
import pytest
import yaml
from cloudcoil.models.keda.v1alpha1 import ScaledObject
from cloudcoil.models.prometheus_operator.v1 import PodMonitor, PrometheusRule

from consumer.api.server import bounds_of
from consumer.settings import ApiSettings, Settings, load, misspelled, variable
from deploy import alerts, templates

CHART = Path(__file__).resolve().parents[2] / "deploy" / "helm" / "limits-consumer"
OLDEST, NEWEST = "1.25", kubernetes_validate.latest_version()
OPERATORS = {"PodMonitor": PodMonitor, "PrometheusRule": PrometheusRule, "ScaledObject": ScaledObject}
USUAL: Mapping[str, Any] = {
    "image": {"repository": "registry.example/limits-consumer", "digest": "sha256:" + "0" * 64},
    "settings": {
        "AWS_REGION": "eu-west-1",
        "CONSUMER_STREAM_NAME": "limit-events",
        "CONSUMER_QUARANTINE": "s3://limits-quarantine/quarantine",
    },
}
ALL: Mapping[str, Any] = {
    **USUAL,
    "settings": {
        **USUAL["settings"],
        "CONSUMER_API_ISSUER": "https://login.example",
        "CONSUMER_API_AUDIENCE": "limits",
        "CONSUMER_ARCHIVE_BYTES": 5_000_000,
        "CONSUMER_HANDOFF_SECONDS": 5.5,
    },
    "envFrom": [{"secretRef": {"name": "shared"}}],
    "podLabels": {"team": "limits"},
    "podAnnotations": {"note": "x"},
    "nodeSelector": {"kubernetes.io/arch": "arm64"},
    "tolerations": [{"key": "spot", "operator": "Exists"}],
    "worker": {
        "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::111122223333:role/worker"}}
    },
    "api": {
        "enabled": True,
        "envFrom": [{"secretRef": {"name": "pages"}}],
        "ingress": {
            "enabled": True,
            "className": "alb",
            "host": "limits.example",
            "tlsSecret": "tls",
            "annotations": {"a": "b"},
        },
    },
    "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
    "keda": {"enabled": True, "minReplicas": 3, "prometheusUrl": "http://prometheus:9090"},
}


def rendered(values: Mapping[str, Any], name: str = "limits-consumer") -> dict[tuple[str, str], dict[str, Any]]:
    """The resources of a release, by kind and name."""
    with helm_python.Chart.load(CHART) as chart:
        files = chart.render(dict(values), name=name, namespace="limits")
    found = [each for text in files.values() for each in yaml.safe_load_all(text) if each]
    resources = {(each["kind"], each["metadata"]["name"]): each for each in found}
    assert len(resources) == len(found), "two resources have the same name"
    return resources


def container(deployment: Mapping[str, Any]) -> dict[str, Any]:
    (found,) = deployment["spec"]["template"]["spec"]["containers"]
    return dict(found)


def environment(resources: Mapping[tuple[str, str], Any], part: str) -> dict[str, str]:
    """The variables of a part, without those from Secrets."""
    of = container(resources["Deployment", part])
    sources = [resources["ConfigMap", each["configMapRef"]["name"]] for each in of["envFrom"] if "configMapRef" in each]
    return {**{k: v for each in sources for k, v in each["data"].items()}, **{e["name"]: e["value"] for e in of["env"]}}


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without settings."""
    for name in map(variable, {**Settings.model_fields, **ApiSettings.model_fields}):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize("values", [USUAL, ALL], ids=["usual", "all"])
def test_lint_finds_nothing(values: Mapping[str, Any]) -> None:
    report = helm_python.lint(CHART, dict(values), strict=True)
    assert report["total_charts_linted"] == 1
    assert [each for each in report["messages"] if each["severity"] > 1] == []
    assert not report["errors"]


@pytest.mark.parametrize("values", [USUAL, ALL], ids=["usual", "all"])
@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_resources_have_the_schemas_of_kubernetes(values: Mapping[str, Any], version: str) -> None:
    for (kind, _), resource in rendered(values).items():
        if kind not in OPERATORS:
            kubernetes_validate.validate(resource, version, strict=True)


def test_resources_of_operators_have_their_schemas() -> None:
    """A model drops what it does not know, so a field that does not exist makes a difference."""
    checked = {(kind, name): each for (kind, name), each in rendered(ALL).items() if kind in OPERATORS}

    assert {kind for kind, _ in checked} == OPERATORS.keys()
    for (kind, _), resource in checked.items():
        model = OPERATORS[kind].model_validate(resource)
        assert model.model_dump(mode="json", by_alias=True, exclude_unset=True) == resource


def test_the_chart_has_the_version_of_the_service() -> None:
    project = tomllib.loads((CHART.parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    with helm_python.Chart.load(CHART) as chart:
        assert chart.metadata["appVersion"] == chart.version == project["version"]


def test_a_wrong_field_would_be_found() -> None:
    resources = rendered(ALL)
    deployment = resources["Deployment", "limits-consumer"]
    deployment["spec"]["template"]["spec"]["terminationGracePeriod"] = 30
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, NEWEST, strict=True)
    scaling = resources["ScaledObject", "limits-consumer"]
    scaling["spec"]["minReplicas"] = 1
    dumped = ScaledObject.model_validate(scaling).model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert dumped != scaling


def test_the_parts_that_are_off_are_not_there() -> None:
    assert set(rendered(USUAL)) == {
        ("ConfigMap", "limits-consumer"),
        ("ServiceAccount", "limits-consumer"),
        ("Deployment", "limits-consumer"),
        ("ServiceAccount", "limits-consumer-watcher"),
        ("Deployment", "limits-consumer-watcher"),
        ("PodDisruptionBudget", "limits-consumer"),
    }


def test_the_settings_of_the_worker_are_valid_and_agree_with_kubernetes(given: pytest.MonkeyPatch) -> None:
    resources = rendered(ALL)
    variables = environment(resources, "limits-consumer")
    for name, value in variables.items():
        given.setenv(name, value)
    settings = load(Settings)
    pod = resources["Deployment", "limits-consumer"]["spec"]["template"]["spec"]

    assert misspelled(variables) == []
    assert (settings.archive_bytes, settings.handoff_seconds) == (5_000_000, 5.5)
    assert settings.stop_timeout_seconds == pod["terminationGracePeriodSeconds"]
    assert settings.metrics_address.endswith(f":{_port(resources, 'limits-consumer')}")


def test_the_watcher_serves_where_it_is_scraped(given: pytest.MonkeyPatch) -> None:
    resources = rendered(USUAL)
    for name, value in environment(resources, "limits-consumer-watcher").items():
        given.setenv(name, value)
    address = load(Settings).metrics_address

    assert container(resources["Deployment", "limits-consumer-watcher"])["args"] == ["status", "--serve", address]
    assert address.endswith(f":{_port(resources, 'limits-consumer-watcher')}")


def test_the_api_serves_where_its_service_leads_and_may_finish_its_requests(given: pytest.MonkeyPatch) -> None:
    resources = rendered(ALL)
    for name, value in environment(resources, "limits-consumer-api").items():
        given.setenv(name, value)
    settings = load(ApiSettings)
    pod = resources["Deployment", "limits-consumer-api"]["spec"]["template"]
    service = resources["Service", "limits-consumer-api"]["spec"]

    assert settings.api_address.endswith(f":{_port(resources, 'limits-consumer-api')}")
    assert bounds_of(settings).seconds < pod["spec"]["terminationGracePeriodSeconds"]
    assert service["selector"].items() <= pod["metadata"]["labels"].items()
    assert {"secretRef": {"name": "pages"}} in container(resources["Deployment", "limits-consumer-api"])["envFrom"]
    assert {"secretRef": {"name": "pages"}} not in container(resources["Deployment", "limits-consumer"])["envFrom"]


def _port(resources: Mapping[tuple[str, str], Any], part: str) -> int:
    (port,) = container(resources["Deployment", part])["ports"]
    return int(port["containerPort"])


def test_pods_are_confined_as_on_fargate() -> None:
    task = templates.template("fargate.yaml")["Resources"]["TaskDefinition"]["Properties"]["ContainerDefinitions"][0]
    for (kind, _), resource in rendered(ALL).items():
        if kind == "Deployment":
            pod, of = resource["spec"]["template"]["spec"], container(resource)
            user = pod["securityContext"]
            assert f"{user['runAsUser']}:{user['runAsGroup']}" == task["User"]
            assert of["securityContext"]["readOnlyRootFilesystem"] == task["ReadonlyRootFilesystem"]
            assert of["securityContext"]["capabilities"]["drop"] == task["LinuxParameters"]["Capabilities"]["Drop"]
            assert [each["mountPath"] for each in of["volumeMounts"]] == ["/tmp"]
            assert not pod["enableServiceLinks"]


def test_a_start_is_given_the_time_that_it_needs() -> None:
    """/healthz is 200 after CONSUMER_HEALTHY_AFTER_SECONDS and half a minute (docs/how-to/operate.md, Health)."""
    of = container(rendered(USUAL)["Deployment", "limits-consumer"])
    probe = of["startupProbe"]

    assert [of[each]["httpGet"]["path"] for each in ("startupProbe", "livenessProbe", "readinessProbe")] == [
        "/healthz",
        "/livez",
        "/readyz",
    ]
    assert (
        probe["periodSeconds"] * probe["failureThreshold"] >= 2 * Settings.model_fields["healthy_after_seconds"].default
    )


def test_the_alerts_are_those_of_the_jobs_that_are_scraped() -> None:
    resources = rendered(ALL, name="prod")
    jobs = {
        each["spec"]["podMetricsEndpoints"][0]["relabelings"][0]["replacement"]
        for (kind, _), each in resources.items()
        if kind == "PodMonitor"
    }
    service = alerts.Service(
        "prod-limits-consumer",
        "prod-limits-consumer-watcher",
        3,
        "prod-limits-consumer-api",
        "prod-limits-consumer-verify",
    )

    assert jobs == {service.job, service.watcher, service.api}
    assert resources["PrometheusRule", service.job]["spec"] == yaml.safe_load(alerts.rules(service))


def test_there_are_no_alerts_for_an_api_that_does_not_run() -> None:
    resources = rendered({**USUAL, "prometheusRule": {"enabled": True}})
    service = alerts.Service("limits-consumer", "limits-consumer-watcher", 2, None, "limits-consumer-verify")
    assert resources["PrometheusRule", "limits-consumer"]["spec"] == yaml.safe_load(alerts.rules(service))


def test_with_keda_the_deployment_has_no_number_of_workers() -> None:
    assert rendered(USUAL)["Deployment", "limits-consumer"]["spec"]["replicas"] == 2
    assert "replicas" not in rendered(ALL)["Deployment", "limits-consumer"]["spec"]


def test_a_stream_may_be_named_by_its_arn(given: pytest.MonkeyPatch) -> None:
    settings = {name: value for name, value in USUAL["settings"].items() if name != "CONSUMER_STREAM_NAME"}
    arn = "arn:aws:kinesis:eu-west-1:444455556666:stream/movements"
    resources = rendered({**USUAL, "settings": {**settings, "CONSUMER_STREAM_ARN": arn}})
    for name, value in environment(resources, "limits-consumer").items():
        given.setenv(name, value)
    assert load(Settings).stream_name == "movements"


@pytest.mark.parametrize("setting", USUAL["settings"])
def test_a_missing_setting_is_named(setting: str) -> None:
    without = {name: value for name, value in USUAL["settings"].items() if name != setting}
    with pytest.raises(helm_python.HelmRenderError, match=f"set settings.{setting}"):
        rendered({**USUAL, "settings": without})


@pytest.mark.parametrize(
    "wrong",
    [
        {"podMonitor": {"enable": True}},
        {"worker": {"replica": 3}},
        {"image": {"repository": "x", "digest": "latest"}},
        {"settings": {"CONSUMER_STREAM_NAME": ["a", "b"]}},
    ],
    ids=str,
)
def test_a_value_that_the_chart_does_not_know_is_refused(wrong: Mapping[str, Any]) -> None:
    with helm_python.Chart.load(CHART) as chart:
        chart.validate_schema(dict(ALL))
        with pytest.raises(helm_python.HelmValuesError):
            chart.validate_schema({**USUAL, **wrong})
