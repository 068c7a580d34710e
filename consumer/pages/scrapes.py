"""What the page takes from the metrics that a worker serves. It blocks for seconds at worst."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException
from urllib.error import URLError
from urllib.request import Request

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from consumer.api.fetching import Bounds, TooLong, fetch
from consumer.engine.errors import ConsumerError
from consumer.engine.folding import Outcome
from consumer.monitoring.metrics import BEHIND, RECORDS

SECONDS = 2.0
"""For the connection, for each pause of the response, and for its body as a whole."""
BYTES = 2_097_152
"""The longest page of metrics. A worker with 100 shards serves 100 kB."""

_OURS = "consumer_"
_WANTED = (RECORDS.name, BEHIND.name)
_OUTCOMES = frozenset(Outcome)


class NotScraped(ConsumerError):
    """The metrics of a worker cannot be read. The message has nothing of what it sent."""


@dataclass(frozen=True, slots=True)
class Scrape:
    """The metrics of one worker at one time.

    records  settled since the worker started, by outcome
    behind   seconds between the tip of the stream and the shard that is furthest behind; None without a shard
    """

    records: Mapping[Outcome, float]
    behind: float | None


def scrape(address: str) -> Scrape:
    """The metrics at an http or https address. Follows no redirect and uses no proxy. Raises NotScraped."""
    try:
        return parsed(_body(address).decode())
    except TooLong as error:
        raise NotScraped(str(error)) from None
    except (HTTPException, ValueError, LookupError, ArithmeticError):
        # They may quote what the other side sent.
        raise NotScraped("unexpected response: not the metrics of a worker") from None
    except OSError as error:
        raise NotScraped(_cause(error)) from error


def parsed(text: str) -> Scrape:
    """From the text format of Prometheus. Raises NotScraped without metrics of ours, ValueError if it is malformed."""
    ours = [line for line in text.split("\n") if line.startswith(_OURS)]
    if not ours:
        raise NotScraped("unexpected response: not a worker")
    # The parser takes microseconds a line, and most lines are of histograms.
    samples = list(_samples(line for line in ours if line.startswith(_WANTED)))
    records: defaultdict[Outcome, float] = defaultdict(float)
    for sample in samples:
        outcome = sample.labels.get("outcome", "")
        if sample.name == RECORDS.name and outcome in _OUTCOMES:
            records[Outcome(outcome)] += max(0.0, sample.value)
    behind = [max(0.0, sample.value) for sample in samples if sample.name == BEHIND.name]
    return Scrape(dict(records), max(behind, default=None))


def _samples(lines: Iterable[str]) -> Iterator[Sample]:
    for family in text_string_to_metric_families("\n".join(lines) + "\n"):
        yield from (sample for sample in family.samples if math.isfinite(sample.value))


def _cause(error: OSError) -> str:
    # urllib wraps what happened while it connected.
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, TimeoutError):
        return f"no answer within {SECONDS:g} s"
    text = reason.strerror if isinstance(reason, OSError) else reason
    return f"not reachable: {text or type(reason).__name__}"


def _body(address: str) -> bytes:
    # The address is a setting, whose form allows only http and https.
    request = Request(address, headers={"Accept": "text/plain;version=0.0.4"})  # noqa: S310
    status, body = fetch(request, Bounds(SECONDS, BYTES), proxies=False)
    if status != HTTPStatus.OK:
        raise NotScraped(f"status {status} instead of 200")
    return body
