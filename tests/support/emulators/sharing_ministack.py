"""MiniStack that shares streams between accounts as Kinesis does. Run it with MiniStack's Python.

A request that names a stream of another account by its ARN, or a consumer of one, is served if the policy of what it
names allows the action to the caller's account. A name alone means a stream of the caller's account. A token excludes
both.
"""

import json
from typing import Any

from ministack.app import main  # type: ignore[import-not-found]
from ministack.core.responses import (  # type: ignore[import-not-found]
    error_response_json,
    get_account_id,
    get_region,
    request_scope,
)
from ministack.services import kinesis  # type: ignore[import-not-found]


async def handle_request(method: str, path: str, headers: Any, body: bytes, query: Any) -> Any:
    request = json.loads(body or b"{}")
    arn = request.get("StreamARN")
    if request.get("NextToken") and (arn or request.get("StreamName")):
        message = "NextToken and StreamARN cannot be provided together."
        return error_response_json("InvalidArgumentException", message, 400)
    named = request.get("ConsumerARN") or arn
    owner = named.split(":")[4] if named else get_account_id()
    action = f"kinesis:{headers.get('x-amz-target', '').rpartition('.')[2]}"
    if owner != get_account_id() and not allows(named, owner, action):
        message = f"User: arn:aws:iam::{get_account_id()}:root is not authorized to perform: {action} on {named}"
        return error_response_json("AccessDeniedException", message, 400)
    with request_scope(owner, get_region()):
        return await answer(method, path, headers, body, query)


def allows(arn: str, owner: str, action: str) -> bool:
    caller = f"arn:aws:iam::{get_account_id()}:root"
    with request_scope(owner, get_region()):
        policy = json.loads(kinesis._resource_policies.get(arn) or '{"Statement": []}')
    return any(
        caller == statement["Principal"]["AWS"] and action in statement["Action"] for statement in policy["Statement"]
    )


if __name__ == "__main__":
    answer = kinesis.handle_request
    kinesis.handle_request = handle_request
    main()
