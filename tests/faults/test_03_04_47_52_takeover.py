"""Rows 3, 4 and 47 to 52: a worker is killed, stops, freezes or loses its network, and another one takes its leases.

Without the supervisors, each row but the last two would wait for KCL's leader lock, which expires after two minutes.
The rows wait more than they compute, so several run at the same time. `make takeovers` measures them one by one.
"""

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from consumer.supervisor.supervisor import INITIALISED
from tests.faults.conftest import Note
from tests.support.driven.leases import hand_over, leases, owners
from tests.support.driven.takeovers import PLAYS, Play, Scene, played, signalled
from tests.support.driven.waiting import until
from tests.support.emulators.aws import Emulator
from tests.support.faults.proxy import delay, fault_proxy
from tests.support.faults.tunnel import tunnel

MOST_SECONDS = 60.0
"""Four times the goal on a quiet machine, as other tests run. KCL's leader lock expires after 120 seconds."""
AT_ONCE = 3
SLOW_REQUESTS = 40

UNREAD = "leases cannot be read"
"""What a supervisor logs when its look at the leases fails, here after 3 seconds for a request."""

MEASURED = PLAYS.keys() - {"first_record"}
GIVEN_BACK = ("only_one_stopped", "one_of_two_stopped")

TookOver = Callable[[str], None]
"""Asserts that in a play the leases were taken."""


@pytest.fixture(scope="module")
def plays(aws: Emulator, seed: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Play]]]:
    with ThreadPoolExecutor(AT_ONCE) as together:
        yield {name: together.submit(played, name, aws, tmp_path_factory.mktemp(name), seed) for name in MEASURED}


@pytest.fixture
def took_over(plays: dict[str, Future[Play]], note: Note) -> TookOver:
    def check(name: str) -> None:
        play = plays[name].result()
        note(f"every shard consumed again after {play.seconds:.1f} s")
        assert play.seconds < MOST_SECONDS
        assert play.logged("lease taken")
        if name in GIVEN_BACK:
            assert play.logged("leases given back", "leader", "old")

    return check


def test_03_kill_the_only_worker(took_over: TookOver) -> None:
    took_over("all_killed")


def test_04_kill_the_leader_of_two(took_over: TookOver) -> None:
    took_over("leader_killed")


def test_47_kill_the_only_worker_and_start_on_a_new_machine(took_over: TookOver) -> None:
    took_over("all_killed_on_a_new_machine")


def test_48_stop_the_only_worker(took_over: TookOver) -> None:
    took_over("only_one_stopped")


def test_48_stop_one_of_two(took_over: TookOver) -> None:
    took_over("one_of_two_stopped")


def test_48_switched_off_nothing_is_given_back_nor_taken(aws: Emulator, seed: int, tmp_path: Path) -> None:
    def switched_off(scene: Scene) -> float:
        old = scene.start("old")
        scene.consuming("old")
        assert old.stop() == 0
        assert set(owners(scene.stage)) == {"old"}
        scene.start("new")
        until(lambda: scene.logged(INITIALISED.decode(), "new"), "the new worker")
        for shard in leases(scene.stage):
            hand_over(scene.stage, shard, "new")
        seconds = scene.seconds_until_moving()
        assert scene.logged("leases given back") + scene.logged("lease taken") == []
        return seconds

    played("switched_off", aws, tmp_path, seed, switched_off, CONSUMER_TAKE_LEASES="false")


def test_49_freeze_the_leader(took_over: TookOver) -> None:
    took_over("leader_frozen")


def test_49_freeze_the_jvm_of_the_leader(took_over: TookOver) -> None:
    took_over("jvm_of_the_leader_frozen")


def test_50_cut_the_network_of_the_leader(took_over: TookOver) -> None:
    took_over("network_of_the_leader_cut")


@pytest.mark.parametrize(("delayed", "is_read"), [(1.0, True), (3.0, False)])
def test_51_a_slow_dynamodb_moves_no_lease(
    aws: Emulator, seed: int, tmp_path: Path, note: Note, delayed: float, *, is_read: bool
) -> None:
    """All requests of both workers are slow, too slow for the supervisors to read the leases or just not.

    Nobody takes a lease, and all goes on afterwards.
    """
    with fault_proxy(aws.endpoint, seed) as proxy:

        def slow(scene: Scene) -> float:
            scene.two()
            before = owners(scene.stage)
            taken, unread = len(scene.logged("lease taken")), len(scene.logged(UNREAD))
            with proxy.fault(delay(delayed)) as fault:
                until(lambda: fault.hits["Scan"] > SLOW_REQUESTS, "slow looks at the leases", seconds=300.0)
                assert (len(scene.logged(UNREAD)) == unread) is is_read
            note(f"{fault.hits.total()} requests of {delayed:g} s")
            assert len(scene.logged("lease taken")) == taken
            seconds = scene.seconds_until_moving()
            assert owners(scene.stage) == before
            return seconds

        played("slow_dynamodb", aws, tmp_path, seed, slow, AWS_ENDPOINT_URL_DYNAMODB=proxy.endpoint)


def test_52_a_worker_that_cannot_reach_kinesis_takes_nothing(aws: Emulator, seed: int, tmp_path: Path) -> None:
    with tunnel(aws.endpoint) as line:

        def unreachable(scene: Scene) -> float:
            first, _ = scene.two(other={"AWS_ENDPOINT_URL_KINESIS": line.endpoint})
            taken = scene.logged("lease taken", "other")
            line.stop()
            signalled(first, signal.SIGKILL)
            until(lambda: scene.logged("leases not taken: the stream cannot be reached", "other"), "a refusal")
            assert scene.logged("lease taken", "other") == taken
            line.heal()
            return scene.seconds_until_moving()

        played("unreachable_kinesis", aws, tmp_path, seed, unreachable)
