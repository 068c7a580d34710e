"""`consumer verify`: folds the archive, and compares the states that it leads to with those in the table.

Both are read while the service writes. What differs is therefore checked again: an effect that the table lacks may
still be on its way to it, and an effect that no archived event has may still be on its way to the archive. Both only
ever gain effects, so a state that agrees once is done with: the table, when it has what the archive had; the archive,
when it has what the table had.
"""

import pickle
import tempfile
import time
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self

from consumer import bootstrap
from consumer.admin.partitions import IN_MEMORY, Partitions, Value, share_of
from consumer.admin.retries import for_minutes
from consumer.admin.sources import Origin, Source
from consumer.admin.workers import each
from consumer.archive.place import Found
from consumer.archive.reading import Damaged
from consumer.engine.aggregation import deaggregate
from consumer.engine.comparison import Comparison, Difference
from consumer.engine.errors import Rejected
from consumer.engine.folding import Outcome
from consumer.engine.optional_parts import plural
from consumer.engine.processor import Processor
from consumer.engine.projection import Ignored, Key
from consumer.engine.records import Record
from consumer.engine.repository import ScannableRepository, Stored, Unreadable, Versioned
from consumer.settings import Settings

CASES = 50_000
"""So many states that differ are checked again, and listed. Further ones are counted."""
PARTITION_BYTES = 16 << 20
"""Compressed bytes of an archive per partition: limits of it take 300 MiB at most, and usually a tenth of that."""
LEAST_PARTITIONS, MOST_PARTITIONS = 256, 4_096
"""A small archive may belong to a table of millions of states."""
LONGEST_PAUSE = 10.0
"""Seconds between two checks of what differs."""

Identity = tuple[str, ...]
"""The key, and what all of its events must agree on: those that do not are refused by the service."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is compared.

    origin  an archive; with a time, only what arrived since then: then only missing effects can be found
    user    the only partition key whose states are compared, for limits a user
    sample  the share of the partition keys whose states are compared, 0 to 1
    """

    settings: Settings
    origin: Origin
    user: str | None = None
    sample: float = 1.0

    @property
    def is_partial(self) -> bool:
        """Whether the archive is not read from its beginning: what is older is unexplained then."""
        return self.origin.since is not None

    @property
    def is_whole(self) -> bool:
        return self.user is None and self.sample == 1.0 and not self.is_partial

    def has(self, user: str) -> bool:
        return user == self.user if self.user is not None else self.sample == 1.0 or share_of(user) < self.sample


@dataclass(frozen=True, slots=True)
class Folded:
    """A file of the archive. `states`: what its events lead to, by identity, pickled for another process."""

    size: int
    outcomes: Counter[str]
    states: bytes
    damage: tuple[str, ...]

    @property
    def records(self) -> int:
        return self.outcomes.total()

    def decoded(self) -> dict[Identity, Any]:
        found: dict[Identity, Any] = pickle.loads(self.states)  # noqa: S301 - from a process of this command
        return found


APPLIED, IGNORED, REJECTED = str(Outcome.APPLIED), str(Outcome.IGNORED), str(Outcome.QUARANTINED)


@dataclass(slots=True)
class Folder:
    """Folds files of an archive. It needs no store: every event has its state, and states are joined."""

    core: Processor[Any, Any]
    source: Source
    has: Callable[[str], bool]
    _identity: Callable[[Any], tuple[str, ...]] = field(init=False)

    def __post_init__(self) -> None:
        self._identity = Comparison(self.core.projection).identity

    @classmethod
    def of(cls, plan: Plan) -> Self:
        core, _ = bootstrap.in_memory_processor(plan.settings)
        return cls(core, plan.origin.opened(plan.settings), plan.has)

    def __call__(self, found: Found) -> Folded:
        damage: list[Damaged] = []
        outcomes: Counter[str] = Counter()
        states: dict[Identity, Any] = {}
        for record in self.source.records(found.path, damage.append):
            for part in deaggregate(record, self.core.aggregate_cap):
                outcomes[self._fold(part, states)] += 1
        pickled = pickle.dumps(states, pickle.HIGHEST_PROTOCOL)
        return Folded(found.size, outcomes, pickled, tuple(map(str, damage)))

    def _fold(self, record: Record, states: dict[Identity, Any]) -> str:
        projection = self.core.projection
        try:
            event = self.core.event(record)
            if isinstance(event, Ignored):
                return IGNORED
            key = projection.key(event)
            if self.has(key[0]):
                alone = projection.state_of(event)
                whole = (*key, *self._identity(alone))
                found = states.get(whole)
                states[whole] = alone if found is None else projection.merge(found, alone)
        except Rejected:
            return REJECTED
        return APPLIED


