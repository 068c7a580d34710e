"""A rebuild folds files as deliveries are folded, and goes on where it was interrupted."""

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumer import bootstrap
from consumer.admin.rebuild import SLICES, Done, Plan, Rebuilt, Total, _Folder, _of_shares
from consumer.admin.replay import replayer
from consumer.admin.sources import Origin, Source, origin_of
from consumer.archive.place import Found, InMemoryPlace, Place
from consumer.engine import aggregation
from consumer.engine.errors import Reason, SettingsError, Unavailable
from consumer.engine.folding import Outcome
from consumer.engine.records import Position, Record
from consumer.engine.repository import InMemoryRepository
from consumer.engine.retry_policy import NoRetry
from consumer.limits.state import LimitState
from consumer.settings import CoreSettings, RecordSettings
from consumer.stores.places import DirectoryPlace
from tests.support.generators.archived import SHARD, STREAM, numbered, write
from tests.support.generators.events import START, created, encode, foreign, progress_changed, reset
from tests.support.generators.kpl import aggregate

EVENTS = [
    encode(created(1)),
    encode(progress_changed(2)),
    encode(created(1, userId="u-2")),
    b"poison",
    encode(foreign("LIMIT_USER_CREATED")),
    encode(reset(3)),
]


@pytest.fixture
def place(tmp_path: Path) -> DirectoryPlace:
    return DirectoryPlace(tmp_path / "archive")


def folder(
    place: Place, user: str | None = None, origin: Origin | None = None
) -> tuple[_Folder, InMemoryRepository[LimitState]]:
    core, states = bootstrap.in_memory_processor(RecordSettings())
    return _Folder(replayer(core), Source(place, origin or Origin("dir:", STREAM)), user), states


def total_of(made: _Folder) -> Total:
    total = Total()
    for found in made.source.files():
        total.add(made(found))
    return total


def delivered(*events: bytes) -> list[LimitState]:
    core, states = bootstrap.in_memory_processor(RecordSettings())
    core.process(numbered(events), NoRetry())
    return states.states()


def test_a_limit_is_written_once_for_many_records(place: DirectoryPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregation, "SLICE_RECORDS", 2)
    events = [encode(created(1)), *(encode(progress_changed(number)) for number in range(2, 2 * SLICES + 2))]
    write(place, numbered(events))

    made, rebuilt = folder(place)
    total = total_of(made)

    assert (total.outcomes.total(), total.writes) == (2 * SLICES + 1, 2)
    assert rebuilt.states() == delivered(*events)


def test_an_archive_leads_to_the_limits_that_its_deliveries_led_to(place: DirectoryPlace) -> None:
    records = numbered(EVENTS)
    for part in (records[3:], records[:4], records):
        write(place, part)

    made, rebuilt = folder(place)
    total = total_of(made)

    assert rebuilt.states() == delivered(*EVENTS)
    assert total.size > 0
    assert total.to_json() == {
        "files": 3,
        "bytes": total.size,
        "records": 13,
        "writes": 3,
        "outcomes": {"applied": 4, "duplicate": 4, "stale": 0, "ignored": 2, "quarantined": 3},
        "reasons": {"JSON": 3},
        "damaged": [],
    }


def test_what_was_delivered_in_place_of_base64_is_rejected_again(place: DirectoryPlace) -> None:
    """Its text may be that of an event, which the service has quarantined."""
    text = EVENTS[0].decode()
    write(place, [Record.from_base64(Position(STREAM, SHARD, "1"), text, START)])

    made, rebuilt = folder(place)
    total = total_of(made)

    assert (rebuilt.states(), total.reasons) == ([], {Reason.RECORD_DATA: 1})


def test_only_the_limits_of_one_user(place: DirectoryPlace) -> None:
    escaped = encode(progress_changed(9, userId="u-2", amount="20")).replace(b"u-2", b"u\\u002d2")
    mentioned = encode(created(1, userId="u-3", userLimitId="u-2"))
    inside = aggregate(encode(progress_changed(5, userId="u-2")), encode(created(7)))
    write(place, numbered([*EVENTS, escaped, mentioned, inside]))

    made, rebuilt = folder(place, "u-2")
    total = total_of(made)

    assert [state.user_id for state in rebuilt.states()] == ["u-2"]
    assert rebuilt.states() == delivered(EVENTS[2], escaped, encode(progress_changed(5, userId="u-2")))
    assert total.outcomes.total() == 3


