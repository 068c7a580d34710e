"""All settings of the service. They are read from the environment once and validated together.

Credentials are not settings: boto3 and the AWS SDK for Java find them through their own provider chains.
"""

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from consumer.engine.aggregation import RECORDS
from consumer.engine.errors import SettingsError

PREFIX = "CONSUMER_"


_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})"
)
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)


def _start_at(value: object) -> object:
    text = value.isoformat() if isinstance(value, datetime) else str(value).strip()
    if text.lower() in ("trim-horizon", "latest"):
        return text.lower()
    moment = moment_of(text)
    if moment is None:
        form = "use trim-horizon, latest, or a time such as 2026-01-31T00:00:00Z; epoch seconds have ten digits"
        raise ValueError(form)
    if not _EARLIEST <= moment <= datetime.now(UTC):
        raise ValueError(
            f"{moment:%Y-%m-%dT%H:%M:%SZ} is not between the year 2000 and now: use latest or a time in the past"
        )
    return moment


def moment_of(text: str) -> datetime | None:
    """The time in the text. None if it is ambiguous: no time zone, or a number that may be a date or milliseconds."""
    try:
        if re.fullmatch(r"[0-9]{10}", text):
            return datetime.fromtimestamp(int(text), UTC)
        return datetime.fromisoformat(text).astimezone(UTC) if _MOMENT.fullmatch(text) else None
    except (ValueError, OverflowError):
        return None


def _form(pattern: str, advice: str) -> BeforeValidator:
    form = re.compile(pattern)

    def check(value: object) -> object:
        if not isinstance(value, str | Path) or not form.fullmatch(str(value)):
            raise ValueError(advice)
        return value

    return BeforeValidator(check)


def _thresholds(value: object) -> object:
    if not isinstance(value, str):
        return value
    parts = [part.strip() for part in value.split(",")]
    found = sorted(int(part) for part in parts if re.fullmatch(r"[0-9]{1,4}", part))
    if len(found) != len(parts) or len(set(found)) != len(parts) or not 1 <= found[0] <= found[-1] <= 1_000:
        raise ValueError("use different whole percentages from 1 to 1000, such as 80,100")
    return tuple(found)


def _hosts(value: object) -> object:
    if not isinstance(value, str):
        return value
    names = tuple(name.strip() for name in value.split(","))
    if not all(re.fullmatch(r"[a-zA-Z0-9._-]{1,253}|[0-9a-fA-F:]{2,39}", name) for name in names):
        raise ValueError("use host names or addresses without ports, such as limits.example.com,10.0.0.7")
    return names


def _metrics_urls(value: object) -> object:
    if not isinstance(value, str):
        return value
    found = tuple(dict.fromkeys(part.strip() for part in value.split(",")))
    if len(found) > _MOST_WORKERS or not all(map(_METRICS_URL.fullmatch, found)):
        # The error does not repeat the value, because it may contain a password.
        raise ValueError(
            f"use at most {_MOST_WORKERS} addresses such as http://10.0.0.5:9464/metrics, separated by commas,"
            " without user or password"
        )
    return found


def is_loopback(host: str) -> bool:
    """Whether the host can only be this machine: `localhost`, 127.0.0.0/8 or ::1. No other name is trusted."""
    try:
        return host == "localhost" or ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


_AWS_HOSTS = (".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu", ".api.aws", ".api.amazonwebservices.com.cn")


def is_aws(endpoint: str | None) -> bool:
    """Whether a result of `endpoint_of` is an endpoint of AWS and not of an emulator."""
    host = urlsplit(endpoint).hostname if endpoint else None
    return not endpoint or (host or "").endswith(_AWS_HOSTS)


def _is_private(value: str) -> bool:
    """Whether nobody on the network can read or change what is sent to the address."""
    place = urlsplit(value)
    return place.scheme == "https" or is_loopback(place.hostname or "")


def _secure(value: str, info: ValidationInfo) -> str:
    if _is_private(value) or info.data.get("allow_insecure_endpoints"):
        return value
    raise ValueError(
        f"plain http to another machine is not allowed: use https, or set {PREFIX}ALLOW_INSECURE_ENDPOINTS=true"
    )


def _https(value: str) -> str:
    if _is_private(value):
        return value
    raise ValueError("plain http to another machine is not allowed: whoever answers could issue tokens. Use https")


