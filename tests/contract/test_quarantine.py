"""What every quarantine does alike: in memory, in a directory, and in S3."""

import base64
import json
import re
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from consumer.engine.errors import Reason, Unavailable
from consumer.engine.quarantine import Countable, Quarantine, Quarantined, path_of
from consumer.engine.records import Position, Record
from consumer.stores.directory import DirectoryQuarantine
from tests.contract.conftest import Bucket

HOSTILE = ("", ".", "..", "../..", "/", "a/b", "%2F", "\0", "\n", "\u00e9", "\ud800", "a-1", "a.json", "~", "x" * 5_000)


def entry(
    sequence: str = "1", data: bytes = b"{}", *, sub: int = 0, stream: str = "limits", detail: str = "not JSON"
) -> Quarantined:
    position = Position(stream, "shardId-000000000000", sequence, sub)
    return Quarantined(Record(position, data, 1_767_225_600_000), Reason.JSON, detail)


def test_nothing_is_there_before_something_is_put(quarantine: Quarantine) -> None:
    assert list(quarantine.entries()) == []
    quarantine.put([])
    assert list(quarantine.entries()) == []


@pytest.mark.parametrize("data", [b"", b"\0", b"\xf3\x89\x9a\xc2", b"\xef\xbb\xbf{}", bytes(range(256)) * 1_000])
def test_the_bytes_are_kept_as_they_came(quarantine: Quarantine, data: bytes) -> None:
    quarantine.put([entry(data=data)])
    assert list(quarantine.entries()) == [entry(data=data)]


def test_entries_come_in_the_order_of_their_paths(quarantine: Quarantine) -> None:
    put = [
        entry(f"{number}", sub=sub, stream=stream)
        for number, sub, stream in product((9, 10, 11), (0, 1), ("b", "a", "a-b"))
    ]
    quarantine.put(put)
    assert list(quarantine.entries()) == sorted(put, key=lambda each: path_of(each.record.position))


def test_putting_one_again_overwrites_it(quarantine: Quarantine) -> None:
    quarantine.put([entry(detail="first"), entry("2")])
    quarantine.put([entry(detail="second")])
    assert list(quarantine.entries()) == [entry(detail="second"), entry("2")]


def test_records_of_one_aggregate_do_not_overwrite_each_other(quarantine: Quarantine) -> None:
    put = [entry(sub=sub) for sub in range(3)]
    quarantine.put(put)
    assert len(list(quarantine.entries())) == 3


def test_its_size_is_known(quarantine: Countable) -> None:
    assert quarantine.size() == 0
    quarantine.put([entry("1"), entry("2"), entry("2", sub=1), entry("1", stream="other")])
    assert quarantine.size() == 4
    quarantine.drop(entry("1").record.position)
    assert quarantine.size() == len(list(quarantine.entries())) == 3


def test_what_is_dropped_is_gone_and_nothing_else(quarantine: Quarantine) -> None:
    quarantine.put([entry("1"), entry("2"), entry("2", sub=1)])
    quarantine.drop(entry("2").record.position)
    assert list(quarantine.entries()) == [entry("1"), entry("2", sub=1)]


def test_dropping_what_is_not_there_is_no_error(quarantine: Quarantine) -> None:
    quarantine.put([entry("1")])
    quarantine.drop(entry("2").record.position)
    assert list(quarantine.entries()) == [entry("1")]


def test_an_entry_may_be_dropped_while_they_are_looked_through(quarantine: Quarantine) -> None:
    quarantine.put([entry(f"{number}") for number in range(10, 15)])
    for each in quarantine.entries():
        quarantine.drop(each.record.position)
    assert list(quarantine.entries()) == []


def test_hostile_positions_are_kept_apart_and_lead_nowhere(quarantine: Quarantine, tmp_path: Path) -> None:
    put = [
        Quarantined(
            Record(Position(stream, shard, sequence), ascii((stream, shard, sequence)).encode()), Reason.SCHEMA, ""
        )
        for stream, shard, sequence in product(HOSTILE, repeat=3)
    ][::5]
    before = set(tmp_path.parent.iterdir())
    quarantine.put(put)
    assert set(quarantine.entries()) == set(put)
    assert set(tmp_path.parent.iterdir()) == before
    assert {path.name for path in tmp_path.iterdir()} <= {"quarantine"}
    quarantine.drop(put[0].record.position)
    assert set(quarantine.entries()) == set(put[1:])


# a directory


