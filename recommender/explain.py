"""Why a pair is in a list, or what keeps it out: the blocker, the place among the eligible, the terms of the score."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import numpy as np
from pyroaring import BitMap

from recommender.clauses import failing_clause
from recommender.documents import Document, Job
from recommender.eligibility import document_blocker, pair_blocker
from recommender.events import Event
from recommender.grounds import BY_ACTED_ON, grounds_of
from recommender.query import Blocker, Contribution, Explanation, Profile, Reason
from recommender.ranking import Draft, candidates_of, spoken_history
from recommender.reasons import ActedOn, reason_of_trait, shared_skills, told_of
from recommender.reranking import reranked
from recommender.retrieval import ordinals_from_bitmap, rank_of
from recommender.rules import RuleKind, excluding_rule
from recommender.scoring import contributions, score
from recommender.steering import DEPTH

NAMED_CONTRIBUTIONS: Final = 20  # of a history; the others are summed up
ROUNDING: Final = 1e-9  # of a sum of shares against the product that they are of

DocumentAt = Callable[[int], Document | None]

_WHY_NOT: Final = {
    Blocker.CLOSED: "the job is not open",
    Blocker.EXPIRED: "the job has expired",
    Blocker.UNAVAILABLE: "the talent is not available",
    Blocker.DISMISSED: "one of the two has turned the other down",
    Blocker.ALREADY_APPLIED: "the two already know each other: applied, invited, offered or hired",
}


def unknown_pair(talent_id: str | None, job_id: str | None) -> Explanation:
    """Of a pair whose talent, job or both (those not None) do not exist."""
    missing = [f"talent {talent_id!r}"] if talent_id is not None else []
    missing += [f"job {job_id!r}"] if job_id is not None else []
    return Explanation(Blocker.UNKNOWN, None, None, (), f"Not recommended: there is no {' and no '.join(missing)}.")


def explain_pair(
    draft: Draft,
    subject: Document | Profile | None,
    item: Document,
    document_at: DocumentAt,
    known: Callable[[Event], bool] | None = None,
) -> Explanation:
    """Of an item that exists, in a prepared list. `document_at` gives the acted-on items of the list's interest.

    known: the events that whoever asks may know of; None for all. For who may not know all, what another one did keeps
    the pair out as a rule of the market's does, which they are not told either.
    """
    own = float(score(draft.terms, np.array([item.ordinal], dtype=np.uint32))[0])
    parts = _contributions(draft, subject, item, document_at)
    candidates = candidates_of(draft, draft.history, draft.now_ms)
    if item.ordinal in candidates:
        return _of_candidate(draft, item, own, parts, candidates)
    pair: Iterable[Event] = (event for event in draft.history if event.id_of(draft.query.item_kind) == item.id)
    pair = pair if known is None else filter(known, pair)
    blocker = document_blocker(item, draft.now_ms) or pair_blocker(pair, draft.query.item_kind)
    if blocker is not None:
        return Explanation(blocker, None, own, parts, f"Not recommended: {_WHY_NOT[blocker]}.")
    if item.ordinal not in draft.chosen:
        failing = failing_clause(draft.query.filter, draft.mirror, item.ordinal, draft.now_ms)
        name, asked = failing if failing is not None else ("query", draft.query.text or "")
        text = f"Not recommended: it does not match the filter's {name} ({asked})."
        return Explanation(Blocker.FILTER, None, own, parts, text, clause=name)
    if known is not None:
        return Explanation(Blocker.RULE, None, own, parts, "Not recommended: a rule keeps it out.")
    rule = excluding_rule(draft.rules, draft.mirror, item.ordinal, draft.now_ms)
    name = "" if rule is None else rule.name
    return Explanation(Blocker.RULE, None, own, parts, f"Not recommended: rule “{name}” keeps it out.", rule=name)


def _of_candidate(
    draft: Draft, item: Document, own: float, parts: Sequence[Contribution], candidates: BitMap
) -> Explanation:
    """Where it stands, by score and after re-ranking; behind the last row that is re-ranked, by how much it lags."""
    by_score = rank_of(draft.terms, ordinals_from_bitmap(candidates), item.ordinal, draft.mirror)
    rank, is_listed, steps = by_score, by_score <= DEPTH, ""
    if draft.is_reranked:
        prefix = reranked(draft)
        inside = BitMap(prefix.ordinals)
        is_listed = item.ordinal in inside
        if is_listed:
            rank = 1 + int(np.flatnonzero(prefix.ordinals == item.ordinal)[0])
        else:
            behind = ordinals_from_bitmap(candidates - inside)
            rank = len(inside) + rank_of(draft.terms, behind, item.ordinal, draft.mirror)
        steps = "".join(f" {step}" for step in _steps(draft, item, rank, by_score))
    place = f"ranked {rank:,} of {len(candidates):,}"
    if not is_listed:
        last = float(draft.best(candidates, DEPTH, draft.now_ms)[1][-1])
        text = f"Eligible, but {place}: its score is {last - own:.4g} below that of rank {DEPTH}."
        return Explanation(Blocker.RANKED_LOWER, rank, own, parts, text, score_gap=last - own)
    speaking = sorted(parts, key=lambda part: -(part.value if part.effect is None else part.effect))
    told = [part.reason.text for part in speaking if part.reason is not None][:2]
    text = f"{place.capitalize()}.{steps}" + "".join(f" {one}." for one in told)
    return Explanation(None, rank, own, parts, text)


def _steps(draft: Draft, item: Document, rank: int, by_score: int) -> Iterator[str]:
    """What re-ranking did with an item, in sentences."""
    if rank != by_score:
        yield f"By score alone it would be {by_score:,}."
    as_of_ms = draft.pins.as_of_ms
    for rule in draft.reordering_rules:
        if item.ordinal not in draft.mirror.matching(rule.items, as_of_ms):
            continue
        if rule.kind is RuleKind.BOOST:
            yield f"Rule “{rule.name}” {'raises' if rule.factor > 1 or rule.addition > 0 else 'lowers'} it."
        elif rank == rule.position:
            yield f"Rule “{rule.name}” pins it there."
    fatigue, shown = draft.steering.fatigue, draft.unanswered.get(item.id, 0.0)
    if fatigue is not None and shown > 0:
        lost = 1 - float(fatigue.discounts([item.id], {item.id: shown})[0])
        yield f"It loses {lost:.0%} of its standing for having been shown without an answer."


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
    """Each acted-on item's share, largest in size first; those behind the first few in one sum; then other terms.

    Where what the subject says of itself speaks in the vector, that is what acted-on items leave of the product.
    """
    kind, terms = draft.query.item_kind, draft.terms
    ordinals = np.array([item.ordinal], dtype=np.uint32)
    events: dict[str, list[Event]] = defaultdict(list)
    for event in spoken_history(draft):
        events[event.id_of(kind)].append(event)
    parts = []
    left: dict[str, float] = defaultdict(float)
    for name, added in zip(terms.names, contributions(terms, ordinals), strict=True):
        left[name] += float(added[0])
    for ground in grounds_of(draft.known_snapshot, draft.loaded, kind, draft.newcomers):
        by_term, lost = ground.shares(ordinals), ground.effects(ordinals)[0]
        for name, shares in by_term.items():
            left[name] -= float(shares[0].sum())
        values = np.sum([shares[0] for shares in by_term.values()], axis=0)
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
    skills = None if subject is None else shared_skills(subject, item)
    biases = {bias.name for bias in terms.bias}
    for name, value in left.items():
        if name not in BY_ACTED_ON:
            parts.append(Contribution(name, value, None if name in biases else skills))
        elif abs(value) > ROUNDING * max([1.0, *(abs(part.value) for part in parts)]):
            parts.append(Contribution("profile", value, skills))
    return parts


def _reason(told: str, subject: Document | Profile | None, acted_on: Document) -> Reason | None:
    """The reason that names an acted-on item; None when there is no job to name."""
    if isinstance(acted_on, Job):
        return ActedOn(told, acted_on, None).reason
    return ActedOn(told, subject, acted_on).reason if isinstance(subject, Job) else None
