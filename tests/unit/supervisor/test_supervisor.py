"""The supervisor with small programs instead of the daemon: real processes, real signals."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from consumer.supervisor import supervisor
from consumer.supervisor.restarts import FAILED_STARTS
from tests.support.driven.waiting import until

WORKER = """
import os, sys
from consumer.monitoring import logs
from consumer.settings import Settings, load
from consumer.supervisor import start

logs.configure("INFO")
command = [sys.executable, "-c", sys.argv[1]]
sys.exit(start.run(load(Settings), os.environ, executable="true", command=command))
"""
QUICK: Mapping[str, str] = {
    "CONSUMER_BATCH_DEADLINE_SECONDS": "0.1",
    "CONSUMER_HANDOFF_SECONDS": "0.2",
    "CONSUMER_SHUTDOWN_GRACE_SECONDS": "0.3",
    "CONSUMER_STOP_TIMEOUT_SECONDS": "0.5",
}
"""Timeouts for a daemon that is to be killed."""

SAY = """
import json, os, signal, subprocess, sys
def say(**it):
    os.write(1, json.dumps(it).encode() + b"\\n")  # print must not be called in a handler
"""
WAITS = f"{SAY}say(message='up', pid=os.getpid())\nsignal.pause()\n"
EXITS_ON_SIGTERM = f"""{SAY}
def end(*_):
    say(message='signalled', stopping=os.path.exists(os.environ['CONSUMER_RUN_DIRECTORY'] + '/stopping'))
    sys.exit(143)
signal.signal(signal.SIGTERM, end)
say(message='up', pid=os.getpid())
while True:
    signal.pause()
"""
STUBBORN = f"{SAY}signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{WAITS}while True: signal.pause()\n"
LEAVES_CHILDREN = f"""{SAY}
child = '''
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if sys.argv[1] == "away":
    os.setsid()
print("here", flush=True)
while True:
    signal.pause()
'''
def leave(how):
    process = subprocess.Popen([sys.executable, "-c", child, how], stdout=subprocess.PIPE)
    process.stdout.readline()
    return process.pid
say(message='up', pid=os.getpid(), children=[leave("here"), leave("away")])
"""


@dataclass(frozen=True)
class Worker:
    process: subprocess.Popen[bytes]
    log: Path

    def lines(self) -> list[dict[str, Any]]:
        """What it has logged; fails for a line that is not a JSON object."""
        whole = self.log.read_text().rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    def said(self, message: str) -> list[dict[str, Any]]:
        return [line for line in self.lines() if line["message"] == message]

    def first(self, message: str) -> dict[str, Any]:
        return until(lambda: self.said(message), message, every=0.02)[0]

    def get(self, path: str) -> int:
        return self.request(path)[0]

    def request(self, path: str) -> tuple[int, str]:
        """Status and body."""
        port = self.first("serving metrics")["port"]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(60)


Start = Callable[..., Worker]


def environment(directory: Path, **more: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "TMPDIR": str(directory),
        "AWS_REGION": "eu-north-1",
        "CONSUMER_STREAM_NAME": "events",
        "CONSUMER_QUARANTINE": "dir:/tmp",
        "CONSUMER_METRICS_ADDRESS": "127.0.0.1:0",
        **more,
    }


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a worker whose daemon is this program."""
    started: list[Worker] = []

    def start(program: str, before: str = "", **more: str) -> Worker:
        log = tmp_path / "log"
        with log.open("wb") as file:
            command = [sys.executable, "-c", before + WORKER, program]
            process = subprocess.Popen(command, env=environment(tmp_path, **more), stderr=file, stdout=file)
        started.append(Worker(process, log))
        return started[-1]

    yield start
    for worker in started:
        worker.process.kill()
        worker.process.wait()


def gone(process: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(process, 0)
        return False
    return True


# --- Unexpected exits ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "code"), [("sys.exit(0)", 0), ("sys.exit(1)", 1), ("os.kill(os.getpid(), signal.SIGKILL)", 137)]
)
def test_any_unexpected_exit_is_a_failure_and_after_too_many_it_gives_up(start: Start, end: str, code: int) -> None:
    worker = start(f"{SAY}{end}", CONSUMER_RESTARTS="1")
    assert worker.process.wait(60) == 1
    assert [line["code"] for line in worker.said("daemon exited unexpectedly")] == [code]
    (line,) = worker.said("giving up: the daemon exited more often than allowed")
    assert (line["level"], line["code"], line["ends"]) == ("ERROR", code, 2)


