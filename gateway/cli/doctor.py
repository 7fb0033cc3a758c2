"""`tandem doctor`: looks at each configured part and says what to do about what is wrong."""

from __future__ import annotations

import asyncio
import enum
import os
import resource
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer

from gateway.settings import Settings, SettingsError, load_settings, unknown_variables, without_password
from recommender.errors import TandemError

if TYPE_CHECKING:
    from gateway.adapters.elasticsearch.catalogue import ElasticsearchCatalogue
    from gateway.adapters.redis.cache import RedisCache
    from gateway.compaction import CompactedEventLog

PYTHON = (3, 11)
LITTLE_BYTES = 1 << 30  # a training run of a million events writes about half of it
TOO_LITTLE_BYTES = 100 << 20
SHORT_TOKEN = 32  # characters; what `tandem token` makes has 43


class Status(enum.Enum):
    """How a part is."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


COLOURS = {Status.OK: "green", Status.WARN: "yellow", Status.FAIL: "red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one part; anything but OK says what to do."""

    part: str
    status: Status
    text: str


def command() -> None:
    """Check each configured part and say what to do; exits 1 when one of them fails."""
    failed = False
    for finding in findings():
        failed = failed or finding.status is Status.FAIL
        label = typer.style(f"{finding.status.value:<4}", fg=COLOURS[finding.status])
        typer.echo(f"{label}  {finding.part:<14}  {finding.text}")
    if failed:
        raise typer.Exit(1)


def findings() -> Iterator[Finding]:
    """Look at every part, one after the other. Nothing is created, and nothing is changed."""
    yield _python()
    try:
        settings = load_settings()
    except SettingsError as error:
        yield Finding("settings", Status.FAIL, str(error))
        return
    yield _settings()
    yield _data_directory(settings.data_dir)
    yield _disk(settings.data_dir)
    yield _open_files(settings)
    yield _catalogue(settings)
    yield _event_log(settings)
    yield _cache(settings)
    yield _serving_log(settings)
    yield _model(settings)
    if settings.rules is not None:
        yield _rules(settings.rules)
    yield _access(settings)


def _python() -> Finding:
    version = ".".join(str(number) for number in sys.version_info[:3])
    if sys.version_info < PYTHON:
        return Finding("python", Status.FAIL, f"{version}; install {PYTHON[0]}.{PYTHON[1]} or newer")
    return Finding("python", Status.OK, version)


def _settings() -> Finding:
    # OpenSSL passes over a file that it cannot read, and then trusts nobody.
    authorities = os.environ.get("SSL_CERT_FILE")
    if authorities and not os.access(authorities, os.R_OK):
        return Finding("settings", Status.FAIL, f"SSL_CERT_FILE: {authorities} cannot be read; correct it or unset it")
    unknown = unknown_variables(os.environ)
    if unknown:
        return Finding(
            "settings", Status.WARN, f"{', '.join(unknown)}: no such setting; `tandem settings` shows what there is"
        )
    return Finding("settings", Status.OK, "every value can be used")


def _data_directory(path: Path) -> Finding:
    part = "data directory"
    if not path.exists():
        return Finding(part, Status.WARN, f"{path} is not there yet; `tandem import …` or `tandem demo` makes it")
    if not path.is_dir():
        return Finding(part, Status.FAIL, f"{path} is no directory; move it away or set TANDEM_DATA_DIR")
    if not os.access(path, os.W_OK | os.X_OK):
        return Finding(part, Status.FAIL, f"{path} may not be written; change its owner or set TANDEM_DATA_DIR")
    return Finding(part, Status.OK, f"{path.resolve()}, may be written")


def _disk(path: Path) -> Finding:
    there = path.resolve()
    while not there.is_dir():
        there = there.parent
    free = shutil.disk_usage(there).free
    text = f"{free / (1 << 30):.1f} GB free"
    if free < TOO_LITTLE_BYTES:
        return Finding("disk", Status.FAIL, f"{text}; free some, or events will be refused")
    if free < LITTLE_BYTES:
        return Finding("disk", Status.WARN, f"{text}; free some before the next training")
    return Finding("disk", Status.OK, text)


