"""The Terraform modules of deploy/terraform/, one for each CloudFormation template: `make docs` writes them.

A module has a variable for each parameter of its template, with the same type, default, bounds and description, and an
output for each output. deploy/terraform/stack/ deploys the template itself.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from deploy import templates

OPENING = """\
# Generated from deploy/cloudformation/{name}.yaml by `make docs`. Do not edit.

variable "stack_name" {{
  type        = string
  description = "The name of the stack."
  default     = "limits-{name}"
}}

variable "stack_role_arn" {{
  type        = string
  description = "The role that CloudFormation assumes. Unset: your own."
  default     = null
}}

variable "stack_tags" {{
  type        = map(string)
  description = "Tags of the stack, which CloudFormation also gives to its resources."
  default     = {{}}
}}
"""
STACK = """\
module "stack" {{
  source   = "../stack"
  name     = var.stack_name
  template = "{name}.yaml"
  role_arn = var.stack_role_arn
  tags     = var.stack_tags

  parameters = {{
{parameters}
  }}
}}

output "stack_name" {{
  value = module.stack.name
}}
"""
OWN = frozenset({"stack_name", "stack_role_arn", "stack_tags"})


def module(name: str) -> str:
    """The text of deploy/terraform/NAME/main.tf, for the template NAME.yaml."""
    template = templates.template(f"{name}.yaml")
    parameters = template["Parameters"]
    if taken := OWN & {variable(parameter) for parameter in parameters}:
        raise ValueError(f"{name}.yaml: a parameter has the name of a variable of every module: {', '.join(taken)}")
    blocks = [
        OPENING.format(name=name),
        *(_variable(variable(each), values) for each, values in parameters.items()),
        STACK.format(name=name, parameters=_aligned({each: _passed(each, parameters[each]) for each in parameters}, 4)),
        *(_output(each, values) for each, values in template["Outputs"].items()),
    ]
    return "\n".join(blocks)


def variable(name: str) -> str:
    """The name in Terraform of a parameter or output: `MaximumRecordAgeSeconds` is `maximum_record_age_seconds`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.replace("iB", "ib")).lower()


def kind(parameter: Mapping[str, Any]) -> str:
    """The type in Terraform of a parameter."""
    if parameter["Type"].startswith(("List<", "CommaDelimitedList")):
        return "list(string)"
    if parameter["Type"] == "Number":
        return "number"
    return "bool" if sorted(parameter.get("AllowedValues", [])) == ["false", "true"] else "string"


def _variable(name: str, parameter: Mapping[str, Any]) -> str:
    fields = {"type": kind(parameter)}
    if description := parameter.get("Description"):
        fields["description"] = _quoted(description)
    if "Default" in parameter:
        fields["default"] = _default(parameter)
    body = _aligned({**fields, "nullable": "false"}, 2) + "".join(_validations(name, parameter))
    return f'variable "{name}" {{\n{body}\n}}\n'


def _default(parameter: Mapping[str, Any]) -> str:
    default = str(parameter["Default"])
    match kind(parameter):
        case "list(string)":
            return json.dumps([each for each in default.split(",") if each])
        case "string":
            return _quoted(default)
        case _:
            return default


def _validations(name: str, parameter: Mapping[str, Any]) -> Iterator[str]:
    """What CloudFormation would refuse, so that a plan fails already."""
    if kind(parameter) == "bool":
        return
    if allowed := parameter.get("AllowedValues"):
        values = allowed if kind(parameter) == "number" else [*map(str, allowed)]
        yield _validation(f"contains({json.dumps(values)}, var.{name})", f"one of {', '.join(map(str, values))}")
    if pattern := parameter.get("AllowedPattern"):
        yield _validation(f"can(regex({_quoted(f'^({pattern})$')}, var.{name}))", f"must match {pattern}")
    if "MinValue" in parameter:
        yield _validation(f"var.{name} >= {parameter['MinValue']}", f"at least {parameter['MinValue']}")
    if "MaxValue" in parameter:
        yield _validation(f"var.{name} <= {parameter['MaxValue']}", f"at most {parameter['MaxValue']}")


def _validation(condition: str, message: str) -> str:
    fields = _aligned({"condition": condition, "error_message": _quoted(message)}, 4)
    return f"\n\n  validation {{\n{fields}\n  }}"


def _passed(name: str, parameter: Mapping[str, Any]) -> str:
    value = f"var.{variable(name)}"
    return f'join(",", {value})' if kind(parameter) == "list(string)" else value


def _output(name: str, output: Mapping[str, Any]) -> str:
    """An output. One with a condition is null where the stack does not have it."""
    value = f'module.stack.outputs["{name}"]'
    fields = {"value": f"try({value}, null)" if "Condition" in output else value}
    if description := output.get("Description"):
        fields["description"] = _quoted(description)
    return f'output "{variable(name)}" {{\n{_aligned(fields, 2)}\n}}\n'


def _aligned(fields: Mapping[str, str], indent: int) -> str:
    """Arguments as `terraform fmt` writes them."""
    width = max(map(len, fields))
    return "\n".join(f"{' ' * indent}{name:{width}} = {value}" for name, value in fields.items())


def _quoted(text: str) -> str:
    """A string. `${` and `%{` would begin an expression in it."""
    return re.sub(r"([$%])\{", r"\1\1{", json.dumps(text, ensure_ascii=False))