def test_the_error_of_a_record_processor_is_logged_as_the_cause_of_the_exit(start: Start) -> None:
    worker = start(
        f"{SAY}say(message='exiting', error='Traceback\\nEndNotConfirmed: ...')\nsys.exit(1)", CONSUMER_RESTARTS="1"
    )
    assert worker.process.wait(60) == 1
    (end,) = worker.said("daemon exited unexpectedly")
    (last,) = worker.said("giving up: the daemon exited more often than allowed")
    assert (end["cause"], last["cause"]) == ("EndNotConfirmed: ...", "EndNotConfirmed: ...")


def test_a_killed_daemon_is_restarted(start: Start) -> None:
    worker = start(WAITS)
    os.kill(worker.first("up")["pid"], signal.SIGKILL)
    until(lambda: len(worker.said("up")) == 2, "the second daemon")
    first, second = worker.said("up")
    assert first["pid"] != second["pid"]
    worker.stop()


def test_a_daemon_that_shuts_down_unexpectedly_is_not_waited_for(start: Start) -> None:
    """After a record processor has died, the MultiLangDaemon would wait for it."""
    worker = start(f"{SAY}say(message='Process terminated, will initiate shutdown.')\n{STUBBORN}")
    until(lambda: len(worker.said("up")) == 2, "the second daemon")
    assert worker.first("daemon exited unexpectedly")["code"] == 137
    worker.process.kill()


def test_a_stop_does_not_wait_for_a_daemon_that_shuts_down_unexpectedly(start: Start) -> None:
    """It waits for its dead record processor until its grace period ends, and its shards would stand still."""
    worker = start(
        f"{SAY}say(message='Process terminated, will initiate shutdown.')\n{STUBBORN}",
        CONSUMER_SHUTDOWN_GRACE_SECONDS="200",
        CONSUMER_STOP_TIMEOUT_SECONDS="300",
    )
    worker.first("up")
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(60) == 0
    assert worker.first("stopping")
    assert worker.first("the daemon did not exit in time, killing it: unfinished batches will be read again")


def test_it_is_restarted_with_the_same_worker_id(start: Start) -> None:
    directory = "os.environ['CONSUMER_RUN_DIRECTORY']"
    worker = start(
        f"{SAY}say(message='up', properties=open({directory} + '/consumer.properties').read())", CONSUMER_RESTARTS="1"
    )
    worker.process.wait(60)
    first, second = (line["properties"] for line in worker.said("up"))
    assert first == second
    assert "workerId=" in first


def test_no_process_of_a_dead_daemon_is_left(start: Start) -> None:
    worker = start(LEAVES_CHILDREN, CONSUMER_RESTARTS="0")
    assert worker.process.wait(60) == 1
    assert all(gone(child) for child in worker.first("up")["children"])


def test_processes_of_the_old_daemon_are_gone_before_the_next_start(start: Start) -> None:
    worker = start(LEAVES_CHILDREN + "\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\nsignal.pause()")
    first = worker.first("up")
    os.kill(first["pid"], signal.SIGKILL)
    until(lambda: len(worker.said("up")) == 2, "the second daemon")
    assert all(gone(child) for child in first["children"])
    worker.stop()


def test_a_child_that_does_not_belong_to_the_daemon_is_not_killed(start: Start) -> None:
    before = f"""{SAY}
other = subprocess.Popen(["sleep", "3600"])
say(message="other", pid=other.pid)
"""
    worker = start(WAITS, before=before)
    os.kill(worker.first("up")["pid"], signal.SIGKILL)
    until(lambda: len(worker.said("up")) == 2, "the second daemon")
    other = worker.first("other")["pid"]
    assert not gone(other)
    worker.stop()
    assert not gone(other)
    os.kill(other, signal.SIGKILL)


# --- Out of memory -------------------------------------------------------------------------------------------------

RECORDS = """
import re
directory = os.environ['CONSUMER_RUN_DIRECTORY']
properties = open(directory + '/consumer.properties').read()
say(message='up', pid=os.getpid(), records=int(re.search(r'^maxRecords=(.*)$', properties, re.M)[1]))
"""
EXHAUSTED = "os.write(2, b'Terminating due to java.lang.OutOfMemoryError: Java heap space\\n')\nsys.exit(3)"
"""How a JVM with ExitOnOutOfMemoryError exits."""
SIZED = {"CONSUMER_JAVA_OPTIONS": "-Xmx64m"}
"""The heap is set, so it is not enlarged."""