def _https_or_local(value: str) -> str:
    if not _is_private(value):
        raise ValueError("use https, or http on this machine: cookies and codes must not be readable on the way")
    return value.removesuffix("/")


_WHOLE, _DECIMAL = re.compile(r"-?[0-9]{1,18}"), re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,9})?")
"""The accepted forms of numbers. Python would also accept 1_000, 1e9, nan and inf."""

_HOST = r"([a-zA-Z0-9._-]+|\[[0-9a-fA-F:.]+\])"
_PATH = r"(/[a-zA-Z0-9._~%!$&'()*+,;=:@-]*)*"
_METRICS_URL = re.compile(rf"https?://{_HOST}(:[0-9]{{1,5}})?{_PATH}")
_MOST_WORKERS = 32

STREAM_ARN = r"arn:aws[a-z-]*:kinesis:[a-z]{2}[a-z0-9-]{1,30}:[0-9]{12}:stream/([a-zA-Z0-9_.-]{1,128})"

StartAt = Annotated[Literal["trim-horizon", "latest"] | datetime, BeforeValidator(_start_at)]
Endpoint = Annotated[
    str,
    # Validators run from last to first. The form is checked first and its error does not repeat the value,
    # because the value may contain a password.
    AfterValidator(_secure),
    _form(rf"https?://{_HOST}(:[0-9]{{1,5}})?/?", "use https://host:port, without user, password, path or query"),
]
Issuer = Annotated[
    str,
    AfterValidator(_https),
    _form(rf"https?://{_HOST}(:[0-9]{{1,5}})?{_PATH}", "use https://host/path, without user, password or query"),
]
KeysUrl = Annotated[
    str,
    AfterValidator(_https),
    _form(
        rf"https?://{_HOST}(:[0-9]{{1,5}})?{_PATH}(\?[a-zA-Z0-9._~%&=-]*)?",
        "use https://host/path, without user or password",
    ),
]
PageUrl = Annotated[
    str,
    AfterValidator(_https_or_local),
    _form(rf"https?://{_HOST}(:[0-9]{{1,5}})?/?", "use https://host, without user, password, path or query"),
]
ClientId = Annotated[str, _form(r"[ -~]{1,256}", "use 1-256 printable ASCII characters")]
Scopes = Annotated[
    str,
    _form(
        r"([!#-\[\]-~]+ )*openid( [!#-\[\]-~]+)*",
        "use scopes separated by single spaces, openid among them",
    ),
]
SessionKey = Annotated[
    SecretStr,
    _form(r"[!-~]{32,}", "use at least 32 printable ASCII characters, such as the output of openssl rand -base64 32"),
]
Audience = Annotated[str, _form(r"[!-~]{1,256}", "use 1-256 printable ASCII characters, without spaces")]
Claim = Annotated[str, _form(r"[!-~]{1,128}", "use the name of a claim, such as sub")]
Region = Annotated[str, _form(r"[a-z]{2}[a-z0-9-]{1,30}", "use a region such as eu-north-1")]
StreamArn = Annotated[
    str,
    _form(STREAM_ARN, "use the ARN of a stream, such as arn:aws:kinesis:eu-north-1:111122223333:stream/limits"),
]
RoleArn = Annotated[
    str,
    _form(
        r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[a-zA-Z0-9_+=.@/-]{1,576}",
        "use the ARN of a role, such as arn:aws:iam::111122223333:role/limits-reader",
    ),
]
AwsName = Annotated[str, _form(r"[a-zA-Z0-9_.-]{1,128}", "use 1-128 of a-z A-Z 0-9 _ . -")]
PlaceText = Annotated[str, _form(r"dir:.+|s3://[a-z0-9][a-z0-9.-]{2,62}(/.*)?", "use dir:PATH or s3://bucket/prefix")]
EventBus = Annotated[str, _form(r"[a-zA-Z0-9._/:-]{1,1600}", "use the name or the ARN of an event bus")]
ProjectionName = Annotated[
    str,
    _form(
        r"[A-Za-z0-9_.-]{1,100}|[A-Za-z_][A-Za-z0-9_.]{0,200}:[A-Za-z_][A-Za-z0-9_]{0,100}",
        "use package.module:Name, or the name of a registered projection",
    ),
]
Thresholds = Annotated[tuple[int, ...], NoDecode, BeforeValidator(_thresholds)]
Hosts = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_hosts)]


