"""Lambda's side of a container: the Runtime API (four routes), and the runtime interface client that asks it.

    with lambda_runtime(task, environment, directory) as function:
        answer = function.invoke(event)

The container sees the standard library, the runtime interface client and what was unpacked, and nothing else.
"""

import importlib.metadata
import json
import os
import queue
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support.driven.processes import LOOPBACK, kill, start
from tests.support.driven.waiting import until
from tests.support.emulators.mapping import FunctionFailed

HANDLER = "consumer.aws_lambda.handler.handler"
CLIENT = ("awslambdaric", "simplejson", "snapshot-restore-py")
VERSION = "/2018-06-01/runtime"
ARN = "arn:aws:lambda:us-east-1:000000000000:function:limits"


@dataclass(frozen=True)
class Asked:
    """An invocation that waits for the container to ask for it; from then on, its time runs: `timeout` seconds."""

    request_id: str
    event: object
    timeout: float
    delivered: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Told:
    """What the container posted: to `route`, which is `response`, `error` or `init/error`."""

    route: str
    body: Any
    request_id: str = ""

    @property
    def answer(self) -> Any:
        """Raises FunctionFailed when it is not an answer."""
        if self.route != "response":
            raise FunctionFailed(json.dumps(self.body))
        return self.body


@dataclass
class RuntimeApi:
    """What the routes share: invocations on their way in, answers on their way out."""

    asked: "queue.Queue[Asked | None]" = field(default_factory=queue.Queue)
    told: "queue.Queue[Told]" = field(default_factory=queue.Queue)

    def renew(self) -> None:
        """For a new container: whoever still waits for an invocation is one of the old."""
        self.asked.put(None)
        self.asked, self.told = queue.Queue(), queue.Queue()

    @contextmanager
    def served(self) -> Iterator[str]:
        """The routes, answered inside the block, and their address."""
        server = self.server()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"{LOOPBACK}:{server.server_address[1]}"
        finally:
            self.asked.put(None)
            server.shutdown()
            server.server_close()

    def server(self) -> ThreadingHTTPServer:
        api = self

        class Routes(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                asked = api.asked.get() if self.path == f"{VERSION}/invocation/next" else None
                if asked is None:
                    self._send(HTTPStatus.NOT_FOUND, {})
                    return
                headers = {
                    "Lambda-Runtime-Aws-Request-Id": asked.request_id,
                    "Lambda-Runtime-Deadline-Ms": str(int((time.time() + asked.timeout) * 1000)),
                    "Lambda-Runtime-Invoked-Function-Arn": ARN,
                    "Lambda-Runtime-Trace-Id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=0",
                }
                self._send(HTTPStatus.OK, asked.event, headers)
                asked.delivered.set()

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                route, request_id = _route(self.path)
                api.told.put(Told(route, body, request_id))
                self._send(HTTPStatus.ACCEPTED, {"status": "OK"})

            def _send(self, status: HTTPStatus, body: object, headers: Mapping[str, str] | None = None) -> None:
                content = json.dumps(body).encode()
                self.send_response(status)
                named = {"Content-Type": "application/json", "Content-Length": str(len(content)), **(headers or {})}
                for name, value in named.items():
                    self.send_header(name, value)
                with suppress(ConnectionError):  # the container may be gone by now
                    self.end_headers()
                    self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Not on the tests' screen."""

        server = ThreadingHTTPServer((LOOPBACK, 0), Routes)
        server.daemon_threads = True
        return server


def _route(path: str) -> tuple[str, str]:
    """What was posted, and for which invocation."""
    parts = path.removeprefix(f"{VERSION}/").split("/")
    return ("init/error", "") if parts[0] == "init" else (parts[2], parts[1])


@dataclass
class Container:
    """A function's execution environment. As in Lambda, it has one invocation at a time and dies at a time-out."""

    api: RuntimeApi
    command: list[str]
    environment: Mapping[str, str]
    task: Path
    directory: Path
    process: "subprocess.Popen[bytes] | None" = None
    starts: int = 0

    def ask(self, event: object, timeout: float = 60.0) -> Told:
        """What the container makes of an event. Raises FunctionFailed at the time-out."""
        if self.process is None:
            self._start()
        request = Asked(str(uuid.uuid4()), event, timeout)
        self.api.asked.put(request)
        until(lambda: request.delivered.is_set() or not self.api.told.empty(), "the container to ask", every=0.01)
        try:
            told = self.api.told.get(timeout=timeout)
        except queue.Empty:
            self.stop()
            raise FunctionFailed(f"timed out after {timeout:g} s; {self.log[-2_000:]}") from None
        assert told.request_id in (request.request_id, "")
        return told

    def invoke(self, event: object, timeout: float = 60.0) -> Any:
        """The function's answer. Raises FunctionFailed."""
        return self.ask(event, timeout).answer

    @property
    def output(self) -> list[dict[str, Any]]:
        """The metrics on standard output, a JSON object a line; other lines are the runtime's own."""
        return [json.loads(line) for line in self._text("stdout").splitlines() if line.startswith("{")]

    @property
    def log(self) -> str:
        return self._text("stderr")

    def _text(self, stream: str) -> str:
        path = self.directory / stream
        return path.read_text() if path.exists() else ""

    def _start(self) -> None:
        self.starts += 1
        self.api.renew()
        with (self.directory / "stdout").open("ab") as out, (self.directory / "stderr").open("ab") as err:
            self.process = start(self.command, self.environment, out, err, self.task)

    def stop(self) -> None:
        if self.process:
            kill(self.process)
            self.process = None


@contextmanager
def lambda_runtime(task: Path, variables: Mapping[str, str], directory: Path) -> Iterator[Container]:
    """A container of the function unpacked in `task`, with these variables beside those that Lambda sets."""
    api = RuntimeApi()
    runtime = _interface_client(directory / "runtime")
    # no site-packages: what is not in the archive is not there
    command = [sys.executable, "-S", "-m", "awslambdaric", HANDLER]
    with api.served() as address:
        container = Container(api, command, {**_environment(address, task, runtime), **variables}, task, directory)
        try:
            yield container
        finally:
            container.stop()


def _environment(address: str, task: Path, runtime: Path) -> dict[str, str]:
    """As Lambda sets it; but for the path of modules, which its bootstrap script sets."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{task}:{runtime}",
        "PYTHONDONTWRITEBYTECODE": "1",  # its disk cannot be written to
        "LAMBDA_TASK_ROOT": str(task),
        "LAMBDA_RUNTIME_DIR": str(runtime),
        **lambda_variables(address),
    }


def lambda_variables(address: str) -> dict[str, str]:
    """What Lambda tells any function, in an archive or an image; `address` is the Runtime API's."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return {
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "_HANDLER": HANDLER,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_python{python}",
        "AWS_LAMBDA_RUNTIME_API": address,
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_FUNCTION_NAME": "limits",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/limits",
        "AWS_LAMBDA_LOG_STREAM_NAME": "2026/01/31/[$LATEST]0123456789abcdef0123456789abcdef",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_SESSION_TOKEN": "test",
    }


def _interface_client(into: Path) -> Path:
    """The runtime interface client and what it needs, alone in a folder."""
    into.mkdir()
    for name in CLIENT:
        files = importlib.metadata.files(name) or []
        for top in {file.parts[0] for file in files if not file.parts[0].endswith(".dist-info")}:
            if top not in ("..", "__pycache__"):
                (into / top).symlink_to(Path(str(importlib.metadata.distribution(name).locate_file(top))))
    return into
