"""The grounds of a ranked item: what its subject did that speaks for it, as far as it may be told."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import log
from typing import Final

import numpy as np
import numpy.typing as npt

from recommender.calibration import sigmoid
from recommender.documents import Document, Job, Kind, Talent
from recommender.effects import effects, neighbour_effects
from recommender.events import Event
from recommender.interest import Interest, shares
from recommender.mirror import Mirror
from recommender.model import Hyperparameters, Ordinals
from recommender.neighbours import neighbour_shares
from recommender.newcomers import NewRows
from recommender.query import ListQuery, Mode, Profile, RankedItem, RankedPage
from recommender.reasons import ActedOn, told_of, told_to_profile
from recommender.rules import Rule
from recommender.scoring import Scores, Terms, score
from recommender.snapshots import Snapshot
from recommender.versions import LoadedModel, LoadedSide

LIKELY: Final = 10.0  # a talent acts on one job in some thousand: ten times that is one in a hundred
NAMED_AT_MOST: Final = 5  # acted-on items that are tried for a reason, best first: some are not for telling

# Terms that are the sum of what acted-on items give, and of what a description lends the subject.
BY_ACTED_ON: Final = frozenset({"interest", "neighbours", "content"})


@dataclass(frozen=True, slots=True, eq=False)
class ListContext:
    """What explanation and facets need of a computed list; opaque to the gateway. rules: those that are for it."""

    query: ListQuery
    loaded: LoadedModel
    mirror: Mirror
    snapshot: Snapshot
    history: Sequence[Event]
    as_of_ms: int
    rules: Sequence[Rule] = ()


class FetchedDocuments:
    """Documents that were fetched together, by kind and ordinal or id."""

    def __init__(self, found: Iterable[Document]) -> None:
        some = [(Kind.JOB if isinstance(document, Job) else Kind.TALENT, document) for document in found]
        self._at = {(kind, document.ordinal): document for kind, document in some}
        self._by_id = {(kind, document.id): document for kind, document in some}

    def at(self, kind: Kind, ordinal: int) -> Document | None:
        """The document of an ordinal."""
        return self._at.get((kind, ordinal))

    def by_key(self, kind: Kind, document_id: str) -> Document | None:
        """The document of an id."""
        return self._by_id.get((kind, document_id))

    def subject_of(self, query: ListQuery) -> Document | Profile | None:
        """Whose list it is."""
        return query.profile if query.subject_id is None else self.by_key(query.subject_kind, query.subject_id)


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """One interest behind a score, and what it was solved against.

    signal: what its contributions are called, `<signal>:<id>` for those of one acted-on item. newcomers: items that
    came after the model.
    """

    signal: str
    interest: Interest
    loaded: LoadedSide
    hyper: Hyperparameters
    newcomers: NewRows | None = None

    @property
    def acted(self) -> Ordinals:
        """The acted-on items, in the order of the interest's rows."""
        return self.loaded.side.ordinals[self.interest.rows]

    def shares(self, items: Ordinals) -> dict[str, npt.NDArray[np.float64]]:
        """How much of each item's score comes from each acted-on item, by term. Shapes (items, acted-on items)."""
        (known, near), (lent, alike) = self._of_known(items), self._of_newcomers(items)
        side, weight = self.loaded.side, self.loaded.history_weight
        return {
            "interest": weight * shares(self.interest, side, self.hyper, known),
            "neighbours": near,
            "content": weight * shares(self.interest, side, self.hyper, lent) + alike,
        }

    def effects(self, items: Ordinals) -> npt.NDArray[np.float64]:
        """What each item's score would lose without each acted-on item; of the same shape. See effects.effects."""
        (known, near), (lent, alike) = self._of_known(items), self._of_newcomers(items)
        lost = self.loaded.history_weight * effects(self.interest, self.loaded.side, self.hyper, known + lent)
        return lost + neighbour_effects(self.interest, near + alike)

    def _of_known(self, items: Ordinals) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """The factors of items that have a row, and the shares of their neighbour sums; zeros for the others."""
        side, weight = self.loaded.side, self.loaded.neighbour_weight
        return side.factors_of(items), neighbour_shares(self.interest, side, weight, side.rows(items))

    def _of_newcomers(self, items: Ordinals) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """The same of items that came after the model."""
        newcomers, weight = self.newcomers, self.loaded.history_weight
        lent = np.zeros((len(items), self.loaded.side.factors.shape[1]))
        if newcomers is None:
            return lent, np.zeros((len(items), len(self.interest.rows)))
        if weight > 0:
            lent = newcomers.lent_to(items, "interest")
        return lent, newcomers.neighbour_shares(self.interest, self.loaded.alike_weight, items)


def grounds_of(
    snapshot: Snapshot, loaded: LoadedModel, item_kind: Kind, newcomers: NewRows | None = None
) -> list[Ground]:
    """The interests behind a list's score that came of something acted on; none for one by content or likeness.

    What the others want of the subject is none: what they acted on is not told to it, only how much all of it counts.
    """
    interest, listed = snapshot.interest, loaded.lists_of(item_kind)
    if interest is None or not len(interest.rows) or not (listed.history_weight > 0 or listed.has_neighbours):
        return []
    return [Ground("history", interest, listed, loaded.model.own(item_kind).hyperparameters, newcomers)]


Naming = list[tuple[int, str]]  # ordinals of acted-on items and the sentences that may name them, best first