def test_a_file_says_what_where_and_why(tmp_path: Path) -> None:
    DirectoryQuarantine(tmp_path).put([entry("4965", b"{]", sub=2)])
    (file,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert file.relative_to(tmp_path) == Path("limits/shardId-000000000000/4965-2.json")
    assert json.loads(file.read_text()) == {
        "reason": "JSON",
        "detail": "not JSON",
        "stream": "limits",
        "shard": "shardId-000000000000",
        "sequenceNumber": "4965",
        "subSequenceNumber": 2,
        "arrivedAt": 1_767_225_600_000,
        "data": base64.b64encode(b"{]").decode(),
    }


def test_a_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    DirectoryQuarantine(tmp_path).put([entry("4965")])
    assert [path.stat().st_mode & 0o777 for path in tmp_path.rglob("*.json")] == [0o600]


def test_what_a_crash_left_half_written_is_no_entry(tmp_path: Path) -> None:
    quarantine = DirectoryQuarantine(tmp_path)
    quarantine.put([entry("1")])
    (tmp_path / "limits" / "shardId-000000000000" / "2.77.tmp").write_text('{"reason": "JS')
    assert list(quarantine.entries()) == [entry("1")]


def test_a_directory_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Unavailable, match="Not a directory"):
        DirectoryQuarantine(tmp_path / "file" / "quarantine").put([entry()])


def test_an_entry_that_cannot_be_read_or_removed_is_unavailable(tmp_path: Path) -> None:
    quarantine = DirectoryQuarantine(tmp_path)
    (tmp_path / path_of(entry().record.position)).mkdir(parents=True)
    with pytest.raises(Unavailable, match="Is a directory"):
        list(quarantine.entries())
    with pytest.raises(Unavailable):
        quarantine.drop(entry().record.position)
    with pytest.raises(Unavailable):
        quarantine.put([entry()])


# S3


@pytest.mark.parametrize("prefix", ["quarantine", "/quarantine/", "", "/"])
def test_an_object_is_called_after_the_position(bucket: Bucket, prefix: str) -> None:
    bucket.quarantine(prefix).put([entry("4965", sub=2)])
    (found,) = bucket.client.list_objects_v2(Bucket=bucket.name)["Contents"]
    assert found["Key"] == "quarantine/limits/shardId-000000000000/4965-2.json"


def test_a_prefix_may_have_parts_and_hides_what_lies_beside_it(bucket: Bucket) -> None:
    bucket.quarantine("a/b").put([entry("1")])
    bucket.quarantine("a/bc").put([entry("2")])
    assert list(bucket.quarantine("/a/b/").entries()) == [entry("1")]


def test_more_objects_than_one_listing_holds(bucket: Bucket) -> None:
    put = [entry(f"{number}") for number in range(1_000, 2_050)]
    bucket.quarantine().put(put)
    assert list(bucket.quarantine().entries()) == put


def test_a_bucket_that_is_not_there_is_unavailable(bucket: Bucket) -> None:
    bucket.name = "not-there"
    quarantine = bucket.quarantine()
    with pytest.raises(Unavailable, match="NoSuchBucket"):
        quarantine.put([entry()])
    with pytest.raises(Unavailable, match="NoSuchBucket"):
        list(quarantine.entries())
    with pytest.raises(Unavailable, match="NoSuchBucket"):
        quarantine.drop(entry().record.position)


def test_a_server_that_is_not_there_is_unavailable(bucket: Bucket) -> None:
    bucket.client.meta.events.register("before-send.s3", refuse)
    with pytest.raises(Unavailable, match="EndpointConnectionError"):
        bucket.quarantine().put([entry()])


def refuse(**_: object) -> None:
    raise EndpointConnectionError(endpoint_url="there")


def test_of_several_that_are_put_only_those_that_failed_are_put_again(bucket: Bucket) -> None:
    """A third is refused in the first round, another in the second as well; a round tries each twice."""
    sent: Counter[str] = Counter()

    def refuse_some(request: Any, **_: object) -> None:
        sent[request.url] += 1
        number = int(re.findall(r"([0-9]+)\.json", request.url)[0])
        if sent[request.url] <= 2 * (number % 3):
            refuse()

    bucket.client.meta.events.register("before-send.s3", refuse_some)
    bucket.quarantine().put([entry(f"{number}") for number in range(10, 40)])
    bucket.client.meta.events.unregister("before-send.s3", refuse_some)
    assert Counter(sent.values()) == {1: 10, 3: 10, 5: 10}
    assert len(list(bucket.quarantine().entries())) == 30


def test_a_file_that_could_not_be_written_leaves_no_part_of_it(tmp_path: Path) -> None:
    in_the_way = tmp_path / path_of(entry().record.position)
    in_the_way.mkdir(parents=True)
    with pytest.raises(Unavailable, match="Is a directory"):
        DirectoryQuarantine(tmp_path).put([entry()])
    assert list(in_the_way.parent.iterdir()) == [in_the_way]
