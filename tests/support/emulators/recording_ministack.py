"""MiniStack that records every request. Run it with MiniStack's Python and the name of the record as argument.

It is ASGI middleware, so it records HTTP/2, which the JVM uses for Kinesis, as well as HTTP/1.1.
One line per request: {"key": access key, "service", "target": x-amz-target, "method", "path", "query", "body"}.

It also fixes two gaps of MiniStack. Its CloudFormation creates indexes without a status, so KCL and
`consumer provision` would take them for missing and create their own. Its tables do not stream what PartiQL writes.
"""

import gzip
import importlib
import json
import os
import re
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TextIO

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

CREDENTIAL = re.compile(r"Credential=([^/]+)/[0-9]+/[^/]+/([^/]+)/")
INDEX_ACTIVE = {"IndexStatus": "ACTIVE"}


def recorder(inner: Application, out: TextIO) -> Application:
    """Wraps the application and records its requests."""

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await inner(scope, receive, send)
            return
        messages = await _whole(receive)
        line = _line(scope, b"".join(message.get("body", b"") for message in messages))
        out.write(f"{json.dumps(line)}\n")
        out.flush()

        async def again() -> Message:
            return messages.pop(0) if messages else await receive()

        await inner(scope, again, send)

    return application


async def _whole(receive: Receive) -> list[Message]:
    messages = [await receive()]
    while messages[-1].get("more_body"):
        messages.append(await receive())
    return messages


def _line(scope: Message, body: bytes) -> dict[str, str]:
    headers = {name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]}
    if headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    signed = CREDENTIAL.search(headers.get("authorization", ""))
    return {
        "key": signed[1] if signed else "",
        "service": signed[2] if signed else "",
        "target": headers.get("x-amz-target", ""),
        "method": scope["method"],
        "path": scope["path"],
        "query": scope["query_string"].decode("latin-1"),
        "body": body.decode("latin-1"),
    }


def fix_indexes() -> None:
    provisioners: Any = importlib.import_module("ministack.services.cloudformation.provisioners")
    table: Any = provisioners._RESOURCE_HANDLERS["AWS::DynamoDB::Table"]
    make = table["create"]

    def create(logical_id: str, properties: dict[str, Any], stack: str) -> Any:
        indexes = properties.get("GlobalSecondaryIndexes", [])
        return make(logical_id, {**properties, "GlobalSecondaryIndexes": [i | INDEX_ACTIVE for i in indexes]}, stack)

    table["create"] = create


def main() -> None:
    # the endpoint that MiniStack passes to Lambda functions
    os.environ["AWS_ENDPOINT_URL"] = f"http://{os.environ['BIND_HOST']}:{os.environ['GATEWAY_PORT']}"
    server: Any = importlib.import_module("ministack.app")
    with open(sys.argv.pop(1), "a", encoding="utf-8") as out:  # noqa: PTH123 - MiniStack reads the rest of argv
        fix_indexes()
        importlib.import_module("streaming_ministack").stream_partiql()
        server.app = recorder(server.app, out)
        server.main()


if __name__ == "__main__":
    main()
