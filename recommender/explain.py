"""Why a pair is in a list, or what keeps it out: the blocker, the place among the eligible, the terms of the score."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Final

import numpy as np

from recommender.documents import Document, Job
from recommender.eligibility import document_blocker, pair_blocker
from recommender.events import Event
from recommender.grounds import grounds_of
from recommender.query import Blocker, Contribution, Explanation, Profile, Reason
from recommender.ranking import Draft, candidates_of, spoken_history
from recommender.reasons import ActedOn, reason_of_trait, told_of
from recommender.retrieval import ordinals_from_bitmap, rank_of
from recommender.scoring import contributions, score
from recommender.steering import DEPTH

NAMED_CONTRIBUTIONS: Final = 20  # of a history; the others are summed up

DocumentAt = Callable[[int], Document | None]

_WHY_NOT: Final = {
    Blocker.CLOSED: "the job is not open",
    Blocker.EXPIRED: "the job has expired",
    Blocker.UNAVAILABLE: "the talent is not available",
    Blocker.DISMISSED: "one of the two has turned the other down",
    Blocker.ALREADY_APPLIED: "the two already know each other: applied, invited, offered or hired",
    Blocker.FILTER: "it does not match the filter",
}


def unknown_pair(talent_id: str | None, job_id: str | None) -> Explanation:
    """Of a pair whose talent, job or both (those not None) do not exist."""
    missing = [f"talent {talent_id!r}"] if talent_id is not None else []
    missing += [f"job {job_id!r}"] if job_id is not None else []
    return Explanation(Blocker.UNKNOWN, None, None, (), f"Not recommended: there is no {' and no '.join(missing)}.")


def explain_pair(
    draft: Draft, subject: Document | Profile | None, item: Document, document_at: DocumentAt
) -> Explanation:
    """Of an item that exists, in a prepared list. `document_at` gives the acted-on items of the list's interest."""
    kind, ordinal = draft.query.item_kind, item.ordinal
    own = float(score(draft.terms, np.array([ordinal], dtype=np.uint32))[0])
    parts = _contributions(draft, subject, item, document_at)
    pair = [event for event in draft.history if event.id_of(kind) == item.id]
    blocker = document_blocker(item, draft.now_ms) or pair_blocker(pair, kind)
    candidates = candidates_of(draft, draft.history, draft.now_ms)
    if blocker is None and ordinal not in candidates:
        blocker = Blocker.FILTER
    if blocker is not None:
        return Explanation(blocker, None, own, parts, f"Not recommended: {_WHY_NOT[blocker]}.")
    rank = rank_of(draft.terms, ordinals_from_bitmap(candidates), ordinal, draft.mirror)
    place = f"ranked {rank:,} of {len(candidates):,}"
    if rank > DEPTH:
        return Explanation(Blocker.RANKED_LOWER, rank, own, parts, f"Eligible, but {place}.")
    told = [part.reason.text for part in parts if part.reason is not None][:2]
    return Explanation(None, rank, own, parts, f"{place.capitalize()}." + "".join(f" {text}." for text in told))


def _contributions(
    draft: Draft, subject: Document | Profile | None, item: Document, document_at: DocumentAt
) -> list[Contribution]:
    """The terms of the score, the vector's broken up by acted-on item and the content's by trait."""
    ordinals = np.array([item.ordinal], dtype=np.uint32)
    snapshot = draft.known_snapshot
    if snapshot.interest is not None:
        return _by_acted_on(draft, subject, item, document_at)
    parts = []
    for weighted in snapshot.traits:
        if item.ordinal in draft.postings[weighted.trait]:
            trait = weighted.trait
            signal = f"{trait.field.value}:{trait.value}"
            parts.append(Contribution(signal, float(weighted.units), reason_of_trait(trait, item)))
    # Whatever the traits are, the last term is popularity.
    popularity = float(contributions(draft.terms, ordinals)[-1][0])
    return [*sorted(parts, key=lambda part: -part.value), Contribution("popularity", popularity)]


def _by_acted_on(
    draft: Draft, subject: Document | Profile | None, item: Document, document_at: DocumentAt
) -> list[Contribution]:
    """Each acted-on item's share, largest first in size; those behind the first few in one sum; then the biases."""
    kind, terms = draft.query.item_kind, draft.terms
    ordinals = np.array([item.ordinal], dtype=np.uint32)
    events: dict[str, list[Event]] = defaultdict(list)
    for event in spoken_history(draft):
        events[event.id_of(kind)].append(event)
    parts = []
    for ground in grounds_of(draft.known_snapshot, draft.loaded, kind):
        values, lost = ground.shares(ordinals)[0], ground.effects(ordinals)[0]
        order = np.argsort(-np.abs(values), kind="stable")
        for place in order[:NAMED_CONTRIBUTIONS].tolist():
            acted_on, value, effect = document_at(int(ground.acted[place])), float(values[place]), float(lost[place])
            if acted_on is None:
                parts.append(Contribution(ground.signal, value))
                continue
            told = told_of(events[acted_on.id], kind) if effect > 0 and acted_on.id != item.id else None
            reason = None if told is None else _reason(told, subject, acted_on)
            parts.append(Contribution(f"{ground.signal}:{acted_on.id}", value, reason, effect))
        rest = order[NAMED_CONTRIBUTIONS:]
        if len(rest):
            parts.append(Contribution(ground.signal, float(values[rest].sum())))
    added = contributions(terms, ordinals)[len(terms.names) - len(terms.bias) :]
    return parts + [Contribution(term.name, float(value[0])) for term, value in zip(terms.bias, added, strict=True)]


def _reason(told: str, subject: Document | Profile | None, acted_on: Document) -> Reason | None:
    """The reason that names an acted-on item; None when there is no job to name."""
    if isinstance(acted_on, Job):
        return ActedOn(told, acted_on, None).reason
    return ActedOn(told, subject, acted_on).reason if isinstance(subject, Job) else None
