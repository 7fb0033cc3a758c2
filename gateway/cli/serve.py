"""`tandem serve`: check what serving needs, open the stores, answer until told to stop."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
import time
from contextlib import ExitStack, suppress
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, cast

import structlog
import typer

from recommender.errors import AwayError, NoModelError, TandemError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from multiprocessing.connection import Connection
    from pathlib import Path

    from gateway.adapters.elasticsearch.catalogue import ElasticsearchCatalogue
    from gateway.adapters.redis.cache import RedisCache
    from gateway.cli.server import Counts, Turn
    from gateway.forgetting import Forgetting
    from gateway.graphql.persisted import PersistedOperations
    from gateway.graphql.schema import TandemSchema
    from gateway.graphql.services import Services
    from gateway.resilience.cache import GuardedCache
    from gateway.rules_file import RulesFile
    from gateway.settings import Settings
    from gateway.wiring import Guarded, Stores
    from recommender.documents import Kind

UNREAD_MS = 8_000
START_AGAIN_SECONDS = 0.5  # between two looks whether a server is there
CLOSING_SECONDS = 5.0  # for a process to close its stores, once nothing is in flight
COLLECTED_FROM = 10_000  # objects that may be parts of a cycle, more than at the last look; Python looks from 700 on


def command(
    host: Annotated[str | None, typer.Option(help="Address to listen on (TANDEM_HOST).")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on, 0 for a free one (TANDEM_PORT).")] = None,
    workers: Annotated[int | None, typer.Option(help="How many processes answer (TANDEM_WORKERS).")] = None,
) -> None:
    """Serve GraphQL, and GraphiQL in the browser, over what was imported and trained."""
    from gateway.settings import load_settings

    given = {"host": host, "port": port, "workers": workers}
    run_server(load_settings(**{name: value for name, value in given.items() if value is not None}))


def run_server(settings: Settings, banner: str | None = None) -> None:
    """Serve until SIGINT or SIGTERM; returns after the stores are closed.

    banner: printed once requests are answered; by default the address and who may ask. `{url}` in it becomes the
    address, which is known only now when the port is 0.

    Raises: SettingsError, NoDataError, NoModelError, ModelRefusedError, UnavailableError; OSError for a port in use.
    """
    from gateway.logs import set_up_logs

    set_up_logs(settings, may_block=False)
    with ExitStack() as opened:
        made: list[socket.socket] = []

        def listening() -> socket.socket:
            if not made:
                made.append(opened.enter_context(_listening(settings)))
            return made[0]

        def greet(listener: socket.socket) -> None:
            typer.echo((banner or _banner(settings)).replace("{url}", _url(listener)))

        if settings.workers == 1:
            _serve(settings, listening, greet)
        else:
            _supervise(settings, listening(), greet)


def _supervise(settings: Settings, listener: socket.socket, greet: Callable[[socket.socket], None]) -> None:
    from gateway.cli.server import LINGER_SECONDS, STOP_SECONDS
    from gateway.cli.supervisor import Supervisor
    from gateway.http.auth import build_access
    from gateway.shared_counts import forget, shared_directory
    from gateway.wiring import check_data

    build_access(settings)
    check_data(settings)
    # Each process would begin a thread for every core.
    threads = str(max(1, (os.cpu_count() or 1) // settings.workers))
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, threads)
    with shared_directory() as counted:
        supervisor = Supervisor(
            settings.workers,
            serve_as_worker,
            (settings, listener, counted),
            leave_seconds=LINGER_SECONDS + STOP_SECONDS + CLOSING_SECONDS,
            grace_seconds=settings.drain_seconds,
            on_end=partial(forget, counted),
        )
        supervisor.run(listener, lambda: greet(listener))


def serve_as_worker(
    settings: Settings, listener: socket.socket, counted: Path, counts: Counts, place: int, told: Connection
) -> None:
    """The work of one process of several: see gateway.cli.supervisor. counted: where their metrics are added up."""
    from gateway.shared_counts import share

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal, to all: the supervisor says what to do
    share(counted, place)
    _prepare(settings)
    from gateway.cli.server import Turn
    from gateway.cli.supervisor import READY
    from gateway.logs import set_up_logs

    try:
        is_alone = told.recv()
    except EOFError:
        return
    set_up_logs(settings, may_block=False)
    structlog.contextvars.bind_contextvars(worker=os.getpid())
    try:
        _serve(settings, lambda: listener, lambda _: told.send(READY), Turn(counts, place, told, is_alone))
    except (TandemError, OSError) as error:
        told.send(str(error))
        sys.exit(1)


def _prepare(settings: Settings) -> None:
    """What of beginning takes more than a second of CPU: imports, and machine code that a model's lists need."""
    modules = ["gateway.cli.server", "gateway.http.app", "gateway.http.tokens", "gateway.rules_file", "gateway.erasure"]
    modules += ["gateway.adapters.sqlite.serving_log", "gateway.adapters.directory.models", "recommender.versions"]
    on_elasticsearch, on_redis = settings.catalogue_elasticsearch_url is not None, settings.events_redis_url is not None
    modules.append(
        "gateway.adapters.elasticsearch.catalogue" if on_elasticsearch else "gateway.adapters.sqlite.catalogue"
    )
    modules.append("gateway.adapters.redis.events" if on_redis else "gateway.adapters.sqlite.events")
    modules.append(
        "gateway.adapters.memory.cache" if settings.cache_redis_url is None else "gateway.adapters.redis.cache"
    )
    for module in modules:
        import_module(module)
    from gateway.adapters.directory.models import DirectoryModelStore
    from recommender.versions import Versions

    with suppress(TandemError):  # who serves says what is wrong with it
        Versions(DirectoryModelStore(settings.models_path), _clock_ms).refresh()


