"""docs/how-to/deploy-on-what-exists.md, followed on an emulator with two accounts, over things that were made before.

Commands of docker, Terraform and the AWS CLI are not run: each module deploys its template with the parameters that it
passes on, and `consumer run`, with the variables of the task and of the image, stands for the task.
"""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest

from consumer.monitoring.worker_emf import APPLIED
from deploy import templates
from deploy.terraform_modules import variable
from tests.deploy import hcl
from tests.support.driven.guides import MARK, Block, blocks, check_shown, copied, printed
from tests.support.driven.service import service
from tests.support.emulators import emf
from tests.support.emulators.aws import EMULATORS, ROOT, Emulator, ministack
from tests.support.emulators.stacks import NETWORK, Account, accepted

STEPS = blocks(ROOT / "docs" / "how-to" / "deploy-on-what-exists.md")
REGION, OURS, THEIRS = "eu-west-1", "111122223333", "444455556666"
STREAM = f"arn:aws:kinesis:{REGION}:{THEIRS}:stream/movements"
KEYS = [f"arn:aws:kms:{REGION}:{OURS}:key/0123", f"arn:aws:kms:{REGION}:{THEIRS}:key/4567"]
ELSEWHERE = re.compile(r"^(docker|terraform|aws) ", re.MULTILINE)


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with ministack({}, ["-P", str(EMULATORS / "sharing_ministack.py")]) as running:
        yield running


def test_the_page_leads_to_a_state(emulator: Emulator, tmp_path: Path) -> None:
    ours, checkout = account(emulator, OURS, tmp_path), copied(tmp_path / "checkout")
    made_before(ours, account(emulator, THEIRS, tmp_path))
    stacks = next(number for number, step in enumerate(STEPS) if step.kind == "hcl")

    follow(STEPS[:stacks], checkout, emulator)
    outputs = deployed(ours, hcl.parsed(STEPS[stacks].text))
    task = {**ours.task_variables("wallets-service", tmp_path), **of_the_image(checkout), "AWS_ACCESS_KEY_ID": OURS}
    del task["CONSUMER_STREAM_NAME"]  # not of the task: it has the ARN
    with service(task, tmp_path / "log") as running:
        follow(STEPS[stacks + 1 :], checkout, emulator)
        assert running.stop() == 0

    granted = ours.grants(outputs["module.service.task_role_arn"])
    assert {each.resource for each in granted if each.action == "kinesis:GetRecords"} == {STREAM}
    assert {each.resource for each in granted if each.action == "kms:Decrypt"} == set(KEYS)
    lines = [line for line in running.log.read_text(encoding="utf-8").splitlines() if "_aws" in json.loads(line)]
    readings = [emf.read(line) for line in lines]
    assert {each.dimensions["application"] for each in readings} == {outputs["module.existing.application_name"]}
    assert sum(sum(each.values[APPLIED.name]) for each in readings) == 2


def account(emulator: Emulator, number: str, directory: Path) -> Account:
    """MiniStack takes the number of the account for a key."""
    owner = boto3.session.Session(aws_access_key_id=number, aws_secret_access_key="test", region_name=REGION)
    return Account(emulator, directory / "requests.jsonl", owner)


def made_before(ours: Account, theirs: Account) -> None:
    """What the reader of the page has, and the stream with the policy of the page."""
    (policy,) = (step.text for step in STEPS if step.kind == "json")
    theirs.client("kinesis").create_stream(StreamName="movements", ShardCount=1)
    theirs.client("kinesis").put_resource_policy(ResourceARN=STREAM, Policy=policy)
    keys = {"user": "HASH", "currency": "RANGE"}
    ours.client("dynamodb").create_table(
        TableName="wallets",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in keys],
        KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys.items()],
    )
    ours.client("s3").create_bucket(Bucket="company-data", CreateBucketConfiguration={"LocationConstraint": REGION})
    ours.client("ecs").create_cluster(clusterName="shared")


def follow(steps: list[Block], checkout: Path, emulator: Emulator) -> None:
    """Runs the commands in one shell, which has what an earlier one exported."""
    commands = [step for step in steps if step.kind == "sh" and not ELSEWHERE.search(step.text)]
    exported = checkout.with_name("exported")
    exported.touch()
    marked = [line for step in commands for line in (step.text, f"echo '{MARK}'")]
    script = "\n".join(["set -eu -o pipefail", f". '{exported}'", *marked, f"export -p > '{exported}'"])
    outputs = printed(
        script,
        checkout,
        AWS_ENDPOINT_URL=emulator.endpoint,
        AWS_ACCESS_KEY_ID=OURS,
        AWS_SECRET_ACCESS_KEY="test",
        AWS_EC2_METADATA_DISABLED="true",
    )
    check_shown(steps, commands, outputs)


def deployed(cloud: Account, configuration: dict[str, Any]) -> dict[str, str]:
    """Creates the stacks of the modules in their order. Returns all outputs as the configuration names them."""
    known = {"var.image_digest": NETWORK["ImageDigest"]}
    for name, given in hcl.blocks(configuration, "module").items():
        file = f"{Path(given['source']).name}.yaml"
        values = {each: _text(value, known) for each, value in given.items()}
        names = {each: variable(each) for each in templates.template(file)["Parameters"]}
        parameters = {each: values[lower] for each, lower in names.items() if lower in values}
        outputs = cloud.create(values["stack_name"], accepted(file), **parameters)
        known[f"module.{name}.stack_name"] = values["stack_name"]
        known |= {f"module.{name}.{variable(each)}": value for each, value in outputs.items()}
    return known


def _text(value: Any, known: Mapping[str, str]) -> str:
    """The value of an argument, as the module passes it on to CloudFormation."""
    if isinstance(value, list):
        return ",".join(_text(each, known) for each in value)
    if isinstance(value, bool):
        return str(value).lower()
    reference = str(value).removeprefix("${").removesuffix("}")
    return known[reference] if reference.startswith(("module.", "var.")) else str(value)


def of_the_image(checkout: Path) -> dict[str, str]:
    """The variables of the image that the page builds. What it copies is the folder of the checkout."""
    text = (checkout / "wallets.Dockerfile").read_text(encoding="utf-8")
    (place,) = re.findall(r"^COPY \. (\S+)$", text, re.MULTILINE)
    (variables,) = re.findall(r"^ENV (.*)$", text, re.MULTILINE)
    named = (each.partition("=") for each in shlex.split(variables.replace(place, str(checkout / "projections"))))
    return {name: value for name, _, value in named}
