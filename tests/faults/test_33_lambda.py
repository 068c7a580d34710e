"""Row 33: the Lambda function behind a mapping, with random failures. Nothing is lost or applied twice.

Invocations time out in the middle of a batch, the store throttles and hangs, batches fail in part. The mapping is
simulated (tests/support/emulators/mapping.py), as emulators implement only half of its rules.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from random import Random
from zlib import crc32

from consumer.archive.segment import PlaceArchive, parts_of
from consumer.aws_lambda.handler import Answer, LambdaConsumer
from consumer.engine.projection import Ignored, Key
from consumer.engine.records import Position, Record
from consumer.limits.projection import Limits
from consumer.limits.sample import Sample, histories
from consumer.limits.view import view
from tests.faults.conftest import Note
from tests.support.driven.archives import data_by_position
from tests.support.driven.invocations import SUCCESS, Clock, Invocation, LambdaEvent, event
from tests.support.emulators.mapping import FOR_EVER, FunctionFailed, Mapping, Settings
from tests.support.generators import oracle
from tests.support.generators.events import position
from tests.support.generators.kpl import aggregate
from tests.support.simulation.core import Core, Fate, FlakyPlace, FlakyQuarantine, FlakyRepository, memory

RUNS = 150
RECORDS = 120
NOW = 1_800_000_000_000
LIMITS = Limits()


class Ended(BaseException):
    """The timeout of an invocation, at any point of the code. The service must not catch it."""


@dataclass(frozen=True)
class Put:
    """A record of the stream and its samples; an aggregate has several."""

    record: Record
    samples: Sequence[Sample]


@dataclass
class Runtime:
    """A store and a quarantine that fail, and Lambda, which ends what takes too long.

    trouble     the share of requests that fail, or are slow
    down        when the store is down: seconds, from and to
    timeout     the function's, in seconds
    cut_off     whether invocations are also ended without their fault
    """

    random: Random
    trouble: float
    down: tuple[float, float]
    timeout: float
    cut_off: bool = True
    clock: Clock = field(default_factory=Clock)
    seen: Counter[str] = field(default_factory=Counter)
    _ends: float = 0.0

    def __post_init__(self) -> None:
        self.kept = memory()
        self.store = FlakyRepository(self.kept, self._fate, self._unreadable, self._request)
        self.quarantine = FlakyQuarantine(self._quarantine_fails)
        self.place = FlakyPlace(self._quarantine_fails)

    def container(self) -> Callable[[LambdaEvent], Answer]:
        """Starts a new function after a timeout."""
        consumer = self._started()

        def invoke(lambda_event: LambdaEvent) -> Answer:
            nonlocal consumer
            context = Invocation(self.clock, self.timeout)
            self._ends = context.ends
            try:
                answer = consumer.handle(lambda_event, context)
                self._maybe_cut_off()
            except Ended:
                self.seen["ended in a batch"] += 1
                consumer = self._started()
                raise FunctionFailed from None
            self.seen["failed in part"] += bool(answer["batchItemFailures"])
            return answer

        return invoke

    def heal(self) -> None:
        self.trouble, self.down, self.timeout = 0.0, (0.0, 0.0), 900.0

    def _started(self) -> LambdaConsumer:
        archive = PlaceArchive(self.place, lambda: NOW)
        core = Core(self.store, self.quarantine, cached=self.random.choice((0, 3, 10_000)), archive=archive)
        return LambdaConsumer(core.processor, str, self._pass, self.clock, self.random.random)

    def _pass(self, seconds: float) -> None:
        self.clock.sleep(seconds)
        if self.clock() >= self._ends:
            raise Ended

    def _trouble(self) -> bool:
        return self.random.random() < self.trouble

    def _maybe_cut_off(self) -> None:
        if self.cut_off and self._trouble() and self._trouble():
            raise Ended

    def _is_down(self) -> bool:
        return self.down[0] <= self.clock() < self.down[1]

    def _request(self) -> None:
        """A request that may hang until the client's timeout."""
        self._pass(self.random.uniform(0, 4) if self._trouble() else 0.01)
        self._maybe_cut_off()

    def _unreadable(self) -> bool:
        self._request()
        return self._is_down() or self._trouble()

    def _fate(self, _key: Key) -> Fate:
        if self._is_down():
            fate = Fate.THROTTLED
        else:
            fate = self.random.choice((Fate.THROTTLED, Fate.REPLY_LOST)) if self._trouble() else Fate.STORED
        self.seen[fate.name.lower()] += 1
        return fate

    def _quarantine_fails(self) -> bool:
        self._request()
        return self._trouble()


