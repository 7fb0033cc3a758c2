"""Every metric there is: its name, its labels, its meaning, in docs/metrics.md as a table that a test holds to this.

One set for the process, as the library means it: adapters, GraphQL and HTTP count here directly. Labels have few
values, known beforehand or bounded: a route, an outcome, the name of a trusted operation; never an id, a text, a token.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector

from gateway.shared_counts import DIRECTORY

Outcome = Literal["ok", "degraded", "client_error", "shed", "error"]
OTHER: Final = "other"

# The latency that is promised (docs/slo.md) and the deadline of a request are bounds of their own.
REQUEST_SECONDS: Final = (0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 10.0)
ROUND_TRIP_SECONDS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 2.0, 10.0)
LAG_SECONDS: Final = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
COSTS: Final = (1, 10, 30, 100, 300, 1_000, 3_000, 10_000)

# Else each has a series more, of when it began.
disable_created_metrics()  # type: ignore[no-untyped-call]
REGISTRY: Final = CollectorRegistry()


def _counter(name: str, meaning: str, *labels: str) -> Counter:
    return Counter(name, meaning, labels, registry=REGISTRY)


def _seconds(name: str, meaning: str, *labels: str, buckets: tuple[float, ...] = REQUEST_SECONDS) -> Histogram:
    return Histogram(name, meaning, labels, registry=REGISTRY, buckets=buckets)


def _gauge(name: str, meaning: str, *labels: str, of_workers: Literal["livesum", "livemax", "livemin"]) -> Gauge:
    """of_workers: what several processes show for all of them together."""
    return Gauge(name, meaning, labels, registry=REGISTRY, multiprocess_mode=of_workers)


# ---- Requests and operations ----------------------------------------------------------------------------------------

HTTP_REQUESTS = _counter("tandem_http_requests_total", "Answered requests.", "route", "status")
HTTP_SECONDS = _seconds("tandem_http_request_seconds", "Time from request to answer; streams count apart.", "route")
IN_FLIGHT = _gauge("tandem_http_requests_in_flight", "Requests that are being answered.", of_workers="livesum")
OPERATIONS = _counter(
    "tandem_operations_total",
    "Operations answered. operation: the name of a trusted one, else `other`. outcome: `ok`, `degraded` (answered from "
    "less than usual), `client_error`, `shed` (turned away for load), `error` (ours).",
    "operation",
    "outcome",
)
OPERATION_SECONDS = _seconds(
    "tandem_operation_seconds", "Time to execute an operation; a bucket's exemplar is a trace in it.", "operation"
)
QUERY_COST = Histogram(
    "tandem_query_cost", "Objects that an operation could answer with.", registry=REGISTRY, buckets=COSTS
)
DEGRADED = _counter("tandem_degraded_total", "Operations answered from less than usual, by why.", "reason")
ADMISSIONS = _counter(
    "tandem_admissions_total",
    "Requests that came: `admitted`, of these `waited`; turned away for load `shed`, or `displaced` by another caller.",
    "outcome",
)
RATE_LIMITED = _counter("tandem_rate_limited_total", "Requests over their caller's rate, by role.", "role")
AUTH_FAILURES = _counter("tandem_auth_failures_total", "Callers that were not let in, by why.", "reason")
EVENTS = _counter("tandem_events_total", "Events that were sent: `accepted`, `duplicate` or `conflict`.", "outcome")

# ---- What requests depend on ----------------------------------------------------------------------------------------

DEPENDENCY_SECONDS = _seconds(
    "tandem_dependency_seconds",
    "Time of one round trip to a server, and how it ended.",
    "dependency",
    "outcome",
    buckets=ROUND_TRIP_SECONDS,
)
BREAKER_STATE = _gauge(
    "tandem_breaker_state",
    "0 while a dependency is asked, 1 while it is tried again, 2 while it is left alone.",
    "dependency",
    of_workers="livemax",
)
GUARDED = _counter("tandem_guarded_total", "Questions to a dependency behind a breaker.", "dependency", "outcome")
CACHE = _counter("tandem_cache_total", "What came of asking the cache.", "of", "outcome")
STEP_SECONDS = _seconds(
    "tandem_step_seconds",
    "Time of a step of making the lists of a batch: `fold-in` (the interest of subjects), `match`, `score`.",
    "step",
    buckets=ROUND_TRIP_SECONDS,
)
FRESHNESS_LAG = _gauge(
    "tandem_freshness_lag_seconds",
    "How long ago this process last had all that was acknowledged: talents, jobs, events.",
    "of",
    of_workers="livemax",
)

# ---- The model ------------------------------------------------------------------------------------------------------

MODEL_INFO = _gauge("tandem_model_info", "The serving model.", "version", of_workers="livemax")
MODEL_AGE = _gauge("tandem_model_age_seconds", "Since the serving model was trained.", of_workers="livemax")
MODEL_FAILURES = _counter("tandem_model_load_failures_total", "Times that a published model could not be served.")
EVENTS_AFTER_MODEL = _gauge(
    "tandem_events_after_model", "Events of the log that the serving model has not learnt from.", of_workers="livemax"
)
RULES = _gauge("tandem_rules", "Rules of the file that hold now.", of_workers="livemax")
RULES_REFUSED = _gauge("tandem_rules_refused", "1 while a newer rules file cannot be used.", of_workers="livemax")

# ---- The process ----------------------------------------------------------------------------------------------------

BUILD_INFO = _gauge("tandem_build_info", "The running version.", "version", of_workers="livemax")
WORKERS = _gauge("tandem_workers", "Processes that answer.", of_workers="livesum")
LOOP_LAG = _seconds(
    "tandem_loop_lag_seconds", "The worst lateness of the event loop in each second.", buckets=LAG_SECONDS
)
TASKS = _gauge(
    "tandem_loop_tasks", "What the event loops have begun and not ended; more with each request.", of_workers="livesum"
)
RESIDENT = _gauge("tandem_resident_bytes", "Memory that the processes hold.", of_workers="livesum")
OPEN_FILES = _gauge("tandem_open_files", "File descriptors of the process with the most.", of_workers="livemax")
FREE_DISK = _gauge(
    "tandem_free_disk_bytes", "Free space on the disk of the data directory.", "of", of_workers="livemin"
)
LOG_DROPPED = _counter(
    "tandem_log_dropped_total",
    "Lines that were not logged: `blocked` (nobody reads stderr), `repeated` (too many of a kind).",
    "reason",
)
SERVED_UNKEPT = _counter(
    "tandem_served_unkept_total",
    "Lists that were served and could not be recorded, so that no outcome counts for them.",
)
SPANS_DROPPED = _counter(
    "tandem_spans_dropped_total", "Spans that were not sent, for want of a collector that keeps up."
)

# Children by label values: `labels` itself takes longer than counting.
http_requests: Callable[[str, int], Counter] = cache(HTTP_REQUESTS.labels)
http_seconds: Callable[[str], Histogram] = cache(HTTP_SECONDS.labels)
operations: Callable[[str, Outcome], Counter] = cache(OPERATIONS.labels)
operation_seconds: Callable[[str], Histogram] = cache(OPERATION_SECONDS.labels)
dependency_seconds: Callable[[str, str], Histogram] = cache(DEPENDENCY_SECONDS.labels)
step_seconds: Callable[[str], Histogram] = cache(STEP_SECONDS.labels)

# From the beginning, at 0: Prometheus takes what it sees first for no increase.
for _outcome in get_args(Outcome):
    operations(OTHER, _outcome)
for _outcome in ("admitted", "waited", "shed", "displaced"):
    ADMISSIONS.labels(_outcome)
for _reason in ("no token", "bad token", "forbidden", "no keys"):
    AUTH_FAILURES.labels(_reason)
for _reason in ("blocked", "repeated"):
    LOG_DROPPED.labels(_reason)


class Followed:
    """A counter that follows counts which somebody else keeps, and which only ever grow."""

    def __init__(self, family: Counter, *labels: str) -> None:
        """labels: the first of each; the others are the key of the count."""
        self._family = family
        self._labels = labels
        self._seen: dict[Hashable, int] = {}

    def follow(self, counts: Mapping[Any, int]) -> None:
        """Bring the counter up to these counts; keys are a label or a tuple of them."""
        for key, count in tuple(counts.items()):
            more = count - self._seen.get(key, 0)
            if more > 0:
                self._seen[key] = count
                self._family.labels(*self._labels, *(key if isinstance(key, tuple) else (key,))).inc(more)


# ---- What is shown ---------------------------------------------------------------------------------------------------


def exposition(accept: str | None = None) -> tuple[bytes, str]:
    """All metrics, over all processes, in Prometheus' text form or OpenMetrics, and which of them."""
    encode, content_type = choose_encoder(accept or "")
    registry = CollectorRegistry()
    registry.register(_Exposed())
    return encode(registry), content_type


@dataclass(frozen=True, slots=True)
class Family:
    """What one metric is."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str


def families() -> list[Family]:
    """All of them, in the order of this file."""
    found: list[Any] = list(dict.fromkeys(REGISTRY._collector_to_names))
    return [
        Family(one._name + "_total" * (one._type == "counter"), one._type, tuple(one._labelnames), one._documentation)
        for one in found
    ]


class _Exposed:
    """What is shown: of all processes, without the models that serve no more."""

    def collect(self) -> Iterator[Metric]:
        """See the library."""
        directory = os.environ.get(DIRECTORY)
        found: Iterable[Metric] = (
            REGISTRY.collect() if directory is None else MultiProcessCollector(None, directory).collect()  # type: ignore[no-untyped-call]
        )
        for metric in found:
            if metric.name == "tandem_model_info":
                metric.samples = [sample for sample in metric.samples if sample.value]
            yield metric