MetricsUrls = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_metrics_urls)]
Address = Annotated[str, _form(r"(\[[0-9a-f:]+\]|[^:\[\]\s]+):[0-9]{1,5}", "use HOST:PORT")]
WorkerId = Annotated[str, _form(r"[a-zA-Z0-9_.:-]{1,128}", "use 1-128 of a-z A-Z 0-9 _ . : -")]


_ARCHIVE = (
    "Where everything that is delivered is kept as it came: `dir:PATH` or `s3://bucket/prefix`."
    " Unset: there is no archive."
)
_STREAM = "The Kinesis stream to consume. Not needed with `CONSUMER_STREAM_ARN`."


class _Environment(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True, validate_by_name=True
    )

    projection: Annotated[
        ProjectionName,
        Field(
            description="What is kept: `limits`, or another projection, as `package.module:Name` or by the name that an"
            " installed package registers."
        ),
    ] = "limits"


class RecordSettings(_Environment):
    """Limits on the size and content of records: all that a command without AWS needs."""

    record_cap_bytes: Annotated[
        PositiveInt, Field(description="A larger record is quarantined without being decoded.")
    ] = 262_144
    aggregate_records: Annotated[
        PositiveInt, Field(description="An aggregate with more records is quarantined as a whole.")
    ] = RECORDS
    max_sequence_number: Annotated[
        PositiveInt,
        Field(
            description="An event with a higher `sequenceNumber` is quarantined. It would make all later events stale."
        ),
    ] = 1_000_000_000


class AwsSettings(_Environment):
    """The AWS endpoints and the name of the table: all that the read-only commands need."""

    region: Annotated[
        Region,
        Field(
            validation_alias=AliasChoices("AWS_REGION", "AWS_DEFAULT_REGION"),
            description="The AWS region. `AWS_DEFAULT_REGION` is also accepted.",
        ),
    ]
    allow_insecure_endpoints: Annotated[
        bool, Field(description="Allows plain http for endpoints on other machines.")
    ] = False
    endpoint: Annotated[
        Endpoint | None,
        Field(
            validation_alias="AWS_ENDPOINT_URL",
            description="The endpoint of all AWS services, for example an emulator or a proxy.",
        ),
    ] = None
    kinesis_endpoint: Annotated[
        Endpoint | None,
        Field(
            validation_alias="AWS_ENDPOINT_URL_KINESIS",
            description="The endpoint of Kinesis. Overrides `AWS_ENDPOINT_URL`.",
        ),
    ] = None
    dynamodb_endpoint: Annotated[
        Endpoint | None,
        Field(
            validation_alias="AWS_ENDPOINT_URL_DYNAMODB",
            description="The endpoint of DynamoDB. Overrides `AWS_ENDPOINT_URL`.",
        ),
    ] = None
    cloudwatch_endpoint: Annotated[
        Endpoint | None,
        Field(
            validation_alias="AWS_ENDPOINT_URL_CLOUDWATCH",
            description="The endpoint of CloudWatch. Overrides `AWS_ENDPOINT_URL`.",
        ),
    ] = None
    sts_endpoint: Annotated[
        Endpoint | None,
        Field(
            validation_alias="AWS_ENDPOINT_URL_STS", description="The endpoint of STS. Overrides `AWS_ENDPOINT_URL`."
        ),
    ] = None
    s3_endpoint: Annotated[
        Endpoint | None,
        Field(validation_alias="AWS_ENDPOINT_URL_S3", description="The endpoint of S3. Overrides `AWS_ENDPOINT_URL`."),
    ] = None
    events_endpoint: Annotated[
        Endpoint | None,
        Field(
            validation_alias="AWS_ENDPOINT_URL_EVENTBRIDGE",
            description="The endpoint of EventBridge. Overrides `AWS_ENDPOINT_URL`.",
        ),
    ] = None
    enable_dynamo_db: Annotated[
        bool,
        Field(
            validation_alias="ENABLE_DYNAMO_DB",
            description="`false` keeps the limits in memory and loses them when the process exits. For trials only.",
        ),
    ] = True
    table_name: Annotated[
        AwsName, Field(validation_alias="AWS_TABLE_NAME", description="The DynamoDB table of the limits.")
    ] = "user-limits"
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"],
        Field(description="The lowest level of the log messages that the service writes."),
    ] = "INFO"

    @field_validator("*", mode="before")
    @classmethod
    def _plain_number(cls, value: object, info: ValidationInfo) -> object:
        kind = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, str) and kind is int and not _WHOLE.fullmatch(value.strip()):
            raise ValueError("use a whole number such as 30")
        if isinstance(value, str) and kind is float and not _DECIMAL.fullmatch(value.strip()):
            raise ValueError("use a decimal number such as 2.5")
        return value

    def endpoint_of(self, service: Literal["kinesis", "dynamodb", "cloudwatch", "s3", "events", "sts"]) -> str | None:
        """The endpoint of one service. None is the default endpoint of AWS."""
        own: str | None = getattr(self, f"{service}_endpoint")
        return own or self.endpoint