def every_seed(first: int, runs: int, run: Callable[[Random], None]) -> None:
    for seed in range(first, first + runs):
        try:
            run(Random(seed))
        except BaseException as failure:
            failure.add_note(f"to run it again: CONSUMER_TEST_SEED={seed}")
            raise


def test_33_timeouts_throttles_and_partial_failures(seed: int, note: Note) -> None:
    """A mapping that retries forever loses nothing."""
    seen = Counter[str]()

    def run(random: Random) -> None:
        runtime, put = a_world(random), a_stream(random)
        mapping = deliver(runtime, put, a_mapping(random))
        seen.update(runtime.seen)

        assert mapping.discarded == []
        assert_complete(runtime, put)

    every_seed(seed, RUNS, run)
    note(f"{RUNS} runs: {dict(sorted(seen.items()))}")
    assert min(seen[each] for each in ("ended in a batch", "failed in part", "throttled", "reply_lost")) > RUNS // 4


def test_33_what_a_mapping_gives_up_lies_in_the_failure_destination_and_can_be_replayed(seed: int) -> None:
    discarding = Counter[bool]()

    def run(random: Random) -> None:
        runtime, put = a_world(random), a_stream(random)
        settings = a_mapping(random, tries=random.choice((0, 1, 4)), age=random.choice((FOR_EVER, 60.0, 300.0)))
        mapping = deliver(runtime, put, settings)
        discarding[bool(mapping.discarded)] += 1

        assert Counter(each.position for each in [*mapping.done, *mapping.discarded]) == Counter(
            each.record.position for each in put
        )
        done = {record.position for record in mapping.done}
        assert_settled(runtime, [each for each in put if each.record.position in done])
        runtime.heal()
        assert runtime.container()(event(mapping.discarded)) == SUCCESS
        assert_complete(runtime, put)

    every_seed(seed, RUNS, run)
    assert min(discarding[True], discarding[False]) > RUNS // 20


