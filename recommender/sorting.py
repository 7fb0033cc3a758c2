"""Pages of a sorted set: values best first, ties by id, without sorting more than the page."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.intp]


def best_places(
    costs: npt.NDArray[np.float64], id_keys: npt.NDArray[np.uint64], first: int, after: tuple[float, int] | None
) -> tuple[Places, bool, bool]:
    """Places of the `first` cheapest behind a position, in order; whether more follow, and whether any are not behind.

    costs: what sorts first, ascending; +inf for a missing value. id_keys: break ties, ascending.
    after: cost and key of the position; what is equal to it is not behind it.
    """
    places = np.arange(len(costs))
    everything = len(places)
    if after is not None:
        cost, key = after
        behind = (costs > cost) | ((costs == cost) & (id_keys > np.uint64(key)))
        places = np.flatnonzero(behind)
        costs, id_keys = costs[places], id_keys[places]
    has_more, has_skipped = len(places) > first, len(places) < everything
    if has_more:
        near = _nominees(costs, id_keys, first)
        places, costs, id_keys = places[near], costs[near], id_keys[near]
    return places[np.lexsort((id_keys, costs))[:first]], has_more, has_skipped


def last_places(
    costs: npt.NDArray[np.float64], id_keys: npt.NDArray[np.uint64], last: int, before: tuple[float, int] | None
) -> tuple[Places, bool, bool]:
    """The same from the other end: the `last` before a position; whether more lead up to them, and whether any follow.

    What is equal to the position is not before it.
    """
    position = None if before is None else (-before[0], int(~np.uint64(before[1])))
    places, has_more, has_skipped = best_places(-costs, ~id_keys, last, position)
    return places[::-1], has_more, has_skipped


def _nominees(costs: npt.NDArray[np.float64], id_keys: npt.NDArray[np.uint64], first: int) -> Places:
    """The `first` best, unsorted: all that are better than the last one's cost, and of its ties the first by key."""
    limit = np.partition(costs, first - 1)[first - 1]
    better, ties = np.flatnonzero(costs < limit), np.flatnonzero(costs == limit)
    wanted = first - len(better)
    if wanted < len(ties):
        ties = ties[np.argpartition(id_keys[ties], wanted - 1)[:wanted]]
    return np.concatenate([better, ties])