class LimitSettings(AwsSettings):
    """The settings of what only the limits have."""

    @model_validator(mode="after")
    def _keeps_limits(self) -> Self:
        if self.projection not in ("limits", "consumer.limits.projection:Limits"):
            raise ValueError(
                f"{variable('projection')}={self.projection}: only limits have this: unset it;"
                " `consumer show` shows what is kept"
            )
        return self


class NoticeSettings(LimitSettings):
    """The settings of the function that sends notices."""

    thresholds: Annotated[
        Thresholds,
        Field(
            description="A notice is sent when the progress of a limit reaches one of these percentages of its value."
        ),
    ] = (80, 100)
    event_bus: Annotated[EventBus, Field(description="The EventBridge bus for notices: a name or an ARN.")] = "default"


class StreamSettings(AwsSettings):
    """Which stream it is: by its name, or by its ARN, which sets the name too."""

    stream_name: Annotated[AwsName | None, Field(description=_STREAM)] = None
    stream_arn: Annotated[
        StreamArn | None,
        Field(
            description="The ARN of the stream, instead of its name: it may be in another account or region. Everything"
            " else stays in `AWS_REGION`."
        ),
    ] = None

    @property
    def stream_region(self) -> str:
        return self.stream_arn.split(":")[3] if self.stream_arn else self.region

    @model_validator(mode="before")
    @classmethod
    def _name_in_arn(cls, given: Any) -> Any:
        if "stream_arn" not in given:
            return given
        found = re.fullmatch(STREAM_ARN, str(given["stream_arn"]))
        # Of a wrong ARN, only the ARN is reported.
        return {"stream_name": found[1] if found else "-", **given}

    @model_validator(mode="after")
    def _one_stream(self) -> Self:
        if self.stream_arn and not self.stream_arn.endswith(f"/{self.stream_name}"):
            name, arn = variable("stream_name"), variable("stream_arn")
            raise ValueError(f"{name} and {arn} are different streams: unset {name}")
        return self


class HistorySettings(RecordSettings, LimitSettings, StreamSettings):
    """The settings of the commands that read the archive of a stream."""

    archive: Annotated[PlaceText, Field(description=_ARCHIVE)]
    stream_name: Annotated[AwsName, Field(description=_STREAM)]


