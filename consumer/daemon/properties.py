"""The daemon's properties: parsed as Java does, checked against a list of all known keys, rendered from the settings.

The daemon silently ignores an unknown key, reads an invalid number as 0, and uses its default instead of a primitive
`false` or `0`. Every entry is therefore checked here first.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

from consumer.engine.errors import SettingsError
from consumer.settings import Settings, did_you_mean, variable

Check = Callable[[str], str | None]

EXECUTABLE = "consumer process"

# --- Java's format -------------------------------------------------------------------------------------------------

_BLANKS = " \t\f"
_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


def parse(text: str) -> list[tuple[str, str]]:
    """The entries of a .properties text in order, including duplicates, as java.util.Properties.load reads them.

    `text` is the file decoded as ISO-8859-1, as in Java. Raises ValueError for a broken `\\u` escape.
    """
    return [_entry(line) for line in _logical_lines(text)]


def _logical_lines(text: str) -> Iterator[str]:
    natural = iter(re.split(r"\r\n|\r|\n", text))
    for first in natural:
        line = first.lstrip(_BLANKS)
        # After a line with only a backslash, Java still expects the start of a logical line: a comment may follow.
        if line in ("", "\\") or line[0] in "#!":
            continue
        while _goes_on(line):
            line = line[:-1] + next(natural, "").lstrip(_BLANKS)
        yield line


def _goes_on(line: str) -> bool:
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1


# A key ends at the first unescaped blank, "=" or ":". Blanks and one "=" or ":" separate it from its value.
_ENTRY = re.compile(r"((?:\\.|[^\\ \t\f=:])*)[ \t\f]*[=:]?[ \t\f]*(.*)", re.DOTALL)


def _entry(line: str) -> tuple[str, str]:
    match = _ENTRY.fullmatch(line)
    key, value = match.groups() if match else (line, "")
    return _unescape(key), _unescape(value)


def _unescape(text: str) -> str:
    # Java drops a single backslash at the end of the file.
    return re.sub(r"\\(u[0-9a-fA-F]{4}|.|$)", _unescaped, text, flags=re.DOTALL)


def _unescaped(match: re.Match[str]) -> str:
    escape = match[1]
    if escape == "u":
        raise ValueError(r"a \u without four hexadecimal digits")
    return chr(int(escape[1:], 16)) if len(escape) == 5 else _ESCAPES.get(escape, escape)


def write(properties: Mapping[str, str]) -> str:
    """The ASCII text that Java reads as `properties`, sorted by key."""
    return "".join(f"{_escape(key, ' =:#!')}={_escape_value(properties[key])}\n" for key in sorted(properties))


def _escape_value(value: str) -> str:
    escaped = _escape(value, "")
    return f"\\{escaped}" if escaped.startswith(" ") else escaped


def _escape(text: str, special: str) -> str:
    return "".join(_escaped(character, special) for character in text)


_SHORT = {code: f"\\{letter}" for letter, code in _ESCAPES.items()} | {"\\": "\\\\"}


def _escaped(character: str, special: str) -> str:
    if character in _SHORT:
        return _SHORT[character]
    if not " " <= character <= "~":
        units = character.encode("utf-16-be", "surrogatepass").hex()
        return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
    return f"\\{character}" if character in special else character


# --- What the MultiLangDaemon 3.1.3 understands --------------------------------------------------------------------


def _number(most: int, *, primitive: bool) -> Check:
    least = 1 if primitive else 0

    def check(value: str) -> str | None:
        if not re.fullmatch(r"[0-9]{1,19}", value) or int(value) > most:
            return f"must be a whole number up to {most}"
        return None if int(value) >= least else "cannot be set to 0: the daemon would use its default"

    return check


def _decimal(value: str) -> str | None:
    if not re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,15})?", value):
        return "must be a decimal number"
    return None if float(value) else "cannot be set to 0: the daemon would use its default"


def _flag(value: str) -> str | None:
    return None if value in ("true", "false") else "must be true or false"


def _only_true(value: str) -> str | None:
    if value == "false":
        return "cannot be set to false: the daemon would use its default; remove it"
    return _flag(value)


def _one_of(*choices: str) -> Check:
    return lambda value: None if value.upper() in choices else f"must be one of {', '.join(choices)}"


def _form(pattern: str, advice: str) -> Check:
    return lambda value: None if re.fullmatch(pattern, value) else advice


def _position(value: str) -> str | None:
    if value.upper() == "AT_TIMESTAMP":
        return "AT_TIMESTAMP is not supported: use initialPositionInStreamExtended=<epoch seconds>"
    return _one_of("TRIM_HORIZON", "LATEST")(value)


def _unused(why: str) -> Check:
    return lambda _: why


_text = _form(r"\S(.*\S)?", "must not be empty or have leading or trailing blanks")
_int, _long = _number(2**31 - 1, primitive=True), _number(2**63 - 1, primitive=True)
_boxed_int, _boxed_long = _number(2**31 - 1, primitive=False), _number(2**63 - 1, primitive=False)
_url = _form(r"https?://[^/\s]+/?", "must be http://host:port or https://host:port")
_region = _form(r"[a-z][a-z0-9-]*", "must be a region such as eu-north-1")
_billing = _one_of("PAY_PER_REQUEST", "PROVISIONED")
_tags = _form(r"[^,=]+=[^,=]+(,[^,=]+=[^,=]+)*", "must be name=value,name=value")
_duration = _form(
    r"P(?=.)([0-9]+D)?(T(?=.)([0-9]+H)?([0-9]+M)?([0-9]+(\.[0-9]+)?S)?)?", "must be a duration such as PT15M or P2D"
)
_credentials = _form(
    r"[A-Za-z0-9_.$]+(\|[^|,]+)*(,\s*[A-Za-z0-9_.$]+(\|[^|,]+)*)*",
    "must be names of credential providers, such as DefaultCredentialsProvider",
)


def _table(prefix: str, name: str) -> dict[str, Check]:
    return {
        f"{prefix}{name}": _text,
        f"{prefix}BillingMode": _billing,
        f"{prefix}ReadCapacity": _long,
        f"{prefix}WriteCapacity": _long,
        f"{prefix}PointInTimeRecoveryEnabled": _flag,
        f"{prefix}DeletionProtectionEnabled": _flag,
        f"{prefix}Tags": _tags,
    }


def _client(name: str) -> dict[str, Check]:
    return {
        f"{name}.endpointOverride": _url,
        f"{name}.region": _region,
        f"{name}.dualstackEnabled": _flag,
        f"{name}.fipsEnabled": _flag,
    }


# Source: the bean properties of MultiLangDaemonConfiguration and of the beans it delegates to, and the three keys that
# MultiLangDaemonConfig reads. The daemon accepts false and 0 for a Java wrapper type, but not for a primitive.
KEYS: Mapping[str, Check] = {
    "executableName": _text,
    "processingLanguage": _text,
    "maxActiveThreads": _boxed_int,
    "applicationName": _text,
    "streamName": _text,
    "streamArn": _unused("is read for its name alone: remove it, and set CONSUMER_STREAM_ARN"),
    "tableName": _text,
    "workerId": _text,
    "workerIdentifier": _text,
    "AwsCredentialsProvider": _credentials,
    "AwsCredentialsProviderDynamoDB": _credentials,
    "AwsCredentialsProviderCloudWatch": _credentials,
    "regionName": _region,
    "kinesisEndpoint": _url,
    "dynamoDBEndpoint": _url,
    **_client("kinesisClient"),
    **_client("dynamoDbClient"),
    **_client("cloudWatchClient"),
    "initialPositionInStream": _position,
    "initialPositionInStreamExtended": _form(r"[0-9]{1,11}", "must be epoch seconds"),
    "retrievalMode": _one_of("POLLING", "FANOUT"),
    "maxRecords": _number(10_000, primitive=True),
    "idleTimeBetweenReadsInMillis": _long,
    "millisBehindLatestThresholdForReducedTps": _long,
    "retryGetRecordsInSeconds": _boxed_int,
    "maxGetRecordsThreadPool": _boxed_int,
    "fanoutConfig.consumerArn": _text,
    "fanoutConfig.consumerName": _text,
    "fanoutConfig.maxDescribeStreamConsumerRetries": _int,
    "fanoutConfig.maxDescribeStreamSummaryRetries": _int,
    "fanoutConfig.registerStreamConsumerRetries": _int,
    "fanoutConfig.retryBackoffMillis": _long,
    "failoverTimeMillis": _long,
    "leaseAssignmentIntervalMillis": _long,
    "enablePriorityLeaseAssignment": _flag,
    "leaseTableDeletionProtectionEnabled": _flag,
    "leaseTablePitrEnabled": _flag,
    "initialLeaseTableReadCapacity": _int,
    "initialLeaseTableWriteCapacity": _int,
    "shardSyncIntervalMillis": _long,
    "cleanupLeasesUponShardCompletion": _only_true,
    "ignoreUnexpectedChildShards": _only_true,
    "skipShardSyncAtWorkerInitializationIfLeasesExist": _only_true,
    "maxLeasesForWorker": _int,
    "maxLeasesToStealAtOneTime": _int,
    "maxLeaseRenewalThreads": _int,
    "listShardsBackoffTimeInMillis": _long,
    "maxListShardsRetryAttempts": _int,
    "parentShardPollIntervalMillis": _long,
    "schedulerInitializationBackoffTimeMillis": _long,
    "clientVersionConfig": _one_of("CLIENT_VERSION_CONFIG_3X", "CLIENT_VERSION_CONFIG_COMPATIBLE_WITH_2X"),
    "shardPrioritization": _unused("cannot be set from a file: remove it"),
    "validateSequenceNumberBeforeCheckpointing": _unused("has had no effect since KCL 2: remove it"),
    "callProcessRecordsEvenForEmptyRecordList": _only_true,
    "taskBackoffTimeMillis": _long,
    "logWarningForTaskAfterMillis": _boxed_long,
    "metricsLevel": _one_of("NONE", "SUMMARY", "DETAILED"),
    "metricsBufferTimeMillis": _long,
    "metricsMaxQueueSize": _int,
    "metricsEnabledDimensions": _text,
    "shutdownGraceMillis": _long,
    "timeoutInSeconds": _number(2**31 - 1, primitive=True),
    "gracefulLeaseHandoffTimeoutMillis": _boxed_long,
    "isGracefulLeaseHandoffEnabled": _flag,
    "inMemoryWorkerMetricsCaptureFrequencyMillis": _long,
    "workerMetricsReporterFreqInMillis": _long,
    "noOfPersistedMetricsPerWorkerMetrics": _int,
    "disableWorkerMetrics": _flag,
    "maxThroughputPerHostKBps": _decimal,
    "dampeningPercentage": _int,
    "reBalanceThresholdPercentage": _int,
    "allowThroughputOvershoot": _flag,
    "varianceBalancingFrequency": _int,
    "workerMetricsEMAAlpha": _decimal,
    "staleWorkerMetricsEntryCleanupDuration": _duration,
    **_table("coordinatorState", "TableName"),
    **_table("workerMetrics", "TableName"),
}

_CREDENTIALS = "AwsCredentialsProvider"
MANDATORY = (
    "executableName",
    "applicationName",
    "streamName",
    _CREDENTIALS,
    "retrievalMode",
    "shutdownGraceMillis",
)
_POSITIONS = ("initialPositionInStream", "initialPositionInStreamExtended")
_SECRET = re.compile(r"\b(AKIA|ASIA)[A-Z0-9]{16}\b|StaticCredentials", re.IGNORECASE)


def problems(properties: Mapping[str, str]) -> list[str]:
    """The problems of a complete set of properties, one line each: what the daemon would refuse or ignore."""
    missing = [f"{key} is missing" for key in MANDATORY if key not in properties]
    positions = sum(key in properties for key in _POSITIONS)
    if positions != 1:
        missing.append(f"exactly one of {' and '.join(_POSITIONS)} is needed")
    return missing + wrong_entries(properties)


def wrong_entries(properties: Mapping[str, str]) -> list[str]:
    """The problems of single entries, one line each. A value that looks like a secret is not repeated."""
    found = ((key, _complaint(key, value)) for key, value in properties.items())
    return [f"{key} {complaint}" for key, complaint in found if complaint]


def _complaint(key: str, value: str) -> str | None:
    check = KEYS.get(key)
    if check is None:
        return f"is not a property of the daemon{did_you_mean(key, KEYS)}"
    if _SECRET.search(value):
        return "contains an AWS access key: credentials do not belong in properties"
    wrong = check(value)
    return f"= {value!r} {wrong}" if wrong else None


# --- From the settings ---------------------------------------------------------------------------------------------


# Keys that cannot be set in the file, and the field of the settings that sets each; None: set by the service.
OWNED: Mapping[str, str | None] = {
    "executableName": None,
    "streamName": "stream_name",
    "applicationName": "application_name",
    "workerId": "worker_id",
    "kinesisClient.region": "region",
    "dynamoDbClient.region": "region",
    "cloudWatchClient.region": "region",
    "kinesisEndpoint": "kinesis_endpoint",
    "dynamoDBEndpoint": "dynamodb_endpoint",
    "cloudWatchClient.endpointOverride": "cloudwatch_endpoint",
    "initialPositionInStream": "start_at",
    "initialPositionInStreamExtended": "start_at",
    "retrievalMode": "retrieval_mode",
    "metricsLevel": "metrics_level",
    "maxRecords": "max_records",
    "idleTimeBetweenReadsInMillis": "idle_millis",
    "failoverTimeMillis": "failover_millis",
    "workerMetricsReporterFreqInMillis": "failover_millis",
    "leaseAssignmentIntervalMillis": "lease_assignment_millis",
    "isGracefulLeaseHandoffEnabled": "handoff_seconds",
    "gracefulLeaseHandoffTimeoutMillis": "handoff_seconds",
    "shutdownGraceMillis": "shutdown_grace_seconds",
    "timeoutInSeconds": "hang_seconds",
}

# Other spellings of owned keys. Given both spellings, the daemon would use the one that it reads last.
_ALIASES = {
    "workerIdentifier": "workerId",
    "kinesisClient.endpointOverride": "kinesisEndpoint",
    "dynamoDbClient.endpointOverride": "dynamoDBEndpoint",
    # It sets the region of all three clients.
    "regionName": "dynamoDbClient.region",
}


def render(shipped: Mapping[str, str], settings: Settings, worker_id: str, executable: str = EXECUTABLE) -> str:
    """The effective file: `shipped`, which is the operator's file, and the values that the settings set.

    Raises SettingsError with one line for each entry that is invalid or contradicts a setting.
    """
    ours = decided(settings, worker_id, executable) | _role(shipped, settings)
    effective = {key: value for key, value in shipped.items() if _ALIASES.get(key, key) not in OWNED} | ours
    if found := _contradictions(shipped, ours) + problems(effective):
        raise SettingsError([f"consumer.properties: {line}" for line in found])
    return f"{_HEADER}{write(effective)}"


_HEADER = "# Rendered at each start from consumer.properties and the environment: changes here are lost.\n"


def _contradictions(shipped: Mapping[str, str], ours: Mapping[str, str]) -> list[str]:
    return [
        f"{key} is set by {variable(field) if (field := OWNED[owned]) else 'the service'}: remove it"
        for key, value in shipped.items()
        if (owned := _ALIASES.get(key, key)) in OWNED and value != ours.get(owned)
    ]


def decided(settings: Settings, worker_id: str, executable: str = EXECUTABLE) -> dict[str, str]:
    """The values of the OWNED keys that have one."""
    names = _names(settings, worker_id, executable) | _endpoints(settings)
    return names | _start(settings) | _pace(settings) | _handoff(settings)


def _names(settings: Settings, worker_id: str, executable: str) -> dict[str, str]:
    return {
        "executableName": executable,
        "streamName": settings.stream_name,
        "applicationName": settings.application_name,
        "workerId": worker_id,
        "kinesisClient.region": settings.stream_region,
        "dynamoDbClient.region": settings.region,
        "cloudWatchClient.region": settings.region,
        "retrievalMode": settings.retrieval_mode.upper(),
        "metricsLevel": settings.metrics_level,
    }


def _role(shipped: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """The stream's role. It is for Kinesis alone: the other clients keep the credentials that `shipped` gives them."""
    if not settings.stream_role_arn:
        return {}
    own = shipped.get(_CREDENTIALS, "DefaultCredentialsProvider")
    role = f"StsAssumeRoleCredentialsProvider|{settings.stream_role_arn}|{settings.role_session_name}"
    others = (f"{_CREDENTIALS}DynamoDB", f"{_CREDENTIALS}CloudWatch")
    return {_CREDENTIALS: role} | {key: shipped.get(key, own) for key in others}


