"""Settings: valid addresses, no secrets in errors, and all errors at once."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import botocore.session
import pytest
from botocore.config import Config

from consumer import bootstrap
from consumer.engine.errors import Reason, SettingsError
from consumer.engine.retry_policy import NoRetry
from consumer.limits.projection import Limits
from consumer.settings import (
    ApiSettings,
    AwsSettings,
    CoreSettings,
    HistorySettings,
    NoticeSettings,
    RecordSettings,
    Settings,
    StreamSettings,
    is_aws,
    is_loopback,
    load,
    misspelled,
    variable,
)
from consumer.stores.aws import CLIENT, SHORT_TIMEOUTS
from tests.support.generators import oracle
from tests.support.generators.events import created, records

VALID = {"AWS_REGION": "eu-north-1", "CONSUMER_STREAM_NAME": "limits", "CONSUMER_QUARANTINE": "dir:quarantine"}
ENDPOINTS = (
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_KINESIS",
    "AWS_ENDPOINT_URL_DYNAMODB",
    "AWS_ENDPOINT_URL_CLOUDWATCH",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_EVENTBRIDGE",
    "AWS_ENDPOINT_URL_STS",
)
INSECURE = "CONSUMER_ALLOW_INSECURE_ENDPOINTS"

Given = Callable[..., None]


def test_the_highest_sequence_number_has_a_default_and_can_be_set(given: Given) -> None:
    given()
    assert load(CoreSettings).max_sequence_number == Limits().max_sequence == oracle.CEILING
    given(CONSUMER_MAX_SEQUENCE_NUMBER="7")
    core = bootstrap.processor(load(CoreSettings))
    assert core.projection.max_sequence == 7  # type: ignore[attr-defined] # a projection in general has none
    alone, _ = bootstrap.in_memory_processor(load(RecordSettings))
    results = [alone.process(records(created(sequence)), NoRetry()) for sequence in (7, 8)]
    assert [result.reasons for result in results] == [{}, {Reason.SEQUENCE: 1}]


def test_a_command_without_aws_reads_only_the_settings_of_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.setenv("CONSUMER_MAX_SEQUENCE_NUMBER", "0")
    assert problems(RecordSettings) == ["CONSUMER_MAX_SEQUENCE_NUMBER: Input should be greater than 0"]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Given:
    """Adds variables to valid ones."""
    for name in ("AWS_DEFAULT_REGION", *ENDPOINTS, INSECURE):
        monkeypatch.delenv(name, raising=False)

    def add(**variables: str) -> None:
        for name, value in (VALID | variables).items():
            monkeypatch.setenv(name, value)

    return add


def problems(kind: type[AwsSettings] | type[RecordSettings] = Settings) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        load(kind)
    return refused.value.problems


# the stream

ARN = "arn:aws:kinesis:us-east-1:111122223333:stream/limits"
ROLE = "arn:aws:iam::111122223333:role/path/reader"


@pytest.mark.parametrize("kind", [Settings, HistorySettings, ApiSettings])
def test_an_arn_names_the_stream(given: Given, monkeypatch: pytest.MonkeyPatch, kind: type[StreamSettings]) -> None:
    given(CONSUMER_STREAM_ARN=ARN, CONSUMER_ARCHIVE="dir:archive")
    monkeypatch.delenv("CONSUMER_STREAM_NAME")
    found = load(kind)
    assert (found.stream_name, found.stream_region, found.region) == ("limits", "us-east-1", "eu-north-1")


def test_a_stream_with_a_name_alone_is_in_the_region_of_the_service(given: Given) -> None:
    given()
    assert load(Settings).stream_region == "eu-north-1"


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        (
            {"CONSUMER_STREAM_NAME": "other", "CONSUMER_STREAM_ARN": ARN},
            "CONSUMER_STREAM_NAME and CONSUMER_STREAM_ARN are different streams: unset CONSUMER_STREAM_NAME",
        ),
        (
            {"CONSUMER_STREAM_NAME": "", "CONSUMER_STREAM_ARN": f"{ARN}/consumer/app:1"},
            f"CONSUMER_STREAM_ARN: use the ARN of a stream, such as {ARN.replace('us-east-1', 'eu-north-1')}",
        ),
        (
            {"CONSUMER_STREAM_NAME": "", "CONSUMER_STREAM_ARN": ARN, "CONSUMER_STREAM_ROLE_ARN": f"{ROLE}|other"},
            "CONSUMER_STREAM_ROLE_ARN: use the ARN of a role, such as arn:aws:iam::111122223333:role/limits-reader",
        ),
        (
            {"CONSUMER_STREAM_ROLE_ARN": ROLE},
            "CONSUMER_STREAM_ROLE_ARN has no effect without CONSUMER_STREAM_ARN: set CONSUMER_STREAM_ARN",
        ),
    ],
)
def test_a_contradictory_or_wrong_stream_is_one_line(given: Given, variables: dict[str, str], line: str) -> None:
    given(**variables)
    assert problems() == [line]


# endpoints


@pytest.mark.parametrize("variable", ENDPOINTS)
@pytest.mark.parametrize("address", ["http://10.0.0.5:4566", "http://kinesis.internal", "http://[2001:db8::1]:80/"])
def test_plain_http_to_another_machine_is_refused(given: Given, variable: str, address: str) -> None:
    given(**{variable: address})
    (line,) = problems()
    assert line == f"{variable}: plain http to another machine is not allowed: use https, or set {INSECURE}=true"


@pytest.mark.parametrize("kind", [AwsSettings, CoreSettings, Settings])
def test_plain_http_is_refused_by_every_kind_of_settings(given: Given, kind: type[AwsSettings]) -> None:
    given(AWS_ENDPOINT_URL="http://10.0.0.5:4566")
    assert len(problems(kind)) == 1


@pytest.mark.parametrize(
    "address",
    ["http://localhost:4566", "http://127.0.0.1:1", "http://127.8.9.1", "http://[::1]:4566/", "https://10.0.0.5"],
)
def test_https_and_plain_http_on_this_machine_are_accepted(given: Given, address: str) -> None:
    given(AWS_ENDPOINT_URL=address)
    assert load(Settings).endpoint_of("kinesis") == address


def test_plain_http_can_be_allowed(given: Given) -> None:
    given(AWS_ENDPOINT_URL="http://10.0.0.5:4566", CONSUMER_ALLOW_INSECURE_ENDPOINTS="true")
    assert load(Settings).endpoint_of("dynamodb") == "http://10.0.0.5:4566"


@pytest.mark.parametrize("word", ["false", "no", "0"])
def test_a_false_value_does_not_allow_plain_http(given: Given, word: str) -> None:
    given(AWS_ENDPOINT_URL="http://10.0.0.5:4566", CONSUMER_ALLOW_INSECURE_ENDPOINTS=word)
    assert len(problems()) == 1


@pytest.mark.parametrize(
    "host",
    [
        *("localhost.example.com", "127.0.0.1.example.com", "localhost.", "LOCALHOST", "example.com", "0.0.0.0"),
        *("::", "::ffff:10.0.0.5", "0x7f000001", "2130706433", "127.1", "", "[", "fe80::1%lo"),
    ],
)
def test_a_host_that_only_resembles_this_machine_is_not_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    "address",
    [
        "https://user:s3cr3t@kinesis.internal",
        "https://s3cr3t@kinesis.internal",
        "http://user:s3cr3t@127.0.0.1:4566",
        "https://kinesis.internal@s3cr3t.example.com",
        "https://kinesis.internal/?token=s3cr3t",
        "https://kinesis.internal/s3cr3t",
        "https://kinesis.internal#s3cr3t",
        "https://kinesis.internal\\@s3cr3t",
        "https://kinesis.internal:443:s3cr3t",
        "https://[s3cr3t]",
        "ftp://s3cr3t",
        "s3cr3t",
    ],
)
@pytest.mark.parametrize("insecure", ["false", "true"])
def test_an_address_of_another_form_is_refused_and_not_repeated(given: Given, address: str, insecure: str) -> None:
    given(AWS_ENDPOINT_URL_S3=address, CONSUMER_ALLOW_INSECURE_ENDPOINTS=insecure)
    (line,) = problems()
    assert line.startswith("AWS_ENDPOINT_URL_S3: use https://host:port")
    assert "s3cr3t" not in line


@pytest.mark.parametrize("config", [CLIENT, SHORT_TIMEOUTS], ids=["service", "function"])
def test_no_client_uses_an_endpoint_that_was_not_validated(config: Config) -> None:
    assert config.__dict__["ignore_configured_endpoint_urls"] is True


@pytest.mark.parametrize("region", ["eu-north-1.example.com", "eu north", "eu-north-1/", "#", "EU-NORTH-1"])
def test_a_region_cannot_name_another_host(given: Given, region: str) -> None:
    given(AWS_REGION=region)
    assert problems() == ["AWS_REGION: use a region such as eu-north-1"]


# all errors at once


def test_all_errors_are_reported_at_once_and_no_value_is_repeated(given: Given) -> None:
    wrong = {
        "AWS_REGION": "s3cr3t region",
        "AWS_ENDPOINT_URL": "http://user:s3cr3t@x",
        "AWS_ENDPOINT_URL_KINESIS": "http://s3cr3t.example.com",
        "AWS_TABLE_NAME": "s3cr3t table",
        "CONSUMER_ALLOW_INSECURE_ENDPOINTS": "s3cr3t",
        "CONSUMER_AGGREGATE_RECORDS": "s3cr3t",
        "CONSUMER_BREAKER": "-1",
        "CONSUMER_LOG_LEVEL": "s3cr3t",
        "CONSUMER_METRICS_ADDRESS": "s3cr3t",
        "CONSUMER_QUARANTINE": "ftp://s3cr3t",
        "CONSUMER_START_AT": "s3cr3t",
        "CONSUMER_WORKER_ID": "s3cr3t worker",
    }
    given(**wrong)
    lines = problems()
    assert sorted(line.partition(":")[0] for line in lines) == sorted(wrong)
    assert not [line for line in lines if "s3cr3t" in line]


@pytest.mark.parametrize("address", ["127.0.0.1:9464", "localhost:0", "[::1]:9464"])
def test_metrics_stay_on_this_machine(given: Given, address: str) -> None:
    given(CONSUMER_METRICS_ADDRESS=address)
    assert not load(Settings).metrics_leave_the_machine


def test_by_default_metrics_stay_on_this_machine(given: Given) -> None:
    given()
    assert not load(Settings).metrics_leave_the_machine


@pytest.mark.parametrize("address", ["0.0.0.0:9464", "[::]:9464", "10.0.0.5:9464", "worker:9464"])
def test_metrics_that_other_machines_can_read_are_detected(given: Given, address: str) -> None:
    given(CONSUMER_METRICS_ADDRESS=address)
    assert load(Settings).metrics_leave_the_machine


@pytest.mark.parametrize(("given_records", "taken"), [({}, 5_000), ({"CONSUMER_AGGREGATE_RECORDS": "3000"}, 3_000)])
def test_how_many_records_an_aggregate_may_hold(given: Given, given_records: dict[str, str], taken: int) -> None:
    given(**given_records)
    assert load(CoreSettings).aggregate_records == taken


@pytest.mark.parametrize("kind", [AwsSettings, CoreSettings, Settings])
def test_a_misspelled_variable_is_refused_with_all_other_errors(given: Given, kind: type[AwsSettings]) -> None:
    given(CONSUMER_FAILOVER_MILIS="1", AWS_TABLE_NAMES="t", CONSUMER_LOG_LEVEL="LOUD")
    assert [line.partition(" ")[0].rstrip(":") for line in problems(kind)] == [
        *("CONSUMER_LOG_LEVEL", "AWS_TABLE_NAMES", "CONSUMER_FAILOVER_MILIS")
    ]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("CONSUMER_QUARANTAINE", "CONSUMER_QUARANTINE"),
        ("CONSUMER_STREAMNAME", "CONSUMER_STREAM_NAME"),
        ("COMSUMER_STREAM_NAME", "CONSUMER_STREAM_NAME"),
        ("CONSUMER_TABLE_NAME", "AWS_TABLE_NAME"),
        ("CONSUMER_REGION", "AWS_REGION"),
        ("CONSUMER_ENDPOINT_URL", "AWS_ENDPOINT_URL"),
        ("AWS_TABLENAME", "AWS_TABLE_NAME"),
        ("AWS_REGOIN", "AWS_REGION"),
        ("AWS_ENDPOINT", "AWS_ENDPOINT_URL"),
        ("AWS_ENDPOINT_URL_DYNAMO_DB", "AWS_ENDPOINT_URL_DYNAMODB"),
        ("AWS_ENDPOINT_URL_KINESES", "AWS_ENDPOINT_URL_KINESIS"),
        ("AWS_ENDPOINT_URL_CLOUD_WATCH", "AWS_ENDPOINT_URL_CLOUDWATCH"),
        ("AWS_ENDPOINT_URL_S_3", "AWS_ENDPOINT_URL_S3"),
        ("AWS_ENDPOINT_URL_EVENT_BRIDGE", "AWS_ENDPOINT_URL_EVENTBRIDGE"),
        ("CONSUMER_TRESHOLDS", "CONSUMER_THRESHOLDS"),
        ("ENABLE_DYNAMODB", "ENABLE_DYNAMO_DB"),
        ("ENABLE_DYNAMO", "ENABLE_DYNAMO_DB"),
        ("AWS_ENABLE_DYNAMO_DB", "ENABLE_DYNAMO_DB"),
    ],
)
def test_a_misspelled_name_is_reported_with_the_setting_meant(name: str, meant: str) -> None:
    assert misspelled([name]) == [f"{name} is not a setting: did you mean {meant}?"]


def test_variables_of_other_programs_are_ignored() -> None:
    """Variables of boto3 (with one endpoint per service), Lambda, orchestrators and shells."""
    session = botocore.session.get_session()
    ids = (session.get_service_model(name).service_id for name in session.get_available_services())
    endpoints = [f"AWS_ENDPOINT_URL_{re.sub('[ -]', '_', each).upper()}" for each in ids]
    assert len(endpoints) > 300

    assert misspelled([*endpoints, *OTHERS.split()]) == []


OTHERS = """
AWS_ACCESS_KEY_ID AWS_ACCOUNT_ID AWS_ACCOUNT_ID_ENDPOINT_MODE AWS_AUTH_SCHEME_PREFERENCE AWS_CA_BUNDLE AWS_CONFIG_FILE
AWS_CONTAINER_AUTHORIZATION_TOKEN AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE AWS_CONTAINER_CREDENTIALS_FULL_URI
AWS_CONTAINER_CREDENTIALS_RELATIVE_URI AWS_CREDENTIAL_EXPIRATION AWS_CSM_ENABLED AWS_DATA_PATH AWS_DEFAULTS_MODE
AWS_DEFAULT_OUTPUT AWS_DEFAULT_PROFILE AWS_DEFAULT_REGION AWS_DISABLE_HOST_PREFIX_INJECTION
AWS_DISABLE_REQUEST_COMPRESSION AWS_EC2_METADATA_DISABLED AWS_EC2_METADATA_SERVICE_ENDPOINT AWS_EC2_METADATA_V1_DISABLED
AWS_ENDPOINT_DISCOVERY_ENABLED AWS_EXECUTION_ENV AWS_IGNORE_CONFIGURED_ENDPOINT_URLS AWS_IMDS_USE_IPV6
AWS_LOGIN_CACHE_DIRECTORY AWS_MAX_ATTEMPTS AWS_METADATA_SERVICE_NUM_ATTEMPTS AWS_METADATA_SERVICE_TIMEOUT AWS_PAGER
AWS_PROFILE AWS_REGION AWS_REQUEST_CHECKSUM_CALCULATION AWS_REQUEST_MIN_COMPRESSION_SIZE_BYTES
AWS_RESPONSE_CHECKSUM_VALIDATION AWS_RETRY_MODE AWS_ROLE_ARN AWS_ROLE_SESSION_NAME AWS_S3_DISABLE_EXPRESS_SESSION_AUTH
AWS_S3_USE_ARN_REGION AWS_S3_US_EAST_1_REGIONAL_ENDPOINT AWS_SDK_LOAD_CONFIG AWS_SDK_UA_APP_ID AWS_SECRET_ACCESS_KEY
AWS_SECURITY_TOKEN AWS_SESSION_TOKEN AWS_SHARED_CREDENTIALS_FILE AWS_SIGV4A_SIGNING_REGION_SET
AWS_STS_REGIONAL_ENDPOINTS AWS_USE_DUALSTACK_ENDPOINT AWS_USE_FIPS_ENDPOINT AWS_WEB_IDENTITY_TOKEN_FILE
AWS_LAMBDA_EXEC_WRAPPER AWS_LAMBDA_FUNCTION_MEMORY_SIZE AWS_LAMBDA_FUNCTION_NAME AWS_LAMBDA_FUNCTION_VERSION
AWS_LAMBDA_INITIALIZATION_TYPE AWS_LAMBDA_LOG_GROUP_NAME AWS_LAMBDA_LOG_STREAM_NAME AWS_LAMBDA_RUNTIME_API
AWS_XRAY_CONTEXT_MISSING AWS_XRAY_DAEMON_ADDRESS _AWS_XRAY_DAEMON_ADDRESS LAMBDA_TASK_ROOT _HANDLER
ECS_CONTAINER_METADATA_URI_V4 CONSUMER_PORT CONSUMER_PORT_9464_TCP CONSUMER_PORT_9464_TCP_ADDR CONSUMER_SERVICE_HOST
CONSUMER_SERVICE_PORT CONSUMER_TEST_AWS ENABLE_METRICS TABLE_NAME STREAM_NAME LOG_LEVEL PROMETHEUS_MULTIPROC_DIR
JAVA_HOME PATH PYTHONPATH TMPDIR MALLOC_ARENA_MAX CBOR_ENABLED
"""


@pytest.mark.parametrize(
    ("endpoint", "is_theirs"),
    [
        (None, True),
        ("https://kinesis.eu-west-1.amazonaws.com", True),
        ("https://kinesis.cn-north-1.amazonaws.com.cn", True),
        ("https://vpce-1-2.kinesis.eu-west-1.vpce.amazonaws.com:443/", True),
        ("https://kinesis.eu-west-1.api.aws", True),
        ("https://kinesis.eusc-de-east-1.amazonaws.eu", True),
        ("http://localhost:4566", False),
        ("http://localstack:4566", False),
        ("https://amazonaws.com.example.com", False),
        ("https://notamazonaws.com", False),
    ],
)
def test_which_endpoints_belong_to_aws(endpoint: str | None, is_theirs: bool) -> None:
    assert is_aws(endpoint) is is_theirs


def test_a_misspelled_variable_is_reported_and_an_orchestrators_is_ignored() -> None:
    names = ["CONSUMER_FAILOVER_MILIS", "CONSUMER_PORT", "CONSUMER_SERVICE_HOST", "CONSUMER_STREAM_NAME", "PATH"]

    assert misspelled(names) == ["CONSUMER_FAILOVER_MILIS is not a setting: did you mean CONSUMER_FAILOVER_MILLIS?"]


# notices


@pytest.mark.parametrize(
    ("text", "thresholds"),
    [("80,100", (80, 100)), ("100", (100,)), (" 100 , 50,80", (50, 80, 100)), ("1,1000", (1, 1_000)), ("080", (80,))],
)
def test_thresholds_are_whole_percentages(given: Given, text: str, thresholds: tuple[int, ...]) -> None:
    given(CONSUMER_THRESHOLDS=text)
    assert load(NoticeSettings).thresholds == thresholds


@pytest.mark.parametrize(
    "text", ["0", "1001", "80,80", "80,", ",", "80;100", "80%", "-5", "79.5", "[80]", "\u0668", "many"]
)
def test_other_thresholds_are_refused(given: Given, text: str) -> None:
    given(CONSUMER_THRESHOLDS=text)
    assert problems(NoticeSettings) == [
        "CONSUMER_THRESHOLDS: use different whole percentages from 1 to 1000, such as 80,100"
    ]


@pytest.mark.parametrize("bus", ["default", "limits/notices", "arn:aws:events:eu-west-1:111122223333:event-bus/limits"])
def test_a_bus_is_a_name_or_an_arn(given: Given, bus: str) -> None:
    given(CONSUMER_EVENT_BUS=bus)
    assert load(NoticeSettings).event_bus == bus


def test_by_default_notices_are_sent_at_80_and_100_percent_to_the_default_bus(given: Given) -> None:
    given()
    settings = load(NoticeSettings)
    assert (settings.thresholds, settings.event_bus) == ((80, 100), "default")


def test_notices_have_their_own_endpoint(given: Given) -> None:
    given(AWS_ENDPOINT_URL="http://localhost:1", AWS_ENDPOINT_URL_EVENTBRIDGE="http://localhost:2")
    assert load(NoticeSettings).endpoint_of("events") == "http://localhost:2"


# the HTTP API

ISSUER = {"CONSUMER_API_ISSUER": "https://login.example.com/limits", "CONSUMER_API_AUDIENCE": "limits"}
PROXY = {"CONSUMER_API_TRUSTED_PROXY": "true"}
EVERYWHERE = {"CONSUMER_API_ADDRESS": "0.0.0.0:8080"}


def test_by_default_the_api_is_open_to_this_machine_only(given: Given) -> None:
    given()
    settings = load(ApiSettings)
    assert (settings.api_address, settings.api_is_reachable) == ("127.0.0.1:8080", False)
    assert (settings.api_issuer, settings.api_trusted_proxy, settings.api_user_claim) == (None, False, "sub")


@pytest.mark.parametrize("address", ["0.0.0.0:8080", "[::]:8080", "10.0.0.5:80", "api:8080", "localhost.example.com:1"])
def test_an_address_that_other_machines_reach_needs_authentication(given: Given, address: str) -> None:
    given(CONSUMER_API_ADDRESS=address)
    (line,) = problems(ApiSettings)
    assert line == (
        f"CONSUMER_API_ADDRESS: other machines can reach {address} without authentication: set CONSUMER_API_ISSUER, or"
        " CONSUMER_API_TRUSTED_PROXY=true behind a gateway that authenticates, or use 127.0.0.1:PORT"
    )


@pytest.mark.parametrize("authentication", [ISSUER, PROXY])
def test_with_authentication_any_address_is_accepted(given: Given, authentication: dict[str, str]) -> None:
    given(**EVERYWHERE, **authentication)
    assert load(ApiSettings).api_is_reachable


@pytest.mark.parametrize("word", ["false", "0", "no"])
def test_a_proxy_that_is_not_trusted_does_not_authenticate(given: Given, word: str) -> None:
    given(**EVERYWHERE, CONSUMER_API_TRUSTED_PROXY=word)
    assert len(problems(ApiSettings)) == 1


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        (
            {"CONSUMER_API_ISSUER": "https://login.example.com"},
            "CONSUMER_API_ISSUER needs CONSUMER_API_AUDIENCE: a token for another service must not be accepted",
        ),
        (
            {"CONSUMER_API_AUDIENCE": "limits"},
            "CONSUMER_API_AUDIENCE has no effect without CONSUMER_API_ISSUER: set CONSUMER_API_ISSUER",
        ),
        (
            {"CONSUMER_API_JWKS_URL": "https://login.example.com/keys"},
            "CONSUMER_API_JWKS_URL has no effect without CONSUMER_API_ISSUER: set CONSUMER_API_ISSUER",
        ),
        (
            ISSUER | PROXY,
            "CONSUMER_API_ISSUER and CONSUMER_API_TRUSTED_PROXY exclude each other: the API checks tokens or a gateway",
        ),
        (
            {"CONSUMER_ARCHIVE": "s3://archive/limits", "CONSUMER_STREAM_NAME": ""},
            "CONSUMER_ARCHIVE needs CONSUMER_STREAM_NAME: an archive may have several streams",
        ),
        ({"ENABLE_DYNAMO_DB": "false"}, "ENABLE_DYNAMO_DB=false: there are no limits that the API could read"),
        (
            {"CONSUMER_API_DYNAMODB_SECONDS": "10"},
            "CONSUMER_API_DYNAMODB_SECONDS must be less than CONSUMER_API_REQUEST_SECONDS",
        ),
    ],
)
def test_settings_of_the_api_that_contradict_each_other_are_refused(
    given: Given, variables: dict[str, str], line: str
) -> None:
    given(**variables)
    assert problems(ApiSettings) == [line]


@pytest.mark.parametrize("name", ["CONSUMER_API_ISSUER", "CONSUMER_API_JWKS_URL"])
@pytest.mark.parametrize("address", ["http://login.example.com", "http://10.0.0.5/keys"])
@pytest.mark.parametrize("insecure", ["false", "true"])
def test_keys_and_issuer_are_reached_over_https(given: Given, name: str, address: str, insecure: str) -> None:
    given(**{**ISSUER, name: address, INSECURE: insecure})
    (line,) = problems(ApiSettings)
    wrong = "plain http to another machine is not allowed: whoever answers could issue tokens. Use https"
    assert line == f"{name}: {wrong}"


@pytest.mark.parametrize("name", ["CONSUMER_API_ISSUER", "CONSUMER_API_JWKS_URL"])
@pytest.mark.parametrize(
    "address",
    ["https://a/", "https://a:8443/realms/limits", "http://127.0.0.1:1/x", "https://a/b/v2.0", "https://a/%7Eb/~c"],
)
def test_an_issuer_and_its_keys_may_have_a_path(given: Given, name: str, address: str) -> None:
    given(**{**ISSUER, name: address})
    settings = load(ApiSettings)
    assert address in (settings.api_issuer, settings.api_jwks_url)


def test_the_address_of_the_keys_may_have_a_query(given: Given) -> None:
    given(**ISSUER, CONSUMER_API_JWKS_URL="https://a/keys?p=limits_1")
    assert load(ApiSettings).api_jwks_url == "https://a/keys?p=limits_1"


@pytest.mark.parametrize("name", ["CONSUMER_API_ISSUER", "CONSUMER_API_JWKS_URL"])
@pytest.mark.parametrize(
    "address",
    ["https://user:s3cr3t@a", "https://a#s3cr3t", "https://a/ s3cr3t", "https://a@s3cr3t/", "ftp://s3cr3t", "s3cr3t"],
)
def test_another_form_of_issuer_or_keys_is_refused_and_not_repeated(given: Given, name: str, address: str) -> None:
    given(**{**ISSUER, name: address})
    (line,) = problems(ApiSettings)
    assert line.startswith(f"{name}: use https://host/path")
    assert "s3cr3t" not in line


# where to start


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("trim-horizon", "trim-horizon"),
        ("LATEST", "latest"),
        ("1769817600", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T00:00:00Z", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T01:00+01:00", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-30T18:30:00.5-05:30", datetime(2026, 1, 31, 0, 0, 0, 500_000, tzinfo=UTC)),
    ],
)
def test_an_unambiguous_start_is_accepted(given: Given, text: str, start: object) -> None:
    given(CONSUMER_START_AT=text)
    assert load(Settings).start_at == start


@pytest.mark.parametrize(
    "text",
    [
        *("20260131", "2026-01-31", "20260131T000000Z", "2026-W05-6T00:00:00Z", "202601310000", "1769817600000"),
        *("2026-01-31T00:00:00", "2026-01-31 00:00:00Z", "2026-01-31T00Z", "31.01.2026", "2026-02-30T00:00:00Z"),
        *("-1769817600", "1769817600.5", "0", "1_769_817_600", "trim_horizon", "yesterday", "now", "0001-01-01"),
    ],
)
def test_an_ambiguous_start_is_refused(given: Given, text: str) -> None:
    given(CONSUMER_START_AT=text)
    form = "use trim-horizon, latest, or a time such as 2026-01-31T00:00:00Z; epoch seconds have ten digits"
    assert problems() == [f"CONSUMER_START_AT: {form}"]


@pytest.mark.parametrize(
    "text",
    ["2999-01-31T00:00:00Z", "9999999999", "9999-12-31T23:59:59-12:00", "1999-12-31T23:59:59Z", "0001-01-01T00:00Z"],
)
def test_a_start_out_of_range_is_refused(given: Given, text: str) -> None:
    given(CONSUMER_START_AT=text)
    (line,) = problems()
    assert line.startswith("CONSUMER_START_AT: ")


def test_a_start_in_the_future_is_refused_and_one_a_second_ago_is_not(given: Given) -> None:
    given(CONSUMER_START_AT=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    (line,) = problems()
    assert "is not between the year 2000 and now" in line
    given(CONSUMER_START_AT=(datetime.now(UTC) - timedelta(seconds=1)).isoformat())
    assert isinstance(load(Settings).start_at, datetime)


# numbers


KINDS: dict[str, type[AwsSettings]] = {field: kind for kind in (ApiSettings, Settings) for field in kind.model_fields}
NUMBERS = {
    field: info.annotation
    for field, kind in KINDS.items()
    if (info := kind.model_fields[field]).annotation in (int, float)
}


@pytest.mark.parametrize("field", NUMBERS)
@pytest.mark.parametrize("text", ["1_000", "1e3", "inf", "nan", "5s", "0x10", "٣", "1,5", "1" * 19])
def test_a_number_must_be_written_in_digits(given: Given, field: str, text: str) -> None:
    given(**{variable(field): text})
    (line,) = problems(KINDS[field])
    assert line.startswith(
        f"{variable(field)}: use a {'whole' if NUMBERS[field] is int else 'decimal'} number such as "
    )


# The archive


def test_by_default_there_is_no_archive(given: Given) -> None:
    given()
    settings = load(Settings)
    assert (settings.archive, bootstrap.archive(settings)) == (None, None)
    assert bootstrap.processor(settings).archive is None


@pytest.mark.parametrize("place", ["dir:archive", "s3://bucket", "s3://bucket/some/prefix"])
def test_a_place_is_an_archive(given: Given, place: str) -> None:
    given(CONSUMER_ARCHIVE=place)
    assert bootstrap.processor(load(CoreSettings)).archive is not None


@pytest.mark.parametrize("place", ["archive", "ftp://x", "s3:/bucket", "dir:", "s3://B/x"])
def test_an_archive_of_another_form_is_refused(given: Given, place: str) -> None:
    given(CONSUMER_ARCHIVE=place)
    assert problems() == ["CONSUMER_ARCHIVE: use dir:PATH or s3://bucket/prefix"]


@pytest.mark.parametrize(
    ("archive", "quarantine"),
    [
        ("dir:kept", "dir:kept"),
        ("dir:kept/archive", "dir:kept"),
        ("dir:kept", "dir:kept/quarantine/"),
        ("s3://bucket", "s3://bucket/quarantine"),
        ("s3://bucket/kept/", "s3://bucket/kept"),
    ],
)
def test_an_archive_and_a_quarantine_are_apart(given: Given, archive: str, quarantine: str) -> None:
    given(CONSUMER_ARCHIVE=archive, CONSUMER_QUARANTINE=quarantine)
    assert problems() == ["CONSUMER_ARCHIVE and CONSUMER_QUARANTINE overlap: use different prefixes"]


@pytest.mark.parametrize(("archive", "quarantine"), [("s3://b-c/a", "s3://b-c/a-b"), ("dir:kept-2", "dir:kept")])
def test_similar_names_do_not_overlap(given: Given, archive: str, quarantine: str) -> None:
    given(CONSUMER_ARCHIVE=archive, CONSUMER_QUARANTINE=quarantine)
    assert load(CoreSettings).archive == archive