def _serve(
    settings: Settings,
    listening: Callable[[], socket.socket],
    greet: Callable[[socket.socket], None],
    turn: Turn | None = None,
) -> None:
    """Answer at a socket until told to stop. listening: gives it, once there is something to serve or to say."""
    from gateway.http.auth import build_access
    from gateway.rules_file import RulesFile
    from gateway.tracing import end_traces, set_up_traces
    from gateway.wiring import guarded

    set_up_traces(settings.otlp_url)
    access = build_access(settings)
    trusted, federation = _trusted(settings), _federation(settings)
    rules = None if settings.rules is None else RulesFile(settings.rules)
    stores = _opened(settings, listening, turn)
    try:
        _warn_of_a_full_disk(stores)
        _warn_of_a_lost_cache(stores)
        ports = guarded(stores)
        services = build_services(stores, rules, ports)
        _load_model(services)
        listener = listening()
        from gateway.cli.server import Server, most_connections
        from gateway.http.app import build_app
        from gateway.http.health import Readiness

        readiness = Readiness(worker=None if turn is None else os.getpid())
        app = build_app(
            services,
            access,
            operations=_operations(settings, ports, trusted),
            federation=federation,
            batch_operations=settings.batch_operations,
            refused_status=int(settings.refused_status),
            cors_origins=settings.cors_origins,
            readiness=readiness,
            data_dir=settings.data_dir,
            tasks=_tasks(stores, ports, services),
        )

        def begun() -> None:
            spare_from_collection()
            greet(listener)

        Server(
            app,
            readiness,
            connections=most_connections(settings.connections),
            grace_seconds=settings.drain_seconds,
            on_warm=begun,
            end_streams=services.changes.close,
            turn=turn,
            admission=services.guards.admission,
        ).run(sockets=[listener])
    finally:
        stores.close()
        end_traces()


