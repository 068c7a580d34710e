"""Credentials appear only in the environment of processes, never in what the service writes or serves."""

import os
import signal
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from types import MappingProxyType

from tests.support.driven.scenario import Stage, samples, until_equal, until_received
from tests.support.driven.service import Service, consumer, service
from tests.support.driven.waiting import until
from tests.support.driven.workers import processes
from tests.support.emulators.aws import Emulator
from tests.support.faults.proxy import TOKEN_EXPIRED, fault_proxy

SECRETS: Mapping[str, str] = MappingProxyType(
    {
        "AWS_ACCESS_KEY_ID": "AKIA5ECRETXXKEYXXIDX",
        "AWS_SECRET_ACCESS_KEY": "s3cretOfTheTestWhichNobodyMayEverSee0000",
        "AWS_SESSION_TOKEN": "t0kenOfTheTestWhichNobodyMayEverSeeEither",
    }
)
COMMANDS = (("properties",), ("doctor", "--json"), ("provision", "--dry-run"), ("quarantine", "list"))


def test_no_secret_leaves_the_environment(stage: Stage, tmp_path: Path, aws: Emulator) -> None:
    """At DEBUG, with poison records, refused credentials and a crash."""
    made = samples(seed=6, count=2_000)
    with fault_proxy(aws.endpoint, seed=6) as proxy:
        variables = {
            **stage.variables,
            **SECRETS,
            "AWS_ENDPOINT_URL_DYNAMODB": proxy.endpoint,
            "CONSUMER_LOG_LEVEL": "DEBUG",
            "CONSUMER_RUN_DIRECTORY": str(tmp_path / "run"),
        }
        with service(variables, tmp_path / "log") as running:
            stage.put(made[:1_000])
            until_received(running, 1_000)
            with proxy.fault(TOKEN_EXPIRED) as refused:
                stage.put(made[1_000:])
                until(lambda: refused.hits.total() > 3, "credentials to be refused")
            os.kill(running.record_processors()[0], signal.SIGKILL)
            until_equal(stage, made)
            reported = dict(_told(running, tmp_path))
            assert running.stop() == 0
        reported["log"] = running.log.read_text(encoding="utf-8")
        reported |= {" ".join(command): consumer(variables, *command) for command in COMMANDS}

    rendered = reported[str(tmp_path / "run" / "consumer.properties")]
    assert "DefaultCredentialsProvider" in rendered
    assert "consumer_records_total" in reported["/metrics"]
    assert [
        (where, name) for where, text in reported.items() for name, secret in SECRETS.items() if secret in text
    ] == []


def _waited(running: Service) -> bool:
    return any("ExpiredToken" in str(line.get("cause")) for line in running.lines())


def _told(running: Service, directory: Path) -> Iterator[tuple[str, str]]:
    """Everything that a running service exposes, by place."""
    for path in ("/metrics", "/healthz", "/livez", "/readyz"):
        yield path, running.get(path)[1]
    files: Iterable[Path] = chain((directory / "run").rglob("*"), (directory / "quarantine").rglob("*"))
    for file in (file for file in files if file.is_file()):
        yield str(file), file.read_bytes().decode("utf-8", "replace")
    for process in processes(running):
        yield f"command line of {process}", Path(f"/proc/{process}/cmdline").read_text(encoding="utf-8")
