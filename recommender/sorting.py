"""Pages of a sorted set: values best first, ties by id, without sorting more than the page."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.intp]


def best_places(
    costs: npt.NDArray[np.float64], id_keys: npt.NDArray[np.uint64], first: int, after: tuple[float, int] | None
) -> tuple[Places, bool]:
    """Places of the `first` cheapest behind a position, in order, and whether more follow.

    costs: what sorts first, ascending; +inf for a missing value. id_keys: break ties, ascending.
    after: cost and key of the position; what is equal to it is not behind it.
    """
    places = np.arange(len(costs))
    if after is not None:
        cost, key = after
        behind = (costs > cost) | ((costs == cost) & (id_keys > np.uint64(key)))
        places = np.flatnonzero(behind)
        costs, id_keys = costs[places], id_keys[places]
    has_more = len(places) > first
    if has_more:
        near = _nominees(costs, id_keys, first)
        places, costs, id_keys = places[near], costs[near], id_keys[near]
    return places[np.lexsort((id_keys, costs))[:first]], has_more


def _nominees(costs: npt.NDArray[np.float64], id_keys: npt.NDArray[np.uint64], first: int) -> Places:
    """The `first` best, unsorted: all that are better than the last one's cost, and of its ties the first by key."""
    limit = np.partition(costs, first - 1)[first - 1]
    better, ties = np.flatnonzero(costs < limit), np.flatnonzero(costs == limit)
    wanted = first - len(better)
    if wanted < len(ties):
        ties = ties[np.argpartition(id_keys[ties], wanted - 1)[:wanted]]
    return np.concatenate([better, ties])
