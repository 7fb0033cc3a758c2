"""What a row of the plan is: a fault that is made, and what must be seen while it lasts and after it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.chaos.arena import Arena

PASS, FAIL, NOT_RUN = "PASS", "FAIL", "NOT RUN"
LONGEST_SECONDS = 600.0  # of a row, beside the minutes of one that goes on for so long as it is told


class NotRunError(Exception):
    """The text says what is missing for a row."""


class TookTooLongError(Exception):
    """A row has not come to its end."""


@dataclass(frozen=True)
class Observed:
    """What was seen, in words with figures, and whether it is what was expected."""

    text: str
    is_expected: bool


@dataclass(frozen=True)
class Row:
    """One row. expected: what must be seen; is_fast: short enough for every change to be tried by it."""

    number: int
    name: str
    expected: str
    is_fast: bool
    work: Callable[[Arena], Observed]


@dataclass(frozen=True)
class Outcome:
    """What came of a row."""

    row: Row
    verdict: str
    observed: str
    seconds: float


ROWS: dict[int, Row] = {}


def row(
    number: int, name: str, expected: str, *, fast: bool = False
) -> Callable[[Callable[[Arena], Observed]], Callable[[Arena], Observed]]:
    """Makes a function the row of a number."""

    def take(work: Callable[[Arena], Observed]) -> Callable[[Arena], Observed]:
        ROWS[number] = Row(number, name, expected, fast, work)
        return work

    return take


def run(one: Row, arena: Arena, seconds: float | None = None) -> Outcome:
    """One row, its faults healed whatever became of it. seconds: at most; only on the main thread."""
    begun, ended = time.monotonic(), len(arena.ends)
    try:
        with at_most(seconds):
            observed = one.work(arena)
        verdict, text = (PASS if observed.is_expected else FAIL), observed.text
        for code, traceback in arena.ends[ended:]:
            if code or traceback:
                verdict, text = FAIL, f"{text}; its gateway ended with {code} {traceback[-400:]}"
    except NotRunError as error:
        verdict, text = NOT_RUN, str(error)
    except Exception as error:  # noqa: BLE001 - a row that breaks has failed, and the others go on
        verdict, text = FAIL, failure(error)
    try:
        arena.heal()
    except Exception as error:  # noqa: BLE001 - the next row begins in another arena
        verdict, text = FAIL, f"{text}; its faults could not be healed: {failure(error)}"
    return Outcome(one, verdict, text, time.monotonic() - begun)


def failure(error: BaseException) -> str:
    """Of a row that broke: what, and where."""
    place = error.__traceback__
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
        place = error.__traceback__ or place
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = "" if place is None else f" ({Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno})"
    return " ".join(f"{type(error).__name__}: {error}".split())[:400] + where


@contextmanager
def at_most(seconds: float | None) -> Iterator[None]:
    """Raises TookTooLongError in the block when it is not over by then."""
    if seconds is None:
        yield
        return

    def end(_number: int, _frame: object) -> None:
        raise TookTooLongError(f"not over after {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
