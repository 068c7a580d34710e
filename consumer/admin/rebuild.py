"""`consumer rebuild`: folds an archive, or any files of records, into a table, through the core of the service.

How often an event is folded does not matter: states are joins. So a rebuild can be repeated, resumed, and made while
the service writes to the table. The order matters where a projection refuses events by what is stored. So the work is
divided by partition keys, and each process reads the files in their order.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from consumer import bootstrap
from consumer.admin.replay import replayer
from consumer.admin.retries import ForMinutes
from consumer.admin.sources import Origin, Source
from consumer.admin.workers import together
from consumer.archive.index import hash_of
from consumer.archive.place import Found
from consumer.archive.reading import Damaged
from consumer.engine.aggregation import deaggregate
from consumer.engine.errors import Reason, Rejected, SettingsError
from consumer.engine.folding import Outcome
from consumer.engine.optional_parts import may_be_of, partition_of
from consumer.engine.processor import Processor
from consumer.engine.projection import Ignored
from consumer.engine.records import Record
from consumer.settings import CoreSettings

SLICES = 5
"""So many slices of a delivery are folded together: 50,000 records, in 100 MiB. Most limits are then written once."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A file that is done. `size` in bytes; `damage` says which parts of it could not be read."""

    path: str
    size: int
    outcomes: Counter[Outcome]
    reasons: Counter[Reason]
    writes: int
    damage: tuple[str, ...] = ()


