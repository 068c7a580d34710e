"""Where the objects of an archive are: `<stream>/date=YYYY-MM-DD/hour=HH/<shard>-<first>-<last>.json.gz`.

Every record in an object arrived in the hour of its name, and the records are in the order of the shard. `first` and
`last` are their sequence numbers. Two objects may overlap: a record that is delivered again is written again. They may
also overlap without a record in common, as Lambda can process several batches of one shard at the same time. So a
reader must not conclude from a name that an object holds every record between `first` and `last`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote

from consumer.engine.records import encoded

ENDING = ".json.gz"
HOUR = timedelta(hours=1)
_PATH = re.compile(
    r"([^/]+)/date=([0-9]{4}-[0-9]{2}-[0-9]{2})/hour=([0-9]{2})/([^/]+)-([^/-]+)-([^/-]+)\.json\.gz", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Name:
    """`hour` is the whole hour in UTC in which the records arrived."""

    stream: str
    hour: datetime
    shard: str
    first: str
    last: str

    def path(self) -> str:
        """The path below the place of the archive."""
        first, last = (_segment(number).replace("-", "%2D") for number in (self.first, self.last))
        return f"{prefix(self.stream, self.hour)}{_segment(self.shard)}-{first}-{last}{ENDING}"

    def is_within(self, since: datetime | None, until: datetime | None) -> bool:
        """Whether something in the object can have arrived between `since` and, exclusively, `until`."""
        return (since is None or self.hour + HOUR > since) and (until is None or self.hour < until)


def parse(path: str) -> Name | None:
    """The name from the output of `path`, None for any other path."""
    found = _PATH.fullmatch(path)
    if not found:
        return None
    stream, date, hour, shard, first, last = found.groups()
    try:
        moment = datetime.fromisoformat(f"{date}T{hour}:00:00+00:00")
    except ValueError:
        return None
    name = Name(_decoded(stream), moment, *map(_decoded, (shard, first, last)))
    return name if name.path() == path else None


def hour_of(arrived_at: int) -> datetime:
    """The whole hour of an arrival time in epoch milliseconds."""
    return datetime.fromtimestamp(arrived_at // 3_600_000 * 3_600, UTC)


def hours(since: datetime, until: datetime) -> Iterator[datetime]:
    """The whole hours in which something between `since` and, exclusively, `until` can have arrived."""
    hour = since.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    while hour < until:
        yield hour
        hour += HOUR


def prefix(stream: str, hour: datetime) -> str:
    """The folder of the objects of an hour, with a slash at its end."""
    return f"{_segment(stream)}/date={hour:%Y-%m-%d}/hour={hour:%H}/"


def _segment(part: str) -> str:
    """The part encoded so that it is never empty, `.` or `..`."""
    found = encoded(part)
    return found if found.strip(".") else found.replace(".", "%2E")


def _decoded(segment: str) -> str:
    return "" if segment == "%" else unquote(segment, errors="surrogatepass")
