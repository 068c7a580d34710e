"""The DynamoDB repository: limits per request, partial and lost responses, and concurrent writers."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from consumer.engine.errors import Unavailable
from consumer.engine.projection import Key
from consumer.engine.repository import PendingWrite, Versioned
from consumer.limits.projection import Limits
from consumer.stores.dynamodb import DynamoRepository
from tests.contract.conftest import Dynamo
from tests.support.driven.processes import free_port
from tests.support.generators import oracle
from tests.support.generators.events import START, USER, Event, created, progress_changed
from tests.support.generators.small_projection import Peak, Peaks
from tests.support.simulation.core import Core, found

Answer = dict[str, Any]
Call = Callable[..., Answer]
Write = Callable[[Call, list[Answer]], Answer]
Read = Callable[[Call, str, list[Answer]], Answer]


class Relay:
    """A client whose batch calls can be replaced by failing functions. `sizes` are the sizes of the requests."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.write: Write = lambda call, statements: call(Statements=statements)
        self.read: Read = read_all
        self.sizes: list[int] = []

    def batch_execute_statement(self, **request: Any) -> Answer:
        self.sizes.append(len(request["Statements"]))
        return self.write(self._client.batch_execute_statement, request["Statements"])

    def batch_get_item(self, **request: Any) -> Answer:
        ((table, wanted),) = request["RequestItems"].items()
        assert wanted["ConsistentRead"]
        self.sizes.append(len(wanted["Keys"]))
        return self.read(self._client.batch_get_item, table, wanted["Keys"])

    def query(self, **request: Any) -> Answer:
        """A page of a few items. DynamoDB's pages have a megabyte."""
        assert request["ConsistentRead"]
        page: Answer = self._client.query(**request, Limit=PAGE)
        self.sizes.append(len(page["Items"]))
        return page


PAGE = 3


def in_turn(*writes: Write) -> Write:
    """The first request is handled by the first function, the second one by the second."""
    left = iter(writes)

    def write(call: Call, statements: list[Answer]) -> Answer:
        return next(left)(call, statements)

    return write


def read_all(call: Call, table: str, keys: list[Answer]) -> Answer:
    return call(RequestItems={table: {"Keys": keys, "ConsistentRead": True}})


def peaks(number: int, highest: int = 1) -> dict[Key, Peak]:
    return {("north", f"p-{count:03}"): Peak(f"p-{count:03}", highest) for count in range(number)}


def inserts(wanted: dict[Key, Peak]) -> dict[Key, PendingWrite[Peak]]:
    return {key: PendingWrite(None, peak) for key, peak in wanted.items()}


@pytest.fixture
def peak_table(dynamo: Dynamo) -> Dynamo:
    """An empty table of another projection."""
    table = Dynamo(dynamo.endpoint, dynamo.pool, dynamo.stack)
    table.create(Peaks().key_names)
    return table


@pytest.fixture
def relay(peak_table: Dynamo) -> Relay:
    return Relay(peak_table.requests())


@pytest.fixture
def repository(peak_table: Dynamo, relay: Relay) -> DynamoRepository[Peak]:
    return peak_table.repository(Peaks(), relay)


# request sizes


def test_at_most_25_statements_and_100_keys_a_request(relay: Relay, repository: DynamoRepository[Peak]) -> None:
    wanted = peaks(230)
    repository.save(inserts(wanted))
    assert sorted(relay.sizes) == [5, *[25] * 9]
    relay.sizes.clear()
    repository.load(wanted)
    assert sorted(relay.sizes) == [30, 100, 100]


def test_all_pages_of_a_partition_are_read(relay: Relay, repository: DynamoRepository[Peak]) -> None:
    wanted = peaks(3 * PAGE + 1)
    repository.save(inserts(wanted))
    relay.sizes.clear()
    assert repository.partition("north") == list(wanted.values())
    assert relay.sizes == [PAGE, PAGE, PAGE, 1]


# attributes


