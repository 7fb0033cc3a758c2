"""Rows of the machine below the gateway: disk full, clock off, a process that stands still, a log that nobody reads."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from benchmarks.chaos.access import ask as ask_as
from benchmarks.chaos.access import by_provider, signed
from benchmarks.chaos.arena import Arena, in_seconds, within
from benchmarks.chaos.load import DEGRADED, Load
from benchmarks.chaos.rows import NotRunError, Observed, row
from benchmarks.vegeta import Request
from gateway.adapters.directory.models import TEMPORARY, DirectoryModelStore
from gateway.logs import QUEUED_LINES
from recommender.errors import UnavailableError
from tests.faults import HANG
from tests.gateway.served_market import small_model
from tests.otlp_collector import running_collector
from tests.production.races import event_of
from tests.production.stack import RECORD, Replica

DISK_MB = 4
HOUR_S = 3_600
CLOCKS_S = (HOUR_S, -HOUR_S, 24 * HOUR_S)
STALL_S, STALLS = 0.5, 12
ALERT_SHARE = 0.1  # of the seconds: TandemLoopLag
PIPE_BYTES = 4_096


@contextmanager
def small_disk(place: Path) -> Iterator[Path]:
    """A disk of its own of a few megabytes. Raises NotRunError for who may not mount one."""
    place.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tandem-chaos", str(place)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    except FileNotFoundError as error:
        raise NotRunError("there is no `mount` here; run it on Linux, as root") from error
    if done.returncode:
        raise NotRunError(f"a disk of {DISK_MB} MB cannot be mounted ({done.stderr.strip()}); run it as root")
    try:
        yield place
    finally:
        # Lazily: what is removed may still be mapped.
        subprocess.run(["umount", "--lazy", str(place)], check=True)  # noqa: S603, S607


@row(
    15,
    "disk full in publishing a model, of which the gateway serves and on which it logs what it served",
    "0 failed, the old one serves, publishing says why; with space again the next one serves, and nothing is left",
)
def disk_full(arena: Arena) -> Observed:
    with small_disk(arena.directory / f"disk-{time.monotonic_ns()}") as disk:
        store = DirectoryModelStore(disk / "models", kept=2)
        store.publish(small_model("sound", talents=300, jobs=240))
        filler = disk / "filler"
        gateway = Replica(disk / "data", {**arena.behind_proxies, "TANDEM_MODELS_URL": f"file://{disk / 'models'}"})
        gateway.start()
        try:
            arena.until_well(gateway)
            with arena.load(gateway) as load:
                time.sleep(3)
                unkept = arena.metric("tandem_served_unkept_total", gateway)
                with filler.open("wb") as file:
                    fill(file.fileno(), spare_bytes=30_000)
                said = refusal(store, "no-space-1")
                with filler.open("ab") as file:
                    fill(file.fileno(), spare_bytes=0)
                said_again = refusal(store, "no-space-2")
                time.sleep(4)
                served = arena.metric("tandem_model_info", gateway, version="sound")
                unkept = arena.metric("tandem_served_unkept_total", gateway) - unkept
                filler.unlink()
                store.publish(small_model("after", talents=300, jobs=240))
                took = within(10, lambda: arena.metric("tandem_model_info", gateway, version="after") >= 1)
                time.sleep(2)
            left = [path.name for path in (disk / "models").glob(f"{TEMPORARY}*")]
        finally:
            arena.end(gateway)
            store.close()
    says = all("disk is full" in text for text in (said, said_again))
    return Observed(
        f"a model beside 30 KB and beside nothing: {said!r}; the old one {'serves' if served else 'DOES NOT SERVE'}; "
        f"{unkept:.0f} lists served and not recorded; with space again the next one serves after "
        f"{in_seconds(took)}, {len(left)} leftovers; {load.all().text()}",
        says and bool(served) and took is not None and not left and not load.all().failed,
    )


def fill(descriptor: int, *, spare_bytes: int) -> None:
    """Write until a disk has no more left than that."""
    while True:
        disk = os.fstatvfs(descriptor)
        left = disk.f_bavail * disk.f_frsize - spare_bytes
        if left <= 0:
            return
        try:
            os.write(descriptor, b"\0" * min(left, 1 << 20))
        except OSError:
            return


def refusal(store: DirectoryModelStore, version: str) -> str:
    """What publishing a model fails with; empty when it does not."""
    try:
        store.publish(small_model(version, talents=300, jobs=240))
    except UnavailableError as error:
        return re.sub(r"/\S*/", "…/", str(error))
    return ""


class Clock:
    """The wall clock that processes see, by what is preloaded into them; their monotonic one stays as it is."""

    def __init__(self, directory: Path) -> None:
        compiler = shutil.which("cc")
        if compiler is None:
            raise NotRunError("needs a C compiler; on Debian: apt-get install gcc libc6-dev")
        directory.mkdir()
        self._file, library = directory / "off-by", directory / "clock.so"
        source = Path(__file__).with_name("clock.c")
        subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], check=True)  # noqa: S603
        self._file.write_bytes(struct.pack("@l", 0))
        self.settings = {"LD_PRELOAD": str(library), "CLOCK_OFF_BY": str(self._file)}

    def set(self, seconds: int) -> None:
        """So far off from now on."""
        with self._file.open("r+b") as file:  # in its place: it is mapped
            file.write(struct.pack("@l", seconds))


@row(
    30,
    "clock an hour ahead, an hour behind, a day ahead while Elasticsearch hangs and heals",
    "0 failed, as before <= 3 s after healing, no breaker stuck, no age below 0; tokens by that clock, +- 30 s",
)
def clock_off(arena: Arena) -> Observed:
    clock = Clock(arena.directory / f"clock-{time.monotonic_ns()}")
    said, wrong = [], []
    with arena.another(**clock.settings) as gateway, by_provider(arena, **clock.settings) as (checking, _):
        for off_s in (*CLOCKS_S, 0):
            with arena.load(gateway, rate=arena.rate / 2) as load:
                clock.set(off_s)
                time.sleep(3)
                begun = time.time()
                arena.catalogue.fail(HANG)
                time.sleep(4)
                arena.catalogue.heal()
                healed = time.time()
                time.sleep(5)
            is_stuck = within(10, lambda: arena.metric("tandem_breaker_state", gateway) == 0) is None
            recovered, during = load.recovered_s(healed), load.between(begun + 1, healed)
            below = negative(arena, gateway)
            tokens = tokens_by(arena, checking, off_s)
            recorded = arena.ask(
                RECORD, {"events": [event_of(f"clock-{time.time_ns()}", "VIEW", "t9", "j9")]}, gateway
            ).json()
            faults = {
                f"{load.all().failed} failed": load.all().failed,
                f"degraded {during.share(DEGRADED):.0%}": during.share(DEGRADED) < 0.9,
                f"as before after {recovered} s": recovered is None or recovered > 3,
                "a breaker stays open": is_stuck,
                f"below 0: {below}": below,
                f"tokens: {tokens}": tokens,
                f"event not taken: {recorded}": "errors" in recorded
                or not recorded["data"]["recordEvents"]["acceptedCount"],
            }
            wrong += [f"at {off_s:+d} s {text}" for text, is_so in faults.items() if is_so]
            said.append(f"{off_s:+d} s: {load.all().text()}, as before {in_seconds(recovered)} after healing")
    return Observed(f"{'; '.join(said)}; wrong: {'; '.join(wrong)[:600] or 'nothing'}", not wrong)


def negative(arena: Arena, gateway: Replica) -> list[str]:
    """Samples of all metrics that are below 0."""
    return [line for line in arena.metrics(gateway).splitlines() if re.match(r"tandem_\S+ -", line)]


def tokens_by(arena: Arena, gateway: Replica, off_s: int) -> list[str]:
    """What is not as it should be of tokens that are judged by a clock that is so far off."""
    theirs = int(time.time()) + off_s
    expected = {
        "theirs": (signed(1, iat=theirs, exp=theirs + 600), True),
        "ended 15 s ago": (signed(1, iat=theirs - 600, exp=theirs - 15), True),
        "ended 2 minutes ago": (signed(1, iat=theirs - 600, exp=theirs - 120), False),
        "from 15 s on": (signed(1, iat=theirs + 15, exp=theirs + 600), True),
        "from 2 minutes on": (signed(1, iat=theirs + 120, exp=theirs + 600), False),
    }
    return [
        name
        for name, (bearer, is_good) in expected.items()
        if ((ask_as(arena, gateway, bearer).json().get("data") or {}).get("talent") is not None) is not is_good
    ]


@row(
    37,
    f"one of two processes stands still for {STALL_S:g} s, {STALLS} times",
    "0 failed, none later than four of them, the other answers at once, the metric beyond its alert, no breaker opens",
)
def stalled(arena: Arena) -> Observed:
    with arena.another() as gateway:
        still, *_ = arena.workers(gateway)
        opened = arena.metric("tandem_guarded_total", gateway, outcome="opened")
        with arena.load(gateway, rate=arena.rate / 2) as load:
            time.sleep(3)
            late, seconds = lateness(arena, gateway)
            begun, answered = time.time(), []
            for _ in range(STALLS):
                os.kill(still, signal.SIGSTOP)
                try:
                    ends = time.monotonic() + STALL_S
                    answered.append(fresh_answer_ms(gateway))
                    time.sleep(max(0.0, ends - time.monotonic()))
                finally:
                    os.kill(still, signal.SIGCONT)
                time.sleep(STALL_S)
            ended = time.time()
            time.sleep(2.5)
            late_after, seconds_after = lateness(arena, gateway)
            time.sleep(2)
        opened = arena.metric("tandem_guarded_total", gateway, outcome="opened") - opened
    share = (late_after - late) / max(1.0, seconds_after - seconds)
    during, answered = load.between(begun, ended), sorted(answered)
    recovered = load.recovered_s(ended)
    return Observed(
        f"late by more than 250 ms in {share:.0%} of the seconds (the alert fires at {ALERT_SHARE:.0%}); the other "
        f"process answers a new connection within p50 {answered[len(answered) // 2]:.0f} max {answered[-1]:.0f} ms; "
        f"{during.text()}; breakers opened {opened:.0f} times; as before {in_seconds(recovered)} after it",
        share > ALERT_SHARE
        and not load.all().failed
        and during.quantile_ms(1) < max(4_000 * STALL_S, arena.late_ms)
        and answered[len(answered) // 2] < 1_000 * STALL_S / 2
        and not opened
        and recovered is not None,
    )


def lateness(arena: Arena, gateway: Replica) -> tuple[float, float]:
    """Seconds in which the loop was late by more than a quarter of one, and seconds that were looked at, so far."""
    seen = arena.metric("tandem_loop_lag_seconds_count", gateway)
    return seen - arena.metric("tandem_loop_lag_seconds_bucket", gateway, le="0.25"), seen


def fresh_answer_ms(gateway: Replica) -> float:
    """How long a new connection waits for an answer."""
    begun = time.perf_counter()
    httpx.get(f"{gateway.url}/readyz", timeout=30, trust_env=False, verify=False).raise_for_status()  # noqa: S501 - plain
    return 1_000 * (time.perf_counter() - begun)


@row(
    39,
    "nobody reads the log, a full pipe, and the collector of traces takes requests and answers none",
    "0 failed, nothing degraded, p99 <= 3 times of before; what is dropped is counted; it ends when it is told to",
)
def sinks_blocked(arena: Arena) -> Observed:
    reads, writes = os.pipe()
    fcntl.fcntl(writes, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    reader = subprocess.Popen(["cat"], stdin=reads, stdout=subprocess.DEVNULL)  # noqa: S607
    os.close(reads)
    try:
        with running_collector() as collector:
            verbose = {"TANDEM_LOG_LEVEL": "debug", "TANDEM_OTLP_URL": collector.url}
            with arena.another(stderr=writes, **verbose) as gateway:
                with arena.load(gateway) as load:
                    time.sleep(6)
                before, traced = load.all(), len(collector.spans)
                reader.send_signal(signal.SIGSTOP)
                collector.answers.clear()
                flood(arena, gateway)
                with arena.load(gateway) as load:
                    time.sleep(12)
                during = load.all()
                lines = arena.metric("tandem_log_dropped_total", gateway, reason="blocked")
                spans = arena.metric("tandem_spans_dropped_total", gateway)
                stopping = time.monotonic()
            took = time.monotonic() - stopping
    finally:
        reader.send_signal(signal.SIGCONT)
        os.close(writes)
        reader.wait(10)
    return Observed(
        f"{during.text()} (before: p50 {before.quantile_ms(0.5):.0f} p99 {before.quantile_ms(0.99):.0f} ms, {traced} "
        f"spans taken); dropped {lines:.0f} lines and {spans:.0f} spans; told to end, it does so in {took:.1f} s",
        not during.failed
        and during.share(DEGRADED) <= before.share(DEGRADED) + 0.1
        and during.quantile_ms(0.99) <= max(3 * before.quantile_ms(0.99), arena.late_ms / 3)
        and lines > 0
        and spans > 0
        and traced > 0,
    )


def flood(arena: Arena, gateway: Replica) -> None:
    """Ask for what is not there until both processes have more lines to write than they keep."""
    nothing = [Request(f"{gateway.url}/nothing")]
    with Load(nothing, 600, 120, lambda _: "not there"):
        within(90, lambda: arena.metric("tandem_log_dropped_total", gateway, reason="blocked") > QUEUED_LINES / 2)