def _open_files(settings: Settings) -> Finding:
    from gateway.cli.server import OWN_FILES

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < settings.connections + OWN_FILES:
        text = f"a process may open {most:,}, which is too few for TANDEM_CONNECTIONS={settings.connections}"
        return Finding("open files", Status.WARN, f"{text}; raise `ulimit -Hn` (systemd: LimitNOFILE) or lower it")
    return Finding("open files", Status.OK, f"enough for {settings.connections:,} connections of each process")


def _catalogue(settings: Settings) -> Finding:
    url, path = settings.catalogue_elasticsearch_url, settings.catalogue_path
    if url is None and not path.is_file():
        return Finding("catalogue", Status.FAIL, f"{path} is not there; run `tandem import …` or `tandem demo`")
    place = path if url is None else f"{without_password(url)}, namespace {settings.namespace}"
    try:
        talents, jobs, open_jobs, problem = asyncio.run(_documents(settings))
    except TandemError as error:
        return Finding("catalogue", Status.FAIL, str(error))
    if problem is not None:
        return Finding("catalogue", Status.FAIL, problem)
    text = f"{place}: {talents:,} talents, {jobs:,} jobs, {open_jobs:,} of them open"
    if not open_jobs:
        return Finding("catalogue", Status.WARN, f"{text}; import jobs that are open, or talents get empty lists")
    return Finding("catalogue", Status.OK, text)


async def _documents(settings: Settings) -> tuple[int, int, int, str | None]:
    """How many talents, jobs and open jobs there are, and why none can be written."""
    from gateway.wiring import open_catalogue, patient
    from recommender.documents import JobStatus, Kind
    from recommender.filters import JobFilter, TalentFilter

    catalogue = await asyncio.to_thread(open_catalogue, patient(settings), must_exist=True)
    try:
        now_ms = time.time_ns() // 1_000_000
        (talents,) = await catalogue.matching(Kind.TALENT, [(TalentFilter(), None)], now_ms)
        (jobs,) = await catalogue.matching(Kind.JOB, [(JobFilter(statuses=tuple(JobStatus)), None)], now_ms)
        open_jobs = (await catalogue.mirror(Kind.JOB)).eligible(now_ms)
        problem = None
        if settings.catalogue_elasticsearch_url is not None:
            problem = await cast("ElasticsearchCatalogue", catalogue).write_problem()
        return len(talents), len(jobs), len(open_jobs), problem
    finally:
        catalogue.close()


def _event_log(settings: Settings) -> Finding:
    from gateway.wiring import open_event_log, patient

    url, path = settings.events_redis_url, settings.events_path
    if url is None and not path.is_file():
        return Finding("event log", Status.FAIL, f"{path} is not there; run `tandem import …` or `tandem demo`")
    try:
        log = open_event_log(patient(settings))
        try:
            state = asyncio.run(log.state())
            archived = None if url is None else asyncio.run(cast("CompactedEventLog", log).check())
        finally:
            log.close()
    except TandemError as error:
        return Finding("event log", Status.FAIL, str(error))
    facts = None if url is None else cast("CompactedEventLog", log).facts
    place = path if facts is None else f"{without_password(url or '')} ({facts.name})"
    if state.last_seq == 0:
        return Finding("event log", Status.WARN, f"{place}: no events yet; import some, or nothing can be learnt")
    newest = "none of them with a time" if state.newest_ms is None else f"the newest of {_day(state.newest_ms)}"
    text = f"{place}: {state.last_seq:,} events, {newest}"
    if facts is None:
        return Finding("event log", Status.OK, text)
    old = "" if archived is None else f"; {archived.events:,} archived in {settings.archive_path}"
    return Finding("event log", Status.OK, f"{text}; {facts.promise}{old}")


