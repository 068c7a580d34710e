"""Row 38: rows of the limits table that the service has not written, while the service runs."""

import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from boto3.dynamodb.types import TypeSerializer

from consumer.engine.errors import Reason
from consumer.engine.projection import Key
from consumer.limits.sample import Sample
from consumer.limits.view import view
from tests.faults.conftest import Note
from tests.support.driven.scenario import NOW, Stage, endless, poison
from tests.support.driven.service import consumer
from tests.support.driven.trial import started_trial, undisturbed
from tests.support.driven.waiting import until
from tests.support.generators import oracle
from tests.support.generators.odd_rows import Odd, odd_rows

ROWS = 16


def test_38_unreadable_rows(stage: Stage, seed: int, tmp_path: Path, note: Note) -> None:
    """Only the events of those limits are quarantined. After the rows are deleted, a replay applies them."""
    with started_trial(stage, stage.variables, tmp_path, endless(seed), first=800) as trial, undisturbed(trial):
        odd = spoil(stage)
        before = len(trial.made)
        trial.put(600)
        since = trial.made[before:]
        until(lambda: trial.running.received() == len(trial.made), "the records to be settled")
        refused = [sample for sample in since if key_of(sample) in odd]
        until(
            lambda: stage.quarantined() == poison(trial.made) + data_of(refused), "the quarantine to hold their events"
        )
        assert len(refused) > ROWS
        assert trial.metric("consumer_quarantined_records_total", reason=Reason.STORED_STATE) == len(refused)
        details = {entry.detail for entry in stage.quarantine().entries() if entry.reason == Reason.STORED_STATE}
        assert 1 < len(details) <= ROWS
        assert all(f"of the table {stage.variables['AWS_TABLE_NAME']}: " in detail for detail in details)
        assert limits(stage, odd) == expected([sample for sample in trial.made if key_of(sample) not in odd])

        for key in odd:
            consumer(stage.variables, "limits", "forget", *key, "--yes")
        replay(stage)
        assert stage.quarantined() == poison(trial.made)
        whole = [sample for sample in trial.made if key_of(sample) not in odd] + refused
        assert stage.limits() == expected(whole)
        trial.put(200)
        until(lambda: stage.limits() == expected([*whole, *trial.made[before + 600 :]]), "the table to go on")
        note(f"{len(refused)} events of {len(odd)} rows; {len(since) - len(refused)} others among them")


def spoil(stage: Stage) -> Mapping[Key, Odd]:
    """Replaces the rows of existing limits by invalid ones of every kind."""
    kinds = list(odd_rows("u", "l"))
    chosen = dict(zip(sorted(stage.states()), kinds[:: len(kinds) // (ROWS - 1)], strict=False))
    serialize = TypeSerializer().serialize
    for (user, limit), odd in chosen.items():
        row = odd.row | {"userId": user, "userLimitId": limit}
        item = {name: serialize(value) for name, value in row.items()}
        stage.dynamodb().put_item(TableName=stage.variables["AWS_TABLE_NAME"], Item=item)
    assert len(chosen) == ROWS
    return chosen


def replay(stage: Stage) -> None:
    """Replays with exit code 1, as the poison records stay."""
    command = [sys.executable, "-m", "consumer", "quarantine", "replay"]
    assert subprocess.run(command, env=stage.variables, check=False).returncode == 1


def limits(stage: Stage, odd: Mapping[Key, Odd]) -> dict[Key, object]:
    """All other limits in the table."""
    return {key: view(state, NOW).to_json() for key, state in stage.states(odd).items()}


def expected(made: Sequence[Sample]) -> dict[Key, object]:
    return {**oracle.expected([sample.event for sample in made if sample.event], NOW)}


def key_of(sample: Sample) -> Key | None:
    if not sample.event or sample.event["type"] not in oracle.OURS:
        return None
    payload = sample.event["payload"]
    return (payload["userId"], payload["userLimitId"])


def data_of(samples: Sequence[Sample]) -> Counter[bytes]:
    return Counter(sample.data for sample in samples)
