"""The Terraform modules, parsed: they have what the templates have."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from deploy import templates
from deploy.terraform_modules import OWN, kind, variable
from tests.deploy.hcl import blocks, parsed

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "terraform"
PAGES = ("deploy-with-terraform-cdk-or-helm.md", "deploy-on-what-exists.md")


@cache
def module(name: str) -> dict[str, Any]:
    return parsed((FOLDER / name / "main.tf").read_text(encoding="utf-8"))


def test_every_template_has_a_module() -> None:
    assert {path.parent.name for path in FOLDER.glob("*/main.tf")} == {"stack", *templates.names()}


@pytest.fixture(params=templates.names())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_variables_are_the_parameters(name: str) -> None:
    parameters = {variable(each): values for each, values in templates.template(f"{name}.yaml")["Parameters"].items()}
    variables = blocks(module(name), "variable")

    assert variables.keys() == parameters.keys() | OWN
    for each, values in parameters.items():
        assert variables[each]["type"].strip("${}") == kind(values), each
        assert ("default" in variables[each]) == ("Default" in values), each


def test_every_parameter_is_passed_to_the_stack(name: str) -> None:
    parameters = templates.template(f"{name}.yaml")["Parameters"]
    stack = blocks(module(name), "module")["stack"]

    assert stack["template"] == f"{name}.yaml"
    assert (FOLDER / name / stack["source"]).resolve() == FOLDER / "stack"
    assert stack["parameters"].keys() == parameters.keys()
    for each, value in stack["parameters"].items():
        assert re.search(rf"\bvar\.{variable(each)}\b", value), each


def test_the_outputs_are_those_of_the_template(name: str) -> None:
    outputs = templates.template(f"{name}.yaml")["Outputs"]
    assert blocks(module(name), "output").keys() == {variable(each) for each in outputs} | {"stack_name"}


def test_the_modules_pass_what_the_stack_takes(name: str) -> None:
    assert blocks(module(name), "module")["stack"].keys() - {"source"} == blocks(module("stack"), "variable").keys()


def test_a_value_that_is_empty_again_reaches_the_stack(name: str) -> None:
    """The stack leaves empty values out, so the default of a parameter that may be empty must be empty."""
    (stack,) = blocks(module("stack"), "resource")["aws_cloudformation_stack"].values()
    assert stack["parameters"] == '${{for name, value in var.parameters : name => value if value != ""}}'

    template = templates.template(f"{name}.yaml")
    may_be_empty = set(re.findall(r'\[\{"Ref": "(\w+)"\}, ""\]', json.dumps(template)))
    assert may_be_empty
    assert {template["Parameters"][each]["Default"] for each in may_be_empty} == {""}


@pytest.mark.parametrize("page", PAGES)
def test_the_example_of_the_page_gives_what_the_modules_take(page: str) -> None:
    text = (FOLDER.parents[1] / "docs" / "how-to" / page).read_text(encoding="utf-8")
    (example,) = re.findall(r"```hcl.*?\n(.*?)```", text, re.DOTALL)
    for given in blocks(parsed(example), "module").values():
        taken = blocks(module(Path(given["source"]).name), "variable")
        assert given.keys() - {"source"} <= taken.keys()
        assert {each for each, values in taken.items() if "default" not in values} <= given.keys()
