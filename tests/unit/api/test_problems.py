"""Errors that the routes of the limits do not have themselves, but a further route may."""

from typing import Annotated

from fastapi import HTTPException, Query

from tests.support.simulation.api import Api


def test_parameters_that_fastapi_refuses_are_a_problem_too() -> None:
    async def add(most: Annotated[int, Query()]) -> int:
        return most

    api = Api()
    api.app.add_api_route("/add", add)
    answer = api.get("/add?most=secret")
    assert (answer.status, answer.headers["content-type"]) == (422, "application/problem+json")
    assert [(error["in"], error["name"]) for error in answer.json()["errors"]] == [("query", "most")]
    assert "secret" not in answer.body.decode()


def test_any_other_status_has_its_description() -> None:
    async def gone() -> None:
        raise HTTPException(410, "secret", {"X-More": "yes"})

    api = Api()
    api.app.add_api_route("/gone", gone)
    answer = api.get("/gone")
    assert (answer.status, answer.json()["title"], answer.headers["x-more"]) == (410, "Gone", "yes")
    assert "secret" not in answer.body.decode()