@dataclass(slots=True)
class Case:
    """A state in which table and archive differ: as they were when both were first read, and as they were last read."""

    by: Comparison[Any]
    key: Key
    table_then: Value | None
    archive_then: Any | None
    is_partial: bool
    table_now: Value | None = None
    archive_now: Any | None = None

    def __post_init__(self) -> None:
        self.table_now, self.archive_now = self.table_then, self.archive_then

    @property
    def missing(self) -> bool:
        """Whether the table lacks an effect that the archive had."""
        found = self.table_now
        if self.archive_then is None or isinstance(found, Unreadable):
            return False
        return self.by.lacks(found, self.archive_then) or (
            found is not None and self.by.contradicts(found, self.archive_then)
        )

    @property
    def unexplained(self) -> bool:
        """Whether the table had something that no archived event says."""
        found = self.table_then
        if isinstance(found, Unreadable):
            return isinstance(self.table_now, Unreadable)
        return found is not None and not self.is_partial and self.by.lacks(self.archive_now, found)

    @property
    def is_open(self) -> bool:
        return self.missing or self.unexplained

    def read_again(self, found: Value | None) -> None:
        self.table_now = found
        if isinstance(self.table_then, Unreadable):
            self.table_then = found

    def archived(self, state: Any) -> None:
        if self.archive_now is None:
            self.archive_now = state
        elif self.by.identity(state) == self.by.identity(self.archive_now):
            self.archive_now = self.by.projection.merge(self.archive_now, state)

    def finding(self) -> "Finding":
        missing, unexplained, names = self.missing, self.unexplained, self.by.projection.key_names
        table = self.table_now if missing else self.table_then
        archive = self.archive_then if missing else self.archive_now
        if isinstance(table, Unreadable):
            return Finding(self.key, (UNEXPLAINED,), [], names, table.detail)
        both = table is not None and archive is not None
        if both and not self.is_partial and self.by.contradicts(table, archive):
            unexplained = True
        kinds = [kind for kind, is_so in ((MISSING, missing), (UNEXPLAINED, unexplained)) if is_so]
        return Finding(self.key, tuple(kinds), self.by.differences(table, archive), names)


MISSING, UNEXPLAINED = "missing", "unexplained"


@dataclass(frozen=True, slots=True)
class Finding:
    """A state that differs.

    kinds   `missing`: the table lacks an effect of an archived event; `unexplained`: no archived event says what it has
    differs attributes of the item: what the table has, and what the archive leads to
    names   the attributes of the key
    detail  why the row cannot be read
    """

    key: Key
    kinds: tuple[str, ...]
    differs: list[Difference]
    names: tuple[str, str]
    detail: str = ""

    def to_json(self) -> dict[str, Any]:
        differs = {each.name: {"table": each.table, "archive": each.archive} for each in self.differs}
        key = dict(zip(self.names, self.key, strict=True))
        found: dict[str, Any] = {**key, "kinds": self.kinds, "differs": differs}
        return {**found, "detail": self.detail} if self.detail else found


