"""The OpenAPI document: FastAPI knows the routes and their paths, this module their queries, answers and errors."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.routing import BaseRoute

from consumer.api.problems import MEDIA_TYPE
from consumer.limits.answers import HeadroomAnswer, HistoryAnswer, Limit, UserLimitsAnswer
from consumer.limits.events import PRINTABLE
from consumer.limits.schema import MEANING, described

_ID: Mapping[str, Any] = {"type": "string", "minLength": 1, "maxLength": 128, "pattern": PRINTABLE}

_ANSWERS: Sequence[type[BaseModel]] = (Limit, UserLimitsAnswer, HeadroomAnswer, HistoryAnswer)
_REF = "#/components/schemas/"
_TEXT = {"type": "string"}
_PROBLEM: Mapping[str, Any] = {
    "type": "object",
    "description": "An error, as RFC 9457 describes it.",
    "required": ["type", "title", "status", "detail", "requestId"],
    "properties": {
        "type": {**_TEXT, "description": "`about:blank`: the status says which kind of error it is."},
        "title": {**_TEXT, "description": "The status in words."},
        "status": {"type": "integer", "description": "The status."},
        "detail": {**_TEXT, "description": "What is wrong, and what to do about it. One sentence or two."},
        "requestId": {**_TEXT, "description": "The id of the request in the log, as in the header X-Request-Id."},
        "errors": {
            "type": "array",
            "description": "With 422: each parameter that is not valid.",
            "items": {
                "type": "object",
                "required": ["in", "name", "detail"],
                "properties": {
                    "in": {**_TEXT, "description": "Where the parameter is: `path` or `query`."},
                    "name": {**_TEXT, "description": "Its name. `*` if it has none that this route knows."},
                    "detail": {**_TEXT, "description": "What it must be."},
                },
            },
        },
    },
}
_MEANING: Mapping[str, str] = {
    "Limit.type": MEANING["UserLimit.type"],
    "Limit.createdAt": MEANING["UserLimit.createdAt"],
    "Limit.usedPercent": "100 * progress / value to two decimals, rounded down: 100.00 means reached. null if the value"
    " is not known or 0.",
    "Limit.reached": "Whether the progress is at least the value. false if the value is not known.",
    "asOf": "The time of the answer: `resetOverdue` is as of then.",
    "limits": "Sorted by `userLimitId`.",
    "unreadable": "How many stored rows of the user are not valid limits. They are in no other field.",
    "nextCursor": "The cursor of the next page. Absent on the last one.",
    "HeadroomAnswer.type": "The type that was requested.",
    "HeadroomAnswer.currencyCode": "The currency that was requested. Absent if none was.",
    "certain": "Whether `uncertain` is empty and `unreadable` is 0. If so, a unit without an entry is not limited.",
    "headroom": "One entry for each unit, never mixed.",
    "uncertain": "Limits that are in force, or may be, and of which it is not known how much is left.",
    "Headroom.unit": "The unit of `remaining`: `seconds` for SESSION, otherwise a currency.",
    "Headroom.remaining": "The least that a limit leaves. Negative if more was used than allowed.",
    "Headroom.userLimitId": "The limit that leaves it.",
    "HistoryAnswer.asOf": "The time of the answer.",
    "HistoryAnswer.unreadable": "How many parts of the archive cannot be read. There may be further events in them.",
    "steps": "The latest event first.",
    "position": "Where the record is: stream, shard, sequence number, and the place in an aggregate.",
    "arrivedAt": "When the record arrived. 0 if that is not known.",
    "eventId": "The id of the event.",
    "outcome": "What became of the event: `applied`; `duplicate`, it was applied before; `stale`, all that it says is"
    " older than what was known; `quarantined`, it was refused.",
    "reason": "Why it was refused.",
    "detail": "What is wrong with it.",
    "warnings": "Contradictions, in the event or with what was known. They do not keep it from being applied.",
    "changes": "The fields that it changed, but for `lastSequenceNumber` and `lastEventAt`.",
    "state": "The limit after the event, as of its arrival. Absent if there is none.",
    "StepAnswer.userLimitId": "The limit that the event names.",
    "field": "The name of the field.",
    "before": "Its value before the event. Absent if there was none.",
    "after": "Its value after the event. Absent if there is none.",
    "reasons": "`incomplete`: value, status or type are not known. `resetOverdue`: the progress may be that of the last"
    " period. `oddResetTime`: it is not known when the progress is reset.",
    "UncertainLimit.remaining": "What would be left if nothing was missing. Absent if the value is not known.",
}
"""The descriptions of the fields that the schemas of docs/schema do not have."""

_ERRORS: Mapping[int, str] = {
    401: "The access token is missing or not valid.",
    403: "The token does not allow reading the limits of this user.",
    404: "The user has no such limit, or none that the token allows to see; of a history also: there is no archive.",
    405: "Another method than GET or HEAD.",
    421: "The server does not answer under the name in the header `Host`.",
    422: "An id or a parameter is not valid, or a parameter is not known.",
    500: "The server failed, or the stored limit cannot be read.",
    503: "The limits cannot be read at the moment, or the server is busy. Repeat it after `Retry-After` seconds.",
}
_HEADERS: Mapping[int, Mapping[str, str]] = {
    200: {"ETag": "Changes with the answer. `asOf` is its end.", "Cache-Control": "`private, no-cache`"},
    304: {"ETag": "The tag of the answer that the caller has.", "Cache-Control": "`private, no-cache`"},
    401: {"WWW-Authenticate": "`Bearer`, and what is wrong with the token."},
    403: {"WWW-Authenticate": '`Bearer` with `error="insufficient_scope"`.'},
    405: {"Allow": "The methods that are allowed."},
    503: {"Retry-After": "Seconds."},
}
_IF_NONE_MATCH: Mapping[str, Any] = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "schema": _TEXT,
    "description": "Entity tags, or `*`. 304 without a body if the answer is one of them.",
}
_BEARER = "accessToken"


def answers_of(schema: str, summary: str, query: type[BaseModel], *, of_limit: bool = False) -> dict[str, Any]:
    """What FastAPI needs to describe a route whose answer has this schema.

    query     the parameters of its query
    of_limit  its path names a limit, which there may not be
    """
    errors = [status for status in _ERRORS if of_limit or status != HTTPStatus.NOT_FOUND]
    path = [_id("userId", "user", "u-anna"), *([_id("userLimitId", "limit", "l-day")] if of_limit else [])]
    return {
        "summary": summary,
        "response_description": "The answer.",
        "responses": {
            200: _response(200, "The answer.", "application/json", schema),
            304: _response(304, "The answer that the caller has is still right."),
            **{status: _response(status, _ERRORS[status], MEDIA_TYPE, "Problem") for status in errors},
        },
        "openapi_extra": {"parameters": [*path, *_parameters(query), _IF_NONE_MATCH]},
    }


def _id(name: str, of: str, example: str) -> dict[str, Any]:
    """A parameter in the path."""
    schema = {**_ID, "examples": [example]}
    description = f"The {of}, percent-encoded."
    return {"name": name, "in": "path", "required": True, "schema": schema, "description": description}


def _parameters(query: type[BaseModel]) -> list[dict[str, Any]]:
    made = query.model_json_schema()
    return [
        {
            "name": name,
            "in": "query",
            "required": name in made.get("required", ()),
            "description": each["description"],
            "schema": {key: value for key, value in each.items() if key not in ("title", "description")},
        }
        for name, each in made["properties"].items()
    ]


def _response(status: int, description: str, media_type: str = "", schema: str = "") -> dict[str, Any]:
    headers = {name: {"description": text, "schema": _TEXT} for name, text in _HEADERS.get(status, {}).items()}
    content = {"content": {media_type: {"schema": {"$ref": _REF + schema}}}} if schema else {}
    return {"description": description, **({"headers": headers} if headers else {}), **content}


def document(routes: Sequence[BaseRoute], *, is_open: bool) -> dict[str, Any]:
    """The OpenAPI document of the routes. `is_open`: no access token is needed."""
    made = get_openapi(
        title="Limits",
        version=version("limits-consumer"),
        openapi_version="3.1.0",
        description="The limits that users have set for themselves, as the limit events left them. Read-only."
        " Amounts are decimal strings. Times are milliseconds since 1970-01-01T00:00Z.",
        routes=routes,
    )
    made["components"] = {"schemas": _schemas()}
    if not is_open:
        made["components"]["securitySchemes"] = {
            _BEARER: {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": "An OpenID Connect access token.",
            }
        }
        made["security"] = [{_BEARER: []}]
    return made


def _schemas() -> dict[str, Any]:
    _, made = models_json_schema([(model, "serialization") for model in _ANSWERS], ref_template=_REF + "{model}")
    return {"Problem": _PROBLEM, **{name: described(name, part, _MEANING) for name, part in made["$defs"].items()}}
