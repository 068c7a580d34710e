"""`consumer run` in a terminal prints only what a person needs to know."""

import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.driven.processes import DIE_WITH_PARENT
from tests.support.driven.scenario import Stage
from tests.support.driven.terminal import Terminal, in_a_terminal
from tests.support.driven.waiting import until

LINE = re.compile(r"^\d\d:\d\d:\d\d\.\d{3} \x1b\[\d(?:;?\d)*m(?P<level>\w+) *\x1b\[0m (?P<logger>\S+) (?P<rest>.*)$")


@contextmanager
def service_in_a_terminal(stage: Stage) -> Iterator[Terminal]:
    command = [sys.executable, "-I", "-S", str(DIE_WITH_PARENT), sys.executable, "-m", "consumer", "run"]
    with in_a_terminal(command, stage.variables) as terminal:
        yield terminal


def test_a_terminal_shows_that_the_service_is_ready_and_that_it_stopped(stage: Stage) -> None:
    with service_in_a_terminal(stage) as terminal:
        ready = f"ready: 2 shards held, metrics at {stage.variables['CONSUMER_METRICS_ADDRESS']}"
        until(lambda: any(line.endswith(ready) for line in terminal.lines()), "the line that it is ready", seconds=180)
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.process.wait(30) == 0
    shown = terminal.lines()
    print(*shown, sep="\n")

    found = [LINE.match(line) for line in shown]
    assert all(found), "one line each: no trace, nothing of the JVM's own"
    lines = [match for match in found if match]
    assert sum("ready: " in match["rest"] for match in lines) == 1
    assert {match["logger"].split(".")[0] for match in lines if match["level"] == "INFO"} == {"consumer"}
    stopped, given_back = (match["rest"] for match in lines[-2:])
    assert stopped.startswith("stopped gracefully seconds=")
    assert given_back.startswith("leases given back shards=")
    assert not [match for match in lines if "143" in match["rest"].split()]
    assert not [match for match in lines if match["level"] in ("ERROR", "CRITICAL")]