def test_only_what_arrived_in_a_time(place: DirectoryPlace) -> None:
    write(place, numbered(EVENTS))
    since, until = (datetime.fromtimestamp(START / 1_000, UTC) + timedelta(seconds=second) for second in (2, 4))

    made, rebuilt = folder(place, origin=Origin("dir:", STREAM, since=since, until=until))
    assert total_of(made).outcomes.total() == 2
    assert rebuilt.states() == delivered(*EVENTS[1:3])


@pytest.mark.parametrize("packed", [bytes, gzip.compress])
def test_files_of_events_are_read_like_an_archive(place: DirectoryPlace, packed: type[bytes]) -> None:
    place.write("2026/01/31/23/firehose-1", packed(b"".join(EVENTS[:3])))
    place.write("2026/01/31/23/firehose-2", packed(b"\n".join(EVENTS[3:]) + b"\n"))
    place.write("array.json", packed(b"[" + b",\n".join(EVENTS[:3]) + b"]"))
    write(place, numbered(EVENTS))

    made, rebuilt = folder(place, origin=Origin("dir:"))
    total = total_of(made)

    assert rebuilt.states() == delivered(*EVENTS)
    assert (total.files, total.outcomes.total(), total.damage) == (4, 15, [])


def test_what_athena_leaves_out_is_left_out(place: DirectoryPlace) -> None:
    for path in ("_SUCCESS", "_index/limits/users", "a/_temporary/b.json"):
        place.write(path, b"\x00no event")
    write(place, numbered(EVENTS))
    made, _ = folder(place, origin=Origin("dir:"))
    assert total_of(made).files == 1


def test_a_time_needs_files_whose_names_have_one(place: DirectoryPlace) -> None:
    place.write("events.json", EVENTS[0])
    made, _ = folder(place, origin=Origin("dir:", since=datetime(2026, 1, 1, tzinfo=UTC)))
    with pytest.raises(SettingsError, match=r"events.json: the name has no time"):
        total_of(made)
    with pytest.raises(SettingsError, match=r"events.json: the name has no time"):
        total_of(folder(place, origin=Origin("dir:", file="events.json", until=datetime(2026, 1, 1, tzinfo=UTC)))[0])


def test_the_rest_of_a_damaged_file_is_folded_and_the_damage_is_reported(place: DirectoryPlace) -> None:
    path = write(place, numbered(EVENTS))
    place.write(path, gzip.compress(gzip.decompress(place.read(path)) + b"{}\n") + b"garbage")
    place.write("note.json", b'{\n"a": 1')

    made, rebuilt = folder(place)
    total = total_of(made)

    assert rebuilt.states() == delivered(*EVENTS)
    assert [each.startswith(path) for each in total.damage] == [True, True]
    made, _ = folder(place, origin=Origin("dir:", file="note.json"))
    assert len(total_of(made).damage) == 1


@pytest.mark.parametrize("form", ["dir:{}", "{}"])
def test_a_folder_and_a_file_are_places(tmp_path: Path, form: str) -> None:
    (tmp_path / "a.json").write_bytes(EVENTS[0])
    (tmp_path / "a.json.bak").write_bytes(EVENTS[1])
    assert origin_of(form.format(tmp_path)) == Origin(f"dir:{tmp_path}")

    made, _ = folder(DirectoryPlace(tmp_path), origin=origin_of(str(tmp_path / "a.json")))
    assert [found.path for found in made.source.files()] == ["a.json"]


def test_a_place_that_is_none_is_refused() -> None:
    with pytest.raises(SettingsError, match="nowhere: no such file or folder"):
        origin_of("nowhere")


# Several processes


def disputed(users: int) -> Iterator[list[bytes]]:
    """Deliveries in which the events of each limit name two brands, and two currencies, in turn."""
    turns = [("b-1", "SEK"), ("b-2", "SEK"), ("b-1", "EUR"), ("b-1", "SEK")]
    for turn in range(len(turns)):
        some = [(f"u-{number}", *turns[(turn + number) % len(turns)]) for number in range(users)]
        yield [
            encode(created(turn + 1, userId=user, brandId=brand, currencyCode=currency, value=str(100 + turn)))
            for user, brand, currency in some
        ]


