"""The shards of a stream: splits and merges, and what the workers' logs report about them."""

from collections.abc import Iterable
from dataclasses import dataclass

from tests.support.driven.scenario import Stage
from tests.support.driven.service import Service
from tests.support.driven.waiting import until


@dataclass(frozen=True)
class Shard:
    """`first` and `last`: hash keys. `parents`: the shards that were split or merged into this one."""

    name: str
    first: int
    last: int
    parents: frozenset[str]
    open: bool


def shards(stage: Stage) -> dict[str, Shard]:
    """Every shard of the stage's stream by name, in the order of the first hash keys."""
    found = [
        Shard(
            each["ShardId"],
            int(each["HashKeyRange"]["StartingHashKey"]),
            int(each["HashKeyRange"]["EndingHashKey"]),
            frozenset(each[key] for key in ("ParentShardId", "AdjacentParentShardId") if key in each),
            "EndingSequenceNumber" not in each["SequenceNumberRange"],
        )
        for each in stage.kinesis().list_shards(StreamName=_name(stage))["Shards"]
    ]
    return {shard.name: shard for shard in sorted(found, key=lambda shard: (shard.first, shard.name))}


def split(stage: Stage, shard: Shard) -> list[Shard]:
    """Splits the shard in the middle and returns its children."""
    middle = (shard.first + shard.last) // 2
    stage.kinesis().split_shard(StreamName=_name(stage), ShardToSplit=shard.name, NewStartingHashKey=str(middle))
    return _children(stage, shard)


def merge(stage: Stage, shard: Shard, adjacent: Shard) -> list[Shard]:
    """Merges the shard with the adjacent one and returns their child."""
    stage.kinesis().merge_shards(StreamName=_name(stage), ShardToMerge=shard.name, AdjacentShardToMerge=adjacent.name)
    return _children(stage, shard)


def _children(stage: Stage, parent: Shard) -> list[Shard]:
    def active() -> bool:
        summary = stage.kinesis().describe_stream_summary(StreamName=_name(stage))
        return summary["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE"

    def children() -> list[Shard]:
        return [shard for shard in shards(stage).values() if parent.name in shard.parents]

    found = until(children, f"the children of {parent.name}")
    until(active, "the stream to be active")
    return found


def _name(stage: Stage) -> str:
    return stage.variables["CONSUMER_STREAM_NAME"]


def logged_at(workers: Iterable[Service], message: str) -> dict[str, list[str]]:
    """The sorted times at which the workers logged the message, by shard."""
    found: dict[str, list[str]] = {}
    for line in (line for running in workers for line in running.lines() if line["message"] == message):
        found.setdefault(line["shard"], []).append(line["time"])
    return {shard: sorted(times) for shard, times in found.items()}
