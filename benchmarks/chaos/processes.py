"""Rows of processes: renewed, killed, begun without what they need, given other models and other clocks."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from benchmarks.chaos.arena import WORKERS, Arena, in_seconds, within
from benchmarks.chaos.proxies import Proxy
from benchmarks.chaos.rows import Observed, row
from benchmarks.processes import memory_mb
from gateway.adapters.directory.models import CURRENT, DirectoryModelStore
from tests.contracts.test_model_store import DAMAGES
from tests.faults import REFUSE
from tests.gateway.served_market import small_model
from tests.processes import tandem
from tests.production.stack import Replica

PUBLISHER = """
import sys
from gateway.adapters.directory.models import DirectoryModelStore
from tests.gateway.served_market import small_model
store = DirectoryModelStore(sys.argv[1], kept=3)
print("ready", flush=True)
for number in range(int(sys.argv[2]), int(sys.argv[2]) + 10_000):
    store.publish(small_model(f"v{number}", talents=2_000, jobs=2_000))
"""


@row(16, "20 models published under load", "0 failed, p50 < 3 times, each served, memory + < 30 MB")
def models_under_load(arena: Arena) -> Observed:
    store = DirectoryModelStore(arena.stack.directory / "models", kept=3)
    served = 0
    try:
        with arena.load() as load:
            time.sleep(4)
            memory, begun = memory_mb(*arena.pids()), time.time()
            for number in range(20):
                version = f"chaos-{time.monotonic_ns()}"
                store.publish(small_model(version, talents=300, jobs=240))
                served += within(10, lambda v=version: arena.metric("tandem_model_info", version=v) >= 1) is not None  # type: ignore[misc]
                time.sleep(0.1 * (number % 3))
            ended = time.time()
            time.sleep(3)
    finally:
        store.close()
    grown = memory_mb(*arena.pids()) - memory
    before, during = load.between(0, begun), load.between(begun, ended)
    ratio = during.quantile_ms(0.5) / max(1.0, before.quantile_ms(0.5))
    return Observed(
        f"{served} of 20 seen to serve; {during.text()}; p50 {ratio:.1f} times; memory {grown:+.1f} MB",
        served == 20 and not load.all().failed and ratio < 3 and grown < 30,
    )


@row(20, "every process renewed by SIGHUP, four times, then SIGTERM, under load", "0 failed; exit code 0")
def renewed(arena: Arena) -> Observed:
    rolls = 2 if arena.is_fast else 4
    with arena.another() as gateway:
        old = set(arena.workers(gateway))
        done = 0
        with arena.load(gateway, rate=arena.rate / 2) as load:
            for _ in range(rolls):
                os.kill(gateway.pid, signal.SIGHUP)
                if within(60, lambda: len(now := set(arena.workers(gateway))) == WORKERS and not now & old) is None:  # noqa: B023
                    break
                old = set(arena.workers(gateway))
                done += 1
    return Observed(
        f"{done} of {rolls} renewals of {WORKERS} processes: {load.all().text()}",
        done == rolls and not load.all().failed,
    )


@row(21, "one of two processes killed by SIGKILL", "only what it had in flight is lost; two again <= 2 s (gate 15)")
def worker_killed(arena: Arena) -> Observed:
    with arena.another() as gateway:
        workers = arena.workers(gateway)
        with arena.load(gateway, rate=arena.rate / 2) as load:
            time.sleep(3)
            os.kill(workers[0], signal.SIGKILL)
            killed = time.time()
            back = within(30, lambda: len(set(arena.workers(gateway)) - {workers[0]}) == WORKERS)
            time.sleep(2)
    failed = load.all().failed
    after = load.between(killed + 1, time.time())
    # What a process has in flight is at most what comes in the time that an answer takes.
    in_flight = max(3, int(arena.rate / 2 * load.all().quantile_ms(0.99) / 1_000) + 2)
    return Observed(
        f"{load.all().text()}; two processes again after {'-' if back is None else f'{back:.1f}'} s; later than a "
        f"second after it {after.failed} failed",
        failed <= in_flight and not after.failed and back is not None and back < 15,
    )


@row(13, "publishing a model killed by SIGKILL, 40 times", "the old one or the new one, never anything else", fast=True)
def publisher_killed(arena: Arena) -> Observed:
    path, dice, turns = arena.directory / "published", arena.dice(13), 8 if arena.is_fast else 40
    shutil.rmtree(path, ignore_errors=True)
    store = DirectoryModelStore(path, kept=3)
    store.publish(small_model("v0"))
    bad, moved, last = 0, 0, "v0"
    for turn in range(turns):
        code = [sys.executable, "-c", PUBLISHER, str(path), str(1 + turn * 10_000)]
        with subprocess.Popen(code, stdout=subprocess.PIPE) as publisher:  # noqa: S603
            assert publisher.stdout is not None
            publisher.stdout.readline()
            time.sleep(dice.uniform(0.0, 1.0))
            publisher.kill()
        current = store.current() or ""
        moved += current != last
        last = current
        try:
            bad += store.load(current).manifest.version != current
        except Exception:  # noqa: BLE001 - whatever it is, the model does not serve
            bad += 1
    store.publish(small_model("last"))
    left = len(list(path.glob(".tmp-*")))
    store.close()
    return Observed(
        f"{turns} kills: pointer moved {moved} times, {bad} bad; {left} leftovers after the next one",
        not bad and not left and moved > 0,
    )


@row(14, "published models that are torn, altered, empty or foreign", "none served, each counted, 0 failed", fast=True)
def damaged(arena: Arena) -> Observed:
    models = arena.stack.directory / "models"
    sound = (models / CURRENT).read_bytes()
    before = arena.metric("tandem_model_load_failures_total")
    accepted, seen = [], []
    names = list(DAMAGES) if not arena.is_fast else list(DAMAGES)[:5]
    with arena.load() as load:
        for number, name in enumerate(names):
            version = f"bad-{number}-{arena.seed}-{time.monotonic_ns()}"
            elsewhere = arena.directory / "elsewhere"
            shutil.rmtree(elsewhere, ignore_errors=True)
            store = DirectoryModelStore(elsewhere)
            store.publish(small_model(version, talents=300, jobs=240))
            store.close()
            DAMAGES[name][0](elsewhere / version)
            shutil.copytree(elsewhere / version, models / version)
            known = arena.metric("tandem_model_load_failures_total")
            try:
                point(models, f"{version}\n".encode())
                took = within(10, lambda k=known: arena.metric("tandem_model_load_failures_total") > k)  # type: ignore[misc]
                seen.append(took is not None)
                if arena.metric("tandem_model_info", version=version):
                    accepted.append(name)
            finally:
                point(models, sound)
                shutil.rmtree(models / version)
    counted = arena.metric("tandem_model_load_failures_total") - before
    return Observed(
        f"{len(names)} damages, {len(accepted)} served {accepted}, {sum(seen)} counted "
        f"({counted:.0f} in both processes); {load.all().text()}",
        not accepted and all(seen) and not load.all().failed,
    )


def point(models: Path, current: bytes) -> None:
    """Make another model the one to serve."""
    new = models / f"{CURRENT}.new"
    new.write_bytes(current)
    new.rename(models / CURRENT)


@row(
    41,
    "begun without Elasticsearch, event log, cache, model or with a wrong setting",
    "without the cache it serves; without a store it waits, answers 503, and is ready <= 15 s after the store; else, "
    "or when it is not to wait, exit code 1 and one line that says why",
)
def absent(arena: Arena) -> Observed:
    nowhere = "127.0.0.1:1"
    missing = {
        "Elasticsearch": {"TANDEM_CATALOGUE_URL": f"elasticsearch://{nowhere}"},
        "event log": {"TANDEM_EVENTS_URL": f"redis://{nowhere}/0"},
        "model": {"TANDEM_MODELS_URL": f"file://{arena.directory / 'no-models'}"},
        "setting": {"TANDEM_DEADLINE_MS": "soon"},
    }
    (arena.directory / "no-models").mkdir(exist_ok=True)
    wrong, said = [], []
    for name, settings in missing.items():
        for workers in ("1", "2"):
            done = tandem(
                arena.directory / "absent",
                "serve",
                "--port",
                "0",
                **{**arena.behind_proxies, **settings, "TANDEM_WORKERS": workers},
            )
            lines = [one for one in done.stderr.splitlines() if one.strip()]
            if done.returncode != 1 or "Traceback" in done.stderr or len(lines) != 1:
                wrong.append(f"{name} ({workers}): exit {done.returncode}, {len(lines)} lines")
        said.append(name)
    waited = {"Elasticsearch": begun_before(arena, arena.catalogue), "event log": begun_before(arena, arena.events)}
    with arena.another(TANDEM_CACHE_URL=f"redis://{nowhere}/0") as gateway:
        serves = arena.ask("{ viewer { roles } }", gateway=gateway).status_code == 200
    return Observed(
        f"{', '.join(said)}, with one process and two: {'; '.join(wrong) or 'one line and exit 1 each'}; "
        f"ready after a store that came later: {', '.join(f'{of} {in_seconds(took)}' for of, took in waited.items())}; "
        f"without the cache {'it serves' if serves else 'it does not serve'}",
        not wrong and serves and all(took is not None and took <= 15 * arena.patience for took in waited.values()),
    )


def begun_before(arena: Arena, store: Proxy) -> float | None:
    """Seconds from a store's first answer until a gateway is ready that was begun before; None without a 503 before."""
    settings = {**arena.behind_proxies, "TANDEM_START_WAIT_SECONDS": "120"}
    gateway = Replica(arena.directory / f"gateway-{time.monotonic_ns()}", settings)

    def is_waiting() -> bool:
        try:
            answer = httpx.get(f"{gateway.url}/readyz", timeout=5, trust_env=False)
        except httpx.HTTPError:
            return False
        return answer.status_code == httpx.codes.SERVICE_UNAVAILABLE

    store.fail(REFUSE)
    try:
        with ThreadPoolExecutor(1) as starting:
            begun = starting.submit(gateway.start)
            try:
                waits = within(25, is_waiting)
            finally:
                store.heal()
            healed = time.monotonic()
            begun.result()
        took = time.monotonic() - healed
    finally:
        store.heal()
    arena.end(gateway)
    return None if waits is None else took
