"""Row 30: an invalid configuration is reported before Java starts: one clear line per error, exit code 2.

A program that leaves a marker file when it is started replaces Java.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import pytest

from consumer.daemon.jars import jars_directory
from tests.support.driven.processes import LOOPBACK
from tests.support.driven.service import environment
from tests.support.emulators.aws import ROOT

SHIPPED = ROOT / "properties"
STARTED = "java-was-started"

UNSET = ""
"""An empty variable counts as not set."""
PROPERTIES = "consumer.properties"


class Reported(Enum):
    """When an error is reported: together with all others of that check, or alone."""

    WITH_THE_SETTINGS = "with the settings"
    BEFORE_THE_START = "before the start"
    ALONE = "alone"


@dataclass(frozen=True)
class Fault:
    """A change that makes a valid configuration invalid, and words of the line that reports it.

    `variables` are set, `appended` is added to consumer.properties, `spoil` is called with its folder.
    """

    said: Sequence[str]
    reported: Reported = Reported.ALONE
    variables: Mapping[str, str] = field(default_factory=dict)
    appended: str = ""
    spoil: Callable[[Path], object] = lambda _: None

    @property
    def touched(self) -> set[str]:
        """The variables and properties that can be wrong only once at a time."""
        return {*self.variables, self.appended.partition(" ")[0]} - {""}


Sheet = Sequence[str]
"""The names of errors that are tested together."""


def setting(name: str, value: str, *said: str) -> Fault:
    return Fault((name, *said), Reported.WITH_THE_SETTINGS, {name: value})


def variable(name: str, value: str, *said: str, reported: Reported = Reported.BEFORE_THE_START) -> Fault:
    return Fault((name, *said), reported, {name: value})


def property_(line: str, *said: str, reported: Reported = Reported.BEFORE_THE_START) -> Fault:
    return Fault((PROPERTIES, *said), reported, appended=line)


def without_file(name: str) -> Fault:
    return Fault((name,), spoil=lambda folder: (folder / name).unlink())


def without_credentials(folder: Path) -> None:
    file = folder / PROPERTIES
    file.write_text(file.read_text().replace("AwsCredentialsProvider", "# AwsCredentialsProvider"))


FAULTS: Mapping[str, Fault] = {
    "no stream": setting("CONSUMER_STREAM_NAME", UNSET, "not set"),
    "no quarantine": setting("CONSUMER_QUARANTINE", UNSET, "not set"),
    "no region": Fault(
        ("AWS_REGION", "not set"), Reported.WITH_THE_SETTINGS, {"AWS_REGION": UNSET, "AWS_DEFAULT_REGION": UNSET}
    ),
    "stream with a blank": setting("CONSUMER_STREAM_NAME", "my stream", "1-128"),
    "application too long": setting("CONSUMER_APPLICATION_NAME", "a" * 129, "1-128"),
    "table with a slash": setting("AWS_TABLE_NAME", "user/limits", "1-128"),
    "worker id with a blank": setting("CONSUMER_WORKER_ID", "worker 1", "1-128"),
    "start that is no time": setting("CONSUMER_START_AT", "yesterday", "trim-horizon"),
    "start without a time zone": setting("CONSUMER_START_AT", "2026-01-31T00:00:00", "trim-horizon"),
    "start that could be a day or seconds": setting("CONSUMER_START_AT", "20260131", "epoch seconds have ten digits"),
    "start in the future": setting("CONSUMER_START_AT", "2999-01-31T00:00:00Z", "not between the year 2000 and now"),
    "unknown retrieval mode": setting("CONSUMER_RETRIEVAL_MODE", "push", "fanout"),
    "no records a fetch": setting("CONSUMER_MAX_RECORDS", "0", "greater than or equal to 1"),
    "too many records a fetch": setting("CONSUMER_MAX_RECORDS", "10001", "less than or equal to 10000"),
    "a word for a number": setting("CONSUMER_MAX_RECORDS", "ten", "whole number such as 30"),
    "a number with an exponent": setting("CONSUMER_HANG_SECONDS", "1e3", "whole number such as 30"),
    "a number with an underscore": setting("CONSUMER_RESTARTS", "1_0", "whole number such as 30"),
    "a number without end": setting("CONSUMER_RESTART_WINDOW_SECONDS", "inf", "decimal number such as 2.5"),
    "a number with its unit": setting("CONSUMER_CHECKPOINT_SECONDS", "5s", "decimal number such as 2.5"),
    "pause too short": setting("CONSUMER_IDLE_MILLIS", "199", "200"),
    "failover too short": setting("CONSUMER_FAILOVER_MILLIS", "999", "1000"),
    "leases dealt out too often": setting("CONSUMER_LEASE_ASSIGNMENT_MILLIS", "499", "500"),
    "no time between checkpoints": setting("CONSUMER_CHECKPOINT_SECONDS", "0", "greater than 0"),
    "checkpoints before their time": setting("CONSUMER_CHECKPOINT_SECONDS", "-1", "greater than 0"),
    "no hang": setting("CONSUMER_HANG_SECONDS", "0", "greater than 0"),
    "fewer than no restarts": setting("CONSUMER_RESTARTS", "-1", "greater than or equal to 0"),
    "record cap of nothing": setting("CONSUMER_RECORD_CAP_BYTES", "0", "greater than 0"),
    "time-outs in the wrong order": variable(
        "CONSUMER_STOP_TIMEOUT_SECONDS",
        "15",
        "CONSUMER_SHUTDOWN_GRACE_SECONDS must be less than",
        reported=Reported.ALONE,
    ),
    "handoff shorter than a batch": variable(
        "CONSUMER_HANDOFF_SECONDS", "5", "CONSUMER_BATCH_DEADLINE_SECONDS must be less than", reported=Reported.ALONE
    ),
    "metrics nowhere": setting("CONSUMER_METRICS_ADDRESS", "everywhere", "HOST:PORT"),
    "metrics on another machine": variable(
        "CONSUMER_METRICS_ADDRESS", "192.0.2.1:9464", "cannot listen", reported=Reported.ALONE
    ),
    "unknown metrics level": setting("CONSUMER_METRICS_LEVEL", "LOUD", "SUMMARY"),
    "unknown log level": setting("CONSUMER_LOG_LEVEL", "TRACE", "DEBUG"),
    "quarantine of another kind": setting("CONSUMER_QUARANTINE", "ftp://elsewhere", "dir:PATH or s3://"),
    "endpoint without a scheme": setting("AWS_ENDPOINT_URL", "localhost:4566", "https://host:port"),
    "endpoint in plain http": setting("AWS_ENDPOINT_URL", "http://192.0.2.1:4566", "plain http"),
    "a word for a flag": setting("ENABLE_DYNAMO_DB", "perhaps", "boolean"),
    "no folder of properties": Fault(("/nowhere/consumer.properties",), variables={"CONSUMER_PROPERTIES": "/nowhere"}),
    "a file for a folder": variable("CONSUMER_RUN_DIRECTORY", os.devnull, os.devnull, reported=Reported.ALONE),
    "no Java there": variable("JAVA_HOME", "/nowhere", "/nowhere/bin/java"),
    "metrics folder from outside": variable("PROMETHEUS_MULTIPROC_DIR", "/tmp", "managed by the worker"),
    "misspelt variable": setting("CONSUMER_FAILOVER_MILIS", "5000", "did you mean CONSUMER_FAILOVER_MILLIS?"),
    "no log configuration": without_file("logback.xml"),
    "no properties": without_file(PROPERTIES),
    "no credentials provider": Fault((PROPERTIES, "AwsCredentialsProvider", "missing"), spoil=without_credentials),
    "misspelt property": property_("failoverTimeMilis = 5000", "did you mean failoverTimeMillis?"),
    "property in another case": property_("MAXRECORDS = 100", "did you mean maxRecords?"),
    "unknown property": property_("colour = red", "colour", "not a property"),
    "a word for a property's number": property_("maxLeasesForWorker = many", "maxLeasesForWorker", "whole number"),
    "number too large for Java": property_("maxLeasesForWorker = 2147483648", "maxLeasesForWorker", "2147483647"),
    "negative number": property_("maxLeasesForWorker = -1", "maxLeasesForWorker", "whole number"),
    "number with a remark": property_("maxLeasesForWorker = 5 # enough", "maxLeasesForWorker", "whole number"),
    "0 that Java would ignore": property_("maxLeasesForWorker = 0", "maxLeasesForWorker", "cannot be set to 0"),
    "false that Java would ignore": property_(
        "ignoreUnexpectedChildShards = false", "ignoreUnexpectedChildShards", "cannot be set to false"
    ),
    "a word for a property's flag": property_("disableWorkerMetrics = yes", "disableWorkerMetrics", "true or false"),
    "empty value": property_("tableName =", "tableName", "must not be empty"),
    "duration of another kind": property_(
        "staleWorkerMetricsEntryCleanupDuration = 2 days", "staleWorkerMetricsEntryCleanupDuration", "PT15M"
    ),
    "property twice": property_(
        "processingLanguage = python", "processingLanguage", "duplicate", reported=Reported.ALONE
    ),
    "broken escape": property_("tableName = \\u12", "\\u without four", reported=Reported.ALONE),
    "property that a setting decides": property_("maxRecords = 5", "maxRecords", "CONSUMER_MAX_RECORDS"),
    "other spelling of such a one": property_("workerIdentifier = me", "workerIdentifier", "CONSUMER_WORKER_ID"),
    "property that the service decides": property_("executableName = sh", "executableName", "the service"),
    "stream by its ARN": property_("streamArn = arn:aws:kinesis:x", "streamArn", "CONSUMER_STREAM_ARN"),
    "access key": property_(f"AwsCredentialsProviderDynamoDB = Static|AKIA{16 * 'A'}", "credentials do not belong"),
    "time stamp as a position": property_(
        "initialPositionInStream = AT_TIMESTAMP", "initialPositionInStream", "CONSUMER_START_AT"
    ),
}


@dataclass(frozen=True)
class Ended:
    """The result of `consumer run`."""

    code: int
    lines: Sequence[str]
    java_was_started: bool


def sheets() -> list[Sheet]:
    """Groups errors that are reported together, as long as they do not change the same thing."""
    made: list[list[str]] = []
    for name, fault in FAULTS.items():
        fitting = (sheet for sheet in made if all(_fit(FAULTS[other], fault) for other in sheet))
        sheet = next(fitting, None)
        if sheet is None:
            made.append(sheet := [])
        sheet.append(name)
    return [tuple(sheet) for sheet in made]


def _fit(one: Fault, other: Fault) -> bool:
    return one.reported is other.reported is not Reported.ALONE and not one.touched & other.touched


@pytest.mark.parametrize("sheet", sheets(), ids=", ".join)
def test_30_one_clear_line_for_each(sheet: Sheet, tmp_path: Path) -> None:
    ended = run([FAULTS[name] for name in sheet], tmp_path)

    assert ended.code == 2
    assert not ended.java_was_started
    assert len(ended.lines) == len(sheet)
    assert [line for line in ended.lines if not line.startswith("consumer: ")] == []
    assert {name: len(_telling(FAULTS[name], ended.lines)) for name in sheet} == dict.fromkeys(sheet, 1)


def test_30_a_sound_setup_starts_java(tmp_path: Path) -> None:
    """Without this, the other tests would prove nothing."""
    ended = run([], tmp_path)
    assert ended.java_was_started
    assert ended.code == 1, "it ended, unasked"


def test_30_a_jar_that_is_not_the_locked_one(tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    altered = _another_kcl(packages)
    ended = run([Fault(said=(), variables={"PYTHONPATH": str(packages)})], tmp_path)
    assert (ended.code, ended.java_was_started) == (2, False)
    assert ended.lines == [f"consumer: {altered}: truncated, or not a jar"]


def _another_kcl(packages: Path) -> str:
    """Copies the installed amazon_kclpy into `packages` with one changed jar, whose name is returned."""
    jars = jars_directory()
    package = packages / "amazon_kclpy"
    (package / "jars").mkdir(parents=True)
    for file in jars.parent.glob("*.py"):
        (package / file.name).symlink_to(file)
    for jar in jars.glob("*.jar"):
        (package / "jars" / jar.name).symlink_to(jar)
    altered = next((package / "jars").glob("amazon-kinesis-client-multilang-*.jar"))
    altered.unlink()
    altered.write_bytes(b"from somewhere else")
    return altered.name


def _telling(fault: Fault, lines: Sequence[str]) -> list[str]:
    return [line for line in lines if all(word in line for word in fault.said)]


def run(faults: Sequence[Fault], directory: Path) -> Ended:
    """Runs `consumer run` with a configuration that has these errors."""
    folder, mark = directory / "properties", directory / STARTED
    shutil.copytree(SHIPPED, folder)
    with (folder / PROPERTIES).open("a") as properties:
        properties.writelines(f"{fault.appended}\n" for fault in faults)
    for fault in faults:
        fault.spoil(folder)
    variables = environment("setup", directory, AWS_ENDPOINT_URL=f"http://{LOOPBACK}:9") | {
        "CONSUMER_PROPERTIES": str(folder),
        "CONSUMER_RESTARTS": "0",
        "JAVA_HOME": str(_java_home(directory, mark)),
    }
    for fault in faults:
        variables |= fault.variables
    command = [sys.executable, "-m", "consumer", "run"]
    ended = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=60)
    return Ended(ended.returncode, (ended.stdout + ended.stderr).splitlines(), mark.exists())


def _java_home(directory: Path, mark: Path) -> Path:
    java = directory / "java" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\ntouch {mark}\nexit 1\n")
    java.chmod(0o755)
    return directory / "java"
