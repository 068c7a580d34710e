"""Reads the CloudFormation templates and resolves their parameters and functions."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from deploy.templates import FOLDER, template
from tests.support.emulators.aws import REGION

__all__ = ["FOLDER", "template"]

DATA_STACK = "limits-data"
"""The default name of the stack from which the other templates import."""
REPORT = "ReportBatchItemFailures"
PSEUDO: Mapping[str, str] = {
    "AWS::AccountId": "000000000000",
    "AWS::Partition": "aws",
    "AWS::StackName": "made-up",
    "AWS::URLSuffix": "amazonaws.com",
}


def resources(of: Mapping[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """The properties of all resources of a type such as `AWS::DynamoDB::Table`, by logical name."""
    return {name: each.get("Properties", {}) for name, each in of["Resources"].items() if each["Type"] == kind}


def losing_mappings(of: Mapping[str, Any]) -> list[str]:
    """Event source mappings with which AWS ignores the function's response, so that failures would be lost."""
    mappings = resources(of, "AWS::Lambda::EventSourceMapping")
    return [name for name, mapping in mappings.items() if mapping.get("FunctionResponseTypes") != [REPORT]]


@dataclass
class Resolved:
    """A template with the `given` parameters and defaults. Values that only AWS knows are fictitious."""

    template: Mapping[str, Any]
    given: Mapping[str, str] = field(default_factory=dict)
    imports: Mapping[str, str] = field(default_factory=dict)

    def properties(self, resource: str) -> dict[str, Any]:
        found: dict[str, Any] = self.value(self.template["Resources"][resource]["Properties"])
        return found

    def exports(self, stack: str = DATA_STACK) -> dict[str, str]:
        """The exports of the stack, by name."""
        outputs = [each for each in self.template["Outputs"].values() if "Export" in each]
        own = Resolved(self.template, {**self.given, "AWS::StackName": stack})
        return {own.value(each["Export"]["Name"]): own.value(each["Value"]) for each in outputs}

    def made(self, resource: str) -> bool:
        """Whether the stack creates the resource."""
        condition = self.template["Resources"][resource].get("Condition")
        return condition is None or self._holds({"Condition": condition})

    def value(self, value: Any) -> Any:
        if isinstance(value, list):
            found = [self.value(each) for each in value]
            return [each for each in found if each is not None]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((function, argument),) = value.items()
            if function in self._functions:
                return self._functions[function](argument)
        return {name: found for name, each in value.items() if (found := self.value(each)) is not None}

    @property
    def _functions(self) -> Mapping[str, Any]:
        return {
            "Ref": self._ref,
            "Fn::Sub": self._sub,
            "Fn::If": self._if,
            "Fn::GetAtt": lambda path: f"arn:aws:made-up:{REGION}::{path[0]}",
            "Fn::ImportValue": lambda name: self.imports[self.value(name)],
            "Fn::Split": lambda argument: str(self.value(argument[1])).split(argument[0]),
            "Fn::Select": lambda argument: self.value(argument[1])[int(argument[0])],
        }

    def _ref(self, name: str) -> Any:
        known = {"AWS::Region": REGION, "AWS::NoValue": None, **PSEUDO, **self.given}
        if name in known:
            return known[name]
        if name in self.template["Parameters"]:
            return self.template["Parameters"][name].get("Default", f"given-{name}")
        properties = self.template["Resources"][name].get("Properties", {})
        named = next((properties[key] for key in ("Name", "TableName") if key in properties), name.lower())
        return self.value(named)

    def _sub(self, argument: Any) -> str:
        text, names = (argument, {}) if isinstance(argument, str) else argument

        def replaced(match: re.Match[str]) -> str:
            name = match[1]
            return str(self.value(names[name]) if name in names else self.value(_reference(name)))

        return re.sub(r"\$\{([^}]+)\}", replaced, text)

    def _if(self, argument: Any) -> Any:
        condition, then, otherwise = argument
        return self.value(then if self._holds(self.template["Conditions"][condition]) else otherwise)

    def _holds(self, condition: Any) -> bool:
        ((function, argument),) = condition.items()
        if function == "Condition":
            return self._holds(self.template["Conditions"][argument])
        if function == "Fn::And":
            return all(map(self._holds, argument))
        if function == "Fn::Not":
            return not self._holds(argument[0])
        assert function == "Fn::Equals", function
        return str(self.value(argument[0])) == str(self.value(argument[1]))


def _reference(name: str) -> dict[str, Any]:
    return {"Fn::GetAtt": name.split(".", 1)} if "." in name else {"Ref": name}


def resolved(name: str, **given: str) -> Resolved:
    """A template such as `fargate.yaml` on a stack of data.yaml with default parameters."""
    return Resolved(template(name), given, Resolved(template("data.yaml")).exports())


def container(of: Resolved) -> dict[str, Any]:
    """The only container of the task definition."""
    (found,) = of.properties("TaskDefinition")["ContainerDefinitions"]
    return dict(found)


def statements(policies: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The statements of a role's inline policies, with Action and Resource as lists."""
    for policy in policies:
        for statement in policy["PolicyDocument"]["Statement"]:
            lists = {key: _listed(statement[key]) for key in ("Action", "Resource")}
            yield {**statement, **lists}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
