"""MiniStack with the record sizes of Kinesis: up to 10 MiB per record, and at most 10 MiB per GetRecords.

Run it with MiniStack's Python. MiniStack itself refuses records over 1 MiB and does not limit the size of a response.
"""

import base64
from itertools import accumulate
from typing import Any

from ministack.app import main  # type: ignore[import-not-found]
from ministack.services import kinesis  # type: ignore[import-not-found]

RECORD = ANSWER = 10 << 20
"""Bytes of data."""


def put_record(request: dict[str, Any]) -> Any:
    """Puts an empty record, which MiniStack does not refuse for its size, and then sets its data."""
    if len(base64.b64decode(request["Data"])) > RECORD:
        return answer_put_record(request)
    answer = answer_put_record(request | {"Data": ""})
    _, stream = kinesis._resolve_stream(request)
    shards = stream["shards"].values() if stream else ()
    for record in (shard["records"][-1] for shard in shards if shard["records"]):
        if f'"{record["SequenceNumber"]}"' in str(answer):
            record["Data"] = request["Data"]
    return answer


def get_records(request: dict[str, Any]) -> Any:
    state = kinesis._shard_iterators.get(request["ShardIterator"])
    stream = state and kinesis._streams.get(state["stream"])
    if not stream:
        return answer_get_records(request)
    records = stream["shards"][state["shard_id"]]["records"][state["position"] :]
    sizes = accumulate(len(record["Data"]) * 3 // 4 for record in records[: request.get("Limit")])
    return answer_get_records(request | {"Limit": max(1, sum(size <= ANSWER for size in sizes))})


if __name__ == "__main__":
    answer_put_record, answer_get_records = kinesis._put_record, kinesis._get_records
    kinesis._put_record, kinesis._get_records = put_record, get_records
    main()
