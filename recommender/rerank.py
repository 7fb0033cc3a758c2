"""What happens to the top of a list after it is scored: small steps, each a permutation, each off unless asked for."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from typing import Final

DEPTH: Final = 500  # re-ranking ends here; behind it the order is the score's
WINDOW: Final = 10  # consecutive rows within which a client's jobs are counted: about one screen


def spread_clients(clients: Sequence[str | None], most: int) -> list[int]:
    """An order of the places 0 … n−1 with at most `most` of one client in any ten consecutive rows.

    Greedy: every row takes the best item left whose client is not used up in the nine rows before it, so items pushed
    back keep their order. When every client left is used up, the best item left is taken all the same: no row is
    dropped. Items without a client are free.
    """
    waiting: dict[str, deque[int]] = defaultdict(deque)
    ready: list[tuple[int, str | None]] = []  # the first waiting place of every client that may be listed now
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
    while len(listed) < len(clients):
        if len(recent) == WINDOW:
            gone = recent.popleft()
            if gone is not None:
                used[gone] -= 1
                if gone in blocked and used[gone] < most:
                    blocked.remove(gone)
                    heappush(ready, (waiting[gone][0], gone))
        if ready:
            place, client = heappop(ready)
        else:
            client = min(blocked, key=lambda name: waiting[name][0])
            place = waiting[client][0]
            blocked.remove(client)
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
    return listed