def test_when_out_of_memory_fetches_are_reduced_until_it_gives_up_with_that_cause(start: Start) -> None:
    worker = start(f"{SAY}{RECORDS}{EXHAUSTED}", CONSUMER_RESTARTS="0", CONSUMER_MAX_RECORDS="800", **SIZED)
    assert worker.process.wait(60) == 1
    assert [line["records"] for line in worker.said("up")] == [800, 80, 8, 1]
    restarts = worker.said("out of memory: restarting with smaller, slower fetches; container_mib of memory is enough")
    assert [line["records"] for line in restarts] == [80, 8, 1]
    last = worker.first("out of memory with the smallest fetches: increase the container's memory to container_mib")
    assert last["container_mib"] > 0
    given_up = worker.first("giving up: the daemon exited more often than allowed")
    assert given_up["cause"] == "OutOfMemoryError: the JVM's heap is too small for the fetched records"
    assert given_up["ends"] == 1, "an exit after which fetches were reduced does not count"


def test_when_out_of_memory_the_heap_is_enlarged_first(start: Start) -> None:
    unlimited = "from consumer.daemon import memory\nmemory.limit = lambda: None\n"
    one_shard = "subprocess.Popen(['sleep', '3600'])\n"
    worker = start(
        f"{SAY}{RECORDS}{one_shard}{EXHAUSTED}", before=unlimited, CONSUMER_RESTARTS="0", CONSUMER_MAX_RECORDS="10"
    )
    assert worker.process.wait(60) == 1
    assert [line["records"] for line in worker.said("up")] == [10, 10, 1]
    (grown,) = worker.said("out of memory: restarting with a larger heap")
    assert (grown["shards"], grown["heap"]) == (1, 371)


def test_after_some_time_with_sufficient_memory_fetches_are_restored(start: Start) -> None:
    """The daemon is shut down for it, so that its record processors can checkpoint."""
    worker = start(
        f"""{SAY}{RECORDS}
if int(re.search(r'^maxRecords=(.*)$', properties, re.M)[1]) > 80:
    if os.path.exists(directory + '/once'):
        say(message='again')
        signal.pause()
    open(directory + '/once', 'w').close()
    {EXHAUSTED.replace(chr(10), chr(10) + "    ")}
signal.signal(signal.SIGTERM, lambda *_: (say(message='signalled'), sys.exit(143)))
signal.pause()
""",
        CONSUMER_MAX_RECORDS="800",
        CONSUMER_RESTART_WINDOW_SECONDS="1",
        **SIZED,
    )
    worker.first("again")
    assert [line["records"] for line in worker.said("up")] == [800, 80, 800]
    assert worker.said("signalled")
    assert worker.said("memory has been sufficient for some time: restarting with full-size fetches")
    assert worker.stop() == 0


def test_after_an_oom_kill_fetches_are_reduced(start: Start, tmp_path: Path) -> None:
    """A file replaces the kernel's count of such kills."""
    group = tmp_path / "group"
    group.mkdir()
    (group / "memory.events").write_text("oom_kill 0\n")
    counted = f"""
from pathlib import Path
from consumer.daemon import memory
real = memory.kills
memory.kills = lambda: real(Path({str(group)!r}))
"""
    program = f"""{SAY}{RECORDS}
open({str(group / "memory.events")!r}, 'w').write('oom_kill 1\\n')
os.kill(os.getpid(), signal.SIGKILL)
"""
    worker = start(program, before=counted, CONSUMER_RESTARTS="0", CONSUMER_MAX_RECORDS="800")
    assert worker.process.wait(60) == 1
    assert [line["records"] for line in worker.said("up")] == [800, 80]
    assert worker.first("daemon exited unexpectedly")["cause"] == (
        "out of memory: the kernel killed a process of the container"
    )


def test_a_full_disk_does_not_prevent_a_restart(start: Start, tmp_path: Path) -> None:
    """The previous properties are kept when new ones cannot be written."""
    (tmp_path / "run").mkdir(mode=0o700)
    spoil = "os.mkdir(directory + '/consumer.properties.new')"
    worker = start(
        f"{SAY}{RECORDS}{spoil}\n{EXHAUSTED}",
        CONSUMER_RESTARTS="0",
        CONSUMER_RUN_DIRECTORY=str(tmp_path / "run"),
        **SIZED,
    )
    assert worker.process.wait(60) == 1
    assert worker.said("cannot write the properties, keeping the previous ones")
    assert "maxRecords" in (tmp_path / "run" / "consumer.properties").read_text()


