"""What a row of the plan is: a fault that is made, and what must be seen while it lasts and after it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.chaos.arena import Arena

PASS, FAIL, NOT_RUN = "PASS", "FAIL", "NOT RUN"


class NotRunError(Exception):
    """The text says what is missing for a row."""


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


def run(one: Row, arena: Arena) -> Outcome:
    """One row, its faults healed whatever became of it."""
    begun, ended = time.monotonic(), len(arena.ends)
    try:
        observed = one.work(arena)
        verdict, text = (PASS if observed.is_expected else FAIL), observed.text
        for code, traceback in arena.ends[ended:]:
            if code or traceback:
                verdict, text = FAIL, f"{text}; its gateway ended with {code} {traceback[-400:]}"
    except NotRunError as error:
        verdict, text = NOT_RUN, str(error)
    except Exception as error:  # noqa: BLE001 - a row that breaks has failed, and the others go on
        verdict, text = FAIL, f"{type(error).__name__}: {error}"[:400]
    finally:
        arena.heal()
    return Outcome(one, verdict, text, time.monotonic() - begun)
