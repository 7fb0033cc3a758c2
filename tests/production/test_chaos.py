"""The rows of `make chaos` that are short enough for every change; what each must show stands in its row."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.chaos import access, hostile, processes, servers, writing  # noqa: F401 - they make the rows
from benchmarks.chaos.arena import Arena, running_arena
from benchmarks.chaos.rows import FAIL, ROWS, run

# Those that need least of a machine that other tests share; the others by hand.
NUMBERS = (25, 8, 11, 7, 14, 28, 31, 32)


@pytest.fixture(scope="module")
def arena(elasticsearch_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    directory = tmp_path_factory.mktemp("chaos")
    with running_arena(directory, elasticsearch_url, seed=1, is_fast=True, minutes=0, patience=4) as running:
        yield running
    assert running.ends[-1] == (0, "")  # nothing that it logged was a traceback


@pytest.mark.parametrize("number", NUMBERS)
def test_a_fault_is_seen_as_its_row_says(arena: Arena, number: int) -> None:
    assert ROWS[number].is_fast
    outcome = run(ROWS[number], arena)
    assert outcome.verdict != FAIL, outcome.observed
