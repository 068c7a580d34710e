"""Every `aws` command of the pages about deploying: operations, options and template parameters exist."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import botocore.session
import pytest
from botocore import xform_name
from botocore.model import OperationModel

from deploy.templates import names
from tests.support.emulators.aws import ROOT
from tests.support.emulators.cloudformation import template

TEMPLATES = [f"{name}.yaml" for name in names()]
PAGES = tuple(Path(ROOT, "docs", "how-to", name) for name in ("deploy.md", "deploy-on-what-exists.md", "verify.md"))
BY_HAND = {
    "cloudformation deploy": {"stack-name", "template-file", "capabilities", "parameter-overrides"},
    "configure set": set(),
    "ecr get-login-password": set(),
    "logs tail": {"since"},
    "s3 cp": set(),
    "s3 ls": {"recursive"},
    "s3 rm": set(),
}
"""Commands of the AWS CLI without an API operation, and the options used here; from its reference."""
EVERYWHERE = {"query", "output"}


def commands() -> Iterator[list[str]]:
    """The words of every `aws` command in the shell blocks."""
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        lines = re.sub(r"\\\n\s*", " ", block).splitlines()
        for line in lines:
            yield from ([each.strip("$(){}") for each in words] for words in _in(line))


def _in(line: str) -> Iterator[list[str]]:
    """Each command of a line, including those in `$(...)`. Only its options matter, not their values."""
    bare = re.sub(r"'[^']*'", "VALUE", line.partition(" # ")[0].partition("   #")[0])
    bare = re.sub(r'"\$\(output [^)]*\)"|\$\(output [^)]*\)', "VALUE", bare)
    for start in re.finditer(r"(?:^|[=$(\s])aws ", bare):
        rest = bare[start.end() :]
        yield shlex.split(re.split(r"\s\||\)\s*$", rest)[0].replace('"', ""))


FOUND = [words for words in commands() if words]
IN_A_REQUEST = 51_200
"""Bytes of a template that CloudFormation accepts in a request. A larger one would need a bucket first."""


def test_there_are_commands() -> None:
    assert len(FOUND) > 30
    assert {" ".join(words[:2]) for words in FOUND} >= {"ecr create-repository", "cloudformation deploy"}


@pytest.mark.parametrize("words", FOUND, ids=" ".join)
def test_the_command_and_its_options_exist(words: list[str]) -> None:
    name = " ".join(words[:2])
    options = {word.removeprefix("--").partition("=")[0] for word in words if word.startswith("--")}
    if name in BY_HAND:
        assert options <= BY_HAND[name] | EVERYWHERE
        return
    assert options - EVERYWHERE <= _options(words)


def test_every_template_is_deployed_and_needs_no_bucket() -> None:
    deployed = [words for words in FOUND if words[:2] == ["cloudformation", "deploy"]]
    files = {path for words in deployed for path in words if path.endswith(".yaml")}

    assert {Path(file).name for file in files} == set(TEMPLATES)
    assert [file for file in files if Path(ROOT, file).stat().st_size > IN_A_REQUEST] == []


def _options(words: list[str]) -> set[str]:
    session = botocore.session.get_session()
    service = session.get_service_model({"s3api": "s3"}.get(words[0], words[0]))
    if words[1] == "wait":
        waiters = session.get_waiter_model(words[0])
        waiter = {xform_name(name, "-"): name for name in waiters.waiter_names}[words[2]]
        operation = service.operation_model(waiters.get_waiter(waiter).operation)
    else:
        known = {xform_name(name, "-"): name for name in service.operation_names}
        operation = service.operation_model(known[words[1]])
    return set(_names(operation))


def _names(operation: OperationModel) -> Iterator[str]:
    assert operation.input_shape is not None
    for member, shape in operation.input_shape.members.items():
        name = xform_name(member, "-")
        yield name
        if shape.type_name == "boolean":
            yield f"no-{name}"


def test_the_parameters_are_those_of_the_templates() -> None:
    text = PAGES[0].read_text(encoding="utf-8")
    known = {name for each in TEMPLATES for name in template(each)["Parameters"]}
    given = set(re.findall(r'["\s]([A-Z][a-z][A-Za-z]+)=', "".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))))
    tabled = {
        name for row in re.findall(r"^\| (`[A-Z][^|]*) \|", text, re.MULTILINE) for name in re.findall(r"\w+", row)
    }
    outputs = {name for each in TEMPLATES for name in template(each)["Outputs"]}

    assert {"ImageDigest", "CodeKey", "OperatorArn"} <= given
    assert given - known - {"ParameterKey", "UsePreviousValue", "BlockPublicAcls", "LocationConstraint"} == set()
    assert tabled <= known | outputs
    assert set(re.findall(r"output [a-z-]+ (\w+)", text)) <= outputs
