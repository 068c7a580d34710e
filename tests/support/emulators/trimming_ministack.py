"""MiniStack whose shard iterators expire soon and whose records are trimmed on request.

Run it with MiniStack's Python and these environment variables:

TEST_ITERATOR_SECONDS   how long a shard iterator is valid
TEST_TRIMMED_UNTIL      a file with a Unix time; records that arrived earlier are trimmed

In MiniStack an iterator is an index into the kept records, so nothing may read while records are trimmed.
"""

import os
import sys
from pathlib import Path
from typing import Any

from ministack.app import main  # type: ignore[import-not-found]
from ministack.services import kinesis  # type: ignore[import-not-found]

EXPIRED = "ExpiredIteratorException"
"""Logged each time it is returned."""


def trim(stream: dict[str, Any]) -> None:
    until = Path(os.environ["TEST_TRIMMED_UNTIL"])
    moment = float(until.read_text()) if until.exists() else 0.0
    for shard in stream["shards"].values():
        shard["records"] = [record for record in shard["records"] if record["ApproximateArrivalTimestamp"] >= moment]


def get_records(request: dict[str, Any]) -> Any:
    answer = answer_get_records(request)
    if EXPIRED in str(answer):
        sys.stderr.write(f"{EXPIRED}\n")
        sys.stderr.flush()
    return answer


if __name__ == "__main__":
    answer_get_records = kinesis._get_records
    kinesis.ITERATOR_EXPIRY_SECONDS = float(os.environ["TEST_ITERATOR_SECONDS"])
    kinesis._expire_records, kinesis._get_records = trim, get_records
    main()
