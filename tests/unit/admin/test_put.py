"""`put` retries rejected records, and the events of a user share a partition key."""

from typing import TYPE_CHECKING, Any, cast

import pytest

from consumer.admin.put import BYTES, RECORDS, TRIES, Outgoing, outgoing, put, refuse_poison
from consumer.admin.sources import Origin, Source
from consumer.archive.place import InMemoryPlace
from consumer.archive.reading import Damaged
from consumer.engine.errors import SettingsError, Unavailable
from consumer.engine.folding import Outcome
from consumer.engine.records import Position, Record
from consumer.settings import RecordSettings
from tests.support.generators import corpus
from tests.support.generators.archived import SHARD, STREAM, write
from tests.support.generators.events import START, created, encode, foreign, records
from tests.support.generators.kpl import aggregate

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient


class Stream:
    """A fake Kinesis that rejects each record as often as `rejections` says, and records the order of the others."""

    def __init__(self, rejections: dict[bytes, int] | None = None) -> None:
        self.rejections = dict(rejections or {})
        self.taken: list[bytes] = []
        self.requests: list[list[Any]] = []

    def put_records(self, *, StreamName: str, Records: list[Any]) -> dict[str, Any]:  # noqa: N803 - boto3's names
        assert StreamName == "limits"
        self.requests.append(Records)
        return {"Records": [self._answer(record["Data"]) for record in Records]}

    def _answer(self, data: bytes) -> dict[str, str]:
        if self.rejections.get(data, 0) > 0:
            self.rejections[data] -= 1
            return {"ErrorCode": "ProvisionedThroughputExceededException"}
        self.taken.append(data)
        return {"SequenceNumber": str(len(self.taken))}


def put_on(stream: Stream, records: list[Outgoing]) -> tuple[int, list[int]]:
    progress: list[int] = []
    client = cast("KinesisClient", stream)
    return put(client, "limits", records, progress.append, pause=lambda _: None), progress


def numbered(count: int) -> list[Outgoing]:
    return [Outgoing("u", b"%d" % number) for number in range(count)]


def test_rejected_records_are_retried_and_counted_once() -> None:
    stream = Stream({b"1": 2, b"3": 1})

    assert put_on(stream, numbered(5)) == (5, [3, 1, 1])
    assert sorted(stream.taken) == [b"0", b"1", b"2", b"3", b"4"]


def test_a_record_that_is_always_rejected_is_reported() -> None:
    with pytest.raises(Unavailable, match="1 records rejected"):
        put_on(Stream({b"0": TRIES}), numbered(2))


def test_requests_stay_within_the_limits_of_kinesis() -> None:
    stream = Stream()
    put_on(stream, numbered(RECORDS + 1))
    large = [Outgoing("u", bytes([number]) * (BYTES // 4)) for number in range(8)]
    put_on(stream, large)

    assert [len(request) for request in stream.requests] == [RECORDS, 1, 3, 3, 2]


def test_the_user_is_the_partition_key() -> None:
    assert outgoing(b'{"aggregateId": "u-1"}').partition_key == "u-1"


@pytest.mark.parametrize("data", [b"nope", b"[]", b"{}", b'{"aggregateId": ""}', b'{"aggregateId": 7}', b"\xff"])
def test_a_record_without_a_user_has_a_partition_key_too(data: bytes) -> None:
    assert len(outgoing(data).partition_key) == 64


def refused(*data: object) -> list[str]:
    """The numbers of the refused records, and the reasons."""
    try:
        refuse_poison(RecordSettings(), "file", records(*data))
    except SettingsError as wrong:
        *lines, advice = wrong.problems
    else:
        return []
    assert advice.endswith("use --raw to put it unchanged")
    places = [line.removeprefix("file: record ").split(": ") for line in lines]
    return [f"{place.partition(' ')[0]} {reason}" for place, reason, *_ in places]


def test_known_and_unknown_events_are_put() -> None:
    assert refused(created(1), foreign("LIMIT_USER_CREATED"), foreign("NEW_TYPE"), aggregate(encode(created(2)))) == []


def test_records_that_are_poison_in_themselves_are_refused() -> None:
    assert refused(b"poison", created(1, value="-1"), created(2)) == ["1 JSON", "2 SCHEMA"]
    assert refused(aggregate(encode(created(1)), b"poison", encode(created(2)), b"[]")) == ["1 JSON", "1 NOT_OBJECT"]


def test_events_that_contradict_each_other_are_put() -> None:
    """Which of them is wrong depends on the table."""
    assert refused(created(1), created(2, currencyCode="EUR"), created(2, brandId="another")) == []


def test_only_the_poison_of_the_corpus_is_refused() -> None:
    entries = [entry for entry in corpus.load() if entry.after is None and entry.form is corpus.Form.BYTES]
    wrong = [
        entry.file
        for entry in entries
        if bool(refused(entry.data)) != any(each.outcome is Outcome.QUARANTINED for each in entry.expected)
    ]
    assert len(entries) > 300
    assert wrong == []


def test_a_text_in_place_of_the_data_is_named_and_not_put() -> None:
    place, damage = InMemoryPlace(), list[Damaged]()
    odd = Record.from_base64(Position(STREAM, SHARD, "1"), "{}", START)
    path = write(place, [odd, Record(Position(STREAM, SHARD, "2"), b'{"a":1}', START)])
    records = Source(place, Origin("dir:", STREAM)).all_records(damage.append, lambda _: None)
    assert [record.data for record in records] == [b'{"a":1}']
    assert [str(each) for each in damage] == [f"{path}: {odd.position}: RECORD_DATA: data is not base64"]