def _endpoints(settings: Settings) -> dict[str, str]:
    endpoints = {
        "kinesisEndpoint": settings.endpoint_of("kinesis"),
        "dynamoDBEndpoint": settings.endpoint_of("dynamodb"),
        "cloudWatchClient.endpointOverride": settings.endpoint_of("cloudwatch"),
    }
    return {key: endpoint for key, endpoint in endpoints.items() if endpoint}


def _start(settings: Settings) -> dict[str, str]:
    start = settings.start_at
    if isinstance(start, datetime):
        return {"initialPositionInStreamExtended": str(int(start.timestamp()))}
    return {"initialPositionInStream": start.upper().replace("-", "_")}


def _pace(settings: Settings) -> dict[str, str]:
    numbers = {
        "maxRecords": settings.max_records,
        "idleTimeBetweenReadsInMillis": settings.idle_millis,
        "failoverTimeMillis": settings.failover_millis,
        # The leader considers a worker alive for two reports. That must not be longer than its leases last, or a dead
        # worker would be assigned leases.
        "workerMetricsReporterFreqInMillis": settings.failover_millis / 2,
        "leaseAssignmentIntervalMillis": settings.lease_assignment_millis,
        "shutdownGraceMillis": settings.shutdown_grace_seconds * 1000,
        "timeoutInSeconds": settings.hang_seconds,
    }
    # The daemon would use its default instead of 0.
    return {key: str(max(1, int(number))) for key, number in numbers.items()}


def _handoff(settings: Settings) -> dict[str, str]:
    if not settings.handoff_seconds:
        return {"isGracefulLeaseHandoffEnabled": "false"}
    millis = max(1, int(settings.handoff_seconds * 1000))
    return {"isGracefulLeaseHandoffEnabled": "true", "gracefulLeaseHandoffTimeoutMillis": str(millis)}


def read(path: Path) -> dict[str, str]:
    """The entries of a file. Raises SettingsError for an unreadable file, a broken escape or a duplicate key."""
    try:
        entries = parse(path.read_text(encoding="iso-8859-1"))
    except (OSError, ValueError) as error:
        raise SettingsError([f"{path}: {error.strerror if isinstance(error, OSError) else error}"]) from None
    repeated = [key for key, count in Counter(key for key, _ in entries).items() if count > 1]
    if repeated:
        raise SettingsError([f"{path.name}: duplicate key {key}" for key in repeated])
    return dict(entries)
