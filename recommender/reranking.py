"""The re-ranked top of a list: who enters it, and in which order it leaves. What the steps are: see steering."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from recommender.exposure import BLOCK
from recommender.filters import JobFilter
from recommender.model import Ordinals
from recommender.ranking import Draft, candidates_of
from recommender.retrieval import After
from recommender.rules import RuleKind, in_force
from recommender.scoring import Scores
from recommender.snapshots import Prefix
from recommender.steering import DEPTH, Entrants, rearrange

Found = tuple[Ordinals, Scores]


def reranked(draft: Draft) -> Prefix:
    """The top of a list in its re-ranked order, and where the order by score goes on behind it.

    A list that is rebuilt begins with what its subject could see when it was begun. Only a pin or the floor brings in
    what is not of the top by score, and only candidates.
    """
    as_of_ms, mirror, floor = draft.pins.as_of_ms, draft.mirror, draft.new_jobs
    candidates = candidates_of(draft, draft.begun_history, as_of_ms)
    best = draft.best(candidates, DEPTH, as_of_ms)
    top, boundary = len(best[0]), None
    if top == DEPTH:
        boundary = After(float(best[1][-1]), mirror.ids_of(best[0][-1:])[0])
    pins, positions = _pins(draft, candidates)
    entering, new = [best, *pins], None
    if floor is not None:
        new = mirror.matching(JobFilter(posted_within_days=floor.days), as_of_ms) & candidates
        if boundary is not None:
            entering.append(draft.best(new, floor.of_block * DEPTH // BLOCK, as_of_ms))
    ordinals, scores = _each_once(entering)
    place_of = {ordinal: place for place, ordinal in enumerate(ordinals.tolist())}
    factors, additions = _boosts(draft, ordinals)
    ids = mirror.ids_of(ordinals)
    tired, most = draft.steering.fatigue, draft.most_per_client
    order = rearrange(
        Entrants(
            top=top,
            scores=scores,
            discounts=np.ones(len(ids)) if tired is None else tired.discounts(ids, draft.unanswered),
            factors=factors,
            additions=additions,
            pinned=[place_of[int(ordinals[0])] for ordinals, _ in pins],
            positions=positions,
            is_new=None if new is None else _members(ordinals, new),
            new_of_block=0 if floor is None else floor.of_block,
            clients=None if most is None else mirror.client_ids(ordinals),
            most_per_client=most or 0,
        )
    )
    return Prefix(ordinals[order], scores[order], tuple(ids[place] for place in order), boundary, draft.recall)


def _pins(draft: Draft, candidates: BitMap) -> tuple[list[Found], list[int]]:
    """What each rule pins, and where: the best candidate of those that it matches, but for those pinned already."""
    found: list[Found] = []
    positions, left = [], candidates.copy()
    for rule in in_force(draft.rules, RuleKind.PIN, draft.pins.as_of_ms):
        best = draft.best(draft.mirror.matching(rule.items, draft.pins.as_of_ms) & left, 1, draft.pins.as_of_ms)
        if len(best[0]):
            left.remove(int(best[0][0]))
            found.append(best)
            positions.append(rule.position)
    return found, positions


def _boosts(draft: Draft, ordinals: Ordinals) -> tuple[Scores, Scores]:
    """What the rules multiply each item's standing by, and what they then add to it."""
    factors, additions = np.ones(len(ordinals)), np.zeros(len(ordinals))
    for rule in in_force(draft.rules, RuleKind.BOOST, draft.pins.as_of_ms):
        matched = _members(ordinals, draft.mirror.matching(rule.items, draft.pins.as_of_ms))
        factors[matched] *= rule.factor
        additions[matched] += rule.addition
    return factors, additions


def _each_once(found: Sequence[Found]) -> Found:
    """All of them in order, each at its first place."""
    ordinals = np.concatenate([some for some, _ in found])
    first = np.sort(np.unique(ordinals, return_index=True)[1])
    return ordinals[first], np.concatenate([scores for _, scores in found])[first]


def _members(ordinals: Ordinals, of: BitMap) -> npt.NDArray[np.bool_]:
    return np.fromiter((ordinal in of for ordinal in ordinals.tolist()), np.bool_, len(ordinals))