class ApiSettings(RecordSettings, LimitSettings, StreamSettings):
    """The settings of the HTTP API. Times are in seconds."""

    archive: Annotated[PlaceText | None, Field(description=_ARCHIVE)] = None

    api_address: Annotated[
        Address,
        Field(
            description="The address of the HTTP API. Other machines can reach it only with `CONSUMER_API_ISSUER` or"
            " `CONSUMER_API_TRUSTED_PROXY`."
        ),
    ] = "127.0.0.1:8080"
    api_issuer: Annotated[
        Issuer | None,
        Field(description="The OpenID Connect issuer of the access tokens. Unset: requests need no token."),
    ] = None
    api_audience: Annotated[
        Audience | None,
        Field(description="The audience (`aud`) of the access tokens. Required with `CONSUMER_API_ISSUER`."),
    ] = None
    api_jwks_url: Annotated[
        KeysUrl | None,
        Field(description="The address of the issuer's keys (JWKS). Unset: the issuer's configuration names it."),
    ] = None
    api_user_claim: Annotated[
        Claim, Field(description="The claim of an access token that is the user id of its owner.")
    ] = "sub"
    api_trusted_proxy: Annotated[
        bool,
        Field(
            description="`true`: a gateway authenticates every request, and nothing else can reach the API. Every"
            " request may then read every limit."
        ),
    ] = False
    api_hosts: Annotated[
        Hosts,
        Field(
            description="The host names under which the API answers, separated by commas. Unset: names of this"
            " machine if requests need neither a token nor a gateway, otherwise any."
        ),
    ] = ()
    api_max_requests: Annotated[
        PositiveInt, Field(description="How many requests are answered at the same time. Further ones get 503.")
    ] = 64
    api_request_seconds: Annotated[
        PositiveFloat, Field(description="How long a request may take. One that takes longer gets 503.")
    ] = 10.0
    api_dynamodb_seconds: Annotated[
        PositiveFloat,
        Field(description="Timeout of a request to DynamoDB. A failed request is repeated once."),
    ] = 3.0
    api_max_connections: Annotated[
        PositiveInt,
        Field(description="How many connections are open at the same time. A further one replaces an idle one."),
    ] = 256
    api_max_header_bytes: Annotated[
        int,
        Field(
            ge=1_024, le=1_048_576, description="The maximum size of request line and headers. A longer one gets 431."
        ),
    ] = 16_384
    api_keep_alive_seconds: Annotated[
        NonNegativeInt,
        Field(
            description="How long a connection waits for its next request: longer than the load balancer keeps one."
            " `0` closes it after each response."
        ),
    ] = 75

    @property
    def api_is_reachable(self) -> bool:
        """Whether other machines can reach the API."""
        return not is_loopback(self.api_address.rpartition(":")[0])

    @model_validator(mode="after")
    def _somebody_authenticates(self) -> Self:
        if problem := _authentication_problem(self):
            raise ValueError(problem)
        return self

    @model_validator(mode="after")
    def _archive_has_a_stream(self) -> Self:
        if self.archive and not self.stream_name:
            raise ValueError(
                f"{variable('archive')} needs {variable('stream_name')}: an archive may have several streams"
            )
        return self

    @model_validator(mode="after")
    def _limits_can_be_read(self) -> Self:
        if not self.enable_dynamo_db:
            raise ValueError(f"{variable('enable_dynamo_db')}=false: there are no limits that the API could read")
        if self.api_dynamodb_seconds >= self.api_request_seconds:
            raise ValueError(f"{variable('api_dynamodb_seconds')} must be less than {variable('api_request_seconds')}")
        return self


def _authentication_problem(settings: ApiSettings) -> str | None:
    """Why it is unclear, or impossible, who may read the limits."""
    issuer, proxy = variable("api_issuer"), variable("api_trusted_proxy")
    of_issuer = [name for name in ("api_audience", "api_jwks_url") if getattr(settings, name)]
    if settings.api_issuer and settings.api_trusted_proxy:
        return f"{issuer} and {proxy} exclude each other: the API checks tokens or a gateway"
    if settings.api_issuer and not settings.api_audience:
        return f"{issuer} needs {variable('api_audience')}: a token for another service must not be accepted"
    if of_issuer and not settings.api_issuer:
        return f"{variable(of_issuer[0])} has no effect without {issuer}: set {issuer}"
    if settings.api_is_reachable and not (settings.api_issuer or settings.api_trusted_proxy):
        return (
            f"{variable('api_address')}: other machines can reach {settings.api_address} without authentication:"
            f" set {issuer}, or {proxy}=true behind a gateway that authenticates, or use 127.0.0.1:PORT"
        )
    return None


