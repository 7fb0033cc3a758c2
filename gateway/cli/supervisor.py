"""Several processes that answer at one socket: begun, replaced when they die, renewed one by one, ended together."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any, Final

import structlog

from recommender.errors import TandemError

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

    from gateway.cli.server import Counts

START_SECONDS: Final = 300.0  # a new process that is not ready by then is given up
SOON_SECONDS: Final = 10.0  # who dies so soon may die again, so the next one is begun later
FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 30.0
READY: Final = "ready"

_log = structlog.get_logger("tandem.workers")

# Begins the work of one process: (counts, place, told). `told` gives it `is_alone` when it is to serve; before that it
# gets ready as far as it can without having anything open. Its end means that it is not needed.
Work = Callable[["Counts", int, Connection], None]


class WorkersFailedError(TandemError):
    """No process could begin to serve; the text is what the first of them said."""


class _Worker:
    """One process. place: its own, in the counts of connections."""

    def __init__(self, process: SpawnProcess, told: Connection, place: int) -> None:
        self.process = process
        self.told = told
        self.place = place
        self.began = time.monotonic()
        self.is_ready = False
        self.is_leaving = False
        self.leaves_by = float("inf")
        self.said: str | None = None

    @property
    def is_serving(self) -> bool:
        """Whether it answers, and goes on."""
        return self.is_ready and not self.is_leaving

    def leave(self, sig: int, within_seconds: float) -> None:
        """Ask it to end; it is killed when it has not by then."""
        self.is_leaving = True
        self.leaves_by = min(self.leaves_by, time.monotonic() + within_seconds)
        with suppress(ProcessLookupError):
            os.kill(self.process.pid or 0, sig)


class Supervisor:
    """Keeps `count` processes serving until SIGTERM or SIGINT; SIGHUP renews each, the new one ready first.

    work, arguments: what a process runs, before those of `Work`; both are pickled. leave_seconds: for a process to
    end once asked to. grace_seconds: that it may go on answering before that. on_end: called with the place of a
    process that is gone.
    """

    def __init__(
        self,
        count: int,
        work: Callable[..., None],
        arguments: tuple[Any, ...],
        *,
        leave_seconds: float,
        grace_seconds: float,
        on_end: Callable[[int], None] = lambda place: None,
    ) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._count = count
        self._work = work
        self._arguments = arguments
        self._leave_seconds = leave_seconds
        self._grace_seconds = grace_seconds
        self._on_end = on_end
        self._counts: Any = self._context.RawArray("i", [-1] * (2 * count + 2))
        self._workers: list[_Worker] = []
        self._spare: _Worker | None = None  # has imported everything, and waits to take the place of one that dies
        self._stale: list[_Worker] = []  # of a renewal: still to be replaced
        self._due: list[float] = []  # when processes are begun in place of those that died
        self._deaths = 0  # one soon after the other
        self._signals: list[int] = []
        self._stops = False
        self._has_served = False

    def run(self, listener: socket.socket, on_ready: Callable[[], None]) -> None:
        """Serve until told to stop; on_ready is called once, when all answer.

        Raises WorkersFailedError when one fails before all have answered once.
        """
        ours, wakes = socket.socketpair()
        wakes.setblocking(False)
        handlers = {
            sig: signal.signal(sig, lambda number, _frame: self._signals.append(number))
            for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        }
        wakeup = signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
        try:
            for _ in range(self._count):
                self._begin()
            while self._workers or self._due:
                self._wait(ours)
                self._obey(listener)
                self._mourn()
                self._renew()
                self._keep_spare()
                if not self._has_served and sum(one.is_serving for one in self._workers) == self._count:
                    self._has_served = True
                    on_ready()
        finally:
            signal.set_wakeup_fd(wakeup)
            for sig, handler in handlers.items():
                signal.signal(sig, handler)
            for worker in self._workers:
                worker.process.kill()
                worker.process.join()
            self._drop_spare()
            ours.close()
            wakes.close()

    def _begin(self) -> None:
        """Have one process more serve."""
        is_alone = not any(one.is_serving for one in self._workers)
        if self._spare is not None and self._spare.process.exitcode is not None:
            self._drop_spare()
        worker, self._spare = self._spare or self._spawn(), None
        with suppress(OSError):  # it has died already, which is found next
            worker.told.send(is_alone)
        worker.began = time.monotonic()
        worker.leaves_by = worker.began + START_SECONDS
        self._workers.append(worker)

    def _spawn(self) -> _Worker:
        place = next(place for place in range(len(self._counts)) if place not in {one.place for one in self._workers})
        told, telling = self._context.Pipe()
        process = self._context.Process(
            target=self._work, args=(*self._arguments, self._counts, place, telling), name=f"worker-{place}"
        )
        process.start()
        telling.close()
        return _Worker(process, told, place)

    def _keep_spare(self) -> None:
        """Begin a spare process once all that are needed serve: their imports are most of what a death would cost."""
        serving = sum(one.is_serving for one in self._workers)
        if self._spare is None and not self._stops and serving == len(self._workers) == self._count:
            self._spare = self._spawn()

    def _drop_spare(self) -> None:
        if self._spare is not None:
            self._spare.process.kill()
            self._spare.process.join()
            self._spare.told.close()
            self._on_end(self._spare.place)
            self._spare = None

    def _wait(self, signals: socket.socket) -> None:
        """Until something happens or is due."""
        next_due = min([*self._due, *(one.leaves_by for one in self._workers)])
        watched: list[Any] = [signals, *(one.process.sentinel for one in self._workers)]
        telling = {one.told: one for one in self._workers if not one.is_ready and one.said is None}
        timeout = None if next_due == float("inf") else max(0.0, next_due - time.monotonic())
        for found in wait([*watched, *telling], timeout):
            if found is signals:
                signals.recv(64)
            elif found in telling:
                self._hear(telling[found])
        now = time.monotonic()
        for worker in self._workers:
            if now >= worker.leaves_by:
                _log.error("worker killed", pid=worker.process.pid, why="it did not end, or begin, in time")
                worker.leaves_by = float("inf")
                worker.process.kill()
        while self._due and self._due[0] <= now:
            self._due.pop(0)
            self._begin()

    def _hear(self, worker: _Worker) -> None:
        try:
            said = worker.told.recv()
        except (EOFError, OSError):
            said = ""
        if said == READY:
            worker.is_ready, worker.leaves_by = True, float("inf")
            if self._has_served:
                _log.info("worker ready", pid=worker.process.pid)
        else:
            worker.said = said

    def _obey(self, listener: socket.socket) -> None:
        """Do what signals ask for."""
        while self._signals:
            sig = self._signals.pop(0)
            if sig == signal.SIGHUP and not self._stops:
                if self._has_served and not self._stale:
                    self._drop_spare()  # it has imported what was installed before
                    self._stale = [one for one in self._workers if not one.is_leaving]
                    _log.info("workers are renewed", count=len(self._stale))
            elif sig == signal.SIGINT and self._stops:
                for worker in self._workers:
                    worker.process.kill()
            elif sig != signal.SIGHUP:
                self._stop(listener, self._grace_seconds if sig == signal.SIGTERM else 0.0)

    def _stop(self, listener: socket.socket, grace_seconds: float) -> None:
        listener.close()
        self._drop_spare()
        self._stops = True
        self._due, self._stale = [], []
        for worker in self._workers:
            # Without the grace: as in a renewal, where the process goes at once.
            worker.leave(signal.SIGTERM if grace_seconds else signal.SIGHUP, grace_seconds + self._leave_seconds)

    def _mourn(self) -> None:
        """Take leave of those that ended, and see that the others are enough."""
        for worker in [one for one in self._workers if one.process.exitcode is not None]:
            if not worker.is_ready and worker.said is None and worker.told.poll():
                self._hear(worker)
            self._workers.remove(worker)
            self._counts[worker.place] = -1
            self._on_end(worker.place)
            worker.told.close()
            if self._stops or worker.is_leaving:
                continue
            code = worker.process.exitcode
            if not self._has_served:
                raise WorkersFailedError(worker.said or f"a worker ended with {code} before it was ready")
            self._deaths = self._deaths + 1 if time.monotonic() - worker.began < SOON_SECONDS else 0
            pause = 0.0
            if self._deaths > 1:
                pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** (self._deaths - 2))
            _log.error(
                "worker died", pid=worker.process.pid, code=code, reason=worker.said or None, next_in_seconds=pause
            )
            if worker in self._stale:
                self._stale.remove(worker)
            elif self._stale and not worker.is_ready:
                self._stale = []
                _log.error("workers are not renewed", why="a new one did not get ready; the others go on")
            if len([one for one in self._workers if not one.is_leaving]) + len(self._due) < self._count:
                self._due = sorted([*self._due, time.monotonic() + pause])

    def _renew(self) -> None:
        """One step of a renewal: a new process, and when it is ready the old one leaves."""
        if not self._stale or self._due or any(one.is_leaving for one in self._workers):
            return
        staying = [one for one in self._workers if not one.is_leaving]
        if not all(one.is_ready for one in staying):
            return  # the new one is on its way
        if len(staying) <= self._count:
            self._begin()
        else:
            self._stale.pop(0).leave(signal.SIGHUP, self._leave_seconds)
