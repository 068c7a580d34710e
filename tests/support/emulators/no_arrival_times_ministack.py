"""MiniStack without valid arrival times. What it returns instead depends on the last digit of the partition key.

Run it with MiniStack's Python.
"""

import json
from typing import Any

from ministack.app import main  # type: ignore[import-not-found]
from ministack.services import kinesis  # type: ignore[import-not-found]

NAME = "ApproximateArrivalTimestamp"


def spoil(record: dict[str, Any]) -> None:
    digit = record["PartitionKey"][-1]
    if digit in "01":
        del record[NAME]
    elif digit in "23":
        record[NAME] = None
    elif digit in "45":
        record[NAME] = -record[NAME]


def get_records(request: dict[str, Any]) -> Any:
    status, headers, body = answer_get_records(request)
    answer = json.loads(body)
    for record in answer.get("Records", ()):
        spoil(record)
    return status, headers, json.dumps(answer).encode()


if __name__ == "__main__":
    answer_get_records = kinesis._get_records
    kinesis._get_records = get_records
    main()
