"""What `consumer verify` shows of its findings, and its metrics."""

from collections import Counter
from pathlib import Path

import pytest

from consumer.admin.verify import Finding, Verified
from consumer.admin.verify_metrics import of_verified, write_textfile
from consumer.cli.verify import LISTED, show
from consumer.engine.comparison import Difference
from consumer.engine.errors import Unavailable
from consumer.monitoring import metrics

KEYS = ("userId", "userLimitId")
DIFFERENCE = Difference("progress", {"sequence": 3, "value": 5}, None)


def found(count: int, *, partial: bool = False) -> Verified:
    findings = [Finding((f"u-{number}", "l-1"), ("missing",), [DIFFERENCE], KEYS) for number in range(count)]
    return Verified(
        at=1_000.0, limits=50, missing=count, findings=findings, partial=partial, outcomes=Counter(applied=7)
    )


def test_both_states_are_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    show(found(1))
    shown = capsys.readouterr()
    title, headings, _, *rows = (line.split() for line in shown.out.splitlines() if line.strip())
    assert title == ['"u-0"', '"l-1":', "missing"]
    assert headings == ["attribute", "table", "archive"]
    assert rows[:2] == [["progress", "sequence:", "3", "-"], ["value:", "5"]]
    assert rows[-1] == ["missing:", "1", "unexplained:", "0"]
    assert shown.err == ""


def test_what_is_not_shown_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    show(found(LISTED + 3))
    shown = capsys.readouterr()
    assert shown.out.count('"l-1": missing') == LISTED
    assert shown.err == "consumer: 3 limits that differ are not shown\n"


def test_logs_get_no_users(capsys: pytest.CaptureFixture[str]) -> None:
    show(found(2), counts=True)
    shown = capsys.readouterr()
    assert "u-0" not in shown.out
    assert "missing: 2  unexplained: 0" in shown.out
    assert "u-0" not in str(found(2).to_json(counts=True))


def test_what_is_not_checked_is_not_zero(capsys: pytest.CaptureFixture[str]) -> None:
    show(found(0, partial=True))
    assert "unexplained: not checked with --since" in capsys.readouterr().out
    assert metrics.UNEXPLAINED_LIMITS not in {each.metric for each in of_verified(found(0, partial=True), "t")}
    assert {each.metric for each in of_verified(found(0), "t")} == set(metrics.VERIFICATION)


def test_the_textfile_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "consumer.prom"
    file.write_text("old")
    write_textfile(found(2), "user-limits", file)
    lines = file.read_text().splitlines()
    assert 'consumer_verify_missing_limits{table="user-limits"} 2.0' in lines
    assert 'consumer_verify_archived_records{table="user-limits"} 7.0' in lines
    assert list(tmp_path.iterdir()) == [file]


def test_a_textfile_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"absent/x.prom: No such file or directory: the metrics are not written"):
        write_textfile(found(0), "t", tmp_path / "absent" / "x.prom")