def test_33_lanes_of_a_shard_in_containers_of_their_own_lose_nothing(seed: int) -> None:
    """ParallelizationFactor: the records of a partition key stay in one lane, the lanes run side by side."""

    def run(random: Random) -> None:
        runtime, put = a_world(random), a_stream(random)
        factor = random.randint(2, 10)
        lanes: list[list[Put]] = [[] for _ in range(factor)]
        for each in put:
            lanes[crc32(each.samples[0].partition_key.encode()) % factor].append(each)
        mappings = [Mapping(runtime.container(), runtime.clock, a_mapping(random)) for _ in lanes]
        interleave(random, mappings, lanes)
        assert_complete(runtime, put)

    every_seed(seed, RUNS // 3, run)


def test_33_shards_that_mix_up_a_user_s_records_lose_nothing(seed: int) -> None:
    """After a split, or with a careless producer: two containers write the same limits, in any order."""

    def run(random: Random) -> None:
        runtime, put = a_world(random), a_stream(random)
        lanes = [put[0::2], put[1::2]]
        mappings = [Mapping(runtime.container(), runtime.clock, a_mapping(random)) for _ in lanes]
        interleave(random, mappings, lanes)
        assert_complete(runtime, put)

    every_seed(seed, RUNS // 3, run)


def test_33_a_function_with_time_answers_before_it_is_up(seed: int) -> None:
    """However slow the store is, as long as no request hangs for more than 4 s."""

    def run(random: Random) -> None:
        runtime, put = a_world(random, cut_off=False), a_stream(random)
        runtime.trouble, runtime.timeout = random.random(), random.uniform(21, 60)
        answer = runtime.container()(event([each.record for each in put]))
        assert runtime.seen["ended in a batch"] == 0
        assert set(answer) == {"batchItemFailures"}

    every_seed(seed, RUNS, run)


def test_33_without_report_batch_item_failures_the_unsettled_are_lost() -> None:
    """Why docs/how-to/run-on-lambda.md insists on it: the oracle misses what the store could not take."""
    random = Random(1)
    runtime, put = Runtime(random, 0.0, (0.0, 100.0), 30.0), a_stream(random)
    mapping = deliver(runtime, put, Settings(batch_size=RECORDS, report_batch_item_failures=False))

    assert (len(mapping.done), mapping.discarded) == (len(put), [])
    assert stored(runtime) == {}
    runtime.heal()
    deliver(runtime, put, Settings())
    assert_complete(runtime, put)


def a_world(random: Random, *, cut_off: bool = True) -> Runtime:
    start = random.uniform(0, 100)
    return Runtime(
        random,
        trouble=random.choice((0.0, 0.05, 0.3)),
        down=random.choice(((0.0, 0.0), (start, start + random.uniform(1, 300)))),
        timeout=random.choice((2.0, 15.0, 30.0, 60.0)),
        cut_off=cut_off,
    )


def a_mapping(random: Random, tries: int = FOR_EVER, age: float = FOR_EVER) -> Settings:
    return Settings(
        batch_size=random.choice((1, 7, 40, 1_000)),
        bisect_batch_on_function_error=random.random() < 0.5,
        maximum_retry_attempts=tries,
        maximum_record_age=age,
    )


def a_stream(random: Random) -> list[Put]:
    """Valid, repeated and invalid records, some of them in aggregates."""
    samples = iter(histories(random, RECORDS, users=6, duplicates=0.1, poison=0.05))
    numbers = count(1)
    return [_put(next(numbers), [first, *_more(random, samples)]) for first in samples]


def _more(random: Random, samples: Iterable[Sample]) -> list[Sample]:
    if random.random() < 0.8:
        return []
    return [sample for sample, _ in zip(samples, range(random.randint(1, 3)), strict=False)]


def _put(number: int, samples: list[Sample]) -> Put:
    data = samples[0].data if len(samples) == 1 else aggregate(*(sample.data for sample in samples))
    return Put(Record(position(number), data, arrived_at=0), samples)


def deliver(runtime: Runtime, put: Sequence[Put], settings: Settings) -> Mapping:
    mapping = Mapping(runtime.container(), runtime.clock, settings)
    mapping.drain([each.record for each in put])
    return mapping


def interleave(random: Random, mappings: Sequence[Mapping], lanes: Sequence[Sequence[Put]]) -> None:
    """Invokes lanes in random order until all are empty."""
    running = [mapping.steps([each.record for each in lane]) for mapping, lane in zip(mappings, lanes, strict=True)]
    while running:
        lane = random.choice(running)
        try:
            next(lane)
        except StopIteration:
            running.remove(lane)


def assert_complete(runtime: Runtime, put: Sequence[Put]) -> None:
    """Asserts that the table equals the oracle's, the quarantine the poison records, and the archive all of them."""
    samples = [sample for each in put for sample in each.samples]
    assert stored(runtime) == oracle.expected([sample.event for sample in samples if sample.event], NOW)
    assert quarantined(runtime) == Counter(sample.data for sample in samples if sample.poison_reason)
    assert archived(runtime) == {part.position: part.data for each in put for part in parts_of(each.record)}


def assert_settled(runtime: Runtime, put: Sequence[Put]) -> None:
    """Asserts that each of these records is archived, and applied or quarantined."""
    assert {part.position for each in put for part in parts_of(each.record)} <= archived(runtime).keys()
    for sample in (sample for each in put for sample in each.samples):
        if sample.poison_reason:
            assert quarantined(runtime)[sample.data]
        else:
            assert has_effect(runtime, sample)


def has_effect(runtime: Runtime, sample: Sample) -> bool:
    """Whether merging the event once more would change nothing."""
    decoded = LIMITS.decode(sample.data)
    if isinstance(decoded, Ignored):
        return True
    key = LIMITS.key(decoded)
    found = runtime.kept.load([key]).get(key)
    return found is not None and LIMITS.merge(found.state, LIMITS.state_of(decoded)) == found.state


def stored(runtime: Runtime) -> dict[Key, dict[str, object]]:
    return {(state.user_id, state.user_limit_id): view(state, NOW).to_json() for state in runtime.kept.states()}


def archived(runtime: Runtime) -> dict[Position, bytes]:
    return data_by_position(runtime.place)


def quarantined(runtime: Runtime) -> Counter[bytes]:
    return Counter(entry.record.data for entry in runtime.quarantine.entries())