class PageSettings(ApiSettings):
    """The settings of `consumer serve`: those of the HTTP API, and of the pages for people. Times are in seconds."""

    pages_client_id: Annotated[
        ClientId | None,
        Field(
            description="The id of the pages as a client of `CONSUMER_API_ISSUER`, where people sign in. Unset: with an"
            " issuer, there are no pages."
        ),
    ] = None
    pages_client_secret: Annotated[
        SecretStr | None, Field(description="The client's secret. Unset for a public client, which has PKCE alone.")
    ] = None
    pages_url: Annotated[
        PageUrl | None,
        Field(
            description="The address at which browsers reach the pages. People return there from the issuer, at"
            " `/sign-in/callback`. Behind `CONSUMER_API_TRUSTED_PROXY`, there are pages only with it."
        ),
    ] = None
    pages_scopes: Annotated[
        Scopes,
        Field(description="The scopes that the pages request, `openid` among them. The issuer decides which it gives."),
    ] = "openid profile limits:read operations:read"
    pages_session_key: Annotated[
        SessionKey | None,
        Field(
            description="What cookies are encrypted with, the same on every server. Unset: a random key, so that a"
            " restart ends every session."
        ),
    ] = None
    pages_session_seconds: Annotated[
        PositiveInt, Field(description="How long a session lasts, but never longer than the access token.")
    ] = 28_800
    pages_metrics_urls: Annotated[
        MetricsUrls,
        Field(
            description="The addresses of the workers' `/metrics`, separated by commas. The charts of the page of the"
            " consumer show them. Unset: no charts."
        ),
    ] = ()

    @property
    def has_pages(self) -> bool:
        """Whether the pages are served: with a way to sign in, to this machine alone, or where a gateway needs them.

        An API behind a gateway gets them only if they are asked for: the gateway must know their paths.
        """
        if self.api_issuer:
            return self.pages_client_id is not None
        return not self.api_trusted_proxy or self.pages_url is not None

    @model_validator(mode="after")
    def _people_can_sign_in(self) -> Self:
        if problem := _sign_in_problem(self):
            raise ValueError(problem)
        return self


def _sign_in_problem(settings: PageSettings) -> str | None:
    """Why nobody could sign in."""
    client, issuer = variable("pages_client_id"), variable("api_issuer")
    of_client = [name for name in ("pages_client_secret", "pages_session_key") if getattr(settings, name)]
    if settings.pages_client_id and not settings.api_issuer:
        return f"{client} has no effect without {issuer}: set {issuer}"
    if settings.pages_client_id and not settings.pages_url:
        return f"{client} needs {variable('pages_url')}: the issuer sends people back to this address"
    if of_client and not settings.pages_client_id:
        return f"{variable(of_client[0])} has no effect without {client}: set {client}"
    return None


class CoreSettings(RecordSettings, AwsSettings):
    """The settings of the processing core: all that the Lambda function needs."""

    quarantine: Annotated[
        PlaceText,
        Field(description="Where records that can never be applied are stored: `dir:PATH` or `s3://bucket/prefix`."),
    ]
    archive: Annotated[PlaceText | None, Field(description=_ARCHIVE)] = None
    cache_limits: Annotated[NonNegativeInt, Field(description="How many limits each shard keeps in its cache.")] = (
        10_000
    )
    breaker: Annotated[
        NonNegativeInt,
        Field(description="Processing stops after this many quarantined records in a row. `0` disables the breaker."),
    ] = 0

    @model_validator(mode="after")
    def _archive_is_apart(self) -> Self:
        if self.archive and _overlap(self.archive, self.quarantine):
            raise ValueError(f"{variable('archive')} and {variable('quarantine')} overlap: use different prefixes")
        return self


def _overlap(place: str, other: str) -> bool:
    """Whether one of the places is inside the other."""
    one, two = (re.sub("/+$|$", "/", each, count=1) for each in (place, other))
    return one.startswith(two) or two.startswith(one)


class InvokeSettings(CoreSettings, StreamSettings):
    """The settings of `consumer lambda-invoke`: those of the function, and of the stream that batches are read from."""

    stream_role_arn: Annotated[
        RoleArn | None,
        Field(
            description="The role with which the stream is read. Unset: that of the service, as for everything else."
        ),
    ] = None
    application_name: Annotated[
        AwsName,
        Field(
            description="The KCL application. It names the lease table, KCL's other tables and the fan-out consumer."
        ),
    ] = "limits-consumer"

    @property
    def role_session_name(self) -> str:
        """The name of this application in the log of the account that owns the stream. STS allows 64 characters."""
        return f"consumer-{self.application_name}"[:64]

    @model_validator(mode="after")
    def _role_has_a_stream(self) -> Self:
        if self.stream_role_arn and not self.stream_arn:
            role, arn = variable("stream_role_arn"), variable("stream_arn")
            raise ValueError(f"{role} has no effect without {arn}: set {arn}")
        return self


