"""Prints a CloudFormation template with roles for Kubernetes service accounts: `python -m deploy.kubernetes_roles`.

The roles are those of the tasks in fargate.yaml and watcher.yaml, with the same parameters, conditions and permissions.
Only who may assume them differs: a service account of the Helm chart, through the OIDC provider of its cluster.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from deploy import templates

DESCRIPTION = "Roles for the service accounts of the limits consumer in Kubernetes. Needs the stack of data.yaml."
PARAMETERS: Mapping[str, Any] = {
    "OidcProvider": {"Type": "String", "Description": "The OIDC provider of the cluster, without https://."},
    "Namespace": {"Type": "String", "Default": "default", "Description": "The namespace of the release."},
    "Name": {"Type": "String", "Default": "limits-consumer", "Description": "The service account of the workers."},
}
SUFFIXES: Mapping[str, str] = {"TaskRole": "", "ApiTaskRole": "-api", "WatcherTaskRole": "-watcher"}
"""What follows Name in the service account of a role."""


def template() -> dict[str, Any]:
    """The template, with what of the other two it needs."""
    fargate, watcher = templates.template("fargate.yaml"), templates.template("watcher.yaml")
    resources = {name: fargate["Resources"][name] for name in ("TaskRole", "ApiTaskRole", "ApiPagesPolicy")}
    resources["WatcherTaskRole"] = watcher["Resources"]["TaskRole"]
    for role, suffix in SUFFIXES.items():
        resources[role]["Properties"]["AssumeRolePolicyDocument"] = {"Fn::Sub": json.dumps(_trust(suffix))}
    conditions = {**watcher.get("Conditions", {}), **fargate["Conditions"]}
    conditions = {name: conditions[name] for name in _reached(resources, conditions)}
    parameters = {**watcher["Parameters"], **fargate["Parameters"]}
    needed = {name for name in _names([resources, conditions]) if name in parameters}
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": DESCRIPTION,
        "Parameters": {**PARAMETERS, **{name: parameters[name] for name in parameters if name in needed}},
        "Conditions": conditions,
        "Resources": resources,
        "Outputs": {f"{role}Arn": _output(role, resources[role]) for role in SUFFIXES},
    }


def _trust(suffix: str) -> dict[str, Any]:
    account = f"system:serviceaccount:${{Namespace}}:${{Name}}{suffix}"
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": "arn:${AWS::Partition}:iam::${AWS::AccountId}:oidc-provider/${OidcProvider}"},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {"${OidcProvider}:aud": "sts.amazonaws.com", "${OidcProvider}:sub": account}},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


def _output(role: str, resource: Mapping[str, Any]) -> dict[str, Any]:
    value = {"Value": {"Fn::GetAtt": [role, "Arn"]}}
    return {"Condition": resource["Condition"], **value} if "Condition" in resource else value


def _reached(resources: Any, conditions: Mapping[str, Any]) -> list[str]:
    """The conditions that the resources need, and those that these need."""
    found: set[str] = set()
    fresh = {name for name in _names(resources) if name in conditions}
    while fresh:
        found |= fresh
        fresh = {name for name in _names([conditions[each] for each in fresh]) if name in conditions} - found
    return [name for name in conditions if name in found]


def _names(value: Any) -> Iterator[str]:
    """Every word of the texts in a value: among them all names of parameters and conditions."""
    if isinstance(value, str):
        yield from re.findall(r"\w+", value)
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _names(each)


if __name__ == "__main__":
    print(json.dumps(template(), indent=2))
