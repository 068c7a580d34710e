"""Requests to DynamoDB as they are passed to boto3, and responses as they arrive: both are its JSON already.

boto3 would check and convert each attribute in Python, and compose every request anew. That takes more CPU than
everything else that a write needs. So boto3 makes a request once in a while, and it is the model of those that follow:
they differ in body, time and signature, and boto3's own connections send them. Whatever does not succeed is handed to
boto3 as the result of its first attempt. Endpoint, credentials, proxies, TLS, timeouts, retries, checksums and errors
stay boto3's.
"""

import json
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import partial
from typing import Any, NamedTuple, TypeAlias
from zlib import crc32

import botocore
import msgspec
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.exceptions import ConnectionError as NotConnected
from botocore.exceptions import HTTPClientError

from consumer.stores.signature import SignedRequest

RAW_JSON = Config(
    # boto3 sees no parameters that it could validate.
    parameter_validation=False,
    # Otherwise boto3 composes this header twice per request, with a quarter of the CPU of the whole request.
    user_agent=f"Botocore/{botocore.__version__}",
)
"""What a client for RawJson needs in its configuration."""

OPERATIONS = ("BatchExecuteStatement", "BatchGetItem", "DeleteItem", "Query", "Scan")

MODEL_SECONDS = 600.0
"""How long a request of boto3 is the model of others. Its endpoint might change, although none does today."""

_BODY = "consumer_body"
_encoder = json.JSONEncoder(separators=(",", ":"), check_circular=False)

_FAILURES = (HTTPClientError, NotConnected)
"""What sending a request raises. boto3 retries after both."""

_Result: TypeAlias = AWSResponse | HTTPClientError | NotConnected
_first_result: ContextVar[_Result | None] = ContextVar("first_result", default=None)
"""What boto3 takes for the result of its first attempt."""


class _Model(NamedTuple):
    """A request of boto3, and until when it is the model of others: time.monotonic()."""

    request: SignedRequest
    expires: float


class RawJson:
    """The operations of `client` that the repository uses. Binary attributes are base64, in both directions.

    client       a boto3 client for DynamoDB, made with RAW_JSON
    credentials  the ones it signs with, None if it has none
    """

    def __init__(self, client: Any, credentials: Any) -> None:
        self.exceptions = client.exceptions
        self._client = client
        self._credentials = credentials
        self._models: dict[str, _Model] = {}
        # botocore has no public name for what sends its requests.
        self._send: Callable[[AWSPreparedRequest], AWSResponse] = client._endpoint.http_session.send  # noqa: SLF001
        for operation in OPERATIONS:
            events = client.meta.events
            events.register(f"provide-client-params.dynamodb.{operation}", _take_parameters)
            events.register(f"before-call.dynamodb.{operation}", _set_body)
            events.register(f"before-send.dynamodb.{operation}", partial(self._before_send, operation))
            events.register(f"before-parse.dynamodb.{operation}", _parse)

    def batch_execute_statement(self, **params: Any) -> Any:
        return self._call("BatchExecuteStatement", self._client.batch_execute_statement, params)

    def batch_get_item(self, **params: Any) -> Any:
        return self._call("BatchGetItem", self._client.batch_get_item, params)

    def delete_item(self, **params: Any) -> Any:
        return self._call("DeleteItem", self._client.delete_item, params)

    def query(self, **params: Any) -> Any:
        return self._call("Query", self._client.query, params)

    def scan(self, **params: Any) -> Any:
        return self._call("Scan", self._client.scan, params)

    def _call(self, operation: str, by_boto3: Callable[..., Any], params: Mapping[str, Any]) -> Any:
        model = self._models.get(operation)
        if model is None or model.expires < time.monotonic():
            return by_boto3(**params)
        result = self._result(model.request, _to_json(params))
        content = _content(result)
        if content is None:
            # The copy itself might be at fault.
            self._models.pop(operation, None)
            token = _first_result.set(result)
            try:
                return by_boto3(**params)
            finally:
                _first_result.reset(token)
        self._report(operation, result, content)
        return content

    def _result(self, model: SignedRequest, body: bytes) -> _Result:
        headers: Any = model.signed(body, self._credentials.get_frozen_credentials(), time.time())
        try:
            return self._send(AWSPreparedRequest("POST", model.url, headers, body, stream_output=False))
        except _FAILURES as failed:
            return failed

    def _report(self, operation: str, result: _Result, content: dict[str, Any]) -> None:
        """Emits the events of boto3 that follow a response: metrics of requests and its retry quota need them."""
        content["ResponseMetadata"] = {"HTTPStatusCode": 200}
        emit = self._client.meta.events.emit
        emit(f"response-received.dynamodb.{operation}", parsed_response=content, exception=None)
        emit(f"after-call.dynamodb.{operation}", http_response=result, parsed=content, context={})

    def _before_send(self, operation: str, request: AWSPreparedRequest, **_: object) -> AWSResponse | None:
        result = _first_result.get()
        if result is None:
            self._learn(operation, request)
            return None
        _first_result.set(None)
        if isinstance(result, _FAILURES):
            raise result
        return result

    def _learn(self, operation: str, request: AWSPreparedRequest) -> None:
        # botocore has encoded some values and not others.
        values: Any = request.headers
        headers = {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}
        model = SignedRequest.of(request.method, request.url, headers)
        if model and self._credentials:
            self._models[operation] = _Model(model, time.monotonic() + MODEL_SECONDS)


def _content(result: _Result) -> dict[str, Any] | None:
    """The JSON of a response that is as it should be, otherwise None."""
    if isinstance(result, _FAILURES) or result.status_code != 200:
        return None
    body, checksum = result.content, result.headers.get("x-amz-crc32")
    if checksum is not None and checksum != str(crc32(body)):
        return None
    try:
        content = msgspec.json.decode(body)
    except msgspec.MsgspecError:
        return None
    return content if isinstance(content, dict) else None


def _to_json(params: Mapping[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(params)
    except UnicodeEncodeError:
        return _encoder.encode(params).encode()  # with lone surrogates


def _take_parameters(params: Mapping[str, Any], context: dict[str, Any], **_: object) -> dict[str, Any]:
    context[_BODY] = _to_json(params)
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
