"""async-kinesis reading the stream, with one conditional update per record.

Written as in the quick start of async-kinesis. It writes a line after every STEP records.
"""

import asyncio
import os
import sys

from aiobotocore.session import get_session
from botocore.exceptions import ClientError
from kinesis import Consumer

from bench.peers.conditional_update import update_of

STEP = 100


async def main() -> None:
    table, stream = os.environ["AWS_TABLE_NAME"], os.environ["STREAM"]
    endpoint, region = os.environ["AWS_ENDPOINT_URL_KINESIS"], os.environ["AWS_REGION"]
    read = 0
    async with (
        get_session().create_client("dynamodb", endpoint_url=os.environ["AWS_ENDPOINT_URL"]) as dynamodb,
        Consumer(stream_name=stream, endpoint_url=endpoint, region_name=region) as consumer,
    ):
        # The iterator ends when the queue is empty, so it is restarted for as long as the process runs.
        while True:
            async for event in consumer:
                update = update_of(table, event)
                if update is not None:
                    try:
                        await dynamodb.update_item(**update)
                    except ClientError as error:
                        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                            raise
                read += 1
                if read % STEP == 0:
                    sys.stdout.write(f"{read}\n")
                    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
