"""`consumer status` on a terminal of 80 columns."""

from dataclasses import replace

import pytest
from rich.console import Console

from consumer.admin import status, status_words
from consumer.admin.status import NOT_REQUESTED, Lag, Quarantine, Shard, Status, Stream
from consumer.cli import status_tables
from consumer.leases.kcl_tables import Layout, Lease, Lock, Report, Tables

DIGITS = "49590338271490256608559692538361571095921575989136588898"
EMPTY = Quarantine("s3://bucket/q", 0)


def lease(shard: str, owner: str | None = "ip-10-0-1-17:8:3f9a1c52", checkpoint: str = DIGITS) -> Lease:
    return Lease(shard, owner, checkpoint, 0, 1, 0)


def seen(
    *leases: Lease,
    lags: dict[str, Lag] | None = None,
    leader: str | None = "ip-10-0-1-17:8:3f9a1c52",
    quarantine: Quarantine = EMPTY,
) -> Status:
    """An application with the shards a and b, and their parent p, which was read to its end."""
    shards = [Shard("p", False), Shard("a", True, ("p",)), Shard("b", True, ("p",))]
    ended = Lease("p", None, "SHARD_END", 0, 1, 0)
    tables = Tables(
        Layout.THREE_TABLES,
        [ended, *leases],
        [Report("ip-10-0-1-17:8:3f9a1c52", 95, {"cpu": 35})],
        Lock(leader, "1") if leader else None,
    )
    workers = status.workers(tables, now=100.0, silent_after=6.0)
    alive = [worker.name for worker in workers if worker.alive]
    found = status.shards(shards, tables, lags or {}, alive)
    return Status(100.0, "limits", Stream("events", "ACTIVE", 24, shards), tables, found, workers, quarantine)


def drawn(status: Status) -> str:
    console = Console(width=80, highlight=False, markup=False)
    with console.capture() as capture:
        console.print(status_tables.whole(status))
    return capture.get()


def row(text: str, name: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(f"{name} "))


def test_without_problems_every_shard_has_a_live_owner() -> None:
    text = drawn(seen(lease("a"), lease("b"), lags={"a": Lag(0.0), "b": Lag(3.21)}))
    assert "every shard has a live owner; 1 shards are done" in text
    assert row(text, "a").split() == ["a", "ip-10-0-1-17:8:3f9a1c52", f"…{DIGITS[-12:]}", "-"]
    assert row(text, "b").split()[-2:] == ["3.2", "s"]
    assert row(text, "ip-10-0-1-17:8:3f9a1c52").split()[1:] == ["2", "5.0", "s", "ago", "cpu", "35", "%", "leader"]
    assert not [line for line in text.splitlines() if line.startswith("p ")]
    assert all(len(line) <= 80 for line in text.splitlines())


@pytest.mark.parametrize(
    ("leases", "note"),
    [
        ([], "no lease"),
        ([lease("a", None)], "no owner"),
        ([lease("a", "gone")], "owner silent"),
        ([lease("a", checkpoint="TRIM_HORIZON")], "nothing checkpointed yet"),
    ],
)
def test_a_problem_is_in_the_row_of_its_shard(leases: list[Lease], note: str) -> None:
    text = drawn(seen(*leases, lease("b")))
    assert row(text, "a").rstrip().endswith(note)
    assert "1 of 2 shards have problems" in text


def test_leases_of_another_stream_are_reported_first() -> None:
    text = drawn(
        seen(replace(lease("a"), origin="arn:aws:kinesis:x made at t"), lease("b"), lags={"a": Lag(0.0), "b": Lag(0.0)})
    )
    assert "leases belong to another stream: arn:aws:kinesis:x made at t" in text
    assert "live owner" not in text


def test_a_missing_leader_and_a_quarantine_with_records() -> None:
    text = drawn(seen(lease("a"), lease("b"), leader=None, quarantine=Quarantine("s3://bucket/q", 1_234)))
    assert "leader none" in text
    assert "quarantine 1,234 records in s3://bucket/q" in text


def test_unknown_values_have_a_reason() -> None:
    unknown = Quarantine("s3://bucket/q", None, "quarantine bucket bucket: AccessDenied")
    text = drawn(seen(lease("a"), lease("b"), lags={"a": Lag(None, "Throttled")}, quarantine=unknown))
    assert "quarantine not known: quarantine bucket bucket: AccessDenied" in text
    assert "?" in row(text, "a")
    assert "lag: Throttled" in row(text, "a")


def test_notes_are_joined_and_a_lag_that_was_not_requested_has_none() -> None:
    found = seen(lease("a", None, "TRIM_HORIZON"), lease("b"), lags={"a": NOT_REQUESTED, "b": NOT_REQUESTED})
    notes = {shard.name: status_tables.note(shard).plain for shard in found.shards}
    assert notes == {"a": "no owner, nothing checkpointed yet", "b": "", "p": ""}


@pytest.mark.parametrize(
    ("seconds", "style"), [(0, "green"), (59, ""), (61, "yellow"), (12 * 3600, "yellow"), (12.1 * 3600, "bold red")]
)
def test_the_colour_of_a_lag_depends_on_the_retention(seconds: float, style: str) -> None:
    assert status_tables.lag(Lag(seconds), retention_hours=24).style == style


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.42, "0.4 s"), (59.6, "60 s"), (100, "1.7 min"), (5_999, "100 min"), (6_000, "1.7 h"), (200_000, "2.3 d")],
)
def test_durations_have_two_digits(seconds: float, text: str) -> None:
    assert status_words.duration(seconds) == text
