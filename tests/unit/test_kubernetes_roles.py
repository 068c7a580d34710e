"""The roles for Kubernetes have the permissions of the tasks."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from deploy import kubernetes_roles, templates
from tests.support.emulators.cloudformation import DATA_STACK, Resolved, resolved, template

GIVEN = {
    "ApiTasks": "1",
    "ApiPagesClientId": "pages",
    "ApiPagesSessionKeyArn": "arn:aws:ssm:eu-west-1:111122223333:parameter/key",
    "Archive": "true",
    "KclMetricsLevel": "SUMMARY",
    "RetrievalMode": "fanout",
    "OidcProvider": "oidc.example/id/1",
    "Namespace": "limits",
}
TASKS = {
    "TaskRole": ("fargate.yaml", "TaskRole"),
    "ApiTaskRole": ("fargate.yaml", "ApiTaskRole"),
    "ApiPagesPolicy": ("fargate.yaml", "ApiPagesPolicy"),
    "WatcherTaskRole": ("watcher.yaml", "TaskRole"),
}


def roles(**given: str) -> Resolved:
    return Resolved(kubernetes_roles.template(), given, Resolved(template("data.yaml")).exports(DATA_STACK))


@pytest.mark.parametrize("role", TASKS)
@pytest.mark.parametrize("given", [{}, GIVEN], ids=["usual", "all"])
def test_a_role_may_do_what_the_task_may(role: str, given: dict[str, str]) -> None:
    file, name = TASKS[role]
    ours, of_the_task = roles(**given).properties(role), resolved(file, **given).properties(name)
    for key in ("Policies", "PolicyDocument"):
        assert ours.get(key) == of_the_task.get(key)


@pytest.mark.parametrize(
    ("role", "account"), [("TaskRole", "x"), ("ApiTaskRole", "x-api"), ("WatcherTaskRole", "x-watcher")]
)
def test_only_the_service_account_of_its_part_may_assume_a_role(role: str, account: str) -> None:
    (statement,) = json.loads(roles(**GIVEN, Name="x").properties(role)["AssumeRolePolicyDocument"])["Statement"]
    assert statement["Principal"] == {"Federated": "arn:aws:iam::000000000000:oidc-provider/oidc.example/id/1"}
    assert statement["Condition"] == {
        "StringEquals": {
            "oidc.example/id/1:aud": "sts.amazonaws.com",
            "oidc.example/id/1:sub": f"system:serviceaccount:limits:{account}",
        }
    }


def test_the_template_is_complete_and_has_nothing_that_it_does_not_use() -> None:
    made = kubernetes_roles.template()
    used = set(_used([made["Resources"], made["Conditions"], made["Outputs"]]))
    known = {**made["Parameters"], **made["Conditions"], **made["Resources"]}

    assert {name for name in used if "::" not in name} - {"Bucket", "Stream", "Table", "Application"} <= known.keys()
    assert made["Parameters"].keys() | made["Conditions"].keys() <= used
    assert made["Parameters"].keys() - kubernetes_roles.PARAMETERS.keys() <= (
        templates.template("fargate.yaml")["Parameters"].keys()
    )


def _used(value: Any) -> Iterator[str]:
    """The names that functions refer to."""
    if isinstance(value, list):
        for each in value:
            yield from _used(each)
    if isinstance(value, dict):
        for key, each in value.items():
            if key in ("Ref", "Condition") and isinstance(each, str):
                yield each
            if key == "Fn::If":
                yield each[0]
            if key == "Fn::GetAtt":
                yield each[0]
            if key == "Fn::Sub":
                yield from _names(each if isinstance(each, str) else each[0])
            yield from _used(each)


def _names(text: str) -> list[str]:
    return re.findall(r"\$\{([^}]+)\}", text)
