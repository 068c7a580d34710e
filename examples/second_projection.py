"""Another projection for the same engine: the latest counted stock of each product in each warehouse.

An event is a count: `{"sheet": "s-1", "warehouse": "north", "product": "p-7", "pieces": 12, "at": 1767600000000}`. The
state is the latest count. The engine does not know what stock is, and this module does not know what a limit is.
"""

import time
from collections.abc import Mapping
from concurrent.futures import Executor
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from consumer.engine.checkpoints import CheckpointPolicy
from consumer.engine.errors import Reason, Rejected
from consumer.engine.processor import Processor
from consumer.engine.projection import Key, Plain, Review
from consumer.engine.quarantine import Quarantine
from consumer.engine.repository import Repository
from consumer.engine.stream import Stream
from consumer.engine.wire import parse_object
from consumer.kcl.record_processor import ShardConsumer, ShardRules
from consumer.kcl.retry import Runtime
from consumer.monitoring.metrics import Sink
from consumer.stores.dynamodb import DynamoRepository

Name = Annotated[str, Field(min_length=1, max_length=100)]


class Count(BaseModel):
    """A count of one product. `at` is in epoch milliseconds, `sheet` distinguishes two counts of the same time."""

    model_config = ConfigDict(strict=True, frozen=True)

    warehouse: Name
    product: Name
    at: Annotated[int, Field(ge=0)]
    sheet: Name
    pieces: Annotated[int, Field(ge=0, lt=2**53)]


class StockLevels:
    """Implements engine.projection.Projection. Count is both the event and the state."""

    key_names = ("warehouse", "product")

    def decode(self, data: bytes) -> Count:
        try:
            return Count.model_validate(parse_object(data))
        except ValidationError as invalid:
            raise Rejected(Reason.SCHEMA, ", ".join(str(error["loc"][0]) for error in invalid.errors())) from None

    def type_of(self, event: Count) -> str:  # noqa: ARG002 - there is only one
        return "STOCK_COUNTED"

    def time_of(self, event: Count) -> int:
        return event.at

    def correlation_id(self, event: Count) -> str:
        return event.sheet

    def key(self, event: Count) -> Key:
        return (event.warehouse, event.product)

    def state_of(self, event: Count) -> Count:
        return event

    def merge(self, left: Count, right: Count) -> Count:
        # A total order: the same count wins in any order of arrival, even if two counts have the same time.
        return max(left, right, key=lambda count: (count.at, count.sheet, count.pieces))

    def review(self, stored: Count | None, event: Count, alone: Count, *, changes: bool) -> Review:  # noqa: ARG002
        return Review(repeated=stored == event)

    def review_overtaken(self, stored: Count, event: Count) -> None:  # noqa: ARG002
        return None  # `merge` is as fast

    def dump(self, kept: Count) -> dict[str, Plain]:
        return kept.model_dump()

    def load(self, attributes: Mapping[str, Any]) -> Count:
        numbers = {name: int(attributes[name]) for name in ("at", "pieces")}
        return Count.model_validate({**attributes, **numbers})


def in_dynamodb(client: Any, table: str, requests: Executor) -> Repository[Count]:
    """A table whose partition key is `warehouse` and whose sort key is `product`."""
    return DynamoRepository(client, table, StockLevels(), requests)


def shard_consumer(
    stream: Stream, kept: Repository[Count], quarantine: Quarantine, measure: Sink, runtime: Runtime
) -> ShardConsumer:
    """The record processor that the daemon talks to. consumer/kcl/process.py is the process around it."""
    core = Processor(StockLevels(), kept, quarantine, time.monotonic)
    rules = ShardRules(CheckpointPolicy(seconds=5, records=10_000), batch_deadline=5)
    return ShardConsumer(core, stream, rules, measure, runtime)
