"""The sample of amazon_kclpy with one conditional update per record: what most people would write first.

The class, its checkpoints and their retries are those of samples/sample_kclpy_app.py. The table is named by
AWS_TABLE_NAME.
"""

import json
import os
import time
from typing import Any

import boto3
from amazon_kclpy import kcl
from amazon_kclpy.checkpoint_error import CheckpointError
from amazon_kclpy.v3 import processor
from botocore.exceptions import ClientError

from bench.peers.conditional_update import update_of


class RecordProcessor(processor.RecordProcessorBase):  # type: ignore[misc]
    SLEEP_SECONDS = 5
    CHECKPOINT_RETRIES = 5
    CHECKPOINT_FREQ_SECONDS = 60

    def __init__(self) -> None:
        self._dynamodb = boto3.client("dynamodb")
        self._table = os.environ["AWS_TABLE_NAME"]
        self._largest: tuple[int, int] | None = None
        self._last_checkpoint_time = 0.0

    def initialize(self, _input: Any) -> None:
        self._last_checkpoint_time = time.time()

    def process_record(self, data: bytes) -> None:
        update = update_of(self._table, json.loads(data))
        if update is None:
            return
        try:
            self._dynamodb.update_item(**update)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise

    def process_records(self, batch: Any) -> None:
        for record in batch.records:
            self.process_record(record.binary_data)
            place = (int(record.sequence_number), record.sub_sequence_number)
            if self._largest is None or place > self._largest:
                self._largest = place
        if self._largest and time.time() - self._last_checkpoint_time > self.CHECKPOINT_FREQ_SECONDS:
            self.checkpoint(batch.checkpointer, str(self._largest[0]), self._largest[1])
            self._last_checkpoint_time = time.time()

    def checkpoint(self, checkpointer: Any, sequence: str | None = None, sub_sequence: int | None = None) -> None:
        for attempt in range(self.CHECKPOINT_RETRIES):
            try:
                checkpointer.checkpoint(sequence, sub_sequence)
            except CheckpointError as error:
                if error.value == "ShutdownException" or attempt == self.CHECKPOINT_RETRIES - 1:
                    return
            else:
                return
            time.sleep(self.SLEEP_SECONDS)

    def lease_lost(self, _input: Any) -> None:
        pass

    def shard_ended(self, ended: Any) -> None:
        ended.checkpointer.checkpoint()

    def shutdown_requested(self, requested: Any) -> None:
        requested.checkpointer.checkpoint()


if __name__ == "__main__":
    kcl.KCLProcess(RecordProcessor()).run()