@dataclass(slots=True)
class Total:
    """What the files that are done add up to."""

    files: int = 0
    size: int = 0
    writes: int = 0
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    reasons: Counter[Reason] = field(default_factory=Counter)
    damage: list[str] = field(default_factory=list)

    def add(self, done: Rebuilt) -> None:
        self.files += 1
        self.size += done.size
        self.writes += done.writes
        self.outcomes += done.outcomes
        self.reasons += done.reasons
        self.damage += done.damage

    def to_json(self) -> dict[str, Any]:
        return {
            "files": self.files,
            "bytes": self.size,
            "records": self.outcomes.total(),
            "writes": self.writes,
            "outcomes": {outcome: self.outcomes[outcome] for outcome in Outcome},
            "reasons": dict(sorted(self.reasons.items())),
            "damaged": self.damage,
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """What is rebuilt from where, into the table of the settings.

    user   the only partition key that is rebuilt
    share  the number of this process, from 0, of so many that have a share of the partition keys each
    """

    settings: CoreSettings
    origin: Origin
    user: str | None = None
    share: tuple[int, int] = (0, 1)

    def about(self) -> dict[str, str]:
        """What distinguishes it from other rebuilds."""
        place, stream, file, since, until = (
            str(part) if part is not None else ""
            for part in (
                self.origin.place,
                self.origin.stream,
                self.origin.file,
                self.origin.since,
                self.origin.until,
            )
        )
        table = f"{self.settings.endpoint_of('dynamodb') or self.settings.region}/{self.settings.table_name}"
        found = {"from": place, "stream": stream, "file": file, "since": since, "until": until, "into": table}
        return {**found, "user": self.user or ""}

    def progress_file(self) -> Path:
        """In the current directory, of a name that no other rebuild has."""
        digest = hashlib.blake2b(json.dumps(self.about()).encode(), digest_size=4).hexdigest()
        return Path(f"consumer-rebuild-{digest}.jsonl")


class Done:
    """The files that a rebuild has done, kept in a file of JSON documents on lines: what is rebuilt, then paths.

    A line that is cut off is ignored: its file is done again.
    """

    def __init__(self, file: Path, about: dict[str, str]) -> None:
        """Raises SettingsError if the file cannot be used, or is that of another rebuild."""
        self._file = file
        try:
            content = file.read_bytes() if file.exists() else b""
            first, *rest = list(_documents(content)) or [None]
            if content and first != about:
                raise SettingsError([f"{file}: of another rebuild: choose another file with --resume, or delete it"])
            # behind a line that may be cut off
            self._append(b"" if content else json.dumps(about).encode())
        except OSError as error:
            problem = f"{file}: {error.strerror}: the progress is kept there; choose another file with --resume"
            raise SettingsError([problem]) from None
        self.paths = frozenset(path for path in rest if isinstance(path, str))

    def __str__(self) -> str:
        return str(self._file)

    def add(self, path: str) -> None:
        self._append(json.dumps(path).encode())

    def _append(self, line: bytes) -> None:
        with self._file.open("ab") as file:
            file.write(line + b"\n")

    def finish(self) -> None:
        """Everything is done: there is nothing to resume."""
        self._file.unlink(missing_ok=True)


def _documents(content: bytes) -> Iterator[Any]:
    for line in content.splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue


def check(plan: Plan) -> None:
    """Raises Unavailable if the table cannot be read: the rebuild itself would wait for it."""
    bootstrap.repository(plan.settings, bootstrap.pool()).partition("nobody")


def rebuild(plan: Plan, files: Iterable[Found], processes: int) -> Iterator[Rebuilt]:
    """Each file when it is done. Raises Unavailable when a store has failed for too long; what is done stays done."""
    count = processes if plan.user is None else 1
    shares = [replace(plan, share=(number, count)) for number in range(count)]
    return map(_of_shares, together(_Folder.of, shares, files))


def _of_shares(parts: list[Rebuilt]) -> Rebuilt:
    """A file that all processes have done. Each has read all of it, and folded its own records."""
    outcomes, reasons = Counter[Outcome](), Counter[Reason]()
    for part in parts:
        outcomes += part.outcomes
        reasons += part.reasons
    return replace(parts[0], outcomes=outcomes, reasons=reasons, writes=sum(part.writes for part in parts))


@dataclass(frozen=True, slots=True)
class _Folder:
    """Folds files into the table. It quarantines nothing: what can never be applied was quarantined when it came."""

    core: Processor[Any, Any]
    source: Source
    user: str | None
    share: tuple[int, int] = (0, 1)

    @classmethod
    def of(cls, plan: Plan) -> Self:
        # What comes from an archive is not archived again.
        core = replayer(bootstrap.processor(plan.settings.model_copy(update={"archive": None})))
        return cls(core, plan.origin.opened(plan.settings), plan.user, plan.share)

    def __call__(self, found: Found) -> Rebuilt:
        policy, damage = ForMinutes(), list[Damaged]()
        outcomes, reasons, writes = Counter[Outcome](), Counter[Reason](), 0
        records = self._chosen(self.source.records(found.path, damage.append))
        for result in self.core.process_in_slices(records, policy, lambda: True, SLICES):
            if result.unsettled:
                raise policy.cause
            outcomes += result.outcomes
            reasons += result.reasons
            writes += result.writes
        return Rebuilt(found.path, found.size, outcomes, reasons, writes, tuple(map(str, damage)))

    def _chosen(self, records: Iterator[Record]) -> Iterator[Record]:
        if self.user is None and self.share == (0, 1):
            return records
        parts = (part for record in records for part in deaggregate(record, self.core.aggregate_cap))
        if self.user is not None:
            may_be = may_be_of(self.core.projection, self.user)
            return (part for part in parts if may_be(part.data) and _is_of(self.core, self.user, part))
        partition = partition_of(self.core.projection)
        return (part for part in parts if _is_in(self.share, partition(part.data)))


def _is_in(share: tuple[int, int], partition: str | None) -> bool:
    """Whether a record is in this share: by its partition key, so that an event is with all others of its state."""
    number, shares = share
    return (hash_of(partition) % shares if partition is not None else 0) == number


def _is_of(core: Processor[Any, Any], partition: str, record: Record) -> bool:
    try:
        event = core.event(record)
    except Rejected:
        return False
    return not isinstance(event, Ignored) and core.projection.key(event)[0] == partition
