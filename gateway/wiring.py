"""The composition root: which adapter stands behind which port. The only place that knows them all."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recommender.errors import TandemError, UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.adapters.directory.models import DirectoryModelStore
    from gateway.adapters.elasticsearch.catalogue import ElasticsearchCatalogue
    from gateway.adapters.elasticsearch.vectors import ElasticsearchVectors
    from gateway.adapters.memory.cache import MemoryCache
    from gateway.adapters.redis.cache import RedisCache
    from gateway.adapters.sqlite.catalogue import SqliteCatalogue
    from gateway.adapters.sqlite.events import SqliteEventLog
    from gateway.adapters.sqlite.serving_log import SqliteServingLog
    from gateway.compaction import CompactedEventLog
    from gateway.resilience.cache import GuardedCache
    from gateway.resilience.catalogue import GuardedCatalogue
    from gateway.resilience.event_log import GuardedEventLog
    from gateway.resilience.guard import Guard
    from gateway.resilience.guards import Guards
    from gateway.settings import Settings
    from recommender.kept_documents import KeptDocuments
    from recommender.rules import Rule
    from recommender.steering import Steering

# What the clients of the servers are made of; the `production` extra brings them.
CLIENTS = {"Elasticsearch": ("elasticsearch", "elastic_transport", "aiohttp"), "Redis": ("redis", "hiredis")}
COMMAND_TIMEOUT_MS = 5_000  # of a look-up that no request waits for; a server that hangs is still found out


class NoDataError(TandemError):
    """A command needs data that nobody has imported yet."""


@dataclass(frozen=True, slots=True)
class Stores:
    """Every port's adapter, open."""

    catalogue: SqliteCatalogue | ElasticsearchCatalogue
    events: SqliteEventLog | CompactedEventLog
    serving_log: SqliteServingLog
    models: DirectoryModelStore
    settings: Settings
    cache: MemoryCache | RedisCache
    vectors: ElasticsearchVectors | None = None  # with TANDEM_RETRIEVAL=knn

    def close(self) -> None:
        """Close them all. May be called twice."""
        self.cache.close()
        self.serving_log.close()
        self.events.close()
        self.catalogue.close()
        self.models.close()


def open_stores(settings: Settings, *, must_exist: bool = False) -> Stores:
    """Open the adapter of each port.

    must_exist: raise NoDataError when nothing has been imported, instead of creating empty stores.
    Raises UnavailableError when one cannot be opened; those opened before it are closed again.
    """
    # Imported here so that commands which open nothing (`tandem settings`) need not wait for numpy.
    from gateway.adapters.directory.models import DirectoryModelStore
    from gateway.adapters.sqlite.serving_log import SqliteServingLog

    if must_exist:
        check_data(settings)
    _make_directory(settings.data_dir)
    with ExitStack() as opened:
        catalogue = open_catalogue(settings, must_exist=must_exist)
        opened.callback(catalogue.close)
        events = open_event_log(settings)
        opened.callback(events.close)
        serving_log = SqliteServingLog.open(settings.serving_log_path, days=settings.serving_log_days)
        opened.callback(serving_log.close)
        models = DirectoryModelStore(settings.models_path, kept=settings.models_kept)
        cache = open_cache(settings, catalogue.identity)
        opened.pop_all()
    return Stores(
        catalogue=catalogue,
        events=events,
        serving_log=serving_log,
        models=models,
        settings=settings,
        cache=cache,
        vectors=open_vectors(settings, catalogue),
    )


@dataclass(frozen=True, slots=True)
class Guarded:
    """The stores as requests use them: those on servers behind guards, embedded ones as they are.

    documents: what the process keeps of them as objects; None where nothing is on a server, as the cache does it then.
    """

    catalogue: SqliteCatalogue | GuardedCatalogue
    events: SqliteEventLog | GuardedEventLog
    cache: MemoryCache | GuardedCache
    guards: Guards
    documents: KeptDocuments | None = None


