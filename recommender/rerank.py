"""At most so many jobs of one client in any ten rows: a permutation of the top of a list."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Hashable, Mapping, Sequence
from heapq import heapify, heappop, heappush
from typing import Final

import numpy as np
import numpy.typing as npt

WINDOW: Final = 10  # consecutive rows within which a client's jobs are counted: about one screen

Rows = npt.NDArray[np.int64]
Waiting = tuple[int, str | None]  # an item's place and client


def spread_clients(clients: Sequence[str | None], most: int) -> list[int]:
    """An order of the places 0 … n−1 with at most `most` of one client in any ten consecutive rows.

    Greedy: every row takes the best item left whose client is not used up in the nine rows before it, so items pushed
    back keep their order. Where that would end with more of a client than the last rows have room for, its items are
    taken as early as they must be. When no order keeps the limit, it breaks in the last rows: no row is dropped. Items
    without a client are free.
    """
    order, keeps = _greedy(clients, most)
    if not keeps:
        latest = _latest_rows(clients, most)
        spare = np.arange(1, len(clients) + 1) - np.cumsum(np.bincount(np.maximum(latest, 0), minlength=len(clients)))
        if min(latest) >= 0 and spare.min() >= 0:
            in_time, keeps = _greedy(clients, most, latest, spare)
            order = in_time if keeps else order
    return order


def spread_among(clients: Sequence[str | None], most: int, groups: Sequence[Hashable | None]) -> list[int]:
    """The same where rows belong to groups: each row takes the best item left of its own group that has room.

    A row of no group keeps its item. Where nobody of a group has room, its best item takes the row: what a group is for
    goes before the limit.
    """
    rows_of: dict[str, list[int]] = defaultdict(list)
    waiting: dict[tuple[Hashable, str], deque[int]] = defaultdict(deque)
    ready: dict[Hashable, list[Waiting]] = defaultdict(list)
    for place, (client, group) in enumerate(zip(clients, groups, strict=True)):
        if group is None:
            if client is not None:
                rows_of[client].append(place)
        elif client is None:
            ready[group].append((place, None))
        else:
            waiting[group, client].append(place)
            if len(waiting[group, client]) == 1:
                ready[group].append((place, client))
    for heap in ready.values():
        heapify(heap)
    order = list(range(len(clients)))
    for row, group in enumerate(groups):
        if group is None:
            continue
        heap, blocked = ready[group], list[Waiting]()
        while heap and not _has_room(heap[0][1], row, rows_of, most):
            blocked.append(heappop(heap))
        place, client = heappop(heap) if heap else blocked.pop(0)
        order[row] = place
        if client is not None:
            rows_of[client].append(row)
            waiting[group, client].popleft()
            if waiting[group, client]:
                heappush(heap, (waiting[group, client][0], client))
        for other in blocked:
            heappush(heap, other)
    return order


def _has_room(client: str | None, row: int, rows_of: Mapping[str, Sequence[int]], most: int) -> bool:
    """Whether no window around the row has more than `most` of the client once it stands there."""
    if client is None:
        return True
    near = sorted([row, *(other for other in rows_of.get(client, ()) if abs(other - row) < WINDOW)])
    return all(near[at + most] - near[at] >= WINDOW for at in range(len(near) - most))


def _latest_rows(clients: Sequence[str | None], most: int) -> list[int]:
    """The last row in which each item may stand, for those of its client behind it to find room; below 0, nowhere."""
    latest = [len(clients) - 1] * len(clients)
    behind: Counter[str] = Counter()
    for place in range(len(clients) - 1, -1, -1):
        client = clients[place]
        if client is not None:
            latest[place] -= behind[client] // most * WINDOW + behind[client] % most
            behind[client] += 1
    return latest


def _urgent(ready: list[Waiting], latest: Sequence[int], spare: Rows, row: int) -> list[Waiting]:
    """Those of the ready items that must stand in this row or soon, when the best one may not; spare: from this row on.

    Whatever stands in this row uses one up in each row before its own latest one, so nothing may that is due behind the
    first row which has none to spare.
    """
    until = row + int(np.argmin(spare > 0))  # the last row of a list never has any
    if not ready or latest[ready[0][0]] <= until:
        return []
    return [item for item in ready if latest[item[0]] <= until]


def _greedy(
    clients: Sequence[str | None], most: int, latest: Sequence[int] = (), spare: Rows | None = None
) -> tuple[list[int], bool]:
    """An order, and whether it keeps the limit.

    spare: for each row, how many of the rows until it are not needed for items whose latest row it is or was; it is
    used up on the way. Without it no item is ever due.
    """
    waiting: dict[str, deque[int]] = defaultdict(deque)
    ready: list[Waiting] = []  # the first waiting place of every client that may be listed now
    for place, client in enumerate(clients):
        if client is None:
            ready.append((place, None))
        else:
            waiting[client].append(place)
            if len(waiting[client]) == 1:
                ready.append((place, client))
    heapify(ready)
    blocked: set[str] = set()
    listed: list[int] = []
    recent: deque[str | None] = deque()
    used: Counter[str] = Counter()
    keeps = True
    while len(listed) < len(clients):
        if len(recent) == WINDOW:
            gone = recent.popleft()
            if gone is not None:
                used[gone] -= 1
                if gone in blocked and used[gone] < most:
                    blocked.remove(gone)
                    heappush(ready, (waiting[gone][0], gone))
        urgent = _urgent(ready, latest, spare[len(listed) :], len(listed)) if spare is not None else []
        if urgent:
            place, client = min(urgent)
            ready.remove((place, client))
            heapify(ready)
        elif ready:
            place, client = heappop(ready)
        else:
            keeps = False
            client = min(blocked, key=lambda name: waiting[name][0])
            place = waiting[client][0]
            blocked.remove(client)
        if spare is not None:
            spare[len(listed) : latest[place]] -= 1
        listed.append(place)
        recent.append(client)
        if client is not None:
            waiting[client].popleft()
            used[client] += 1
            if waiting[client]:
                if used[client] < most:
                    heappush(ready, (waiting[client][0], client))
                else:
                    blocked.add(client)
    return listed, keeps