class Settings(InvokeSettings):
    """All settings of the service. Times are in seconds unless the name of the setting says otherwise."""

    stream_name: Annotated[AwsName, Field(description=_STREAM)]
    start_at: Annotated[
        StartAt,
        Field(description="Where a shard without a checkpoint starts: `trim-horizon`, `latest` or a time in the past."),
    ] = "trim-horizon"
    retrieval_mode: Annotated[
        Literal["polling", "fanout"],
        Field(description="How records are fetched: `polling` or `fanout` (enhanced fan-out)."),
    ] = "polling"
    worker_id: Annotated[
        WorkerId | None,
        Field(description="The worker id. Two running workers must never share one. Generated if unset."),
    ] = None
    max_records: Annotated[
        int, Field(ge=1, le=10_000, description="Maximum number of records per fetch. Use fewer in a small container.")
    ] = 10_000
    idle_millis: Annotated[int, Field(ge=200, description="Pause between two fetches from a shard.")] = 1_000
    failover_millis: Annotated[
        int, Field(ge=1_000, description="Another worker may take a lease that was not renewed for this long.")
    ] = 5_000
    lease_assignment_millis: Annotated[
        int, Field(ge=500, description="How often the leader assigns leases to workers.")
    ] = 2_000
    take_leases: Annotated[
        bool,
        Field(
            description="Takes leases that are not renewed for the failover time, and gives back its own at its end."
            " `false` leaves both to the KCL, which needs minutes after the death of its leader."
        ),
    ] = True
    checkpoint_seconds: Annotated[PositiveFloat, Field(description="Maximum time between checkpoints.")] = 5.0
    checkpoint_records: Annotated[PositiveInt, Field(description="Maximum number of records between checkpoints.")] = (
        10_000
    )
    gather_seconds: Annotated[
        NonNegativeFloat,
        Field(
            description="How long records may wait to be processed together while their shard is at least 10 seconds "
            "behind. `0` processes each delivery at once."
        ),
    ] = 5.0
    archive_seconds: Annotated[
        PositiveFloat,
        Field(
            description="What was delivered is written to the archive after this time. No checkpoint passes it before,"
            " so this is also how much is read again after a crash."
        ),
    ] = 60.0
    archive_bytes: Annotated[
        PositiveInt, Field(description="An object of the archive that has this size, compressed, is written at once.")
    ] = 8_388_608
    batch_deadline_seconds: Annotated[
        PositiveFloat, Field(description="How long a batch may continue after a shutdown was requested.")
    ] = 5.0
    handoff_seconds: Annotated[
        NonNegativeFloat, Field(description="Timeout of a graceful lease handoff. `0` takes the lease at once.")
    ] = 0.0
    shutdown_grace_seconds: Annotated[
        PositiveFloat, Field(description="How long the daemon may take to shut down all shards.")
    ] = 15.0
    stop_timeout_seconds: Annotated[
        PositiveFloat,
        Field(description="When the container is killed after a shutdown was requested (ECS `stopTimeout`)."),
    ] = 25.0
    hang_seconds: Annotated[
        PositiveInt, Field(description="The daemon exits if a record processor is silent for this long.")
    ] = 300
    healthy_after_seconds: Annotated[
        NonNegativeFloat, Field(description="How long an initialised daemon must run until `/healthz` is 200.")
    ] = 60.0
    restarts: Annotated[
        NonNegativeInt,
        Field(
            description="How many restarts of the daemon are allowed in the window before the service exits. At most 2"
            " in a row if the daemon exits before it has settled a batch or run for `CONSUMER_HEALTHY_AFTER_SECONDS`."
        ),
    ] = 5
    restart_window_seconds: Annotated[PositiveFloat, Field(description="The window of `CONSUMER_RESTARTS`.")] = 600.0
    metrics_address: Annotated[
        Address,
        Field(
            description="The address of `/metrics`, `/healthz`, `/livez` and `/readyz`. `[::]:9464` listens on IPv6 and"
            " IPv4."
        ),
    ] = "127.0.0.1:9464"
    metrics_level: Annotated[
        Literal["NONE", "SUMMARY", "DETAILED"], Field(description="Which of its own metrics KCL sends to CloudWatch.")
    ] = "NONE"
    emf_seconds: Annotated[
        NonNegativeInt,
        Field(
            description="How often a worker logs its metrics for CloudWatch, in the embedded metric format. The alarms"
            " of `monitoring.yaml` need 60. `0`: never."
        ),
    ] = 0
    fork_from_shards: Annotated[
        NonNegativeInt,
        Field(
            description="With this many shards, a worker forks its record processors from one process, so that they"
            " share memory. 0: never."
        ),
    ] = 4
    java_options: Annotated[
        str, Field(description="JVM options, separated by blanks. The service sizes the heap unless they do.")
    ] = "-XX:+UseSerialGC"
    properties: Annotated[Path, Field(description="The directory of `consumer.properties` and `logback.xml`.")] = (
        Path(__file__).resolve().with_name("properties")
    )
    run_directory: Annotated[
        Path | None,
        Field(description="The directory for rendered properties and metrics files. A new one in `TMPDIR` if unset."),
    ] = None

    @property
    def metrics_leave_the_machine(self) -> bool:
        """Whether other machines can read the metrics. The endpoints have no authentication."""
        return not is_loopback(self.metrics_address.rpartition(":")[0])

    @property
    def timeouts(self) -> dict[str, float]:
        """The timeouts that must increase in this order: names of fields, and seconds."""
        names = ("batch_deadline_seconds", "handoff_seconds", "shutdown_grace_seconds", "stop_timeout_seconds")
        return {name: getattr(self, name) for name in names if name != "handoff_seconds" or self.handoff_seconds}

    @model_validator(mode="after")
    def _timeouts_in_order(self) -> Self:
        for (shorter, less), (longer, more) in pairwise(self.timeouts.items()):
            if less >= more:
                raise ValueError(f"{variable(shorter)} must be less than {variable(longer)}")
        return self


