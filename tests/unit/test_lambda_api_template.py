"""deploy/cloudformation/lambda-api.yaml: who can call the function, with which settings, and what it may do."""

import importlib
from typing import Any

import pytest

from consumer.settings import ApiSettings, load, misspelled, variable
from tests.support.emulators.cloudformation import Resolved, resolved, resources, statements, template

NAME = "lambda-api.yaml"
TOKENS = {"Front": "HttpApi", "Issuer": "https://login.example.com/", "Audience": "limits"}


def variables(**given: str) -> dict[str, str]:
    found: dict[str, str] = resolved(NAME, **given).properties("Function")["Environment"]["Variables"]
    return found


def settings(monkeypatch: pytest.MonkeyPatch, **given: str) -> ApiSettings:
    """The settings of the function with these parameters."""
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    for name, value in variables(**given).items():
        monkeypatch.setenv(name, value)
    return load(ApiSettings)


def made_with(condition: str) -> set[str]:
    """The types of the resources that are only made with the condition."""
    made = template(NAME)["Resources"].values()
    return {each["Type"] for each in made if each.get("Condition") == condition}


def refused(**given: str) -> list[str]:
    """Why the template refuses the parameters."""
    found: Resolved = resolved(NAME, **given)
    return [
        each["AssertDescription"].partition(" ")[0]
        for rule in template(NAME)["Rules"].values()
        if found._holds(rule["RuleCondition"])
        for each in rule["Assertions"]
        if not found._holds(each["Assert"])
    ]


# --- Settings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given", [{}, {"Archive": "true"}, TOKENS, {**TOKENS, "JwksUrl": "https://login.example.com/keys"}]
)
def test_its_settings_exist(given: dict[str, str]) -> None:
    assert variables(**given).keys() <= {variable(field) for field in ApiSettings.model_fields}
    assert misspelled(variables(**given)) == []


def test_behind_a_function_url_aws_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings(monkeypatch)
    assert (found.api_trusted_proxy, found.api_issuer) == (True, None)
    assert found.table_name == "user-limits"


def test_behind_an_http_api_tokens_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings(monkeypatch, **TOKENS, UserClaim="player_id")
    assert (found.api_trusted_proxy, found.api_issuer) == (False, "https://login.example.com/")
    assert (found.api_audience, found.api_jwks_url, found.api_user_claim) == ("limits", None, "player_id")


def test_the_api_answers_before_the_function_times_out_and_that_before_its_front(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = resolved(NAME)
    timeout, front = found.properties("Function")["Timeout"], found.properties("Integration")["TimeoutInMillis"] / 1000

    assert settings(monkeypatch).api_request_seconds + 2 < timeout < front <= 30


def test_its_handler_exists() -> None:
    module, _, name = resolved(NAME).properties("Function")["Handler"].rpartition(".")
    assert callable(getattr(importlib.import_module(module), name))


# --- Who can call it -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "reasons"),
    [
        ({}, []),
        ({"CallerArn": "arn:aws:iam::000000000000:role/cashier"}, []),
        (TOKENS, []),
        ({"Front": "HttpApi"}, ["Issuer", "Audience"]),
        ({**TOKENS, "Audience": ""}, ["Audience"]),
        ({**TOKENS, "CallerArn": "arn:aws:iam::000000000000:role/cashier"}, ["CallerArn"]),
        ({"Issuer": "https://login.example.com/", "Audience": "limits"}, ["Issuer", "Audience"]),
        ({"JwksUrl": "https://login.example.com/keys"}, ["JwksUrl"]),
    ],
)
def test_parameters_that_leave_open_who_may_read_are_refused(given: dict[str, str], reasons: list[str]) -> None:
    assert refused(**given) == reasons


def test_a_function_url_always_needs_a_signature() -> None:
    (url,) = resources(template(NAME), "AWS::Lambda::Url").values()
    permissions = resources(template(NAME), "AWS::Lambda::Permission")

    assert url["AuthType"] == "AWS_IAM"
    assert made_with("IsFunctionUrl") == {"AWS::Lambda::Url"}
    assert made_with("HasCaller") == {"AWS::Lambda::Permission"}
    assert [name for name, each in permissions.items() if each["Principal"] == "*"] == []


def test_there_is_no_http_api_unless_it_is_asked_for() -> None:
    kinds = {each["Type"] for each in template(NAME)["Resources"].values()}
    assert {each for each in kinds if "ApiGatewayV2" in each} <= made_with("IsHttpApi")


def test_an_http_api_routes_to_the_api_alone() -> None:
    """Metrics and health checks of a server would be public."""
    routes = {each["RouteKey"] for each in resources(template(NAME), "AWS::ApiGatewayV2::Route").values()}
    stage = resolved(NAME).properties("Stage")

    assert routes == {"ANY /user-limits/{proxy+}", "GET /openapi.json", "GET /docs"}
    assert stage["StageName"] == "$default"
    assert stage["DefaultRouteSettings"]["ThrottlingRateLimit"] == 100


# --- What it may do ------------------------------------------------------------------------------------------------


def test_it_may_only_read_the_table_of_the_limits() -> None:
    allowed = list(statements(resolved(NAME).properties("FunctionRole")["Policies"]))
    tables = [each for each in allowed if each["Action"][0].startswith("dynamodb:")]

    assert {action for each in allowed for action in each["Action"]} == {
        "dynamodb:Query",
        "logs:CreateLogStream",
        "logs:PutLogEvents",
    }
    assert [name for each in tables for name in each["Resource"]] == ["arn:aws:made-up:us-east-1::LimitsTable"]


def test_only_with_an_archive_it_reads_that_too_for_the_histories(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings(monkeypatch).archive is None
    assert settings(monkeypatch, Archive="true").archive == "s3://archivebucket/archive"
    policies = resolved(NAME, Archive="true").properties("FunctionRole")["Policies"]
    of_archive = {each["Sid"]: each for each in statements(policies) if "Archive" in each["Sid"]}

    assert {name: each["Action"] for name, each in of_archive.items()} == {
        "ListArchive": ["s3:ListBucket"],
        "ReadArchive": ["s3:GetObject"],
    }
    assert of_archive["ListArchive"]["Condition"] == {"StringLike": {"s3:prefix": "archive/*"}}
    assert of_archive["ReadArchive"]["Resource"] == ["arn:aws:made-up:us-east-1::ArchiveBucket/archive/*"]


@pytest.mark.parametrize(
    ("given", "metric"), [({}, ("AWS/Lambda", "Url5xxCount")), (TOKENS, ("AWS/ApiGateway", "5xx"))]
)
def test_answers_with_5xx_raise_an_alarm(given: dict[str, str], metric: tuple[str, str]) -> None:
    alarm: dict[str, Any] = resolved(NAME, **given).properties("ServerErrorsAlarm")
    assert (alarm["Namespace"], alarm["MetricName"]) == metric


def test_the_log_with_the_audit_is_retained() -> None:
    log = template(NAME)["Resources"]["LogGroup"]
    assert (log["DeletionPolicy"], log["UpdateReplacePolicy"]) == ("Retain", "Retain")
    assert resolved(NAME).properties("LogGroup")["RetentionInDays"] == 90