def guarded(stores: Stores) -> Guarded:
    """Put a guard before each store that may hang."""
    from gateway.resilience.admission import Admission
    from gateway.resilience.guards import Guards
    from gateway.resilience.loop_lag import LoopLag
    from gateway.resilience.rate_limit import RateLimit
    from recommender.kept_documents import KeptDocuments

    settings, lag = stores.settings, LoopLag()
    is_far = settings.catalogue_elasticsearch_url is not None or settings.cache_redis_url is not None
    documents = KeptDocuments() if is_far else None
    guards: list[Guard] = []
    catalogue: Any = stores.catalogue
    if settings.catalogue_elasticsearch_url is not None:
        from gateway.resilience.catalogue import GuardedCatalogue

        catalogue = GuardedCatalogue(catalogue, lag, documents)
        guards.append(catalogue.guard)
    events: Any = stores.events
    if settings.events_redis_url is not None:
        from gateway.resilience.event_log import GuardedEventLog

        events = GuardedEventLog(events, lag)
        guards.append(events.guard)
    cache: Any = stores.cache
    if settings.cache_redis_url is not None:
        from gateway.resilience.cache import GuardedCache

        cache = GuardedCache(cache, lag)
        guards.append(cache.guard)
    admission = Admission(settings.max_in_flight) if settings.max_in_flight else None
    shared = cache if settings.cache_redis_url is not None else None
    rates = settings.rate_by_role
    limit = RateLimit(rates, shared, sharers=settings.workers) if rates else None
    held = Guards(settings.deadline_ms / 1_000, lag, tuple(guards), admission, limit)
    return Guarded(catalogue, events, cache, held, documents)


def open_vectors(
    settings: Settings, catalogue: SqliteCatalogue | ElasticsearchCatalogue
) -> ElasticsearchVectors | None:
    """The vectors beside a catalogue in Elasticsearch, where the settings ask for them."""
    if settings.retrieval != "knn":
        return None
    from gateway.adapters.elasticsearch.catalogue import ElasticsearchCatalogue

    return catalogue.vectors() if isinstance(catalogue, ElasticsearchCatalogue) else None


def open_catalogue(settings: Settings, *, must_exist: bool = False) -> SqliteCatalogue | ElasticsearchCatalogue:
    """Open the catalogue alone.

    must_exist: raise NoDataError where there is none. Raises UnavailableError when it cannot be opened.
    """
    url = settings.catalogue_elasticsearch_url
    if url is None:
        from gateway.adapters.sqlite.catalogue import SqliteCatalogue

        if must_exist:
            check_data(settings)
        return SqliteCatalogue.open(settings.catalogue_path, currency=settings.currency)
    try:
        from gateway.adapters.elasticsearch.catalogue import ElasticsearchCatalogue
        from gateway.adapters.elasticsearch.layout import NoIndicesError
    except ModuleNotFoundError as error:
        raise _no_client("catalogue", "Elasticsearch", error) from error
    try:
        return ElasticsearchCatalogue.open(
            url,
            namespace=settings.namespace,
            currency=settings.currency,
            create=not must_exist,
            timeout_ms=settings.catalogue_timeout_ms,
        )
    except NoIndicesError as error:
        raise NoDataError(f"{error}: run `tandem import …` first") from error


def steering_of(settings: Settings, rules: Sequence[Rule] = ()) -> Steering:
    """What the settings set for all lists, with the rules of a file."""
    from recommender.exposure import Floor
    from recommender.fatigue import Fatigue
    from recommender.steering import Steering

    return Steering(
        rules=tuple(rules),
        max_per_client=settings.max_per_client,
        fatigue=Fatigue(settings.fatigue, settings.fatigue_half_life_days) if settings.fatigue > 0 else None,
        new_jobs=Floor(settings.new_jobs_share, settings.new_jobs_days) if settings.new_jobs_share > 0 else None,
    )


