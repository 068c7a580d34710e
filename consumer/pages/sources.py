"""Where the page "The consumer" has its facts from: what `consumer status` and `consumer quarantine` read too.

`consumer serve` also runs without the settings of the service. What needs them then says which are not set.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import NoReturn, TypeVar

from botocore.config import Config

from consumer import bootstrap
from consumer.admin.observer import Observer
from consumer.admin.status import Status
from consumer.engine.errors import SettingsError, Unavailable
from consumer.engine.quarantine import Listed, QuarantineStore
from consumer.pages.quarantine import Reading, ShownRecord, contents, reading
from consumer.pages.sampling import Sampler
from consumer.settings import CoreSettings, PageSettings, RecordSettings, Settings, load
from consumer.stores.aws import SHORT_TIMEOUTS

CLIENT = SHORT_TIMEOUTS.merge(Config(retries={"mode": "standard", "total_max_attempts": 2}))
"""A shard's five reads per second are shared, so a read may be throttled once."""

S = TypeVar("S", bound=RecordSettings)


@dataclass(frozen=True, slots=True)
class Sources:
    """What the page reads. The functions block, and raise Unavailable.

    status    of the application, without the quarantine
    records   the beginning of the quarantine, without the data
    contents  some of these records, with it
    size      the number of all records in it
    place     where it is; empty if that is not known
    """

    status: Callable[[], Status]
    records: Callable[[], Reading]
    contents: Callable[[Sequence[Listed]], Sequence[ShownRecord]]
    size: Callable[[], int]
    place: str
    sampler: Sampler


def sources_of(settings: PageSettings) -> Sources:
    """Clients of AWS are made when they are first needed: a server whose page nobody views needs no memory for them."""
    of_core = _loaded(CoreSettings)
    kept = cache(partial(_opened, of_core))
    observer = cache(partial(_observer, _loaded(Settings)))
    return Sources(
        status=lambda: observer().look(quarantine=False),
        records=lambda: reading(kept()),
        contents=lambda listed: contents(kept(), listed),
        size=lambda: kept().size(),
        place="" if isinstance(of_core, SettingsError) else of_core.quarantine,
        sampler=Sampler(settings.pages_metrics_urls),
    )


def _loaded(kind: type[S]) -> S | SettingsError:
    """The settings, or why they cannot be used."""
    try:
        return load(kind)
    except SettingsError as error:
        return error


def _observer(settings: Settings | SettingsError) -> Observer:
    if isinstance(settings, SettingsError):
        _refuse(settings)
    return Observer.of(settings, CLIENT)


def _opened(settings: CoreSettings | SettingsError) -> QuarantineStore:
    if isinstance(settings, SettingsError):
        _refuse(settings)
    return bootstrap.quarantine(settings, bootstrap.pool(bootstrap.QUARANTINE_REQUESTS), CLIENT)


def _refuse(error: SettingsError) -> NoReturn:
    raise Unavailable(f"not configured for this server: {error}")
