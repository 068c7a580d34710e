"""MiniStack with the deployed templates; every request is recorded."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3

from tests.support.driven.processes import LOOPBACK, free_port
from tests.support.driven.service import environment
from tests.support.driven.waiting import until
from tests.support.emulators.aws import Emulator, ministack, session
from tests.support.emulators.cloudformation import FOLDER, template
from tests.support.emulators.permissions import Call, Grant, calls, grants

RECORDING = Path(__file__).with_name("recording_ministack.py")
UNSUPPORTED = (
    "AWS::ApplicationAutoScaling::",
    "AWS::ElasticLoadBalancingV2::ListenerRule",
    "AWS::Scheduler::",
)
"""The resource types that MiniStack's CloudFormation does not support. It rejects a whole template for them."""
OPERATOR = "arn:aws:iam::000000000000:root"
NETWORK: Mapping[str, str] = {
    "ImageDigest": f"sha256:{'0' * 64}",
    "VpcId": "vpc-1",
    "PrivateSubnets": "subnet-1",
    "MetricsSecurityGroup": "sg-1",
}


@dataclass(frozen=True)
class Account:
    """The emulator, the record of its requests, and whose account it is."""

    aws: Emulator
    record: Path
    owner: boto3.session.Session = field(default_factory=session)

    def client(self, service: str) -> Any:
        made: Any = self.owner.client(service, endpoint_url=self.aws.endpoint)  # type: ignore[call-overload]
        return made

    def create(self, stack: str, body: str, **parameters: str) -> dict[str, str]:
        """Creates a stack and returns its outputs."""
        client = self.client("cloudformation")
        given = [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]
        client.create_stack(StackName=stack, TemplateBody=body, Parameters=given, Capabilities=["CAPABILITY_IAM"])

        def described() -> dict[str, Any]:
            (found,) = client.describe_stacks(StackName=stack)["Stacks"]
            return dict(found)

        until(lambda: not described()["StackStatus"].endswith("_IN_PROGRESS"), f"the stack {stack}")
        assert described()["StackStatus"] == "CREATE_COMPLETE", described()
        return {each["OutputKey"]: each["OutputValue"] for each in described().get("Outputs", [])}

    def data(self, name: str, **parameters: str) -> dict[str, str]:
        """Creates the stack of data.yaml with two shards; all resources are named after `name`."""
        return self.create(
            name,
            (FOLDER / "data.yaml").read_text(encoding="utf-8"),
            StreamName=f"{name}-events",
            LimitsTableName=f"{name}-limits",
            ApplicationName=f"{name}-consumer",
            Shards="2",
            **parameters,
        )

    def tools(self, name: str, data: str) -> dict[str, str]:
        """Creates the stack of tools.yaml."""
        return self.create(
            name, (FOLDER / "tools.yaml").read_text(encoding="utf-8"), DataStack=data, OperatorArn=OPERATOR
        )

    def fargate(self, name: str, data: str, **parameters: str) -> dict[str, str]:
        """Creates the stack of fargate.yaml without scaling, which MiniStack does not support."""
        body = accepted("fargate.yaml", ApiTasks=parameters.get("ApiTasks", "0"))
        return self.create(name, body, DataStack=data, **NETWORK, **parameters)

    def watcher(self, name: str, data: str) -> dict[str, str]:
        """Creates the stack of watcher.yaml."""
        return self.create(name, (FOLDER / "watcher.yaml").read_text(encoding="utf-8"), DataStack=data, **NETWORK)

    def verify(self, name: str, data: str) -> dict[str, str]:
        """Creates the stack of verify.yaml without its schedule and an alarm, which MiniStack does not support."""
        body, given = without_scaling(template("verify.yaml")), NETWORK.keys() & template("verify.yaml")["Parameters"]
        return self.create(name, json.dumps(body), DataStack=data, **{key: NETWORK[key] for key in given})

    def monitoring(self, name: str, data: str, log_group: str) -> dict[str, str]:
        """Creates the stack of monitoring.yaml for the workers of a stack of data.yaml, made by `data`."""
        names = {"ApplicationName": f"{data}-consumer", "StreamName": f"{data}-events"}
        body = accepted("monitoring.yaml")
        return self.create(name, body, **names, LimitsTableName=f"{data}-limits", LogGroup=log_group, MinWorkers="1")

    def task_variables(self, stack: str, directory: Path, suffix: str = "") -> dict[str, str]:
        """The environment of the task definition, with endpoints and addresses of this machine.

        `suffix`: of the name of the family, after that of the stack.
        """
        found = self.client("ecs").describe_task_definition(taskDefinition=stack + suffix)
        (container,) = found["taskDefinition"]["containerDefinitions"]
        return {
            **environment(stack, directory, AWS_ENDPOINT_URL=self.aws.endpoint),
            **{each["name"]: each["value"] for each in container["environment"]},
            "CONSUMER_METRICS_ADDRESS": f"{LOOPBACK}:{free_port()}",
        }

    def grants(self, role_arn: str) -> set[Grant]:
        """Everything that the role's policies in the account allow."""
        client, role = self.client("iam"), role_arn.rpartition("/")[2]
        names = client.list_role_policies(RoleName=role)["PolicyNames"]
        policies = [client.get_role_policy(RoleName=role, PolicyName=name) for name in names]
        return set(grants(policies))

    def calls(self, key: str) -> set[Call]:
        return calls(self.record, key)


def accepted(name: str, **parameters: str) -> str:
    """The template, as far as MiniStack supports it with these parameters."""
    body = template(name)
    if name == "fargate.yaml":
        body = without_scaling(body)
        # MiniStack computes with the parameter, which is a text there.
        body["Resources"]["ApiService"]["Properties"]["DesiredCount"] = int(parameters.get("ApiTasks", "0"))
    if name == "monitoring.yaml":
        # Alarms that compute are refused: here they are alarms on the first of their metrics.
        for each in body["Resources"].values():
            if "Metrics" in each["Properties"]:
                each["Properties"] = _of_one_metric(each["Properties"])
    return json.dumps(body)


def _of_one_metric(alarm: Mapping[str, Any]) -> dict[str, Any]:
    first = next(each["MetricStat"] for each in alarm["Metrics"] if "MetricStat" in each)
    rest = {key: value for key, value in alarm.items() if key != "Metrics"}
    return {**rest, **first["Metric"], "Statistic": first["Stat"], "Period": first["Period"]}


def without_scaling(fargate: dict[str, Any]) -> dict[str, Any]:
    """The template without unsupported resources, alarms that compute included, and the alarm that only they use."""
    resources = fargate["Resources"]
    gone = {
        name
        for name, each in resources.items()
        if each["Type"].startswith(UNSUPPORTED)
        or (each["Type"] == "AWS::CloudWatch::Alarm" and "Metrics" in each["Properties"])
    }
    gone.add("ScaleOnLagAlarm")
    return {**fargate, "Resources": {name: each for name, each in resources.items() if name not in gone}}


@contextmanager
def account(directory: Path) -> Iterator[Account]:
    record = directory / "requests.jsonl"
    with ministack(program=[str(RECORDING), str(record)]) as aws:
        yield Account(aws, record)
