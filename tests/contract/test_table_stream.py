"""The stream of the limits table: each write of the repository is one record, with both images, in order."""

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import ExitStack, closing
from typing import Any

import pytest

from consumer.aws_lambda.notices import read
from consumer.limits.projection import Limits
from consumer.limits.state import LimitState
from consumer.stores.images import state_in
from tests.contract.conftest import DYNAMODB, Dynamo, Emulators
from tests.support.driven.waiting import until
from tests.support.emulators.aws import EMULATORS, ministack, session
from tests.support.generators.events import created, progress_changed, reset
from tests.support.generators.table_stream import changes
from tests.support.simulation.core import Core


@pytest.fixture(params=DYNAMODB)
def table(request: pytest.FixtureRequest, emulators: Emulators, pool: Executor) -> Iterator[Dynamo]:
    """A table with a stream."""
    with ExitStack() as stack:
        if request.param == "ministack":
            program = str(EMULATORS / "streaming_ministack.py")
            made = Dynamo(stack.enter_context(ministack(program=[program])).endpoint, pool, stack)
            made.create(Limits().key_names)
        else:
            made = emulators.table(request.param, pool, stack)
        made.client().update_table(
            TableName=made.name, StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
        )
        yield made


def records(table: Dynamo) -> list[dict[str, Any]]:
    """The records of the stream from its beginning, in the form in which a mapping delivers them."""
    client: Any = table.stack.enter_context(closing(session().client("dynamodbstreams", endpoint_url=table.endpoint)))
    arn = table.client().describe_table(TableName=table.name)["Table"]["LatestStreamArn"]
    found: list[dict[str, Any]] = []
    for shard in client.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]:
        place = client.get_shard_iterator(StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")
        found += client.get_records(ShardIterator=place["ShardIterator"])["Records"]
    return [{**each, "eventSourceARN": arn} for each in found]


def test_every_write_of_the_repository_is_a_record_with_both_images(table: Dynamo) -> None:
    history = [
        created(1, nextResetTime=1_767_312_000_000),
        progress_changed(2, amount="850.50"),
        progress_changed(2, amount="850.50"),
        reset(3),
        progress_changed(4, amount="1000", remainingAmount="0"),
    ]
    core = Core(table.limits())
    for event in history:
        assert core.deliver(event).unsettled is None
    wanted = changes(history)
    until(lambda: len(records(table)) >= len(wanted), "the records")
    found = read({"Records": records(table)})

    assert [(_state(each.old), _state(each.new)) for each in found] == wanted
    assert {each.table for each in found} == {table.name}


def _state(image: Any) -> LimitState | None:
    return state_in(image, Limits()) if image else None
