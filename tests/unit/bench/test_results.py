"""The stored results, the page and the pictures belong together, and the sizes follow from the formula."""

import json
import re

import pytest

from bench import cpu, goals, page, results, tables
from bench.model import fitted
from bench.results import Rounds, ratios
from bench.sizing import Measured, size

STORED = results.load(page.RESULTS)
MEASURED = Measured(event_bytes=400, worker_micros=50, writes_per_event=0.3, shard_mib={1: 50}, worker_mib=400)


@pytest.mark.parametrize("growth", STORED.growth, ids=lambda growth: growth.key)
def test_a_picture_shows_the_stored_results(growth: results.Growth) -> None:
    picture = (page.PICTURES / page.picture(growth.key)).read_text(encoding="utf-8")
    description = re.search(r"<dc:description>(.*?)</dc:description>", picture)

    assert description
    assert json.loads(description[1]) == [list(point) for point in growth.points]


def test_every_goal_was_measured() -> None:
    assert goals.RATIOS.keys() <= {row.key for row in STORED.rounds}
    assert goals.FIGURES.keys() <= {figure.key for figure in STORED.figures}
    assert {row.key for row in STORED.rounds} == set(cpu.KEYS)


def test_ratios_compare_runs_of_one_round() -> None:
    peer, ours = (Rounds(key, key, micros, 0, 0) for key, micros in (("peer", (100, 300)), ("ours", (50, 100))))

    assert ratios(peer, ours) == [2, 3]


def test_the_model_is_a_line() -> None:
    assert fitted([(0, 10), (0.5, 60), (1, 110)]) == pytest.approx((10, 100))


def test_a_small_load_needs_two_shards_and_one_task() -> None:
    need = size(MEASURED, 1_000)

    assert (need.shards, need.tasks, need.vcpu, need.gb) == (2, 1, 0.25, 1)
    assert need.write_units == pytest.approx(300)
    assert need.dollars["DynamoDB"] == pytest.approx(300 * 3_600 * 730 / 1e6 * 0.625)


def test_large_records_need_more_shards() -> None:
    assert size(Measured(4_096, 50, 0.3, {1: 50}, 400), 1_000).shards == 6


def test_a_task_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="no task has what a shard needs"):
        size(Measured(400, 50_000, 0.3, {1: 50}, 400), 100_000)


def test_costly_events_get_fewer_shards_a_task() -> None:
    need = size(Measured(400, 2_000, 0.3, {1: 50}, 400), 11_200)

    assert (need.shards, need.tasks, need.vcpu) == (16, 4, 16)


@pytest.mark.parametrize(("shards", "mib"), [(1, 454), (3, 562), (4, 560), (15, 1_000), (16, 800), (20, 900)])
def test_a_shard_needs_less_memory_beside_others(shards: int, mib: float) -> None:
    assert Measured(400, 50, 0.3, {1: 54, 4: 40, 16: 25}, 400).memory_mib(shards) == mib


def test_a_goal_that_is_not_reached_says_so() -> None:
    shown = tables.text(results.Results({}, figures=[results.Figure("write", "a write", "us", 61)]))

    assert re.search(r"a write +61\.0 +us +61\.0 +60 +35 +no", shown)


@pytest.mark.parametrize(("peer", "reached"), [(466, r"61\.0 +60 +35 +no"), (932, r"30\.5 +60 +35 +yes")])
def test_cpu_time_is_compared_at_the_pace_of_the_peer(peer: float, reached: str) -> None:
    rounds = [Rounds(cpu.PEER, "peer", (peer,), 1, 1)]
    shown = tables.text(results.Results({}, rounds, [results.Figure("write", "a write", "us", 61)]))

    assert re.search(rf"a write +61\.0 +us +{reached}", shown)


def test_memory_is_compared_as_it_is() -> None:
    rounds = [Rounds(cpu.PEER, "peer", (932,), 1, 1)]
    shown = tables.text(results.Results({}, rounds, [results.Figure("memory-1", "a shard", "MiB", 56)]))

    assert re.search(r"a shard +56\.0 +MiB +55 +40 +no", shown)
