"""The projections of examples/, named by CONSUMER_PROJECTION, on the real daemon and as a Lambda function."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.driven import lambda_environment
from tests.support.driven.invocations import SUCCESS, event
from tests.support.driven.lambda_zip import unpack
from tests.support.driven.service import consumer, environment, service
from tests.support.driven.waiting import until
from tests.support.emulators.aws import ROOT, Emulator, session
from tests.support.emulators.runtime_api import lambda_runtime
from tests.support.generators.events import records

Item = dict[str, Any]


@dataclass(frozen=True)
class Example:
    """`events` of one key, in which the last one comes first, and the item that they lead to."""

    folder: Path
    projection: str
    events: list[Item]
    key: tuple[str, str]
    item: Item

    @property
    def records(self) -> list[bytes]:
        """The events, the first of them again, and one that can never be applied."""
        return [json.dumps(each).encode() for each in (*self.events, self.events[0])] + [b"poison"]


def report(number: int) -> Item:
    return {"fleet": "north", "device": "van-7", "number": number, "at": 5, "latitude": number, "longitude": 8}


def movement(source: str, number: int, total: int) -> Item:
    return {"user": "u-1", "currency": "EUR", "source": source, "number": number, "at": 5, "total": total}


EXAMPLES = {
    "position": Example(
        ROOT / "examples" / "position",
        "device_position:LastPosition",
        [report(3), report(1), report(2)],
        ("north", "van-7"),
        report(3),
    ),
    "wallet": Example(
        ROOT / "examples" / "wallet",
        "wallet_balance:Wallets",
        [movement("bets", 2, -700), movement("bets", 1, -500), movement("deposits", 1, 1_000)],
        ("u-1", "EUR"),
        {
            "user": "u-1",
            "currency": "EUR",
            "totals": {"bets": {"number": 2, "cents": -700}, "deposits": {"number": 1, "cents": 1_000}},
            "cents": 300,
        },
    ),
}


@pytest.fixture(params=EXAMPLES)
def example(request: pytest.FixtureRequest) -> Example:
    return EXAMPLES[request.param]


def kept(variables: dict[str, str], example: Example) -> list[Item]:
    found: list[Item] = json.loads(consumer(variables, "show", *example.key, "--json"))
    return found


def test_the_worker_keeps_it(aws: Emulator, example: Example, tmp_path: Path) -> None:
    name = f"{example.folder.name}-worker"
    chosen = {"CONSUMER_PROJECTION": example.projection, "PYTHONPATH": str(example.folder)}
    variables = environment(name, tmp_path, AWS_ENDPOINT_URL=aws.endpoint, **chosen)
    consumer(variables, "provision", "--stream", "2")
    kinesis = session().client("kinesis", endpoint_url=aws.endpoint)
    for number, data in enumerate(example.records):
        kinesis.put_record(StreamName=variables["CONSUMER_STREAM_NAME"], Data=data, PartitionKey=str(number))
    with service(variables, tmp_path / "log") as running:
        until(lambda: running.received() == len(example.records), "all records to be settled")
        assert running.outcomes()["quarantined"] == 1
        assert running.stop() == 0
    assert kept(variables, example) == [example.item]


def test_the_lambda_function_keeps_it(aws: Emulator, example: Example, tmp_path: Path) -> None:
    task = unpack(tmp_path / "task")
    for module in example.folder.glob("*.py"):
        shutil.copy(module, task)
    chosen = {"CONSUMER_PROJECTION": example.projection}
    variables = {**lambda_environment.variables(f"{example.folder.name}-function", aws), **chosen}
    local = environment("any", tmp_path, **variables, PYTHONPATH=str(example.folder))
    consumer(local, "provision", "--stream", "1", "--bucket")
    with lambda_runtime(task, variables, tmp_path) as function:
        assert function.invoke(event(records(*example.records))) == SUCCESS
    assert kept(local, example) == [example.item]
    assert lambda_environment.quarantined(variables) == {b"poison": 1}
