"""What properties/logback.xml removes from the KCL's messages: records and partition keys, which must not be logged.

tests/e2e/test_logs.py checks it with logback itself; the messages here cannot be provoked by a test.
"""

import re
from pathlib import Path

import pytest

FILE = Path(__file__).parents[3] / "properties" / "logback.xml"
RULE = re.compile(r"\{'([^']*)','([^']*)'\}")


def cut(message: str) -> str:
    (line,) = re.findall(r'<property name="CUT_MESSAGE" value="(.*)"/>', FILE.read_text())
    rules = RULE.findall(line)
    assert len(rules) == 2
    for pattern, replacement in rules:
        message = re.sub(pattern, replacement, message)
    return message


@pytest.mark.parametrize(
    ("message", "left"),
    [
        (
            'Cannot write message {"action":"processRecords","partitionKey":"u-7Qd2"}]} because writer is closed',
            "Cannot write a message because writer is closed",
        ),
        (
            "ShardId s-1: Skipping over the following data records: [KinesisClientRecord(partitionKey=u-7Qd2)]",
            "ShardId s-1: Skipping over a batch",
        ),
        ("Worker shutdown requested.", "Worker shutdown requested."),
    ],
)
def test_what_names_a_record_is_left_out(message: str, left: str) -> None:
    assert cut(message) == left
