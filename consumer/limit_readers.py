"""The composition root of what only the limits have: it builds the readers of limits and of their histories."""

from botocore.config import Config

from consumer import bootstrap
from consumer.archive.finding import Finder
from consumer.archive.indexing import Indexer
from consumer.archive.place import Place
from consumer.limits.claims import users
from consumer.limits.history import HistoryReader
from consumer.limits.projection import Limits
from consumer.limits.repository import LimitReader, UserLimitRepository
from consumer.settings import ApiSettings, HistorySettings, LimitSettings, RecordSettings
from consumer.stores.aws import CLIENT
from consumer.stores.requests import OnRequest

ARCHIVE_REQUESTS = 16
"""How many requests of a reader of the archive run at the same time: as many as a client has connections (CLIENT)."""


def user_limits(settings: LimitSettings) -> UserLimitRepository:
    return UserLimitRepository(bootstrap.repository(settings, bootstrap.pool()), bootstrap.now_millis)


def limit_reader(settings: LimitSettings, config: Config = CLIENT, on_request: OnRequest | None = None) -> LimitReader:
    return LimitReader(bootstrap.repository(settings, bootstrap.pool(), config, on_request), bootstrap.now_millis)


def histories(settings: HistorySettings) -> HistoryReader:
    return _histories(settings, bootstrap.place_of(settings, settings.archive), settings.stream_name)


def histories_of_api(settings: ApiSettings, config: Config = CLIENT) -> HistoryReader | None:
    """None without an archive."""
    if settings.archive is None or settings.stream_name is None:
        return None
    return _histories(settings, bootstrap.place_of(settings, settings.archive, config), settings.stream_name)


def _histories(settings: RecordSettings, files: Place, stream_name: str) -> HistoryReader:
    finder = Finder(files, stream_name, users, bootstrap.pool(ARCHIVE_REQUESTS), settings.aggregate_records)
    limits = Limits(max_sequence=settings.max_sequence_number)
    return HistoryReader(finder, limits, settings.record_cap_bytes, bootstrap.now_millis)


def indexer(settings: HistorySettings) -> Indexer:
    files = bootstrap.place_of(settings, settings.archive)
    return Indexer(files, settings.stream_name, users, bootstrap.pool(ARCHIVE_REQUESTS))
