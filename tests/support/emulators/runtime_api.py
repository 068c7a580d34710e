"""Lambda's side of a container: the Runtime API (four routes), and the runtime interface client that calls it.

    with lambda_runtime(task, environment, directory) as function:
        answer = function.invoke(event)

The container can import only the standard library, the runtime interface client and the unpacked archive.
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
class Request:
    """An invocation that the container has yet to fetch. Its timeout, in seconds, starts when it is fetched."""

    request_id: str
    event: object
    timeout: float
    delivered: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Posted:
    """What the container posted. `route`: `response`, `error` or `init/error`."""

    route: str
    body: Any
    request_id: str = ""

    @property
    def answer(self) -> Any:
        """The function's response. Raises FunctionFailed if it posted an error."""
        if self.route != "response":
            raise FunctionFailed(json.dumps(self.body))
        return self.body


@dataclass
class RuntimeApi:
    """The state of the routes: `requests` for the container, and what it has `posted`."""

    requests: "queue.Queue[Request | None]" = field(default_factory=queue.Queue)
    posted: "queue.Queue[Posted]" = field(default_factory=queue.Queue)

    def renew(self) -> None:
        """Resets for a new container and dismisses an old one that still waits for an invocation."""
        self.requests.put(None)
        self.requests, self.posted = queue.Queue(), queue.Queue()

    @contextmanager
    def served(self) -> Iterator[str]:
        """Serves the routes during the block and yields their address."""
        server = self.server()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"{LOOPBACK}:{server.server_address[1]}"
        finally:
            self.requests.put(None)
            server.shutdown()
            server.server_close()

    def server(self) -> ThreadingHTTPServer:
        api = self

        class Routes(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                request = api.requests.get() if self.path == f"{VERSION}/invocation/next" else None
                if request is None:
                    self._send(HTTPStatus.NOT_FOUND, {})
                    return
                headers = {
                    "Lambda-Runtime-Aws-Request-Id": request.request_id,
                    "Lambda-Runtime-Deadline-Ms": str(int((time.time() + request.timeout) * 1000)),
                    "Lambda-Runtime-Invoked-Function-Arn": ARN,
                    "Lambda-Runtime-Trace-Id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=0",
                }
                self._send(HTTPStatus.OK, request.event, headers)
                request.delivered.set()

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                route, request_id = _route(self.path)
                api.posted.put(Posted(route, body, request_id))
                self._send(HTTPStatus.ACCEPTED, {"status": "OK"})

            def _send(self, status: HTTPStatus, body: object, headers: Mapping[str, str] | None = None) -> None:
                content = json.dumps(body).encode()
                self.send_response(status)
                named = {"Content-Type": "application/json", "Content-Length": str(len(content)), **(headers or {})}
                for name, value in named.items():
                    self.send_header(name, value)
                with suppress(ConnectionError):  # the container may have exited
                    self.end_headers()
                    self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Logs nothing."""

        server = ThreadingHTTPServer((LOOPBACK, 0), Routes)
        server.daemon_threads = True
        return server


def _route(path: str) -> tuple[str, str]:
    """The route of a POST, and the id of its invocation."""
    parts = path.removeprefix(f"{VERSION}/").split("/")
    return ("init/error", "") if parts[0] == "init" else (parts[2], parts[1])


@dataclass
class Container:
    """A function's execution environment. As in Lambda, it has one invocation at a time and is killed at a timeout."""

    api: RuntimeApi
    command: list[str]
    environment: Mapping[str, str]
    task: Path
    directory: Path
    process: "subprocess.Popen[bytes] | None" = None
    starts: int = 0

    def ask(self, event: object, timeout: float = 60.0) -> Posted:
        """Invokes the function and returns what it posts. Raises FunctionFailed at the timeout."""
        if self.process is None:
            self._start()
        request = Request(str(uuid.uuid4()), event, timeout)
        self.api.requests.put(request)
        until(
            lambda: request.delivered.is_set() or not self.api.posted.empty(),
            "the container to fetch the invocation",
            every=0.01,
        )
        try:
            posted = self.api.posted.get(timeout=timeout)
        except queue.Empty:
            self.stop()
            raise FunctionFailed(f"timed out after {timeout:g} s; {self.log[-2_000:]}") from None
        assert posted.request_id in (request.request_id, "")
        return posted

    def invoke(self, event: object, timeout: float = 60.0) -> Any:
        """Invokes the function and returns its response. Raises FunctionFailed."""
        return self.ask(event, timeout).answer

    @property
    def output(self) -> list[dict[str, Any]]:
        """The metrics on standard output, one JSON object per line. Other lines come from the runtime."""
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
def lambda_runtime(
    task: Path, variables: Mapping[str, str], directory: Path, handler: str = HANDLER
) -> Iterator[Container]:
    """A container of the function unpacked in `task`, with these variables and those that Lambda sets."""
    api = RuntimeApi()
    runtime = _interface_client(directory / "runtime")
    # -S: no site-packages, so that only the archive can be imported
    command = [sys.executable, "-S", "-m", "awslambdaric", handler]
    with api.served() as address:
        lasting = {**_environment(address, task, runtime), "_HANDLER": handler}
        container = Container(api, command, {**lasting, **variables}, task, directory)
        try:
            yield container
        finally:
            container.stop()


def _environment(address: str, task: Path, runtime: Path) -> dict[str, str]:
    """The environment that Lambda sets, and PYTHONPATH, which its bootstrap script sets."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{task}:{runtime}",
        "PYTHONDONTWRITEBYTECODE": "1",  # the disk is read-only
        "LAMBDA_TASK_ROOT": str(task),
        "LAMBDA_RUNTIME_DIR": str(runtime),
        **lambda_variables(address),
    }


def lambda_variables(address: str) -> dict[str, str]:
    """The variables that Lambda sets for archives and images. `address`: that of the Runtime API."""
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
    """A folder with only the runtime interface client and its dependencies."""
    into.mkdir()
    for name in CLIENT:
        files = importlib.metadata.files(name) or []
        for top in {file.parts[0] for file in files if not file.parts[0].endswith(".dist-info")}:
            if top not in ("..", "__pycache__"):
                (into / top).symlink_to(Path(str(importlib.metadata.distribution(name).locate_file(top))))
    return into
