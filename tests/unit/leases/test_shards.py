"""Which shards should be read now: by shards and leases, through splits and merges."""

from collections.abc import Sequence

import pytest

from consumer.leases.kcl_tables import Lease
from consumer.leases.shards import Progress, Shard

OPEN, CLOSED = True, False
END = "SHARD_END"
SPLIT = (Shard("p", CLOSED), Shard("a", OPEN, ("p",)), Shard("b", OPEN, ("p",)))
MERGED = (Shard("p", CLOSED), Shard("q", CLOSED), Shard("a", OPEN, ("p", "q")))


def lease(shard: str, checkpoint: str = "49") -> Lease:
    return Lease(shard, None, checkpoint, 0, 1, 0)


@pytest.mark.parametrize(
    ("stream", "leases", "unfinished"),
    [
        ([], [], []),
        ([Shard("a", OPEN), Shard("b", OPEN)], [], ["a", "b"]),
        ([Shard("a", OPEN), Shard("b", OPEN)], [lease("a")], ["a", "b"]),
        (SPLIT, [], ["p"]),
        (SPLIT, [lease("p")], ["p"]),
        (SPLIT, [lease("p"), lease("a", "TRIM_HORIZON")], ["p"]),
        (SPLIT, [lease("p", END)], ["a", "b"]),
        (SPLIT, [lease("p", END), lease("a"), lease("b")], ["a", "b"]),
        (SPLIT, [lease("a"), lease("b")], ["a", "b"]),
        (SPLIT[1:], [], ["a", "b"]),
        (MERGED, [lease("p"), lease("q")], ["p", "q"]),
        (MERGED, [lease("p", END), lease("q")], ["q"]),
        (MERGED, [lease("p", END), lease("q", END)], ["a"]),
        (SPLIT[1:], [lease("p")], ["p"]),
        (SPLIT[1:], [lease("p", END), lease("a")], ["a", "b"]),
    ],
    ids=[
        "no shard",
        "a new stream",
        "one lease is missing",
        "a split one without leases",
        "its parent is read",
        "its child waits",
        "its parent is read to its end",
        "its children are read",
        "its parent's lease is removed",
        "its parent has expired",
        "both parents are read",
        "one parent is read to its end",
        "both parents are read to their end",
        "its parent has expired unread",
        "its parent has expired read",
    ],
)
def test_the_shards_that_should_be_read_now(
    stream: Sequence[Shard], leases: Sequence[Lease], unfinished: Sequence[str]
) -> None:
    assert Progress.of(stream, leases).unfinished() == unfinished