Loaded = TypeVar("Loaded", bound=BaseSettings)

FIELDS: Mapping[str, FieldInfo] = {
    **HistorySettings.model_fields,
    **NoticeSettings.model_fields,
    **PageSettings.model_fields,
    **Settings.model_fields,
}
"""Every setting, by the name of its field."""

_PREFIXES = (PREFIX, "AWS_ENDPOINT_URL_", "AWS_")
_AWS_OWN = frozenset(
    f"AWS_ENDPOINT_URL_{service}" for service in ("CLOUDWATCH_LOGS", "CLOUDWATCHOMNI", "EVENTBRIDGEV2")
)
"""Variables of boto3 whose names resemble ours."""


def variable(field: str) -> str:
    """The environment variable of a field."""
    alias = FIELDS[field].validation_alias
    if isinstance(alias, AliasChoices):
        return str(alias.choices[0])
    return str(alias) if alias else f"{PREFIX}{field.upper()}"


def misspelled(names: Iterable[str]) -> list[str]:
    """An error line for each environment variable that resembles a setting but is none, and so has no effect.

    Other variables with our prefix are ignored: an orchestrator or another version may set them. Those of AWS are
    ignored as well.
    """
    known = {"AWS_DEFAULT_REGION", *map(variable, FIELDS)}
    unknown = sorted(name for name in names if name.upper() not in known and name not in _AWS_OWN)
    near = {name: _nearest(name, known) for name in unknown}
    return [f"{name} is not a setting: did you mean {found}?" for name, found in near.items() if found]


def _nearest(name: str, known: Iterable[str]) -> str | None:
    """The setting that an unknown name probably means."""
    tail = _tail(name)
    if tail == name:
        # The prefix itself may be misspelled. A short name needs a closer match, or foreign variables would match.
        return next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.88)), None)
    tails = {_tail(each): each for each in known}
    found = difflib.get_close_matches(tail, tails, n=1, cutoff=0.8)
    return tails[found[0]] if found else None


def _tail(name: str) -> str:
    """The name without its prefix and without underscores, which are often misplaced."""
    prefix = next((each for each in _PREFIXES if name.startswith(each)), "")
    return name.removeprefix(prefix).replace("_", "") if prefix else name


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The last part of an error about an unknown word. Empty if no known word is similar."""
    lowered = {each.lower(): each for each in known}
    near = difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.7)
    return f": did you mean {lowered[near[0]]}?" if near else ""


def load(kind: type[Loaded], **given: Any) -> Loaded:
    """The settings in the environment; `given` takes precedence.

    Raises SettingsError with all errors at once, misspelled variables included.
    """
    problems = misspelled(os.environ)
    try:
        settings = kind(**given)
    except ValidationError as invalid:
        problems = [_line(error) for error in invalid.errors(include_url=False)] + problems
    if problems:
        raise SettingsError(problems)
    return settings


def _line(error: ErrorDetails) -> str:
    message = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        return message
    place = str(error["loc"][0])
    name = variable(place) if place in FIELDS else place
    return f"{name} is not set" if error["type"] == "missing" else f"{name}: {message}"