@dataclass(slots=True)
class Verified:
    """The result. Counts of states, unless they say otherwise. `limits`: how many were compared.

    at     epoch seconds when it was done
    unlisted  findings beyond CASES, which were not checked again
    plural  what states are called
    """

    at: float = 0.0
    seconds: float = 0.0
    files: int = 0
    size: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    limits: int = 0
    missing: int = 0
    unexplained: int = 0
    unlisted: int = 0
    partial: bool = False
    plural: str = "limits"
    findings: list[Finding] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not (self.missing or self.unexplained or self.damage)

    def to_json(self, *, counts: bool = False) -> dict[str, Any]:
        """`counts`: without the findings themselves."""
        found = {} if counts else {"findings": [finding.to_json() for finding in self.findings]}
        return {
            "ok": self.ok,
            "at": self.at,
            "seconds": round(self.seconds, 3),
            "files": self.files,
            "bytes": self.size,
            "records": {name: self.outcomes[name] for name in (APPLIED, IGNORED, REJECTED)},
            self.plural: self.limits,
            "missing": self.missing,
            "unexplained": None if self.partial else self.unexplained,
            "unlisted": self.unlisted,
            "damaged": self.damage,
            **found,
        }


@dataclass(frozen=True, slots=True)
class Clock:
    """What a verification uses of the world. Tests replace each part. `monotonic` and `now` are in seconds."""

    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


class Seen:
    """Paths, as 8 bytes each."""

    def __init__(self) -> None:
        self._hashes = array("q")
        self._is_sorted = True

    def passing(self, files: Iterable[Found]) -> Iterator[Found]:
        for found in files:
            self._hashes.append(hash(found.path))
            self._is_sorted = False
            yield found

    def __contains__(self, path: str) -> bool:
        if not self._is_sorted:
            self._hashes = array("q", sorted(self._hashes))
            self._is_sorted = True
        wanted = hash(path)
        at = bisect_left(self._hashes, wanted)
        return at < len(self._hashes) and self._hashes[at] == wanted


Advance = Callable[[int, int], object]