# --- Ready ---------------------------------------------------------------------------------------------------------


def test_when_its_shards_are_started_the_worker_logs_their_number_and_the_address_of_the_metrics(start: Start) -> None:
    sign = supervisor.INITIALISED.decode()
    said = "".join(
        f"say(message={message!r}, shard={shard!r})\n"
        for message, shard in [
            ("shard started", "a"),
            ("shard started", "b"),
            ("shard started", "c"),
            ("lease lost", "a"),
            ("shard ended", "b"),
            ("shard started", "b"),
        ]
    )
    worker = start(f"{SAY}{said}say(message={sign!r})\n{WAITS}")
    port = worker.first("serving metrics")["port"]
    assert worker.first(f"ready: 2 shards held, metrics at 127.0.0.1:{port}")["level"] == "INFO"
    assert worker.stop() == 0
    assert len([line for line in worker.lines() if line["message"].startswith("ready")]) == 1


# --- Stop requests -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_is_passed_on_after_the_announcement_to_record_processors(start: Start, number: signal.Signals) -> None:
    worker = start(EXITS_ON_SIGTERM)
    worker.first("up")
    worker.process.send_signal(number)
    assert worker.process.wait(60) == 0
    assert worker.first("signalled")["stopping"] is True
    assert "code" not in worker.first("stopped gracefully")
    assert not worker.said("stopped")


def test_only_the_daemon_itself_is_signalled(start: Start) -> None:
    child = f"""{SAY}
signal.signal(signal.SIGTERM, lambda *_: say(message='child signalled'))
say(message='child up')
signal.pause()
"""
    worker = start(
        f"""{SAY}
child = subprocess.Popen([sys.executable, '-c', {child!r}])
def end(*_):
    child.kill()
    child.wait()
    sys.exit(143)
signal.signal(signal.SIGTERM, end)
say(message='up')
signal.pause()
"""
    )
    worker.first("child up")
    worker.first("up")
    assert worker.stop() == 0
    assert not worker.said("child signalled")


def test_a_daemon_that_does_not_exit_is_killed_and_that_is_no_failure(start: Start) -> None:
    worker = start(STUBBORN, **QUICK)
    daemon = worker.first("up")["pid"]
    assert worker.stop() == 0
    assert gone(daemon)
    (line,) = worker.said("the daemon did not exit in time, killing it: unfinished batches will be read again")
    assert line["level"] == "WARNING"


def test_a_second_signal_changes_nothing(start: Start) -> None:
    worker = start(STUBBORN, **QUICK)
    worker.first("up")
    worker.process.terminate()
    worker.first("stopping")
    worker.process.send_signal(signal.SIGINT)
    worker.process.terminate()
    assert worker.process.wait(60) == 0


def test_a_stop_is_honoured_while_the_restart_is_delayed(start: Start) -> None:
    worker = start(f"{SAY}sys.exit(1)", CONSUMER_HEALTHY_AFTER_SECONDS="0")
    until(lambda: len(worker.said("daemon exited unexpectedly")) >= 4, "a long wait")
    assert worker.stop() == 0


def test_when_the_supervisor_is_killed_the_daemon_is_killed_too(start: Start) -> None:
    worker = start(STUBBORN)
    daemon = worker.first("up")["pid"]
    worker.process.kill()
    until(lambda: gone(daemon), "the daemon's end", every=0.02)


# --- The daemon's environment and output ---------------------------------------------------------------------------


