"""What becomes of a list: which items enter it, leave it or change places."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Change:
    """One item whose place changes. Rows count from 1; None: it is in none of those that were looked at."""

    item_id: str
    before: int | None
    after: int | None


def changes_between(before: Sequence[str], after: Sequence[str], rows: int) -> list[Change]:
    """What enters, leaves and moves within the first rows, in the order of the new list; then what has left.

    before, after: the two lists, at least so far down as to tell where something came from. An item that others only
    push along has not moved: of the items in both, as many as possible are held to have stayed.
    """
    was = {item: row for row, item in enumerate(before, 1)}
    now = {item: row for row, item in enumerate(after, 1)}
    stayed = _longest_ascending([was[item] for item in after if item in was])
    found = [
        Change(item, was.get(item), now[item])
        for item in after[:rows]
        if item not in was or was[item] not in stayed or was[item] > rows
    ]
    gone = [Change(item, was[item], now.get(item)) for item in before[:rows] if now.get(item, rows + 1) > rows]
    return found + gone


def _longest_ascending(values: Sequence[int]) -> set[int]:
    """The values of a longest ascending subsequence; they are distinct. Source: Fredman, 1975."""
    ends: list[int] = []  # the smallest end of an ascending run of each length
    previous: dict[int, int | None] = {}
    for value in values:
        at = bisect_left(ends, value)
        previous[value] = ends[at - 1] if at else None
        ends[at : at + 1] = [value]
    kept: set[int] = set()
    last = ends[-1] if ends else None
    while last is not None:
        kept.add(last)
        last = previous[last]
    return kept
