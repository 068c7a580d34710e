"""The plan of a rewind from shards and leases in memory, and what it writes while a worker may start."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from consumer.admin import rewind
from consumer.admin.rewind import Plan, Rewinder
from consumer.engine.errors import SettingsError, Unavailable
from consumer.leases.rewinding import Effect, Move
from consumer.settings import Settings, load
from tests.support.simulation.kinesis import Invalid, Kinesis, Missing, Shard

NOW = 1_700_000_000
HOUR = 3600
ORIGIN = "arn:aws:kinesis:eu-north-1:000000000000:stream/events made at 2026-01-01T00:00:00Z"
OTHER = ORIGIN.replace("2026", "2025")
FIVE = Shard([(number * 10, NOW - (6 - number) * HOUR) for number in range(1, 6)])
"""Records 10 to 50, which arrived 5 to 1 hours ago."""

Row = dict[str, Any]


class Refused(ClientError):
    """The condition of a write does not hold."""


@dataclass
class Dynamo:
    """The lease table. It applies the writes of a rewind, on the conditions that lease_store.py sets."""

    rows: dict[str, Row]
    before_write: Callable[[str], None] = lambda _: None
    exceptions: Any = field(
        default_factory=lambda: SimpleNamespace(
            ConditionalCheckFailedException=Refused, ResourceNotFoundException=Missing
        )
    )

    def get_paginator(self, operation: str) -> Any:
        assert operation == "scan"
        return SimpleNamespace(paginate=self._pages)

    def _pages(self, TableName: str, **_: Any) -> Iterator[Any]:  # noqa: N803
        yield {"Items": [dict(row) for row in self.rows.values()] if TableName == "app" else []}

    def update_item(self, Key: Any, ExpressionAttributeValues: Any, **_: Any) -> None:  # noqa: N803
        shard, values = Key["leaseKey"]["S"], ExpressionAttributeValues
        self.before_write(shard)
        row = self.rows.get(shard, {})
        seen = (values[":seen"], values[":from"], values[":sub"], values.get(":owner"))
        if (*(row.get(each) for each in ("leaseCounter", "checkpoint", SUB, "leaseOwner")),) != seen:
            raise Refused({}, "UpdateItem")
        counter = str(int(row["leaseCounter"]["N"]) + 1)
        row |= {"checkpoint": values[":to"], SUB: values[":zero"], "leaseCounter": {"N": counter}}
        row.pop("leaseOwner", None)

    def put_item(self, Item: Row, ConditionExpression: str, **_: Any) -> None:  # noqa: N803
        assert ConditionExpression == "attribute_not_exists(leaseKey)"
        shard = Item["leaseKey"]["S"]
        self.before_write(shard)
        if shard in self.rows:
            raise Refused({}, "PutItem")
        self.rows[shard] = Item


SUB = "checkpointSubSequenceNumber"


def row(shard: str, checkpoint: str, owner: str | None = None, origin: str = ORIGIN) -> Row:
    made: Row = {
        "leaseKey": {"S": shard},
        "checkpoint": {"S": checkpoint},
        SUB: {"N": "0"},
        "leaseCounter": {"N": "7"},
        "consumerStream": {"S": origin},
    }
    return made if owner is None else made | {"leaseOwner": {"S": owner}}


@dataclass
class Application:
    """A stream, its leases, and a clock that only `sleep` moves; `meanwhile` runs during the first second."""

    kinesis: Any
    dynamodb: Dynamo
    meanwhile: Callable[[], None] = lambda: None
    passed: float = 0.0
    start_at: str = "trim-horizon"
    done: list[str] = field(default_factory=list)

    def rewinder(self) -> Rewinder:
        given: Any = {
            "region": "eu-north-1",
            "stream_name": "events",
            "application_name": "app",
            "quarantine": "dir:q",
            "start_at": self.start_at,
        }
        dynamodb: Any = self.dynamodb
        pool = ThreadPoolExecutor(2)
        settings = load(Settings, **given)
        return Rewinder(settings, self.kinesis, dynamodb, pool, lambda: NOW, lambda: self.passed, self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.passed += seconds
        self.meanwhile()
        self.meanwhile = lambda: None

    def plan(self, to: str, only: str | None = None) -> Plan:
        return self.rewinder().plan(rewind.target_of(to), only)

    def apply(self, planned: Plan) -> list[str]:
        """The shards that were set, in order."""
        done: list[Move] = []
        try:
            self.rewinder().apply(planned, done.append)
        finally:
            self.done = [move.shard for move in done]
        return self.done

    def checkpoints(self) -> dict[str, str]:
        return {shard: row["checkpoint"]["S"] for shard, row in self.dynamodb.rows.items()}


def application(shards: Mapping[str, Shard], *rows: Row, **more: Any) -> Application:
    return Application(Kinesis(shards, NOW), Dynamo({each["leaseKey"]["S"]: each for each in rows}), **more)


def at(hours_ago: float) -> str:
    return datetime.fromtimestamp(NOW - hours_ago * HOUR, UTC).isoformat()


# --- Where reading continues ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("checkpoint", "to", "effect", "set_to", "hours"),
    [
        ("50", "trim-horizon", Effect.READS_AGAIN, "TRIM_HORIZON", 5),
        ("50", at(3.5), Effect.READS_AGAIN, "20", 3),
        ("50", at(3), Effect.READS_AGAIN, "20", 3),
        ("50", at(90), Effect.READS_AGAIN, "TRIM_HORIZON", 5),
        ("30", at(3), Effect.READS_AGAIN, "20", 1),
        ("10", at(3), Effect.SKIPS, "20", 1),
        ("TRIM_HORIZON", at(3), Effect.SKIPS, "20", 2),
        ("20", at(3), Effect.STAYS, None, 0),
        ("15", at(4), Effect.STAYS, None, 0),
        ("20", "latest", Effect.SKIPS, "50", 3),
        ("50", "latest", Effect.STAYS, None, 0),
        ("50", at(0.5), Effect.STAYS, None, 0),
        ("20", at(0.5), Effect.SKIPS, "50", 3),
        ("LATEST", "trim-horizon", Effect.READS_AGAIN, "TRIM_HORIZON", 5),
        ("LATEST", "latest", Effect.STAYS, "50", 0),
        ("TRIM_HORIZON", "trim-horizon", Effect.STAYS, None, 0),
        ("AT_TIMESTAMP", "trim-horizon", Effect.NOT_KNOWN, "TRIM_HORIZON", None),
        ("spoilt", "trim-horizon", Effect.NOT_KNOWN, "TRIM_HORIZON", None),
    ],
)
def test_an_open_shard(checkpoint: str, to: str, effect: Effect, set_to: str | None, hours: float | None) -> None:
    app = application({"a": FIVE}, row("a", checkpoint))

    planned = app.plan(to)

    [move] = planned.moves
    assert (move.effect, move.target and move.target.checkpoint) == (effect, set_to)
    assert move.seconds == (None if hours is None else hours * HOUR)
    assert planned.skips == ([move] if effect is Effect.SKIPS else [])
    assert app.checkpoints() == {"a": checkpoint}, "a plan changes nothing"
    app.apply(planned)
    assert app.checkpoints() == {"a": set_to or checkpoint}


def test_a_shard_that_starts_at_the_time_of_the_setting() -> None:
    app = application({"a": FIVE}, row("a", "AT_TIMESTAMP"), start_at=at(2))
    [move] = app.plan("trim-horizon").moves
    assert (move.effect, move.seconds) == (Effect.READS_AGAIN, 3 * HOUR)


def test_latest_in_an_empty_shard_reads_what_comes_next() -> None:
    """The word LATEST would skip what arrives before the next worker has started."""
    app = application({"a": Shard()}, row("a", "5"))
    assert app.plan("latest").writes == []


def test_a_checkpoint_that_kinesis_refuses_is_replaced() -> None:
    app = application({"a": Shard(FIVE.records, refused=(999,))}, row("a", "999"))
    planned = app.plan(at(3))
    assert [move.effect for move in planned.moves] == [Effect.NOT_KNOWN]
    app.apply(planned)
    assert app.checkpoints() == {"a": "20"}


def test_a_lease_loses_its_dead_owner_and_keeps_its_stream() -> None:
    """The counter increases, so that an owner that was only frozen cannot checkpoint any more."""
    app = application({"a": FIVE}, row("a", "50", owner="dead"))
    app.apply(app.plan("trim-horizon"))
    assert app.dynamodb.rows["a"] == {**row("a", "TRIM_HORIZON"), "leaseCounter": {"N": "8"}}


# --- A sequence number ---------------------------------------------------------------------------------------------

BIG = 10**30
LONG = Shard([(BIG + number, NOW - (6 - number) * HOUR) for number in range(1, 6)], first=BIG)
BEFORE = Shard([(BIG - 5, NOW - 9 * HOUR)], first=BIG - 10, last=BIG - 1)


def test_reading_continues_with_the_record_that_has_the_number() -> None:
    app = application({"a": BEFORE, "b": LONG}, row("a", "SHARD_END"), row("b", str(BIG + 5)))
    planned = app.plan(str(BIG + 3))
    assert [(move.shard, move.target and move.target.checkpoint) for move in planned.moves] == [("b", str(BIG + 2))]
    assert planned.moves[0].target is not None
    assert planned.moves[0].target.first is not None
    assert planned.moves[0].target.first.number == BIG + 3


@pytest.mark.parametrize(
    ("to", "only", "why"),
    [
        (str(BIG + 3), None, "it may be of a or b: say which with --shard"),
        (str(BIG - 1), None, "no shard has this sequence number"),
        (str(BIG - 1), "a", "no shard has this sequence number"),
        (str(BIG + 4), "a", "Kinesis refuses the sequence number"),
        ("latest", "c", "--shard c: no such shard; `consumer status` lists them"),
    ],
)
def test_a_number_or_a_shard_that_does_not_fit(to: str, only: str | None, why: str) -> None:
    shards = {"a": Shard(LONG.records, first=BIG, refused=(BIG + 4,)), "b": LONG}
    app = application(shards, row("a", str(BIG + 5)), row("b", str(BIG + 5)))
    with pytest.raises(SettingsError, match=why):
        app.plan(to, only)


@pytest.mark.parametrize("text", ["soon", "", "12", "2026-01-31", "2999-01-01T00:00:00Z", "-5", "1" * 200])
def test_a_place_of_another_form_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(SettingsError) as wrong:
        rewind.target_of(text)
    [line] = wrong.value.problems
    assert line.startswith(f"--to {text!r}: ")
    assert line.endswith("; or use the sequence number of a record")


# --- Closed shards, shards that have left the stream ---------------------------------------------------------------

CLOSED = Shard(FIVE.records, last=60)
CHILD = Shard([(70, NOW - 0.5 * HOUR)], first=61, parents=("a",))


@pytest.mark.parametrize(
    ("rows", "created"),
    [([row("a", "SHARD_END"), row("b", "70")], False), ([row("b", "70")], True)],
    ids=["at its end", "its lease is deleted"],
)
@pytest.mark.parametrize(("to", "place"), [("trim-horizon", "TRIM_HORIZON"), (at(3), "20")])
def test_a_closed_shard_and_its_child_are_set_back(rows: list[Row], created: bool, to: str, place: str) -> None:
    app = application({"a": CLOSED, "b": CHILD}, *(dict(each) for each in rows))

    planned = app.plan(to)

    closed, child = planned.moves
    assert (closed.lease is None, closed.open, closed.seconds) == (
        created,
        False,
        4 * HOUR if place[0] == "T" else 2 * HOUR,
    )
    assert (child.effect, child.seconds) == (Effect.READS_AGAIN, 0.5 * HOUR)
    assert app.apply(planned) == ["a", "b"], "parents first: their children wait for them"
    assert app.checkpoints() == {"a": place, "b": "TRIM_HORIZON"}


def test_a_lease_is_created_as_the_kcl_creates_it() -> None:
    app = application({"a": Shard(FIVE.records, last=60, parents=("x", "y")), "b": CHILD}, row("b", "70"))
    app.apply(app.plan("trim-horizon"))
    assert app.dynamodb.rows["a"] == {
        "leaseKey": {"S": "a"},
        "checkpoint": {"S": "TRIM_HORIZON"},
        "checkpointSubSequenceNumber": {"N": "0"},
        "leaseCounter": {"N": "0"},
        "ownerSwitchesSinceCheckpoint": {"N": "0"},
        "startingHashKey": {"S": "0"},
        "endingHashKey": {"S": "9"},
        "parentShardId": {"SS": ["x", "y"]},
        "consumerStream": {"S": ORIGIN},
    }


def test_a_closed_shard_that_ended_before_the_time_stays_at_its_end() -> None:
    app = application({"a": CLOSED, "b": CHILD}, row("a", "SHARD_END"), row("b", "70"))
    planned = app.plan(at(0.75))
    assert [(move.shard, move.effect) for move in planned.moves] == [("a", Effect.STAYS), ("b", Effect.READS_AGAIN)]


def test_a_closed_shard_is_never_set_to_its_end() -> None:
    """It is set to its last record: the KCL itself ends the shard, and starts its children."""
    app = application({"a": CLOSED, "b": CHILD}, row("a", "20"))
    planned = app.plan("latest")
    assert [(move.shard, move.effect) for move in planned.moves] == [("a", Effect.SKIPS), ("b", Effect.SKIPS)]
    app.apply(planned)
    assert app.checkpoints() == {"a": "50", "b": "70"}


def test_a_child_that_waits_for_its_parents_is_left_to_the_kcl() -> None:
    app = application({"a": CLOSED, "b": CHILD}, row("a", "50"))
    planned = app.plan("trim-horizon")
    assert [(move.shard, move.effect, move.lease) for move in planned.moves][1] == ("b", Effect.STAYS, None)
    assert [move.shard for move in planned.writes] == ["a"]


def test_a_shard_that_has_left_the_stream_stays() -> None:
    app = application({"b": CHILD}, row("a", "20"), row("b", "70"))
    planned = app.plan("trim-horizon")
    assert [move.effect for move in planned.moves] == [Effect.LEFT_THE_STREAM, Effect.READS_AGAIN]
    app.apply(planned)
    assert app.checkpoints() == {"a": "20", "b": "TRIM_HORIZON"}
    assert [move.effect for move in app.plan("trim-horizon", "a").moves] == [Effect.LEFT_THE_STREAM]


def test_a_merged_shard_is_not_rewound_alone() -> None:
    shards = {"a": CLOSED, "b": CLOSED, "c": Shard([(70, NOW)], first=61, parents=("a", "b"))}
    app = application(shards, row("a", "SHARD_END"), row("b", "SHARD_END"), row("c", "70"))
    with pytest.raises(SettingsError, match="a was merged with b, and the KCL could not end it alone"):
        app.plan("trim-horizon", "a")
    assert [move.shard for move in app.plan("trim-horizon", "c").writes] == ["c"]


def test_only_one_shard() -> None:
    app = application({"a": FIVE, "b": FIVE}, row("a", "50"), row("b", "50"))
    app.apply(app.plan("trim-horizon", "b"))
    assert app.checkpoints() == {"a": "50", "b": "TRIM_HORIZON"}


# --- A worker that runs, or starts ---------------------------------------------------------------------------------


def renewed(app: Application, shard: str) -> None:
    counter = app.dynamodb.rows[shard]["leaseCounter"]
    app.dynamodb.rows[shard]["leaseCounter"] = {"N": str(int(counter["N"]) + 1)}


def test_it_refuses_while_a_lease_is_renewed() -> None:
    app = application({"a": FIVE}, row("a", "50", owner="w"))
    app.meanwhile = lambda: renewed(app, "a")
    with pytest.raises(Unavailable, match="application app is running: the lease of a has just changed: stop every"):
        app.plan("trim-horizon")


def test_it_watches_for_the_failover_time() -> None:
    app = application({"a": Shard()}, row("a", "50", owner="dead"))
    app.plan("trim-horizon")
    assert 5.0 <= app.passed < 7.0, "5 s of failover time, and pauses between requests"


@pytest.mark.parametrize(
    ("leased", "start", "left"),
    [
        ([row("b", "50")], lambda app: renewed(app, "b"), "50"),
        ([], lambda app: app.dynamodb.rows.update(b=row("b", "SHARD_END")), "SHARD_END"),
    ],
    ids=["renews a lease", "creates a lease"],
)
def test_a_worker_that_starts_meanwhile_wins(
    leased: list[Row], start: Callable[[Application], None], left: str
) -> None:
    """What was set before stays set, and is reported; the rest is left to the worker."""
    shards = {"a": FIVE, "b": CLOSED, "c": Shard(FIVE.records, parents=("b",))}
    app = application(shards, row("a", "50"), *map(dict, leased), row("c", "50"))
    planned = app.plan("trim-horizon")
    assert [move.shard for move in planned.writes] == ["a", "b", "c"]
    app.dynamodb.before_write = lambda shard: start(app) if shard == "b" else None
    with pytest.raises(Unavailable, match="b: a worker has changed its lease: it and the shards after it are not set"):
        app.apply(planned)
    assert app.done == ["a"]
    assert app.checkpoints() == {"a": "TRIM_HORIZON", "b": left, "c": "50"}


def test_leases_of_another_stream_are_refused() -> None:
    app = application({"a": FIVE}, row("a", "50", origin=OTHER))
    with pytest.raises(SettingsError, match=f"leases of application app are of stream {OTHER}"):
        app.plan("trim-horizon")


def test_without_leases_there_is_nothing_to_rewind() -> None:
    with pytest.raises(Unavailable, match="application app has no leases: there is nothing to rewind"):
        application({"a": FIVE}).plan("trim-horizon")


def test_an_error_of_aws_is_one_line() -> None:
    app = application({"a": FIVE}, row("a", "50"))
    denied = Invalid({"Error": {"Code": "AccessDeniedException"}}, "ListShards")
    app.kinesis.get_paginator = lambda _: (_ for _ in ()).throw(denied)
    with pytest.raises(Unavailable, match=r"^rewind of application app: AccessDeniedException$"):
        app.plan("trim-horizon")