def test_an_attribute_that_vanishes_is_removed(repository: DynamoRepository[Peak]) -> None:
    key, noted = ("north", "hill"), Peak("hill", 1, "steep")
    there = repository.save({key: PendingWrite(None, noted)}).stored[key]
    plain = repository.save({key: PendingWrite(there, Peak("hill", 2))}).stored[key]
    assert repository.load([key]) == {key: plain}
    assert found(repository, key).state.note is None
    again = repository.save({key: PendingWrite(plain, Peak("hill", 3, "steep"))}).stored[key]
    assert repository.load([key]) == {key: again}


def test_an_update_sets_what_changed_and_nothing_else(relay: Relay, repository: DynamoRepository[Peak]) -> None:
    key, carry_out = ("north", "hill"), relay.write
    there = repository.save({key: PendingWrite(None, Peak("hill", 1, "steep"))}).stored[key]
    sent: list[Answer] = []

    def noted(call: Call, statements: list[Answer]) -> Answer:
        sent.extend(statements)
        return carry_out(call, statements)

    relay.write = noted
    higher = repository.save({key: PendingWrite(there, Peak("hill", 2, "steep"))}).stored[key]
    bare = repository.save({key: PendingWrite(higher, Peak("hill", 2))}).stored[key]
    assert [statement["Statement"].partition(" WHERE ")[0].partition(" SET ")[2] for statement in sent] == [
        '"highest" = ? SET "version" = ?',
        '"version" = ? REMOVE "note"',
    ]
    assert sent[0]["Parameters"] == [
        *({"N": "2"}, {"S": higher.version}),
        *({"S": "north"}, {"S": "hill"}, {"S": there.version}),
    ]
    assert repository.load([key]) == {key: bare}


def test_an_attribute_nobody_here_knows_is_kept(peak_table: Dynamo, repository: DynamoRepository[Peak]) -> None:
    key, item = ("north", "hill"), {"region": {"S": "north"}, "place": {"S": "hill"}}
    there = repository.save({key: PendingWrite(None, Peak("hill", 1))}).stored[key]
    peak_table.client().update_item(
        TableName=peak_table.name,
        Key=item,
        UpdateExpression="SET newer = :newer",
        ExpressionAttributeValues={":newer": {"S": "release"}},
    )
    repository.save({key: PendingWrite(there, Peak("hill", 2))})
    found = peak_table.client().get_item(TableName=peak_table.name, Key=item, ConsistentRead=True)["Item"]
    assert (found["newer"], found["highest"]) == ({"S": "release"}, {"N": "2"})


# throttled requests


def throttling(places: Sequence[int]) -> Write:
    """The statements at these indexes of a request are refused, the others are executed."""

    def write(call: Call, statements: list[Answer]) -> Answer:
        through = [statement for place, statement in enumerate(statements) if place not in places]
        answers = iter(call(Statements=through)["Responses"])
        refused = {"Error": {"Code": "ThrottlingError", "Message": "slow down"}}
        return {"Responses": [refused if place in places else next(answers) for place in range(len(statements))]}

    return write


def test_statements_that_are_throttled_are_unknown_and_the_others_stored(
    relay: Relay, repository: DynamoRepository[Peak]
) -> None:
    relay.write, wanted = throttling([0, 7]), peaks(10)
    saved = repository.save(inserts(wanted))
    assert saved.unknown.keys() == {("north", "p-000"), ("north", "p-007")}
    assert all("ThrottlingError" in str(cause) for cause in saved.unknown.values())
    assert repository.load(wanted).keys() == saved.stored.keys() == wanted.keys() - saved.unknown.keys()


@pytest.mark.parametrize(
    "code", ["ThrottlingError", "ProvisionedThroughputExceeded", "InternalServerError", "AccessDenied"]
)
def test_whatever_else_a_statement_answers_is_unknown(
    relay: Relay, repository: DynamoRepository[Peak], code: str
) -> None:
    relay.write = lambda _call, statements: {"Responses": [{"Error": {"Code": code}} for _ in statements]}
    saved = repository.save(inserts(peaks(3)))
    assert (saved.stored, saved.conflicts, saved.unknown.keys()) == ({}, {}, peaks(3).keys())


