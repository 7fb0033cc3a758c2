"""What a kept list says today: what it is kept under, when it still holds, and its best among those who may be shown.

A list is kept by what its scores rest on, not by what the catalogue looked like: documents that have changed since are
scored anew and put in their places. Why that is exact: docs/decisions/0009-cache.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from pyroaring import BitMap

from recommender.content import Trait, TraitField, WeightedTrait
from recommender.degradation import degraded
from recommender.events import Event
from recommender.interest import Interest
from recommender.mirror import Mirror
from recommender.model import Ordinals
from recommender.ports import CachedList, CachedMutual
from recommender.retrieval import After, ordinals_from_bitmap, settle
from recommender.scoring import Scores, Sparse, Terms, score
from recommender.snapshots import Snapshot

# What re-ranking looks at, and a hundred for what the subject has done away with or has closed since.
KEPT_BEST: Final = 600
MOST_CHANGED: Final = 2_000  # documents to score anew: beyond, a new list is as cheap


def list_key(identity: str, model_version: str, history: Sequence[Event], known: Sequence[int | None]) -> str:
    """What a list is kept under: whose it is and what was asked, the model, and the version of the history.

    identity: of the query. history: the events that count. known: the ordinals that the catalogue has today for what
    the history names: what is gone says nothing. Ids of events are in the digest, so an erasure is another version,
    although no event is newer.
    """
    newest = max((event.seq for event in history), default=0)
    told = repr((identity, [event.event_id for event in history], known)).encode()
    return f"{model_version}:{newest}:{hashlib.sha256(told).hexdigest()[:32]}"


def basis(traits: Sequence[Trait], revision: int, eligible: int, said: Sequence[str] = ()) -> str:
    """All that the units of a list without a vector rest on, or a vector by description; empty for nothing.

    Whoever is eligible leaves with time, and comes by a change alone: so their number and the revision tell them.
    said: features of the subject.
    """
    if not traits and not said:
        return ""
    return hashlib.sha256(repr((traits, revision, eligible, sorted(said))).encode()).hexdigest()[:32]


def kept_from(
    snapshot: Snapshot, best: tuple[Ordinals, Scores], *, is_whole: bool, basis: str, revision: int, made_at_ms: int
) -> CachedList:
    """A list as it is kept. best: the best of all that match and are eligible."""
    interest, content = snapshot.interest, snapshot.content
    return CachedList(
        made_at_ms=made_at_ms,
        revision=revision,
        basis=basis,
        strategy=snapshot.strategy,
        rows=np.empty(0, np.int32) if interest is None else interest.rows,
        weights=np.empty(0) if interest is None else interest.weights,
        vector=np.empty(0) if interest is None else interest.vector,
        traits=tuple((item.trait.field.value, item.trait.value, item.units) for item in snapshot.traits),
        shared=np.empty(0, np.uint32) if content is None else content.ordinals,
        units=np.empty(0) if content is None else content.values,
        best=best[0],
        scores=best[1],
        is_whole=is_whole,
        suited=np.empty(0) if interest is None else interest.suited,
        mutual=None if interest is None else _kept_mutual(interest),
        degraded=degraded(),
    )


def _kept_mutual(interest: Interest) -> CachedMutual | None:
    other = interest.mutual
    if other is None:
        return None
    return CachedMutual(other.rows, other.weights, other.vector, other.suited, interest.mutual_weight)


def snapshot_from(kept: CachedList) -> Snapshot:
    """What the order of a kept list rests on."""
    if len(kept.vector):
        return Snapshot(kept.strategy, _interest_from(kept), kept=kept)
    traits = tuple(WeightedTrait(Trait(TraitField(field), value), units) for field, value, units in kept.traits)
    content = Sparse("content", kept.shared, kept.units) if traits else None
    return Snapshot(kept.strategy, None, traits, content, kept=kept)


def _interest_from(kept: CachedList) -> Interest:
    own, other = Interest(kept.rows, kept.weights, kept.vector, kept.suited), kept.mutual
    if other is None:
        return own
    mutual = Interest(other.rows, other.weights, other.vector, other.suited)
    return replace(own, mutual=mutual, mutual_weight=other.weight)


def best_of_kept(
    kept: CachedList,
    terms: Callable[[], Terms],
    candidates: BitMap,
    k: int,
    mirror: Mirror,
    as_of_ms: int,
    after: After | None = None,
) -> tuple[Ordinals, Scores] | None:
    """The best k of the candidates behind `after`, as a search of all of them would find; None when it takes one.

    candidates: of the same filter and text, eligible at `as_of_ms`; taken before this call. terms: of this list.
    What was no candidate when the list was made, and is one now, has changed since: time only takes candidates away.
    So every candidate that is not behind the last kept one is kept, or has changed.
    """
    # A mirror behind the list's revision could not tell what has changed between the two.
    if kept.made_at_ms > as_of_ms or kept.revision > mirror.revision:
        return None
    changed = mirror.changed_since(kept.revision)
    if len(changed) > MOST_CHANGED:
        return None
    if not changed and after is None:
        return _first_kept(kept, candidates, k)
    among = candidates - changed
    stay = np.array([ordinal in among for ordinal in kept.best.tolist()], dtype=np.bool_)
    ordinals, scores = kept.best[stay], kept.scores[stay]
    again = ordinals_from_bitmap(candidates & changed)
    if len(again):
        new_scores = score(terms(), again)
        if not kept.is_whole:
            inside = _not_behind(again, new_scores, kept, mirror)
            again, new_scores = again[inside], new_scores[inside]
        ordinals, scores = np.concatenate([ordinals, again]), np.concatenate([scores, new_scores])
    found = settle(ordinals, scores, k, mirror, after)
    return found if kept.is_whole or len(found[0]) == k else None


def _first_kept(kept: CachedList, candidates: BitMap, k: int) -> tuple[Ordinals, Scores] | None:
    """The best k of the candidates where the order stands as it was kept: no need to look beyond them."""
    found: list[int] = []
    for place, ordinal in enumerate(kept.best.tolist()):
        if len(found) == k:
            break
        if ordinal in candidates:
            found.append(place)
    return (kept.best[found], kept.scores[found]) if kept.is_whole or len(found) == k else None


def _not_behind(ordinals: Ordinals, scores: Scores, kept: CachedList, mirror: Mirror) -> Ordinals:
    """Places of the items that do not come behind the last kept one."""
    if not len(kept.best):
        return np.empty(0, dtype=np.uint32)
    least, last = float(kept.scores[-1]), mirror.ids_of(kept.best[-1:])[0].encode()
    inside = scores > least
    tied = np.flatnonzero(scores == least)
    inside[tied] = [name.encode() <= last for name in mirror.ids_of(ordinals[tied])]
    return np.flatnonzero(inside).astype(np.uint32)
