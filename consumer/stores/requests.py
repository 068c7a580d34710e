"""Tells what is asked of AWS, try by try, as boto3 hears the answers."""

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
"""Codes of DynamoDB and S3, those of single statements among them: they say "slower", and nothing else is wrong."""


class RequestOutcome(NamedTuple):
    """A request: the API's operation, its result, and what of it was throttled: itself, its statements, its keys."""

    operation: str
    result: str
    throttled: int


OnRequest = Callable[[RequestOutcome], object]


def watch(client: Any, told: OnRequest) -> None:
    """`told` hears of every request of the boto3 client from now on, on the thread that made it."""
    client.meta.events.register("response-received", partial(_received, told))


def _received(told: OnRequest, event_name: str, parsed_response: Mapping[str, Any] | None, **_: object) -> None:
    result = _result(parsed_response)
    throttled = (result == THROTTLED) + _throttled_inside(parsed_response or {})
    told(RequestOutcome(event_name.rpartition(".")[2], result, throttled))


def _result(answer: Mapping[str, Any] | None) -> str:
    if answer is None:
        return UNANSWERED
    if answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) < 300:
        return OK
    return THROTTLED if _code(answer) in THROTTLES else REFUSED


def _throttled_inside(answer: Mapping[str, Any]) -> int:
    """Statements of a BatchExecuteStatement, keys of a BatchGetItem."""
    responses = answer.get("Responses")
    statements = responses if isinstance(responses, list) else ()
    keys = (table["Keys"] for table in answer.get("UnprocessedKeys", {}).values())
    return sum(_code(statement) in THROTTLES for statement in statements) + sum(map(len, keys))


def _code(answer: Mapping[str, Any]) -> str:
    return str(answer.get("Error", {}).get("Code"))
