"""Schemathesis calls the HTTP API with what its OpenAPI document allows and with what it does not."""

import re
from typing import Any

import schemathesis
from hypothesis import HealthCheck, settings

from consumer.api import ids
from consumer.api.callers import Caller
from tests.support.generators.events import created, progress_changed, reset
from tests.support.simulation.api import Api, KnownTokens

TOKEN = "token"
API = Api(authenticator=KnownTokens({TOKEN: Caller("support", frozenset({"limits:read"}))}))
# The ids of the examples in the document.
API.store(
    created(1, userId="u-anna"),
    progress_changed(2, userId="u-anna", userLimitId="l-2"),
    reset(3, userId="u-anna", userLimitId="l-3", type="SESSION"),
)
schema = schemathesis.openapi.from_asgi("/openapi.json", API.app)


CURSOR = re.compile("[A-Za-z0-9_-]{2,683}", re.ASCII)


@schema.parametrize()
@settings(suppress_health_check=list(HealthCheck))
def test_the_api_does_what_its_document_says(case: schemathesis.Case[Any]) -> None:
    given = (case.query or {}).get("cursor")
    # No schema can say that a cursor is the base64 of an id. What is like one becomes that of its text.
    if isinstance(given, str) and CURSOR.fullmatch(given):
        case.query["cursor"] = ids.to_cursor(given[:128])
    case.call_and_validate(headers={"Authorization": f"Bearer {TOKEN}"})
