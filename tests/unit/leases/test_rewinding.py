"""What a rewind means for each shard, and whether a worker runs."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from consumer.leases.kcl_tables import Layout, Lease, Lock, Report, Tables
from consumer.leases.rewinding import Effect, First, Known, Move, Place, partners, plan, sign_of_life
from consumer.leases.shards import Shard

NOW = 1_800_000_000.0
HOUR = 3600.0
END = Place("SHARD_END", None)
LARGE = 10**55
"""As in AWS: larger than a float can tell apart."""


def lease(shard: str = "a", checkpoint: str = "49") -> Lease:
    return Lease(shard, None, checkpoint, 0, 1, 0)


def place(first: int | None, hours_ago: float = 0.0, checkpoint: str = "x") -> Place:
    return Place(checkpoint, None if first is None else First(first, NOW - hours_ago * HOUR))


OPEN = Shard("a", True)


def known(current: Place | None, target: Place, shard: Shard = OPEN, until: float = NOW) -> Known:
    return Known(shard, lease(shard.name), current, target, until)


def the_move(found: Known) -> Move:
    [move] = plan([found])
    return move


@pytest.mark.parametrize(
    ("current", "target", "effect", "hours"),
    [
        (place(50, 1), place(20, 4), Effect.READS_AGAIN, 3),
        (place(None), place(20, 4), Effect.READS_AGAIN, 4),
        (place(LARGE + 2, 1), place(LARGE + 1, 2), Effect.READS_AGAIN, 1),
        (place(20, 4), place(50, 1), Effect.SKIPS, 3),
        (place(20, 4), place(None), Effect.SKIPS, 4),
        (place(20, 4), place(20, 4), Effect.STAYS, 0),
        (place(None), place(None), Effect.STAYS, 0),
        (None, place(20, 4), Effect.NOT_KNOWN, None),
    ],
    ids=["back", "back from the end", "large", "forward", "to the end", "the same", "nothing there", "refused"],
)
def test_the_first_records_decide(current: Place | None, target: Place, effect: Effect, hours: float | None) -> None:
    move = the_move(known(current, target))
    assert (move.effect, move.seconds) == (effect, None if hours is None else hours * HOUR)
    assert move.target == (None if effect is Effect.STAYS else target)


def test_latest_is_replaced_even_if_nothing_lies_between() -> None:
    """It would skip what arrives before the next worker has started."""
    move = the_move(known(Place("LATEST", None), place(None)))
    assert (move.effect, move.target) == (Effect.STAYS, place(None))


def test_a_shard_that_was_read_to_its_end_is_counted_to_its_last_record() -> None:
    closed = Shard("a", False)
    move = the_move(known(END, place(20, 10), closed, until=NOW - 6 * HOUR))
    assert (move.effect, move.seconds) == (Effect.READS_AGAIN, 4 * HOUR)


def test_without_arrival_times_it_is_not_known_how_long() -> None:
    move = the_move(known(place(50, 1), Place("x", First(20, None))))
    assert (move.effect, move.seconds) == (Effect.READS_AGAIN, None)


def test_a_shard_that_has_left_the_stream_is_reported_and_not_written() -> None:
    moves = plan([known(place(50), place(20), Shard("b", True))], [lease("a")])
    assert [(move.shard, move.effect) for move in moves] == [("a", Effect.LEFT_THE_STREAM), ("b", Effect.READS_AGAIN)]
    assert moves[0].target is None
    assert moves[0].to_json() == {
        "shard": "a",
        "state": "gone",
        "effect": "left-the-stream",
        "from": "49",
        "fromSubSequenceNumber": 0,
        "to": None,
        "createsLease": False,
        "firstRecord": None,
        "firstRecordAt": None,
        "hours": None,
    }


def test_a_move_as_json() -> None:
    shown = the_move(replace(known(END, place(LARGE, 1.5, "49")), lease=None)).to_json()
    assert (shown["from"], shown["to"], shown["createsLease"]) == (None, "49", True)
    assert (shown["firstRecord"], shown["firstRecordAt"], shown["hours"]) == (str(LARGE), NOW - 1.5 * HOUR, 1.5)


# --- Closed shards whose leases the KCL has deleted ----------------------------------------------------------------

MERGED = (Shard("p", False), Shard("q", False), Shard("r", False, ("p", "q")), Shard("s", True, ("r",)))


def rewound(back: Sequence[str], shards: Sequence[Shard], leased: Sequence[str]) -> dict[str, bool]:
    """By shard with a new checkpoint: whether its lease is created. `back`: shards with something to be read again."""
    found = [
        replace(
            known(
                END if not each.open else place(50), place(20 if each.name in back else None if not each.open else 50)
            ),
            shard=each,
            lease=lease(each.name) if each.name in leased else None,
        )
        for each in shards
    ]
    return {move.shard: move.lease is None for move in plan(found) if move.target}


@pytest.mark.parametrize(
    ("back", "leased", "written"),
    [
        (["s"], ["s"], {"s": False}),
        (["p", "s"], ["s"], {"p": True, "q": True, "r": True, "s": False}),
        (["q", "s"], ["s"], {"p": True, "q": True, "r": True, "s": False}),
        (["q", "s"], ["p", "q", "r", "s"], {"q": False, "s": False}),
        (["r", "s"], ["s"], {"r": True, "s": False}),
        ([], ["s"], {}),
    ],
    ids=["open alone", "first of a merge", "second of a merge", "all have leases", "between", "nothing"],
)
def test_leases_around_a_closed_shard_are_created_too(
    back: list[str], leased: list[str], written: dict[str, bool]
) -> None:
    """Children wait only for a parent with a lease; KCL ends a merged shard only beside the lease of the other one."""
    assert rewound(back, MERGED, leased) == written


def test_an_open_shard_without_a_lease_is_left_to_the_kcl() -> None:
    """It starts after its parents, at the oldest record."""
    shards = (Shard("p", False), Shard("a", True, ("p",)))
    assert rewound(["p"], shards, ["p"]) == {"p": False}


def test_partners_are_the_shards_of_a_merge() -> None:
    assert partners(MERGED) == {"p": ("q",), "q": ("p",)}


# --- Whether a worker runs -----------------------------------------------------------------------------------------

TABLES = Tables(Layout.THREE_TABLES, [lease("a"), lease("b")], [Report("w", 100, {})], Lock("w", "v1"))


def test_what_does_not_change_shows_no_life() -> None:
    """Neither does the name of an owner, however alive it looks."""
    owned = replace(TABLES, leases=[replace(lease("a"), owner="w")])
    assert sign_of_life(owned, replace(owned, leases=[replace(lease("a"), owner="w")])) is None


@pytest.mark.parametrize(
    ("after", "what"),
    [
        (replace(TABLES, leases=[lease("a"), replace(lease("b"), counter=2)]), "the lease of b"),
        (replace(TABLES, leases=[lease("a"), replace(lease("b"), owner="w")]), "the lease of b"),
        (replace(TABLES, leases=[lease("b")]), "the lease of a"),
        (replace(TABLES, leases=[*TABLES.leases, lease("c")]), "the lease of c"),
        (replace(TABLES, reports=[Report("w", 102, {})]), "the report of w"),
        (replace(TABLES, reports=[*TABLES.reports, Report("x", 1, {})]), "the report of x"),
        (replace(TABLES, lock=Lock("w", "v2")), "the leader's lock of w"),
        (replace(TABLES, lock=None), "the leader's lock of w"),
    ],
    ids=["renewed", "taken", "deleted", "created", "reported", "a new worker", "heartbeat", "released"],
)
def test_what_changes_shows_life(after: Tables, what: str) -> None:
    assert sign_of_life(TABLES, after) == what
