"""The emulators start, respond to the SDK, listen only on 127.0.0.1, and leave nothing behind."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path

import pytest

from tests.support.emulators.aws import Emulator, dynamodb_local, kinesis_mock, ministack, session

Launcher = Callable[[], AbstractContextManager[Emulator]]
ALL = [
    pytest.param(ministack, id="ministack"),
    pytest.param(dynamodb_local, id="dynamodb-local", marks=pytest.mark.conformance),
    pytest.param(kinesis_mock, id="kinesis-mock", marks=pytest.mark.conformance),
]
DYNAMODB = [ALL[0], ALL[1]]
KINESIS = [ALL[0], ALL[2]]

LISTENING = "0A"
LOOPBACKS = {"0100007F", "0000000000000000FFFF00000100007F"}  # 127.0.0.1, as an IPv4 and as an IPv6 address


@pytest.mark.parametrize("launcher", ALL)
def test_it_listens_on_loopback_alone_and_leaves_nothing(launcher: Launcher) -> None:
    with launcher() as emulator:
        assert addresses(emulator.pid)
        assert addresses(emulator.pid) <= LOOPBACKS
        directory = emulator.log.parent
    assert not directory.exists()
    assert not Path("/proc", str(emulator.pid)).exists()


@pytest.mark.parametrize("launcher", KINESIS)
def test_it_keeps_records_of_a_stream(launcher: Launcher) -> None:
    with launcher() as emulator:
        kinesis = session().client("kinesis", endpoint_url=emulator.endpoint)
        kinesis.create_stream(StreamName="limits", ShardCount=1)
        kinesis.get_waiter("stream_exists").wait(StreamName="limits", WaiterConfig={"Delay": 1, "MaxAttempts": 30})
        put = kinesis.put_record(StreamName="limits", Data=b"event", PartitionKey="user")
        iterator = kinesis.get_shard_iterator(
            StreamName="limits", ShardId=put["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        records = kinesis.get_records(ShardIterator=iterator)["Records"]
        assert [record["Data"] for record in records] == [b"event"]


@pytest.mark.parametrize("launcher", DYNAMODB)
def test_it_keeps_items_of_a_table(launcher: Launcher) -> None:
    with launcher() as emulator:
        table = session().resource("dynamodb", endpoint_url=emulator.endpoint).Table("limits")
        table.meta.client.create_table(
            TableName="limits",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        table.put_item(Item={"id": "a"})
        assert table.get_item(Key={"id": "a"}, ConsistentRead=True)["Item"] == {"id": "a"}


def test_two_run_side_by_side_and_share_nothing() -> None:
    with ExitStack() as stack:
        one, other = (stack.enter_context(ministack()) for _ in range(2))
        here, there = (session().client("kinesis", endpoint_url=aws.endpoint) for aws in (one, other))
        here.create_stream(StreamName="limits", ShardCount=1)
        assert here.list_streams()["StreamNames"] == ["limits"]
        assert there.list_streams()["StreamNames"] == []


def addresses(pid: int) -> set[str]:
    """The addresses, in the kernel's hexadecimal, that a process listens on."""
    sockets = set(_open_files(pid))
    rows = [line.split() for family in ("tcp", "tcp6") for line in _rows(family)]
    return {row[1].split(":")[0] for row in rows if row[3] == LISTENING and f"socket:[{row[9]}]" in sockets}


def _rows(family: str) -> list[str]:
    return Path("/proc/net", family).read_text().splitlines()[1:]


def _open_files(pid: int) -> Iterator[str]:
    for descriptor in Path("/proc", str(pid), "fd").iterdir():
        with suppress(FileNotFoundError):  # closed in the meantime
            yield descriptor.readlink().name