def _opened(settings: Settings, listening: Callable[[], socket.socket], turn: Turn | None) -> Stores:
    """The stores, once their servers answer. Where nobody else answers meanwhile, who asks is told why not.

    Raises as open_stores does, AwayError when a server is away for longer than TANDEM_START_WAIT_SECONDS.
    """
    from gateway.cli.waiting_room import WaitingRoom
    from gateway.wiring import open_stores

    until_s = time.monotonic() + settings.start_wait_seconds
    room: WaitingRoom | None = None
    said = ""
    try:
        while True:
            try:
                return open_stores(settings, must_exist=True)
            except AwayError as error:
                left_s = until_s - time.monotonic()
                if left_s <= 0:
                    raise
                if str(error) != said:
                    said = str(error)
                    log = structlog.get_logger("tandem.serve")
                    log.warning("waiting to begin", reason=said, for_seconds=round(left_s))
                if turn is None or turn.is_alone:
                    why = f"the {error.part} does not answer; waiting for it"
                    room = room or WaitingRoom(listening(), why)
                    room.why = why
                if turn is None:
                    time.sleep(START_AGAIN_SECONDS)
                elif turn.told.poll(START_AGAIN_SECONDS):  # its end: the supervisor is gone
                    sys.exit(1)
    finally:
        if room is not None:
            room.close()


def build_services(stores: Stores, rules: RulesFile | None = None, ports: Guarded | None = None) -> Services:
    """What the schema needs, over open stores, with the real clock and random ids."""
    from gateway.erasure import Remains
    from gateway.graphql.services import Services
    from gateway.resilience.serving_log import UnfailingServingLog
    from gateway.round_trips import Step
    from gateway.wiring import guarded, steering_of
    from recommender.recommender import Recommender

    ports = ports or guarded(stores)
    recommender = Recommender(
        catalogue=ports.catalogue,
        events=ports.events,
        serving_log=UnfailingServingLog(stores.serving_log),
        models=stores.models,
        clock_ms=_clock_ms,
        new_id=_new_id,
        cache=ports.cache,
        documents=ports.documents,
        vectors=stores.vectors,
        nominated_from=stores.settings.knn_from,
        steering=steering_of(stores.settings, () if rules is None else rules.rules),
        mutual_weight=stores.settings.mutual_weight,
        watched=Step,
        is_remote=stores.settings.catalogue_elasticsearch_url is not None
        or stores.settings.events_redis_url is not None,
    )
    return Services(
        recommender=recommender,
        catalogue=ports.catalogue,
        events=ports.events,
        clock_ms=_clock_ms,
        new_id=_new_id,
        rules=rules,
        compiles=stores.settings.compiled,
        public_attributes=frozenset(stores.settings.public_attributes),
        remains=Remains(stores.serving_log, stores.models, stores.cache, stores.settings.rejects_path),
        guards=ports.guards,
    )


def _tasks(stores: Stores, ports: Guarded, services: Services) -> list[Callable[[], Coroutine[Any, Any, None]]]:
    """What runs beside the requests."""
    recommender = services.recommender
    running: list[Callable[[], Coroutine[Any, Any, None]]] = [
        services.guards.lag.follow,
        forgetting(ports, services).follow,
    ]
    if services.guards.admission is not None:
        running.append(services.guards.admission.follow)
    from gateway.resilience.event_log import GuardedEventLog

    if isinstance(ports.events, GuardedEventLog):
        running.append(partial(ports.events.follow, recommender.model.manifest.watermark))
    if services.rules is not None:
        from gateway.rules_file import follow_rules

        running.append(partial(follow_rules, services.rules, recommender.steer))
    if stores.vectors is not None:
        from gateway.vectors import keep_vectors

        running.append(partial(keep_vectors, stores.vectors, lambda: recommender.serving, stores.settings.knn_from))
    return running


def forgetting(ports: Guarded, services: Services) -> Forgetting:
    """Drops what this process holds of documents that are deleted, here or by another gateway."""
    from gateway.forgetting import Forgetting
    from gateway.graphql.remembered import forget_remembered

    def forget(kind: Kind, ordinals: Sequence[int], ids: Sequence[str]) -> None:
        if ports.documents is not None:
            ports.documents.forget(kind, ordinals)
        ports.events.forget_kept(kind, ids)
        services.recommender.forget_pages()
        forget_remembered()

    assert services.remains is not None  # noqa: S101 — of a gateway that serves
    return Forgetting(ports.catalogue, ports.cache, forget, services.remains.serving_log)


