"""KCL's leases as stored in their table, and whether a checkpoint is past an unsettled record."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from consumer.engine.aggregation import deaggregate
from consumer.engine.errors import Rejected
from consumer.engine.projection import Ignored, Key
from consumer.engine.records import Position, Record
from consumer.limits.projection import Limits
from consumer.limits.state import LimitState
from tests.support.driven.scenario import Stage
from tests.support.driven.waiting import until

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient

BEGINNING = "TRIM_HORIZON"
END = "SHARD_END"


@dataclass(frozen=True)
class Lease:
    """The lease of a shard. `owner`: a worker id; None if there is none."""

    shard: str
    owner: str | None
    checkpoint: str

    def is_past(self, number: str) -> bool:
        """Whether the record with this sequence number is at or before the checkpoint."""
        if self.checkpoint.isdecimal():
            return int(number) <= int(self.checkpoint)
        return self.checkpoint == END


def leases(stage: Stage) -> dict[str, Lease]:
    """The leases by shard."""
    found = [_lease(item) for item in stage.items(stage.variables["CONSUMER_APPLICATION_NAME"])]
    return {lease.shard: lease for lease in found}


def owners(stage: Stage) -> Counter[str | None]:
    """The number of unfinished shards that each worker owns."""
    return Counter(lease.owner for lease in leases(stage).values() if lease.checkpoint != END)


def hand_over(stage: Stage, shard: str, to: str, *, gracefully: bool = False) -> None:
    """Reassigns a live worker's lease, as KCL's leader does. `gracefully`: by requesting a handoff from the owner.

    KCL's leader may do the same at the same moment: a rejected condition is tried again.
    """
    until(lambda: _is_assigned(stage, shard, to) or _reassign(stage, shard, to, gracefully), f"{shard} to go to {to}")


def _is_assigned(stage: Stage, shard: str, to: str) -> bool:
    rows = stage.items(stage.variables["CONSUMER_APPLICATION_NAME"])
    return any(row["leaseKey"]["S"] == shard and row.get("leaseOwner", {}).get("S") == to for row in rows)


def _reassign(stage: Stage, shard: str, to: str, gracefully: bool) -> bool:
    requesting = "SET leaseOwner = :to, checkpointOwner = :owner"
    taking = "SET leaseOwner = :to ADD leaseCounter :one, ownerSwitchesSinceCheckpoint :one"
    values = {":to": {"S": to}, ":owner": {"S": str(leases(stage)[shard].owner)}} | (
        {} if gracefully else {":one": {"N": "1"}}
    )
    dynamodb = stage.dynamodb()
    try:
        dynamodb.update_item(
            TableName=stage.variables["CONSUMER_APPLICATION_NAME"],
            Key={"leaseKey": {"S": shard}},
            UpdateExpression=requesting if gracefully else taking,
            ConditionExpression="leaseOwner = :owner AND attribute_not_exists(checkpointOwner)",
            ExpressionAttributeValues=values,
        )
    except dynamodb.exceptions.ConditionalCheckFailedException:
        return False
    return True


def checkpoint_at(stage: Stage, shard: str, number: str, sub: int) -> None:
    """Sets the checkpoint of a shard that no worker holds. `sub`: the position within an aggregate."""
    stage.dynamodb().update_item(
        TableName=stage.variables["CONSUMER_APPLICATION_NAME"],
        Key={"leaseKey": {"S": shard}},
        UpdateExpression="SET checkpoint = :number, checkpointSubSequenceNumber = :sub",
        ExpressionAttributeValues={":number": {"S": number}, ":sub": {"N": str(sub)}},
    )


def leader(stage: Stage) -> str | None:
    """The worker id of the application's leader; None if there is none."""
    items = stage.items(f"{stage.variables['CONSUMER_APPLICATION_NAME']}-CoordinatorState")
    return next(
        (item["ownerName"]["S"] for item in items if item["key"]["S"] == "Leader" and "ownerName" in item), None
    )


def owed(stage: Stage) -> int:
    """How many records of the stream are after the checkpoints."""
    return sum(not done for done, _, _ in _records(stage))


def lost(stage: Stage) -> list[str]:
    """Sequence numbers of records before a checkpoint that are neither in the table nor in the quarantine."""
    # Read the checkpoints first: a checkpoint made after the table was read could cover records that the read missed.
    done = [part for done, number, data in _records(stage) if done for part in _parts(number, data)]
    states, kept = stage.states(), stage.quarantined()
    left = [part for part in done if part.data not in kept and part.delivered.data not in kept]
    return [str(part.position) for part in left if not _is_applied(states, part.data)]


def _parts(number: str, data: bytes) -> list[Record]:
    """The user records of an aggregate; the record itself if it is none."""
    return deaggregate(Record(Position("stream", "shard", number), data))


def _is_applied(states: Mapping[Key, LimitState], data: bytes) -> bool:
    limits = Limits()
    try:
        event = limits.decode(data)
    except Rejected:
        return False
    if isinstance(event, Ignored):
        return True
    stored = states.get(limits.key(event))
    return stored is not None and limits.merge(stored, limits.state_of(event)) == stored


def _lease(item: dict[str, Any]) -> Lease:
    owner = item.get("leaseOwner")
    return Lease(item["leaseKey"]["S"], owner["S"] if owner else None, item["checkpoint"]["S"])


def _records(stage: Stage) -> Iterator[tuple[bool, str, bytes]]:
    """For every record: whether its shard's checkpoint covers it, its sequence number, and its data."""
    kinesis, stream, known = stage.kinesis(), stage.variables["CONSUMER_STREAM_NAME"], leases(stage)
    for shard in kinesis.list_shards(StreamName=stream)["Shards"]:
        # KCL deletes the lease of a closed shard once its children are being consumed.
        checkpoint = END if "EndingSequenceNumber" in shard["SequenceNumberRange"] else BEGINNING
        lease = known.get(shard["ShardId"], Lease(shard["ShardId"], None, checkpoint))
        for number, data in _read(kinesis, stream, lease.shard):
            yield lease.is_past(number), number, data


def _read(kinesis: "KinesisClient", stream: str, shard: str) -> Iterator[tuple[str, bytes]]:
    place = kinesis.get_shard_iterator(StreamName=stream, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
    iterator: str | None = place["ShardIterator"]
    while iterator:
        page = kinesis.get_records(ShardIterator=iterator, Limit=10_000)
        yield from ((record["SequenceNumber"], record["Data"]) for record in page["Records"])
        iterator = page.get("NextShardIterator") if page["Records"] or page["MillisBehindLatest"] else None