@settings(max_examples=30)
@given(st.integers(1, 5), st.randoms(use_true_random=False))
def test_the_processes_decide_as_the_service_did_however_their_work_interleaves(shares: int, random: Random) -> None:
    deliveries = [*disputed(12), EVENTS, [aggregate(*events) for events in disputed(3)]]
    place = InMemoryPlace()
    for number, events in enumerate(deliveries):
        write(place, numbered(events, first=10 + 20 * number))
    made, rebuilt = folder(place)
    folders = [replace(made, share=(number, shares)) for number in range(shares)]
    left = {number: list(made.source.files()) for number in range(shares)}

    total = Total()
    while some := [number for number, files in left.items() if files]:
        number = random.choice(some)
        total.add(folders[number](left[number].pop(0)))

    service, states = bootstrap.in_memory_processor(RecordSettings())
    results = [
        service.process(numbered(events, first=10 + 20 * number), NoRetry()) for number, events in enumerate(deliveries)
    ]
    assert rebuilt.states() == states.states()
    assert total.outcomes == sum((each.outcomes for each in results), Counter())
    assert total.reasons == sum((each.reasons for each in results), Counter())
    assert total.reasons[Reason.IDENTITY] > 12


def test_a_file_is_done_when_all_processes_have_folded_their_part() -> None:
    parts = [
        Rebuilt("a", 9, Counter({Outcome.APPLIED: 2}), Counter(), 1, ("a: line 3",)),
        Rebuilt("a", 9, Counter({Outcome.QUARANTINED: 1}), Counter({Reason.JSON: 1}), 4, ("a: line 3",)),
    ]
    both = Counter({Outcome.APPLIED: 2, Outcome.QUARANTINED: 1})
    assert _of_shares(parts) == Rebuilt("a", 9, both, Counter({Reason.JSON: 1}), 5, ("a: line 3",))


# Resuming

ABOUT = {"from": "dir:a", "into": "t"}


def test_what_is_done_is_known_after_a_crash(tmp_path: Path) -> None:
    file = tmp_path / "progress.jsonl"
    first = Done(file, ABOUT)
    first.add("a\nb")
    first.add("c")
    with file.open("ab") as torn:
        torn.write(b'"cut o')

    second = Done(file, ABOUT)
    assert second.paths == {"a\nb", "c"}
    second.add("d")
    third = Done(file, ABOUT)
    assert third.paths == {"a\nb", "c", "d"}
    third.finish()
    assert not file.exists()


@pytest.mark.parametrize("content", [json.dumps(ABOUT | {"into": "other"}) + "\n", "{}\n", "no JSON", '{"from": '])
def test_the_progress_of_something_else_is_left_alone(tmp_path: Path, content: str) -> None:
    file = tmp_path / "progress.jsonl"
    file.write_text(content)
    with pytest.raises(SettingsError, match=r"progress.jsonl: of another rebuild: .* --resume, or delete it"):
        Done(file, ABOUT)
    assert file.read_text() == content


def test_a_file_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"No such file or directory: .* --resume"):
        Done(tmp_path / "absent" / "progress.jsonl", ABOUT)


def test_each_rebuild_has_a_progress_of_its_own() -> None:
    settings = CoreSettings(region="eu-west-1", quarantine="dir:q")
    other = CoreSettings(region="eu-west-1", quarantine="dir:q", table_name="other")
    origin = Origin("dir:a", STREAM)
    since = Origin("dir:a", STREAM, since=datetime(2026, 1, 1, tzinfo=UTC))
    plans = [Plan(settings, origin), Plan(settings, origin, "u"), Plan(other, origin), Plan(settings, since)]
    assert len({plan.progress_file() for plan in plans}) == len(plans)
    assert Plan(settings, Origin("dir:a", STREAM)).progress_file() == plans[0].progress_file()


def test_a_file_that_is_gone_is_no_file_that_is_done(place: DirectoryPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.admin.retries.TRIES", 1)
    made, _ = folder(place)
    with pytest.raises(Unavailable, match="absent"):
        made(Found("absent", 1))
