"""How a product steers its lists: which steps there are, in which order they come and which of them goes before which.

Rules that exclude act on the candidates, before anything is scored. Then, within the top of a list by score:

1. fatigue and boosts change an item's standing, and the top is put in order of it (`standings`);
2. pins take their rows (`pins`);
3. the floor for new jobs fills the rows that are left (`exposure`);
4. jobs of one client are spread over the rows of the same kind (`rerank`): neither a pin nor a new job's row moves.

So a pin goes before the floor, the floor before the limit of a client, and that before fatigue and boosts. Each step is
a permutation, and with nothing set the list is the one by score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from recommender.exposure import Floor, give_new_their_share
from recommender.fatigue import Fatigue
from recommender.pins import place_pins, rows_of_pins
from recommender.rerank import spread_among, spread_clients
from recommender.rules import Rule
from recommender.scoring import Scores

DEPTH: Final = 500  # rows of the top; behind it the order is the score's


@dataclass(frozen=True, slots=True)
class Steering:
    """What is set for all lists; nothing by default. max_per_client: where a request doesn't say its own."""

    rules: tuple[Rule, ...] = ()
    max_per_client: int | None = None
    fatigue: Fatigue | None = None
    new_jobs: Floor | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Entrants:
    """What enters re-ranking: the top of a list by score, best first, and behind it whatever pins and floor bring in.

    top: how many are of the top. scores: of all. discounts, factors, additions: of their standing. pinned, positions:
    places of the pinned ones and where they are wanted, in the order of the rules. is_new, new_of_block: for the
    floor; clients, most_per_client: for spreading. Each of the last two pairs is None where its step is off.
    """

    top: int
    scores: Scores
    discounts: Scores
    factors: Scores
    additions: Scores
    pinned: Sequence[int] = ()
    positions: Sequence[int] = ()
    is_new: npt.NDArray[np.bool_] | None = None
    new_of_block: int = 0
    clients: Sequence[str | None] | None = None
    most_per_client: int = 0


def standings(scores: Scores, top: int) -> Scores:
    """Each item's standing: 1 for the first of the top by score, 0 for its last, in proportion between, below 0 behind.

    Scores of two lists don't compare, and may be below 0; standings are the same for lists that differ by a shift and a
    scale. Of a top of equal scores everyone is first.
    """
    if not top:
        return np.zeros(len(scores))
    first, last = float(scores[0]), float(scores[top - 1])
    standing: Scores = (scores - last) / (first - last) if first > last else np.where(scores < last, scores - last, 1.0)
    return standing


def rearrange(entrants: Entrants) -> list[int]:
    """The places of the re-ranked top in order: all of the top, and of the others those that got a row."""
    order = _by_standing(entrants)
    place_of = {entrant: place for place, entrant in enumerate(order)}
    count, pinned = len(order), [place_of[entrant] for entrant in entrants.pinned]
    rows = rows_of_pins(entrants.positions, count)
    order = [order[place] for place in place_pins(count, pinned, rows)]
    held = set(rows)
    if entrants.is_new is not None:
        order = _taken(order, give_new_their_share(entrants.is_new[order].tolist(), entrants.new_of_block, held))
    while order and order[-1] >= entrants.top and len(order) - 1 not in held:
        order.pop()  # nobody gave it a row
    if entrants.clients is not None:
        order = _taken(order, _spread(entrants, order, held))
    return order


def _by_standing(entrants: Entrants) -> list[int]:
    """The top in order of what the standings have become; then the others, who are here for the floor or a pin only."""
    top, standing = entrants.top, standings(entrants.scores, entrants.top)
    # Below 0 a discount must sink an item as well.
    standing = np.where(standing >= 0, standing * entrants.discounts, standing / entrants.discounts)
    standing[:top] = standing[:top] * entrants.factors[:top] + entrants.additions[:top]
    inside = np.argsort(-standing[:top], kind="stable")
    behind = top + np.argsort(-standing[top:], kind="stable")
    return [*inside.tolist(), *behind.tolist()]


def _spread(entrants: Entrants, order: Sequence[int], held: set[int]) -> list[int]:
    clients = [(entrants.clients or ())[place] for place in order]
    if not held and entrants.is_new is None:
        return spread_clients(clients, entrants.most_per_client)
    is_new = [False] * len(order) if entrants.is_new is None else entrants.is_new[list(order)].tolist()
    groups = [None if row in held else new for row, new in enumerate(is_new)]
    return spread_among(clients, entrants.most_per_client, groups)


def _taken(order: Sequence[int], places: Sequence[int]) -> list[int]:
    return [order[place] for place in places]