def told(requests: Sequence[tuple[RankedPage, RankedItem]]) -> list[Naming]:
    """For each item of a page what its subject did that speaks for it: what it would score less without.

    One solve per page and interest.
    """
    answers: list[Naming] = [[] for _ in requests]
    by_page: dict[int, list[int]] = defaultdict(list)
    for place, (page, _) in enumerate(requests):
        by_page[id(page)].append(place)
    for places in by_page.values():
        context: ListContext = requests[places[0]][0].context
        newcomers = context.snapshot.newcomers
        grounds = grounds_of(context.snapshot, context.loaded, context.query.item_kind, newcomers)
        if not grounds:
            continue
        items = np.array([requests[place][1].ordinal for place in places], dtype=np.uint32)
        acted = np.unique(np.concatenate([ground.acted for ground in grounds]))
        lost = np.zeros((len(items), len(acted)))
        for ground in grounds:
            lost[:, np.searchsorted(acted, ground.acted)] += ground.effects(items)
        # What is there for its popularity is not there because of them.
        loaded = context.loaded.lists_of(context.query.item_kind)
        prior = score(Terms(loaded.side, bias=loaded.prior), items)
        if context.snapshot.interest is not None:
            lost[score(loaded.terms_of(context.snapshot.interest, newcomers), items) - prior <= prior] = 0.0
        sentences = _sentences(context, context.mirror.ids_of(acted))
        for place, values in zip(places, lost, strict=True):
            own = requests[place][1].ordinal  # that one was viewed is no reason to recommend it
            best = (at for at in np.argsort(-values, kind="stable").tolist() if values[at] > 0 and sentences[at])
            named = [(int(acted[at]), sentences[at] or "") for at in best if int(acted[at]) != own]
            answers[place] = named[:NAMED_AT_MOST]
    return answers


def _sentences(context: ListContext, ids: Sequence[str]) -> list[str | None]:
    """What may be said of each acted-on item."""
    if context.query.subject_id is None:
        return [told_to_profile()] * len(ids)
    kind = context.query.item_kind
    events: dict[str, list[Event]] = defaultdict(list)
    for event in context.history:
        events[event.id_of(kind)].append(event)
    return [told_of(events[name], kind) for name in ids]


def acted_on(
    naming: Naming, query: ListQuery, subject: Document | Profile | None, documents: FetchedDocuments
) -> Iterator[ActedOn]:
    """What can be named, best first: documents go away. A client is told of their own job alone."""
    for ordinal, sentence in naming:
        document = documents.at(query.item_kind, ordinal)
        if isinstance(document, Job):
            yield ActedOn(sentence, document, None)
        elif isinstance(document, Talent) and isinstance(subject, Job):
            yield ActedOn(sentence, subject, document)


def mutual_logits(
    interest: Interest, loaded: LoadedModel, item_kind: Kind, newcomers: NewRows | None, ordinals: Ordinals
) -> Scores | None:
    """By how much the others' interest raises the log-odds that they act on each item above those of a pair of which
    it knows nothing; None where it does not count."""
    listed = loaded.lists_of(item_kind)
    products = listed.mutual_of(interest)
    if not products:
        return None
    slope, _ = loaded.model.own(item_kind).hyperparameters.calibration_of(item_kind)
    of_newcomers = () if newcomers is None else (newcomers.products(products),)
    terms = Terms(listed.side, dense=products, sparse=of_newcomers)
    logits: Scores = slope / interest.mutual_weight * score(terms, ordinals)
    return logits


def probabilities(
    interest: Interest | None, loaded: LoadedModel, item_kind: Kind, newcomers: NewRows | None, ordinal: int
) -> tuple[float | None, float | None]:
    """That who asks acts later on an item, and that the other side does on them; None where nothing is calibrated."""
    slope, intercept = loaded.model.own(item_kind).hyperparameters.calibration_of(item_kind)
    if interest is None or slope <= 0:
        return None, None
    item = np.array([ordinal], dtype=np.uint32)
    alone = loaded.lists_of(item_kind).terms_of(replace(interest, mutual=None), newcomers)
    own = float(sigmoid(slope * score(alone, item) + intercept)[0])
    logits, mutual = mutual_logits(interest, loaded, item_kind, newcomers, item), loaded.model.mutual(item_kind)
    if logits is None or mutual is None:
        return own, None
    return own, float(sigmoid(logits + mutual.hyperparameters.calibration_of(item_kind)[1])[0])


def is_likely(context: ListContext, ordinals: Ordinals) -> list[bool]:
    """Whether those on the other side are likely to act on each item: LIKELY times as likely as on a pair of which
    their interest knows nothing, as odds."""
    interest, query = context.snapshot.interest, context.query
    if interest is None or query.mode is Mode.SIMILAR:
        return [False] * len(ordinals)
    logits = mutual_logits(interest, context.loaded, query.item_kind, context.snapshot.newcomers, ordinals)
    return [False] * len(ordinals) if logits is None else (logits >= log(LIKELY)).tolist()


def is_popular(context: ListContext, ordinal: int) -> bool:
    """Whether an item belongs to the most popular share of its side."""
    loaded = context.loaded.lists_of(context.query.item_kind)
    row = int(loaded.side.rows(np.array([ordinal], dtype=np.uint32))[0])
    return row >= 0 and float(loaded.side.popularity[row]) >= loaded.popular_from
