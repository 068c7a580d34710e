"""Properties are read as by Java, entries that the daemon would ignore are refused, settings take precedence."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.daemon import properties
from consumer.engine.errors import SettingsError
from consumer.settings import Settings, load

SHIPPED = Path(__file__).parents[3] / "properties" / "consumer.properties"


def settings(**more: Any) -> Settings:
    given = {"region": "eu-north-1", "stream_name": "events", "quarantine": "dir:/tmp"}
    return load(Settings, **given | more)


def rendered(shipped: dict[str, str] | None = None, **more: Any) -> dict[str, str]:
    base = {"AwsCredentialsProvider": "DefaultCredentialsProvider"}
    return dict(properties.parse(properties.render(base | (shipped or {}), settings(**more), "worker-1")))


def refusal(shipped: dict[str, str], **more: Any) -> str:
    with pytest.raises(SettingsError) as refused:
        rendered(shipped, **more)
    (line,) = refused.value.problems
    return line


# --- Java's format -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("", []),
        ("a=1\nb:2\r\nc 3\rd", [("a", "1"), ("b", "2"), ("c", "3"), ("d", "")]),
        ("# comment\n  ! comment\n\n \t\f\na=1", [("a", "1")]),
        ("a = 1 ", [("a", "1 ")]),
        ("a = = 1", [("a", "= 1")]),
        ("a\\ b\\=c = 1", [("a b=c", "1")]),
        ("a=1,\\\n   2,\\\r\n\t3", [("a", "1,2,3")]),
        ("# a comment goes on nowhere \\\na=1", [("a", "1")]),
        ("\\\n# still a comment\na=1", [("a", "1")]),
        ("a=two\\\\\nb=1", [("a", "two\\"), ("b", "1")]),
        (r"a=\u20ac\t\n\z", [("a", "\u20ac\t\nz")]),
        ("a=1\na=2", [("a", "1"), ("a", "2")]),
    ],
)
def test_a_text_is_read_as_by_java(text: str, entries: list[tuple[str, str]]) -> None:
    assert properties.parse(text) == entries


@pytest.mark.parametrize("text", [r"a=\u12", r"a=\uzzzz"])
def test_a_broken_escape_is_an_error_as_in_java(text: str) -> None:
    with pytest.raises(ValueError, match="hexadecimal"):
        properties.parse(text)


@given(st.dictionaries(st.text(min_size=1), st.text()))
def test_what_is_written_is_read_back(entries: dict[str, str]) -> None:
    text = properties.write(entries)
    assert text.isascii()
    assert {_units(key): _units(value) for key, value in properties.parse(text)} == {
        _units(key): _units(value) for key, value in entries.items()
    }


def _units(text: str) -> bytes:
    # Java's strings are UTF-16: a character beyond U+FFFF is two units.
    return text.encode("utf-16-be", "surrogatepass")


def test_blanks_and_other_scripts_are_escaped() -> None:
    assert properties.write({"a b": " \u00e9 \U0001f600"}) == "a\\ b=\\ \\u00e9 \\ud83d\\ude00\n"


# --- The known keys ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("shardSyncIntervalMilis", "1", "is not a property of the daemon: did you mean shardSyncIntervalMillis?"),
        ("DynamoDBEndpoint", "http://x:1", "is not a property of the daemon: did you mean dynamoDBEndpoint?"),
        ("somethingElse", "1", "is not a property of the daemon"),
        ("shardSyncIntervalMillis", "soon", "= 'soon' must be a whole number up to 9223372036854775807"),
        ("shardSyncIntervalMillis", "-1", "= '-1' must be a whole number up to 9223372036854775807"),
        ("shardSyncIntervalMillis", "0", "= '0' cannot be set to 0: the daemon would use its default"),
        ("maxLeasesForWorker", "2147483648", "= '2147483648' must be a whole number up to 2147483647"),
        ("workerMetricsEMAAlpha", "half", "= 'half' must be a decimal number"),
        ("leaseTablePitrEnabled", "yes", "= 'yes' must be true or false"),
        (
            "cleanupLeasesUponShardCompletion",
            "false",
            "= 'false' cannot be set to false: the daemon would use its default; remove it",
        ),
        ("billing", "", "is not a property of the daemon"),
        ("workerMetricsBillingMode", "FREE", "= 'FREE' must be one of PAY_PER_REQUEST, PROVISIONED"),
        ("staleWorkerMetricsEntryCleanupDuration", "15m", "= '15m' must be a duration such as PT15M or P2D"),
        ("tableName", "mine ", "= 'mine ' must not be empty or have leading or trailing blanks"),
        ("validateSequenceNumberBeforeCheckpointing", "true", "has had no effect since KCL 2: remove it"),
        ("AwsCredentialsProviderDynamoDB", "A|AKIAABCDEFGHIJKLMNOP", "contains an AWS access key"),
    ],
)
def test_an_entry_that_the_daemon_would_ignore_is_reported_in_one_line(key: str, value: str, line: str) -> None:
    problem = refusal({key: value})
    assert problem.startswith(f"consumer.properties: {key} ")
    assert line in problem


def test_a_secret_is_not_repeated() -> None:
    assert "AKIA" not in refusal({"AwsCredentialsProviderDynamoDB": "StaticCredentialsProvider|AKIAABCDEFGHIJKLMNOP"})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("leaseTablePitrEnabled", "false"),
        ("isGracefulLeaseHandoffEnabled", "false"),
        ("logWarningForTaskAfterMillis", "0"),
        ("maxActiveThreads", "0"),
        ("fanoutConfig.consumerName", "mine"),
        ("kinesisClient.fipsEnabled", "true"),
        ("staleWorkerMetricsEntryCleanupDuration", "PT15M"),
        ("coordinatorStateTags", "team=limits,stage=test"),
    ],
)
def test_a_known_key_of_the_operator_is_kept(key: str, value: str) -> None:
    assert rendered({key: value})[key] == value


def test_a_role_to_assume_may_be_named() -> None:
    role = "StsAssumeRoleCredentialsProvider|arn:aws:iam::000000000000:role/reader|limits|endpointRegion=eu-north-1"
    assert rendered({"AwsCredentialsProvider": role})["AwsCredentialsProvider"] == role


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(SettingsError) as refused:
        rendered({"one": "1", "two": "2", "shardSyncIntervalMillis": "0"})
    assert len(refused.value.problems) == 3


def test_a_missing_mandatory_key_is_reported() -> None:
    with pytest.raises(SettingsError, match="AwsCredentialsProvider is missing"):
        properties.render({}, settings(), "worker-1")


@pytest.mark.parametrize(
    "positions", [{}, dict.fromkeys(("initialPositionInStream", "initialPositionInStreamExtended"))]
)
def test_a_start_position_is_needed_once(positions: dict[str, None]) -> None:
    complete = rendered()
    del complete["initialPositionInStream"]
    complete |= dict.fromkeys(positions, "1")
    assert any("exactly one of" in line for line in properties.problems(complete))


def test_at_timestamp_has_its_own_advice() -> None:
    (line,) = properties.wrong_entries({"initialPositionInStream": "AT_TIMESTAMP"})
    assert "use initialPositionInStreamExtended" in line


# --- From the settings ---------------------------------------------------------------------------------------------


def test_the_shipped_file_is_valid() -> None:
    shipped = properties.read(SHIPPED)
    assert not set(shipped) & set(properties.OWNED)
    assert rendered(shipped)["callProcessRecordsEvenForEmptyRecordList"] == "true"


def test_the_settings_set_names_rates_and_timeouts() -> None:
    found = rendered(application_name="app", handoff_seconds=9.5, shutdown_grace_seconds=11, hang_seconds=60)
    assert found == found | {
        "streamName": "events",
        "applicationName": "app",
        "workerId": "worker-1",
        "kinesisClient.region": "eu-north-1",
        "dynamoDbClient.region": "eu-north-1",
        "cloudWatchClient.region": "eu-north-1",
        "executableName": "consumer process",
        "retrievalMode": "POLLING",
        "initialPositionInStream": "TRIM_HORIZON",
        "isGracefulLeaseHandoffEnabled": "true",
        "gracefulLeaseHandoffTimeoutMillis": "9500",
        "shutdownGraceMillis": "11000",
        "timeoutInSeconds": "60",
    }


ARN = "arn:aws:kinesis:us-east-1:111122223333:stream/events"
ROLE = "arn:aws:iam::111122223333:role/reader"
OWN = "DefaultCredentialsProvider"


def test_only_the_stream_has_the_region_of_its_arn() -> None:
    found = rendered(stream_arn=ARN)
    regions = {key: value for key, value in found.items() if "region" in key.lower()}
    assert regions == {
        "kinesisClient.region": "us-east-1",
        "dynamoDbClient.region": "eu-north-1",
        "cloudWatchClient.region": "eu-north-1",
    }
    assert "AwsCredentialsProviderDynamoDB" not in found


@pytest.mark.parametrize(
    ("shipped", "dynamodb", "cloudwatch"),
    [
        ({}, OWN, OWN),
        ({"AwsCredentialsProvider": "Mine"}, "Mine", "Mine"),
        ({"AwsCredentialsProviderDynamoDB": "Mine"}, "Mine", OWN),
    ],
)
def test_only_the_stream_is_read_with_its_role(shipped: dict[str, str], dynamodb: str, cloudwatch: str) -> None:
    found = rendered(shipped, stream_arn=ARN, stream_role_arn=ROLE, application_name="a" * 128)
    assert {key: value for key, value in found.items() if key.startswith("AwsCredentials")} == {
        "AwsCredentialsProvider": f"StsAssumeRoleCredentialsProvider|{ROLE}|consumer-{'a' * 55}",
        "AwsCredentialsProviderDynamoDB": dynamodb,
        "AwsCredentialsProviderCloudWatch": cloudwatch,
    }


def test_leases_are_taken_without_a_handoff() -> None:
    """KCL 3.1 loses a lease that is handed off while its shard waits for its parents."""
    found = rendered()
    assert found["isGracefulLeaseHandoffEnabled"] == "false"
    assert "gracefulLeaseHandoffTimeoutMillis" not in found


def test_a_dead_worker_is_considered_alive_no_longer_than_its_leases() -> None:
    found = rendered(failover_millis=3000)
    assert 2 * int(found["workerMetricsReporterFreqInMillis"]) <= int(found["failoverTimeMillis"])


def test_no_time_is_ever_rendered_as_0() -> None:
    times: dict[str, Any] = {"batch_deadline_seconds": 1e-6, "handoff_seconds": 1e-5, "shutdown_grace_seconds": 1e-4}
    found = rendered(**times)
    assert (found["shutdownGraceMillis"], found["gracefulLeaseHandoffTimeoutMillis"]) == ("1", "1")


def test_a_time_to_start_at_is_the_only_position() -> None:
    found = rendered(start_at=datetime(2026, 1, 31, tzinfo=UTC))
    assert found["initialPositionInStreamExtended"] == "1769817600"
    assert "initialPositionInStream" not in found


def test_endpoints_are_named_only_when_set() -> None:
    assert not {"kinesisEndpoint", "dynamoDBEndpoint", "cloudWatchClient.endpointOverride"} & set(rendered())
    found = rendered(endpoint="http://127.0.0.1:1", dynamodb_endpoint="http://127.0.0.1:2")
    assert (found["kinesisEndpoint"], found["dynamoDBEndpoint"]) == ("http://127.0.0.1:1", "http://127.0.0.1:2")
    assert found["cloudWatchClient.endpointOverride"] == "http://127.0.0.1:1"


@pytest.mark.parametrize(
    ("key", "value", "variable"),
    [
        ("streamName", "other", "CONSUMER_STREAM_NAME"),
        ("workerIdentifier", "me", "CONSUMER_WORKER_ID"),
        ("kinesisClient.region", "eu-west-1", "AWS_REGION"),
        ("regionName", "eu-west-1", "AWS_REGION"),
        ("kinesisEndpoint", "http://127.0.0.1:1", "AWS_ENDPOINT_URL_KINESIS"),
        ("initialPositionInStreamExtended", "1", "CONSUMER_START_AT"),
        ("shutdownGraceMillis", "1", "CONSUMER_SHUTDOWN_GRACE_SECONDS"),
        ("executableName", "other", "the service"),
    ],
)
def test_a_key_that_a_setting_sets_cannot_have_another_value(key: str, value: str, variable: str) -> None:
    assert refusal({key: value}) == f"consumer.properties: {key} is set by {variable}: remove it"


def test_the_same_value_as_that_of_a_setting_is_allowed() -> None:
    assert rendered({"streamName": "events"})["streamName"] == "events"


# --- The file ------------------------------------------------------------------------------------------------------


def test_a_duplicate_key_is_reported(tmp_path: Path) -> None:
    file = tmp_path / "consumer.properties"
    file.write_text("a=1\nb=1\na=2\n")
    with pytest.raises(SettingsError) as refused:
        properties.read(file)
    assert refused.value.problems == ["consumer.properties: duplicate key a"]


def test_an_unreadable_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        properties.read(tmp_path / "none")


def test_a_broken_escape_in_the_file_is_reported(tmp_path: Path) -> None:
    file = tmp_path / "consumer.properties"
    file.write_text("a=\\u1\n")
    with pytest.raises(SettingsError, match="hexadecimal"):
        properties.read(file)
