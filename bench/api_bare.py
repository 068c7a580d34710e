"""The least that reads limits over HTTP: a Starlette route with one query of DynamoDB, on the same server.

    python -m bench.api_bare PORT

The settings are those of `consumer serve`. It authenticates nobody, checks nothing and answers what DynamoDB does.
"""

import asyncio
import json
import signal
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from consumer import bootstrap
from consumer.api.server import bounds_of
from consumer.monitoring.server import Server, listen
from consumer.settings import ApiSettings, load


def app(settings: ApiSettings) -> Starlette:
    client = bootstrap.raw_json(settings)
    pool = ThreadPoolExecutor(settings.api_max_requests)

    def query(user_id: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = client.query(
            TableName=settings.table_name,
            ConsistentRead=True,
            KeyConditionExpression="userId = :user",
            ExpressionAttributeValues={":user": {"S": user_id}},
        )["Items"]
        return items

    async def limits(request: Request) -> Response:
        items = await asyncio.get_running_loop().run_in_executor(pool, query, request.path_params["user_id"])
        return Response(json.dumps({"limits": items}), media_type="application/json")

    return Starlette(routes=[Route("/user-limits/{user_id}", limits), Route("/readyz", _ready())])


def _ready() -> Callable[[Request], Awaitable[Response]]:
    async def ready(_: Request) -> Response:
        return Response("{}")

    return ready


def main() -> None:
    settings = load(ApiSettings)
    server = Server(listen(f"127.0.0.1:{int(sys.argv[1])}"), app(settings), bounds_of(settings))
    server.start()
    signal.pause()  # until a signal ends the process


if __name__ == "__main__":
    main()