@dataclass(slots=True)
class Verification:
    """One comparison of an archive with a table.

    patience  seconds for which what differs is checked again
    advance   called with the bytes and records of each file that was read
    phase     called with what is done next
    in_memory states; further ones are in files
    """

    plan: Plan
    table: ScannableRepository[Any]
    patience: float
    advance: Advance
    phase: Callable[[str], object] = lambda _: None
    clock: Clock = field(default_factory=Clock)
    in_memory: int = IN_MEMORY
    _by: Comparison[Any] = field(init=False)
    _seen: Seen = field(default_factory=Seen)
    _cases: dict[Key, Case] = field(default_factory=dict)
    _result: Verified = field(default_factory=Verified)

    def __post_init__(self) -> None:
        self._by = Comparison(bootstrap.projection(self.plan.settings))

    def run(self, source: Source, size: int, processes: int) -> Verified:
        """`size`: the bytes of the source's files, as far as they are known. Raises Unavailable."""
        begin, result = self.clock.monotonic(), self._result
        result.partial, result.plural = self.plan.is_partial, plural(self._by.projection)
        with tempfile.TemporaryDirectory(prefix="consumer-verify-") as name:
            archive = self._partitions(Path(name, "archive"), size, self._merged)
            self._fold(archive, source, processes)
            self.phase("compare")
            for states, rows in self._pairs(archive, Path(name, "table"), size):
                self._compare(states, rows)
        self._check_again(source)
        for case in self._cases.values():
            self._count(case.finding())
        result.at, result.seconds = self.clock.now(), self.clock.monotonic() - begin
        return result

    def _partitions(self, folder: Path, size: int, join: Callable[[Value, Value], Value]) -> Partitions:
        folder.mkdir()
        count = min(max(LEAST_PARTITIONS, size // PARTITION_BYTES), MOST_PARTITIONS)
        return Partitions(folder, 1 if self.plan.user is not None else count, join, self.in_memory)

    def _fold(self, archive: Partitions, source: Source, processes: int) -> None:
        for folded in each(processes, Folder.of, self.plan, self._seen.passing(source.files())):
            for whole, state in folded.decoded().items():
                archive.add(whole, state)
            self._result.files += 1
            self._result.size += folded.size
            self._result.outcomes += folded.outcomes
            self._result.damage += folded.damage
            self.advance(folded.size, folded.records)

    def _pairs(
        self, archive: Partitions, folder: Path, size: int
    ) -> Iterator[tuple[Mapping[Key, list[Any]], Mapping[Key, Value]]]:
        """What the archive leads to, and what the table has, for one partition after the other."""
        if self.plan.is_whole:
            table = self._partitions(folder, size, lambda _, right: right)
            for part in self.table.scan():
                for key, row in part.items():
                    table.add(key, _value(row))
            for states, rows in zip(archive.partitions(), table.partitions(), strict=True):
                yield _by_key(states), {(key[0], key[1]): row for key, row in rows.items()}
        else:
            for states in archive.partitions():
                found = _by_key(states)
                yield found, self._rows(found)

    def _rows(self, keys: Iterable[Key]) -> dict[Key, Value]:
        if self.plan.is_partial:
            stored = for_minutes("load", partial(self.table.load, list(keys)))
            return {key: _value(row) for key, row in stored.items()}
        users = {user for user, _ in keys} | ({self.plan.user} if self.plan.user is not None else set())
        pages = (for_minutes("load", partial(self.table.page, user)).stored for user in sorted(users))
        return {key: _value(row) for page in pages for key, row in page.items()}

    def _compare(self, archive: Mapping[Key, list[Any]], table: Mapping[Key, Value]) -> None:
        for key in {**archive, **table}:
            row = table.get(key)
            archived = self._of_identity(archive.get(key, ()), row)
            case = Case(self._by, key, row, archived, self.plan.is_partial)
            self._result.limits += 1
            if not case.is_open:
                continue
            if len(self._cases) < CASES:
                self._cases[key] = case
            else:
                self._count(case.finding(), listed=False)

    def _check_again(self, source: Source) -> None:
        until, pause = self.clock.monotonic() + self.patience, 1.0
        while self._cases and (left := until - self.clock.monotonic()) > 0:
            self.phase(f"check again {len(self._cases):,} {self._result.plural} that differ")
            self.clock.sleep(min(pause, left))
            pause = min(2 * pause, LONGEST_PAUSE)
            self._read_table_again()
            self._read_new_files(source)
            self._cases = {key: case for key, case in self._cases.items() if case.is_open}

    def _read_table_again(self) -> None:
        waiting = [key for key, case in self._cases.items() if case.missing or isinstance(case.table_then, Unreadable)]
        stored = for_minutes("load", partial(self.table.load, waiting)) if waiting else {}
        for key in waiting:
            row = stored.get(key)
            self._cases[key].read_again(None if row is None else _value(row))

    def _read_new_files(self, source: Source) -> None:
        if not any(case.unexplained for case in self._cases.values()):
            return
        folder = Folder.of(self.plan)
        for found in self._seen.passing([found for found in source.files() if found.path not in self._seen]):
            for whole, state in folder(found).decoded().items():
                case = self._cases.get((whole[0], whole[1]))
                if case:
                    case.archived(state)

    def _count(self, finding: Finding, *, listed: bool = True) -> None:
        self._result.missing += MISSING in finding.kinds
        self._result.unexplained += UNEXPLAINED in finding.kinds
        if listed:
            self._result.findings.append(finding)
        else:
            self._result.unlisted += 1

    def _merged(self, left: Value, right: Value) -> Value:
        return self._by.projection.merge(left, right)

    def _of_identity(self, states: Iterable[Any], row: Value | None) -> Any | None:
        """The state with the identity of the row: events of another one were refused. Otherwise any."""
        ordered = list(states)
        if row is not None and not isinstance(row, Unreadable):
            own = self._by.identity(row)
            ordered.sort(key=lambda each: self._by.identity(each) != own)
        return next(iter(ordered), None)


def _value(row: Stored[Any]) -> Value:
    return row.state if isinstance(row, Versioned) else row


def _by_key(states: Mapping[Identity, Any]) -> dict[Key, list[Any]]:
    """In the order of their identities."""
    found: dict[Key, list[Any]] = {}
    for whole in sorted(states):
        found.setdefault((whole[0], whole[1]), []).append(states[whole])
    return found