def _trusted(settings: Settings) -> dict[str, str]:
    """The trusted documents. Raises BadInputError for a manifest that cannot be used, OSError for none."""
    from gateway.graphql.schema import trusted_by

    path = settings.trusted_documents
    return {} if path is None else trusted_by(path.read_bytes(), str(path))


def _operations(settings: Settings, ports: Guarded, trusted: Mapping[str, str]) -> PersistedOperations:
    """Which operations are answered, and where those that clients name are kept: beside the shared cache."""
    from gateway.graphql.persisted import MemoryOperations, PersistedOperations, SharedOperations

    shared = settings.cache_redis_url is not None
    store = SharedOperations(cast("GuardedCache", ports.cache), time.monotonic) if shared else MemoryOperations()
    return PersistedOperations(store=store, trusted=trusted, only_trusted=settings.operations == "trusted")


def _federation(settings: Settings) -> TandemSchema | None:
    """What a router is answered with; None when there is none. Raises BadInputError for names that are taken."""
    if settings.federation is None:
        return None
    from gateway.graphql.federation import build_subgraph

    return build_subgraph(settings.federation, settings.federation_prefix).schema


def _warn_of_a_full_disk(stores: Stores) -> None:
    """Elasticsearch goes on answering when its disk is full, so it is served from."""
    if stores.settings.catalogue_elasticsearch_url is not None:
        catalogue = cast("ElasticsearchCatalogue", stores.catalogue)
        problem = asyncio.run(catalogue.write_problem())
        if problem is not None:
            structlog.get_logger("tandem.serve").warning("no document can be written", why=problem)


def _warn_of_a_lost_cache(stores: Stores) -> None:
    """Without its cache Tandem answers all the same, only slower; and it finds one that comes back."""
    if stores.settings.cache_redis_url is not None:
        problem = cast("RedisCache", stores.cache).problem()
        if problem is not None:
            structlog.get_logger("tandem.serve").warning("nothing is cached", why=problem)


def _load_model(services: Services) -> None:
    """The model is there before the first request; without one there is nothing to serve."""
    services.recommender.refresh_model()
    try:
        _ = services.recommender.model
    except NoModelError as error:
        raise NoModelError("there is no model to serve: run `tandem train` first") from error


def _clock_ms() -> int:
    return time.time_ns() // 1_000_000


def _new_id() -> str:
    return os.urandom(16).hex()  # what uuid4 takes twice the time for


def _listening(settings: Settings) -> socket.socket:
    """The socket, bound before anything is said to be served. Raises OSError for a port in use."""
    family, *_rest, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Who takes nothing for so long of what it was sent is gone; accepted connections have it from here.
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MS)
        listener.bind(address)
        listener.listen()  # now: until it listens, Linux lets another socket with this option have the same port
    except OSError:
        listener.close()
        raise
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _banner(settings: Settings) -> str:
    who = {
        "open": "open: everybody on this machine, as an engineer who may read all and write events",
        "token": "token: who sends `Authorization: Bearer` and TANDEM_SERVICE_TOKEN",
        "jwt": f"jwt: who sends `Authorization: Bearer` and a token of {settings.issuer}, as its role",
    }.get(settings.auth or "", "closed: TANDEM_AUTH is not set, so every request is refused")
    return f"Tandem serves {{url}}/graphql (GraphiQL in a browser). Access is {who}."


def spare_from_collection() -> None:
    """Let the garbage collector pass over what is there by now: it stays, and looking through it blocks the loop.

    What a request makes is nearly all gone without it, so that it need not look so often either.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECTED_FROM, *gc.get_threshold()[1:])