def open_event_log(settings: Settings, *, may_be_lost: bool = False) -> SqliteEventLog | CompactedEventLog:
    """Open the event log alone. Raises UnavailableError when it cannot be opened.

    may_be_lost: also one in Redis that has lost events which its archive has.
    """
    url = settings.events_redis_url
    if url is None:
        from gateway.adapters.sqlite.events import SqliteEventLog

        return SqliteEventLog.open(settings.events_path)
    try:
        from gateway.adapters.redis.server import Timeouts
        from gateway.compaction import CompactedEventLog
    except ModuleNotFoundError as error:
        raise _no_client("event log", "Redis", error) from error
    timeout_ms = settings.events_timeout_ms
    timeouts = Timeouts(connect_ms=max(1, timeout_ms // 2), read_ms=timeout_ms)
    return CompactedEventLog.open(
        url,
        namespace=settings.namespace,
        archive=settings.archive_path,
        timeouts=timeouts,
        may_be_lost=may_be_lost,
    )


def open_cache(settings: Settings, catalogue: str) -> MemoryCache | RedisCache:
    """Make the cache ready, be its server there or not. catalogue: the identity of the one whose documents it keeps.

    Raises UnavailableError when the client of Redis is not installed.
    """
    max_bytes = settings.cache_mb * 1_000_000
    url = settings.cache_redis_url
    if url is None:
        from gateway.adapters.memory.cache import MemoryCache

        return MemoryCache(max_bytes, lambda: time.monotonic_ns() // 1_000_000)
    try:
        from gateway.adapters.redis.cache import RedisCache
        from gateway.adapters.redis.server import Timeouts
    except ModuleNotFoundError as error:
        raise _no_client("cache", "Redis", error) from error
    wait_ms = settings.cache_timeout_ms
    # Writing may take longer: by then the answer is made.
    timeouts = Timeouts(connect_ms=wait_ms, read_ms=wait_ms, write_ms=5 * wait_ms)
    return RedisCache.open(
        url,
        namespace=settings.namespace,
        catalogue=catalogue,
        process=uuid.uuid4().hex,
        max_bytes=max_bytes,
        timeouts=timeouts,
    )


def _no_client(part: str, server: str, error: ModuleNotFoundError) -> Exception:
    """What to raise when the client of a server, or something else, is not installed."""
    if (error.name or "").partition(".")[0] not in CLIENTS[server]:
        return error
    return UnavailableError(
        part, f"the client of {server} is not installed; install it with `pip install -e '.[production]'`"
    )


def patient(settings: Settings) -> Settings:
    """The same for a command: what is too late for a request need not stop an import on a loaded server."""
    return settings.model_copy(
        update={
            "catalogue_timeout_ms": max(settings.catalogue_timeout_ms, COMMAND_TIMEOUT_MS),
            "events_timeout_ms": max(settings.events_timeout_ms, COMMAND_TIMEOUT_MS),
        }
    )


@asynccontextmanager
async def stores(settings: Settings, *, must_exist: bool = False) -> AsyncIterator[Stores]:
    """The stores of a command, open for the length of a block."""
    opened = await asyncio.to_thread(open_stores, patient(settings), must_exist=must_exist)
    try:
        yield opened
    finally:
        await asyncio.to_thread(opened.close)


def check_data(settings: Settings) -> None:
    """Raise NoDataError, with what to do, unless a catalogue and an event log are there; servers are asked later."""
    path = settings.catalogue_path
    if settings.catalogue_elasticsearch_url is None and not path.is_file():
        place = path if settings.catalogue_url else settings.data_dir
        raise NoDataError(f"no data in {place}: run `tandem import …` or `tandem demo` first")
    # A new, empty log in its place would answer as if nobody had ever done anything.
    if settings.events_redis_url is None and not settings.events_path.is_file():
        raise NoDataError(
            f"no event log at {settings.events_path}: bring it back or correct TANDEM_EVENTS_URL; "
            "`tandem import …` begins a new one"
        )


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnavailableError(
            "data directory", f"{path} cannot be made ({error.strerror}); set TANDEM_DATA_DIR to a place that can"
        ) from error