def test_a_processor_writes_throttled_statements_again(dynamo: Dynamo) -> None:
    relay = Relay(dynamo.requests())
    relay.write = in_turn(throttling([0, 1, 3]), throttling([1]), throttling([]))
    core = Core(dynamo.repository(Limits(), relay))
    delivered = core.deliver(*(created(1, userLimitId=f"l-{count}") for count in range(5)))
    assert delivered.unsettled is None
    assert relay.sizes[-3:] == [5, 3, 1]
    assert [part for part, _ in core.retry_policy.waits] == ["store"], "only when most of a save was throttled"
    assert len(Core(dynamo.limits()).limits(USER)) == 5


def half_read(call: Call, table: str, keys: list[Answer]) -> Answer:
    """If a request has several keys, the last one is not read."""
    if len(keys) == 1:
        return read_all(call, table, keys)
    return {**read_all(call, table, keys[:-1]), "UnprocessedKeys": {table: {"Keys": keys[-1:]}}}


def test_unprocessed_keys_are_requested_again(relay: Relay, repository: DynamoRepository[Peak]) -> None:
    repository.save(inserts(peaks(5)))
    relay.read = half_read
    relay.sizes.clear()
    read = repository.load(peaks(5))
    assert {key: each.state for key, each in read.items() if isinstance(each, Versioned)} == peaks(5)
    assert relay.sizes == [5, 1]


def test_a_read_that_processes_no_key_is_unavailable(relay: Relay, repository: DynamoRepository[Peak]) -> None:
    relay.read = lambda _call, table, keys: {"Responses": {}, "UnprocessedKeys": {table: {"Keys": keys}}}
    with pytest.raises(Unavailable, match="throttled"):
        repository.load(peaks(5))


# lost responses


def lost(call: Call, statements: list[Answer]) -> Answer:
    """The statements are executed, but the response is lost."""
    call(Statements=statements)
    raise ReadTimeoutError(endpoint_url="there")


def test_writes_with_a_lost_response_are_unknown_and_found_when_retried(
    relay: Relay, repository: DynamoRepository[Peak]
) -> None:
    wanted = inserts(peaks(30))
    carry_out, relay.write = relay.write, lost
    assert repository.save(wanted).unknown.keys() == wanted.keys()
    relay.write = carry_out
    saved = repository.save(wanted)
    assert (saved.stored.keys(), saved.conflicts, saved.unknown) == (wanted.keys(), {}, {})


def test_updates_with_a_lost_response_are_found_when_retried(relay: Relay, repository: DynamoRepository[Peak]) -> None:
    there = repository.save(inserts(peaks(30))).stored
    writes = {key: PendingWrite(there[key], peak) for key, peak in peaks(30, highest=2).items()}
    carry_out, relay.write = relay.write, lost
    assert repository.save(writes).unknown.keys() == writes.keys()
    relay.write = carry_out
    assert {key: found.state for key, found in repository.save(writes).stored.items()} == peaks(30, highest=2)


def test_a_processor_settles_writes_whose_answer_was_lost_without_a_second_effect(dynamo: Dynamo) -> None:
    relay = Relay(dynamo.requests())
    carry_out = relay.write
    relay.write = in_turn(lost, carry_out, lost, lost, carry_out)
    core = Core(dynamo.repository(Limits(), relay))
    assert core.deliver(created(1), progress_changed(2)).unsettled is None
    assert core.deliver(progress_changed(3, previousProgress="10")).unsettled is None
    assert len(core.retry_policy.waits) == 3
    assert Core(dynamo.limits()).limit()["progress"] == "20"


def test_a_refused_insert_whose_item_cannot_be_read_is_unknown(
    relay: Relay, repository: DynamoRepository[Peak]
) -> None:
    repository.save(inserts(peaks(3)))
    relay.read = lambda _call, table, keys: {"Responses": {}, "UnprocessedKeys": {table: {"Keys": keys}}}
    saved = repository.save(inserts(peaks(3, highest=2)))
    assert (saved.stored, saved.conflicts, saved.unknown.keys()) == ({}, {}, peaks(3).keys())


