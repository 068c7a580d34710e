"""Reports every request to AWS, each attempt separately, when boto3 receives its response."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

OK, THROTTLED, REFUSED, UNANSWERED = "ok", "throttled", "refused", "unanswered"

THROTTLES = frozenset(
    {
        "ProvisionedThroughputExceeded",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "SlowDown",
        "Throttling",
        "ThrottlingError",
        "ThrottlingException",
    }
)
"""Error codes with which AWS rejects a request, or one part of a request, that came too fast."""


class RequestOutcome(NamedTuple):
    """The outcome of one request.

    operation  the operation of the API
    result     OK, THROTTLED, REFUSED or UNANSWERED
    throttled  how many items were throttled: the request itself, statements, keys or entries
    """

    operation: str
    result: str
    throttled: int


OnRequest = Callable[[RequestOutcome], object]


def observe_requests(client: Any, on_request: OnRequest) -> None:
    """Calls `on_request` after every request of the boto3 client, on the thread that made it."""
    client.meta.events.register("response-received", partial(_received, on_request))


def _received(on_request: OnRequest, event_name: str, parsed_response: Mapping[str, Any] | None, **_: object) -> None:
    result = _result(parsed_response)
    throttled = (result == THROTTLED) + _throttled_inside(parsed_response or {})
    on_request(RequestOutcome(event_name.rpartition(".")[2], result, throttled))


def _result(response: Mapping[str, Any] | None) -> str:
    if response is None:
        return UNANSWERED
    if response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) < 300:
        return OK
    return THROTTLED if _code(response) in THROTTLES else REFUSED


def _throttled_inside(response: Mapping[str, Any]) -> int:
    """Counts throttled statements of a BatchExecuteStatement, keys of a BatchGetItem and entries of a PutEvents."""
    responses = response.get("Responses")
    statements = responses if isinstance(responses, list) else ()
    keys = (table["Keys"] for table in response.get("UnprocessedKeys", {}).values())
    entries = (entry.get("ErrorCode") in THROTTLES for entry in response.get("Entries", ()))
    return sum(_code(statement) in THROTTLES for statement in statements) + sum(map(len, keys)) + sum(entries)


def _code(response: Mapping[str, Any]) -> str:
    return str(response.get("Error", {}).get("Code"))
