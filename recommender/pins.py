"""Pins: items that stand in a row of their own, whatever their score."""

from __future__ import annotations

from collections.abc import Sequence


def rows_of_pins(positions: Sequence[int], count: int) -> list[int]:
    """The row (from 0) of each pin, of `count` rows. positions: from 1, of at most as many pins as rows.

    Whoever comes first has the position; the next one takes the next row that is free, or the last free one where the
    list ends before it.
    """
    taken: set[int] = set()
    rows = []
    for position in positions:
        below = (row for row in range(position - 1, count) if row not in taken)
        row = next(below, None)
        if row is None:
            row = next(row for row in range(count - 1, -1, -1) if row not in taken)
        taken.add(row)
        rows.append(row)
    return rows


def place_pins(count: int, pinned: Sequence[int], rows: Sequence[int]) -> list[int]:
    """An order of the places 0 … count−1 with the pinned ones in their rows and the others as they were."""
    order = dict(zip(rows, pinned, strict=True))
    mine = set(pinned)
    rest = iter(place for place in range(count) if place not in mine)
    return [order[row] if row in order else next(rest) for row in range(count)]
