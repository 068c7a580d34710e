"""Requests to DynamoDB as they are passed to boto3, and responses as they arrive: both are its JSON already.

boto3 would check and convert each attribute in Python, which takes more CPU than everything else that a write needs.
Endpoint, credentials, signature, proxies, TLS, retries, checksums and errors stay boto3's.
"""

import json
from collections.abc import Mapping
from typing import Any

import botocore
from botocore.config import Config

RAW_JSON = Config(
    # boto3 sees no parameters that it could validate.
    parameter_validation=False,
    # Otherwise boto3 composes this header twice per request, with a quarter of the CPU of the whole request.
    user_agent=f"Botocore/{botocore.__version__}",
)
"""What a client for `use_raw_json` needs in its configuration."""

OPERATIONS = ("BatchExecuteStatement", "BatchGetItem", "DeleteItem", "Query")

_BODY = "consumer_body"
_to_json = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def use_raw_json(client: Any) -> None:
    """Leaves out boto3's conversions in OPERATIONS. Binary attributes are base64 then, in both directions."""
    events = client.meta.events
    for operation in OPERATIONS:
        events.register(f"provide-client-params.dynamodb.{operation}", _take_parameters)
        events.register(f"before-call.dynamodb.{operation}", _set_body)
        events.register(f"before-parse.dynamodb.{operation}", _parse)


def _take_parameters(params: Mapping[str, Any], context: dict[str, Any], **_: object) -> dict[str, Any]:
    context[_BODY] = _to_json(params).encode()
    # The endpoint may depend on the names of tables, which are values here and keys there. Contents are left out.
    return {
        name: {key: {} for key in value} if isinstance(value, dict) else value
        for name, value in params.items()
        if not isinstance(value, list)
    }


def _set_body(params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
    params["body"] = context.pop(_BODY)


def _parse(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
    if response_dict["status_code"] >= 300:
        return
    try:
        content = json.loads(response_dict["body"])
    except ValueError:
        return  # boto3 parses it as well, and has the right error.
    if isinstance(content, dict):
        customized_response_dict.update(content)
        response_dict["body"] = b"{}"
