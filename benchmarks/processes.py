"""Processes that a benchmark starts and watches: their processor time and memory, by what Linux says of them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

TICKS = os.sysconf("SC_CLK_TCK")
START_SECONDS = 300.0
STOP_SECONDS = 30.0


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for one in found:
        found += children.get(one, ())
    return found


def cpu_seconds(*pids: int) -> float:
    """Processor time so far of those processes, of threads that have ended as well."""
    ticks = 0
    for pid in pids:
        ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
    return ticks / TICKS


def memory_mb(*pids: int) -> float:
    """What those processes keep in memory, what they share counted once (proportional set size)."""
    kilobytes = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                kilobytes += int(line.split()[1])
    return kilobytes * 1024 / 1e6


class Server:
    """A program that serves HTTP, for the length of a block.

    ready: an address that answers 200 once it serves. log: where what it says goes.
    """

    def __init__(self, command: Sequence[str | Path], ready: str, log: Path, env: Mapping[str, str]) -> None:
        self._command = [str(word) for word in command]
        self._ready = ready
        self._log = log
        self._env = {**os.environ, **env}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._log.open("ab") as sink:
            self._process = subprocess.Popen(self._command, stdout=sink, stderr=sink, env=self._env)  # noqa: S603
        try:
            wait_until(lambda: self._answers(), START_SECONDS, f"{self._command[0]} to answer at {self._ready}")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            for pid in reversed(family(self._process.pid)):
                os.kill(pid, signal.SIGKILL)
            self._process.wait()

    @property
    def pids(self) -> list[int]:
        """The processes that it consists of now."""
        assert self._process is not None
        return family(self._process.pid)

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"it ended at once; the end of {self._log}:\n{self._log.read_text()[-2000:]}")
        try:
            return httpx.get(self._ready, timeout=5).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False


def wait_until(is_so: Callable[[], bool], seconds: float, what: str) -> float:
    """Wait for something; the seconds that it took. Raises TimeoutError."""
    began = time.monotonic()
    while not is_so():
        if time.monotonic() - began > seconds:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.2)
    return time.monotonic() - began


def wait_until_idle(pids: Callable[[], list[int]], *, seconds: float, share: float = 0.05, window: float = 5.0) -> None:
    """Wait until processes use less than a share of one core for a while."""

    def idle() -> bool:
        before = cpu_seconds(*pids())
        time.sleep(window)
        return cpu_seconds(*pids()) - before < share * window

    wait_until(idle, seconds, "it to come to rest")