def test_the_daemon_gets_its_environment(start: Start, tmp_path: Path) -> None:
    worker = start(
        f"{SAY}say(message='up', **os.environ)", AWS_ENDPOINT_URL="http://127.0.0.1:9", CONSUMER_RESTARTS="0"
    )
    worker.process.wait(60)
    found = worker.first("up")
    directory = Path(found["CONSUMER_RUN_DIRECTORY"])
    assert found["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)
    assert found["PROMETHEUS_MULTIPROC_DIR"] == str(directory / "metrics")
    assert found["CBOR_ENABLED"] == "false"
    assert found["MALLOC_ARENA_MAX"] == "2"
    assert directory.parent == tmp_path


def test_a_temporary_run_directory_is_removed(start: Start) -> None:
    worker = start(EXITS_ON_SIGTERM)
    worker.first("up")
    worker.stop()
    assert not Path(worker.first("worker")["run_directory"]).exists()


def test_a_named_run_directory_is_kept_and_cleared_of_an_earlier_run(start: Start, tmp_path: Path) -> None:
    named = tmp_path / "run"
    (named / "metrics").mkdir(parents=True)
    (named / "metrics" / "counter_1.db").touch()
    (named / "stopping").touch()
    look = "os.listdir(os.environ['CONSUMER_RUN_DIRECTORY']), os.listdir(os.environ['PROMETHEUS_MULTIPROC_DIR'])"
    worker = start(f"{SAY}say(message='up', found=[{look}])", CONSUMER_RUN_DIRECTORY=str(named), CONSUMER_RESTARTS="0")
    worker.process.wait(60)
    files, metrics = worker.first("up")["found"]
    assert (sorted(files), metrics) == (["consumer.properties", "lock", "metrics"], [])
    assert named.exists()


def test_readiness_follows_the_output_of_the_daemon(start: Start) -> None:
    sign = supervisor.INITIALISED.decode()
    worker = start(
        f"{SAY}signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"signal.signal(signal.SIGUSR1, lambda *_: say(message={sign!r}))\n"
        "say(message='up', pid=os.getpid())\nwhile True: signal.pause()",
        CONSUMER_SHUTDOWN_GRACE_SECONDS="20",
    )
    daemon = worker.first("up")["pid"]
    assert (worker.get("/readyz"), worker.get("/livez")) == (503, 200)
    os.kill(daemon, signal.SIGUSR1)
    until(lambda: worker.get("/readyz") == 200, "the worker to be ready", every=0.02)
    worker.process.terminate()
    until(lambda: worker.get("/readyz") == 503, "the worker to be no longer ready", every=0.02)
    os.kill(daemon, signal.SIGKILL)
    assert worker.process.wait(60) == 0


def test_while_the_daemon_keeps_exiting_readiness_says_so_and_the_worker_is_live(start: Start) -> None:
    worker = start(f"{SAY}sys.exit(3)", CONSUMER_RESTARTS="50", CONSUMER_HEALTHY_AFTER_SECONDS="0")
    until(
        lambda: "the daemon is not running: the last one ended with 3" in worker.request("/readyz")[1],
        "the reason",
        every=0.02,
    )
    assert worker.get("/livez") == 200
    assert worker.stop() == 0


def test_a_worker_whose_starts_all_fail_gives_up_sooner(start: Start) -> None:
    worker = start(f"{SAY}say(message='up')\nsys.exit(3)", CONSUMER_RESTARTS="50")
    assert worker.process.wait(60) == 1
    assert len(worker.said("up")) == FAILED_STARTS
    assert worker.first("giving up: the daemon exited more often than allowed")["failed_starts"] == FAILED_STARTS


def test_a_daemon_that_has_lived_has_not_failed_to_start(start: Start) -> None:
    program = f"{SAY}say(message='up')\n{pause(0.1)}; sys.exit(3)"
    worker = start(program, CONSUMER_RESTARTS="3", CONSUMER_HEALTHY_AFTER_SECONDS="0.1")
    assert worker.process.wait(60) == 1
    assert len(worker.said("up")) == 4, "all of its restarts"


SETTLES = """
from consumer.monitoring import metrics
from consumer.monitoring.prometheus import PrometheusSink
measure = PrometheusSink(metrics.SHARD)
for gauge in (metrics.HEARTBEAT, metrics.LAST_BATCH):
    measure(gauge, 1.0, "shard-1")
"""
"""What a record processor that has settled a batch leaves in the metrics directory."""


def test_a_settled_batch_is_a_successful_start(start: Start) -> None:
    often = "from consumer.supervisor import supervisor\nsupervisor._TICK_SECONDS = 0.1\n"
    program = f"{SETTLES}{SAY}say(message='up')\n{pause(1.0)}; sys.exit(3)"
    worker = start(program, before=often, CONSUMER_RESTARTS="3")
    assert worker.process.wait(60) == 1
    assert len(worker.said("up")) == 4, "all of its restarts"


def pause(seconds: float) -> str:
    """How long the daemon lives."""
    return f"import time; time.sleep({seconds})"


def test_a_stopped_jvm_is_not_alive(start: Start) -> None:
    worker = start(WAITS, before="import consumer.monitoring.endpoints as e\ne.STILL_SECONDS = 2.0\n")
    daemon = worker.first("up")["pid"]
    until(lambda: "the JVM has been still for" in worker.request("/livez")[1], "it to be noticed", every=0.1)
    assert worker.get("/livez") == worker.get("/healthz") == 503
    os.kill(daemon, signal.SIGKILL)
    until(lambda: worker.get("/livez") == 200, "the next daemon to count as alive", every=0.02)
    assert worker.stop() == 0


def test_restarts_are_counted(start: Start) -> None:
    worker = start(WAITS)
    os.kill(worker.first("up")["pid"], signal.SIGKILL)
    until(lambda: len(worker.said("up")) == 2, "the second daemon")
    _, text = worker.request("/metrics")
    assert "consumer_daemon_restarts_total 1.0\n" in text
    assert "consumer_daemon_up 1.0\n" in text
    worker.stop()


def test_a_line_that_is_not_json_becomes_a_log_line_of_the_supervisor(start: Start) -> None:
    worker = start(f"{SAY}print('Error: could not create the JVM'); sys.exit(1)", CONSUMER_RESTARTS="0")
    worker.process.wait(60)
    (line,) = worker.said("Error: could not create the JVM")
    assert line["logger"] == "consumer.supervisor.java"


def test_a_stderr_that_nobody_reads_does_not_prevent_a_stop(tmp_path: Path) -> None:
    up = tmp_path / "up"
    flood = (
        f"{SAY}n = 0\nwhile True:\n say(message='x' * 10_000)\n n += 1\n n == 100 and open({str(up)!r}, 'w').close()"
    )
    command = [sys.executable, "-c", WORKER, flood]
    process = subprocess.Popen(command, env=environment(tmp_path), stderr=subprocess.PIPE)
    until(up.exists, "a megabyte of log that nobody reads")
    process.terminate()
    assert process.wait(60) == 0
    assert process.stderr
    process.stderr.close()


# --- Before the start ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("address", "warnings"), [("127.0.0.1:0", 0), ("0.0.0.0:0", 1)])
def test_metrics_that_other_machines_can_reach_cause_a_warning(start: Start, address: str, warnings: int) -> None:
    worker = start(WAITS, CONSUMER_METRICS_ADDRESS=address)
    worker.first("daemon started")
    assert [
        line["level"] for line in worker.said("metrics are reachable from other machines without authentication")
    ] == ["WARNING"] * warnings


def test_a_port_in_use_is_reported_before_the_start(start: Start, tmp_path: Path) -> None:
    first = start(WAITS)
    port = first.first("serving metrics")["port"]
    command = [sys.executable, "-c", WORKER, WAITS]
    second = subprocess.run(
        command,
        env=environment(tmp_path, CONSUMER_METRICS_ADDRESS=f"127.0.0.1:{port}"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "CONSUMER_METRICS_ADDRESS: cannot listen" in second.stderr
    assert "daemon started" not in second.stderr


# --- On a terminal -------------------------------------------------------------------------------------------------


def shown(terminal: int) -> str:
    """All that was written to the terminal until it was closed."""
    seen = b""
    with suppress(OSError):  # the error of a pseudo-terminal whose other end is closed
        while more := os.read(terminal, 65_536):
            seen += more
    return seen.decode()


def test_on_a_terminal_all_lines_are_human_readable(tmp_path: Path) -> None:
    line = "{'time': '2026-01-31T12:34:56.789+00:00', 'level': 'WARNING', 'logger': 'software.amazon.kinesis.X'"
    program = f"{SAY}say(**{line}, 'message': 'from the JVM', 'error': 'java.E\\n\\tat X'}})\nos.write(1, b'bare\\n')"
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", WORKER, program]
    variables = environment(tmp_path, CONSUMER_RESTARTS="0")
    process = subprocess.Popen(command, env=variables, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs)
    os.close(theirs)
    text = shown(ours)
    os.close(ours)
    assert process.wait(60) == 1

    lines = text.split("\r\n")
    start = next(number for number, each in enumerate(lines) if each.startswith("12:34:56.789"))
    assert lines[start].endswith("WARNING \x1b[0m X from the JVM")
    assert lines[start + 1 : start + 3] == ["    java.E", "    \\x09at X"]
    assert [each for each in lines if each.endswith("consumer.supervisor.java bare")]
    assert [each for each in lines if re.search(r"consumer\.supervisor daemon started daemon=\d+$", each)]
    assert '{"time"' not in text