def test_an_item_that_vanished_after_it_refused_an_insert_is_a_conflict_with_nothing(
    relay: Relay, repository: DynamoRepository[Peak]
) -> None:
    repository.save(inserts(peaks(1)))
    relay.read = lambda _call, table, _keys: {"Responses": {table: []}, "UnprocessedKeys": {}}
    assert repository.save(inserts(peaks(1, highest=2))).conflicts == {("north", "p-000"): None}


# unreachable environments


def test_without_a_server_nothing_is_known(peak_table: Dynamo) -> None:
    peak_table.endpoint = f"http://127.0.0.1:{free_port()}"
    repository = peak_table.repository(Peaks())
    with pytest.raises(Unavailable, match=EndpointConnectionError.__name__):
        repository.load(peaks(1))
    with pytest.raises(Unavailable, match=EndpointConnectionError.__name__):
        repository.partition("north")
    assert repository.save(inserts(peaks(30))).unknown.keys() == peaks(30).keys()


def test_without_its_table_nothing_is_known(peak_table: Dynamo, repository: DynamoRepository[Peak]) -> None:
    there = repository.save(inserts(peaks(1))).stored
    peak_table.client().delete_table(TableName=peak_table.name)
    with pytest.raises(Unavailable, match="ResourceNotFound"):
        peak_table.repository(Peaks()).partition("north")
    with pytest.raises(Unavailable, match="ResourceNotFound"):
        repository.load(there)
    assert repository.save({key: PendingWrite(found, Peak("p-000", 2)) for key, found in there.items()}).unknown
    assert repository.save(inserts(peaks(3))).unknown.keys() == peaks(3).keys()


@pytest.mark.parametrize(
    "code", ["AccessDeniedException", "ExpiredTokenException", "ProvisionedThroughputExceededException"]
)
def test_a_call_that_is_refused_as_a_whole_is_unknown(
    relay: Relay, repository: DynamoRepository[Peak], code: str
) -> None:
    def refuse(*_: object) -> Answer:
        raise ClientError({"Error": {"Code": code, "Message": "no"}}, "Batch")

    relay.write = relay.read = refuse
    assert all(code in str(cause) for cause in repository.save(inserts(peaks(3))).unknown.values())
    with pytest.raises(Unavailable, match=code):
        repository.load(peaks(3))


# concurrent writers


def test_two_writers_racing_a_thousand_times_lose_nothing(dynamo: Dynamo) -> None:
    rounds, limits = 1_000, 100
    ready = Barrier(2)
    definitions = [created(2 * n + 1, userLimitId=f"l-{n % limits}", value=f"{n}") for n in range(rounds)]
    progress = [progress_changed(2 * n + 2, userLimitId=f"l-{n % limits}", amount=f"{n}") for n in range(rounds)]

    def write(events: Sequence[Event]) -> int:
        core, conflicts = Core(dynamo.limits()), 0
        for event in events:
            ready.wait(60)
            delivered = core.deliver(event)
            assert delivered.unsettled is None
            conflicts += delivered.conflicts
        return conflicts

    with ThreadPoolExecutor(2) as writers:
        conflicts = sum(writers.map(write, (definitions, progress)))
    assert conflicts >= rounds / 2
    found = Core(dynamo.limits()).limits(USER)
    assert {(USER, name): limit for name, limit in found.items()} == oracle.expected([*definitions, *progress], START)


def test_the_versions_of_two_writers_of_one_state_are_one(dynamo: Dynamo) -> None:
    one, other = dynamo.limits(), dynamo.limits()
    Core(one).deliver(created(1), progress_changed(2))
    key = (USER, "l-day")
    there = found(one, key)
    assert other.save({key: PendingWrite(None, there.state)}).stored == {key: there}
