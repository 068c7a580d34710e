"""The benchmark of the archive rebuilds and verifies what it has archived, and reports a run that went wrong."""

import pytest

from bench import archive_cost
from bench.child import Failed
from bench.store import Store, in_memory


def test_every_figure_is_measured_in_each_round() -> None:
    reported: list[str] = []
    with in_memory() as store:
        figures = archive_cost.measure(store, 2, reported.append)

    assert [figure.key for figure in figures] == list(archive_cost.TITLES)
    assert all(0 < (figure.low or 0) <= figure.value <= (figure.high or 0) for figure in figures)
    assert len(reported) == 2


def test_a_run_that_went_wrong_is_an_error() -> None:
    with pytest.raises(Failed, match="the archive: exit code 1"):
        archive_cost.measure(Store("http://127.0.0.1:1"), 1, lambda _: None)
