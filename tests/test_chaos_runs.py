"""The fault suite goes on to its end, whatever becomes of a row: what that takes, without any server."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import pytest

from benchmarks.chaos import report
from benchmarks.chaos.__main__ import Ground
from benchmarks.chaos.arena import Arena, traceback_in
from benchmarks.chaos.rows import FAIL, NOT_RUN, PASS, ROWS, NotRunError, Observed, Outcome, Row, run


class Bare:
    """What rows need of an arena when they do nothing."""

    def __init__(self, *, is_sound: bool = True, heals: bool = True) -> None:
        self.ends: list[tuple[int, str]] = []
        self._is_sound, self._heals = is_sound, heals

    def make_sound(self) -> None:
        if not self._is_sound:
            raise TimeoutError("its answers stay degraded")

    def heal(self) -> None:
        if not self._heals:
            raise ConnectionError("the proxy is gone")


def outcome(work: Any, arena: Bare | None = None, seconds: float | None = None) -> Outcome:
    return run(Row(1, "a row", "nothing", False, work), cast("Arena", arena or Bare()), seconds)


def test_what_becomes_of_a_row_is_its_verdict() -> None:
    def breaks(_: Arena) -> Observed:
        raise ExceptionGroup("tasks", [ValueError("all is lost")])

    def lacks(_: Arena) -> Observed:
        raise NotRunError("needs root")

    def sees_a_gateway_fail(arena: Arena) -> Observed:
        arena.ends.append((0, "Traceback KeyError: 'x'"))
        return Observed("well", True)

    assert outcome(lambda _: Observed("well", True)).verdict == PASS
    assert outcome(lambda _: Observed("ill", False)).verdict == FAIL
    assert (outcome(lacks).verdict, outcome(lacks).observed) == (NOT_RUN, "needs root")
    broken = outcome(breaks)
    assert broken.verdict == FAIL
    assert broken.observed.startswith("ValueError: all is lost (test_chaos_runs.py:")
    assert outcome(sees_a_gateway_fail).verdict == FAIL
    unhealed = outcome(lambda _: Observed("well", True), Bare(heals=False))
    assert (unhealed.verdict, "the proxy is gone" in unhealed.observed) == (FAIL, True)


def test_a_row_that_does_not_end_is_ended() -> None:
    def waits(_: Arena) -> Observed:
        time.sleep(60)
        return Observed("well", True)

    ended = outcome(waits, seconds=0.05)
    assert (ended.verdict, ended.seconds < 30) == (FAIL, True)
    assert ended.observed.startswith("TookTooLongError: not over after")
    assert outcome(lambda _: Observed("well", True), seconds=60).verdict == PASS


def test_an_arena_in_pieces_is_made_anew_and_a_sound_one_kept(capsys: pytest.CaptureFixture[str]) -> None:
    made = [Bare(is_sound=False), Bare()]
    left = list(made)

    def build(_: ExitStack) -> Arena:
        return cast("Arena", left.pop(0))

    ground = Ground(build)
    made[0].ends.append((0, "Traceback"))
    for _ in range(3):
        ground.prepare()
        assert cast("Bare", ground.arena) is made[1]
    assert ground.ends == [(0, "Traceback")]
    assert "its answers stay degraded" in capsys.readouterr().err


def test_the_report_has_every_row_of_the_plan(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(report, "REPORT", tmp_path / "report.md")
    one = {"name": "Redis | killed", "expected": "0 failed", "observed": "0 failed", "verdict": PASS, "seed": 7}
    found = {"1": one | {"commit": "c", "at": "2026-01-01 00:00", "patience": 1.0, "is_short": True, "minutes": 3.0}}
    report.write_report(found, "load by vegeta")
    text = (tmp_path / "report.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 42 and f"1 PASS, 0 FAIL, {len(rows) - 1} NOT RUN" in text
    assert rows[0] == "| 1 | Redis \\| killed | 0 failed | 0 failed | PASS | 7 |"
    assert "rows 1 in their short form" in text
    assert set(ROWS) == set(range(1, 43))


def test_a_traceback_is_found_in_a_log_and_nothing_after_it() -> None:
    log = '{"event": "a"}\n{"event": "b", "exception": "Traceback (most recent)\\n  x\\nKeyError: 1"}\n{"event": "c"}\n'
    assert traceback_in(log) == 'Traceback (most recent) x KeyError: 1"}'
    assert not traceback_in('{"event": "a"}\n')
