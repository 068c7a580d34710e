"""A Lambda function for Kinesis with Powertools' batch processor and one conditional update per record.

Written as in the documentation of Powertools for AWS Lambda (Python), "Batch processing", "Processing messages from
Kinesis". Run as a program, it is invoked with one event per line of its input, as the runtime of Lambda would.
"""

import json
import os
import sys
from typing import Any

import boto3
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.kinesis_stream_event import KinesisStreamRecord
from botocore.exceptions import ClientError

from bench.peers.conditional_update import update_of

processor = BatchProcessor(event_type=EventType.KinesisDataStreams)
dynamodb = boto3.client("dynamodb")
TABLE = os.environ["AWS_TABLE_NAME"]


def record_handler(record: KinesisStreamRecord) -> None:
    update = update_of(TABLE, record.kinesis.data_as_json())
    if update is None:
        return
    try:
        dynamodb.update_item(**update)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise


def lambda_handler(event: dict[str, Any], context: Any) -> Any:
    return process_partial_response(event=event, record_handler=record_handler, processor=processor, context=context)


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(json.dumps(lambda_handler(json.loads(line), None)) + "\n")
        sys.stdout.flush()