def _cache(settings: Settings) -> Finding:
    """Nothing here is a failure: without a cache lists are computed."""
    from gateway.wiring import open_cache

    bound = f"at most {settings.cache_mb} MB"
    if settings.cache_redis_url is None:
        return Finding("cache", Status.OK, f"in the process, {bound}")
    try:
        cache = cast("RedisCache", open_cache(settings, ""))
    except TandemError as error:
        return Finding("cache", Status.WARN, str(error))
    try:
        problem = cache.problem()
    finally:
        cache.close()
    if problem is not None:
        return Finding("cache", Status.WARN, f"{problem}; until then every list is computed")
    return Finding("cache", Status.OK, f"{without_password(settings.cache_redis_url)}, {bound}")


def _serving_log(settings: Settings) -> Finding:
    from gateway.adapters.sqlite.serving_log import SqliteServingLog

    path = settings.serving_log_path
    if not path.is_file():
        return Finding("serving log", Status.OK, f"{path} is not there yet; the first served list makes it")
    try:
        SqliteServingLog.open(path).close()
    except TandemError as error:
        return Finding("serving log", Status.FAIL, str(error))
    return Finding("serving log", Status.OK, f"{path}, lists are kept for {settings.serving_log_days} days")


def _model(settings: Settings) -> Finding:
    from gateway.adapters.directory.models import DirectoryModelStore

    store = DirectoryModelStore(settings.models_path, kept=settings.models_kept)
    try:
        version = store.current()
        if version is None:
            return Finding("model", Status.FAIL, f"none in {settings.models_path}; run `tandem train`")
        manifest = store.load(version).manifest
    except TandemError as error:
        return Finding("model", Status.FAIL, str(error))
    except KeyError:
        return Finding(
            "model",
            Status.FAIL,
            f"the current one, {version}, is gone; promote another with `tandem models promote VERSION`",
        )
    pinned = ", pinned" if store.is_pinned() else ""
    return Finding(
        "model", Status.OK, f"{version}{pinned}: {manifest.events:,} events, trained on {_day(manifest.trained_at_ms)}"
    )


def _rules(path: Path) -> Finding:
    from gateway.rules_file import RulesError, read_rules

    try:
        rules = read_rules(path)
    except RulesError as error:
        return Finding("rules", Status.FAIL, f"{error}; a gateway that runs goes on with its last good rules")
    held = sum(rule.holds_at(time.time_ns() // 1_000_000) for rule in rules)
    return Finding("rules", Status.OK, f"{path}: {len(rules):,} rules, {held:,} of them hold now")


def _access(settings: Settings) -> Finding:
    problem = settings.access_problem()
    if problem is not None:
        return Finding("access", Status.FAIL, problem)
    if settings.auth is None:
        return Finding(
            "access",
            Status.WARN,
            "TANDEM_AUTH is not set, so that every request is refused; set TANDEM_AUTH=token and the "
            "TANDEM_SERVICE_TOKEN that `tandem token` makes",
        )
    if settings.auth == "open":
        return Finding("access", Status.OK, f"open to everybody on this machine ({settings.host})")
    if settings.auth == "jwt":
        return _keys(settings)
    token = settings.service_token
    if token is not None and len(token.get_secret_value()) < SHORT_TOKEN:
        return Finding(
            "access", Status.WARN, "TANDEM_SERVICE_TOKEN is short enough to be guessed; `tandem token` makes a long one"
        )
    return Finding("access", Status.OK, "with the service token")


def _day(time_ms: int) -> str:
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d")
    except (ValueError, OverflowError, OSError):  # a log may hold any number
        return f"{time_ms} ms"


def _keys(settings: Settings) -> Finding:
    """Whether the keys that tokens are checked with can be read from here."""
    from http.client import HTTPException

    from gateway.http.key_set import KeySetError, fetch, keys_from

    path = settings.jwks_path
    url = without_password(settings.jwks_url or "")
    try:
        keys = keys_from(path.read_bytes() if path else fetch(settings.jwks_url or "", time.monotonic))
    except (OSError, HTTPException, KeySetError) as error:
        return Finding("access", Status.FAIL, f"no key from TANDEM_JWKS_URL={url}: {error}; nobody is let in without")
    return Finding("access", Status.OK, f"with tokens of {settings.issuer} by {len(keys)} keys from {url}")
