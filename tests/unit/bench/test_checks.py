"""The load is what it says, and a wrong table is found, whoever wrote it."""

from typing import Any

import pytest
from boto3.dynamodb.types import TypeSerializer

from bench import load
from bench.child import Failed
from bench.contenders import Service, check_peer
from bench.peers.conditional_update import update_of
from consumer.bootstrap import in_memory_processor
from consumer.engine.records import Position, Record
from consumer.engine.retry_policy import NoRetry
from consumer.limits.projection import Limits
from consumer.settings import RecordSettings

MADE = load.realistic(40, users=3)


def test_the_same_seed_gives_the_same_load() -> None:
    assert load.realistic(40, users=3) == MADE
    assert load.realistic(40, seed=2, users=3) != MADE


def test_a_payment_is_a_foreign_event_and_one_of_each_limit() -> None:
    kinds = [event["type"] for event in MADE.paid[:4]]

    assert kinds == ["LIMIT_USER_PENDING_PAYMENT_PROCESSED", *["USER_LIMIT_PROGRESS_CHANGED"] * 3]
    assert len(MADE.setup) == 9


def test_shards_can_have_users_of_their_own() -> None:
    shards = [load.realistic(40, users=3, first=first).events for first in (0, 3)]
    one, other = ({event["aggregateId"] for event in events} for events in shards)

    assert shards[0] == MADE.events
    assert (len(one), len(other), one & other) == (3, 3, set())


def test_the_worst_case_changes_another_limit_each_time() -> None:
    made = load.all_different(50)

    assert len({event["payload"]["userLimitId"] for event in made.paid}) == 50


def test_the_right_table_of_the_service_passes() -> None:
    Service().check(items_of_service(), MADE.events)


def test_a_wrong_or_missing_limit_of_the_service_is_found() -> None:
    wrong, missing = items_of_service(), items_of_service()[1:]
    wrong[0]["progress"]["M"]["value"] = {"N": "1"}

    for items in (wrong, missing):
        with pytest.raises(Failed, match="the table of this service is wrong"):
            Service().check(items, MADE.events)


def test_the_right_table_of_a_peer_passes() -> None:
    check_peer("a peer", items_of_peer(), MADE.events)


def test_a_wrong_limit_of_a_peer_is_found() -> None:
    wrong = items_of_peer()
    wrong[0]["progress"] = {"S": "1"}

    with pytest.raises(Failed, match="the table of a peer is wrong"):
        check_peer("a peer", wrong, MADE.events)


def items_of_service() -> list[dict[str, Any]]:
    core, states = in_memory_processor(RecordSettings())
    records = [Record(Position("s", "0", f"{number}"), load.data(event), 0) for number, event in enumerate(MADE.events)]
    core.process(records, NoRetry())
    write = TypeSerializer().serialize
    return [{name: write(value) for name, value in Limits().dump(state).items()} for state in states.states()]


def items_of_peer() -> list[dict[str, Any]]:
    items: dict[str, dict[str, Any]] = {}
    for event in MADE.events:
        if update := update_of("limits", event):
            values = {name.removeprefix(":"): value for name, value in update["ExpressionAttributeValues"].items()}
            items.setdefault(str(update["Key"]), dict(update["Key"])).update(values)
    return list(items.values())
