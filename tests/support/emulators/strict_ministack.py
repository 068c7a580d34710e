"""MiniStack that refuses sequence numbers of another stream, as Kinesis does. Run it with MiniStack's Python."""

from typing import Any

from ministack.app import main  # type: ignore[import-not-found]
from ministack.core.responses import error_response_json  # type: ignore[import-not-found]
from ministack.services import kinesis  # type: ignore[import-not-found]

INVALID = "InvalidArgumentException"


def get_shard_iterator(request: dict[str, Any]) -> Any:
    number, shard = request.get("StartingSequenceNumber"), request.get("ShardId")
    stream = request.get("StreamName") or request["StreamARN"].rpartition("/")[2]
    if number and number not in numbers_of(stream, shard):
        message = f"StartingSequenceNumber {number} used in GetShardIterator on shard {shard} is invalid because it did"
        return error_response_json(INVALID, f"{message} not come from this stream.", 400)
    return answer(request)


def numbers_of(stream: str, shard: str | None) -> set[str]:
    """All sequence numbers of the shard. MiniStack trims no records here."""
    shards = kinesis._streams.get(stream, {}).get("shards", {})
    return {record["SequenceNumber"] for record in shards.get(shard, {}).get("records", ())}


if __name__ == "__main__":
    answer = kinesis._get_shard_iterator
    kinesis._get_shard_iterator = get_shard_iterator
    main()
