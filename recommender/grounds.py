"""The grounds of a ranked item: what its subject did that speaks for it, as far as it may be told."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from recommender.documents import Document, Job, Kind, Talent
from recommender.events import Event
from recommender.interest import shares
from recommender.mirror import Mirror
from recommender.neighbours import neighbour_shares
from recommender.query import ListQuery, Mode, Profile, RankedItem, RankedPage
from recommender.reasons import ActedOn, told_of, told_to_profile
from recommender.scoring import Terms, score
from recommender.snapshots import Snapshot
from recommender.versions import LoadedModel

NAMED_AT_MOST: Final = 5  # acted-on items that are tried for a reason, best first: some are not for telling


@dataclass(frozen=True, slots=True, eq=False)
class ListContext:
    """What explanation and facets need of a computed list; opaque to the gateway."""

    query: ListQuery
    loaded: LoadedModel
    mirror: Mirror
    snapshot: Snapshot
    history: Sequence[Event]
    as_of_ms: int


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


Naming = list[tuple[int, str]]  # ordinals of acted-on items and the sentences that may name them, best first


def told(requests: Sequence[tuple[RankedPage, RankedItem]]) -> list[Naming]:
    """For each item of a page what its subject did that speaks most for it. One solve per page."""
    answers: list[Naming] = [[] for _ in requests]
    by_page: dict[int, list[int]] = defaultdict(list)
    for place, (page, _) in enumerate(requests):
        by_page[id(page)].append(place)
    for places in by_page.values():
        context: ListContext = requests[places[0]][0].context
        interest, kind = context.snapshot.interest, context.query.item_kind
        if interest is None or not len(interest.rows):
            continue
        loaded = context.loaded.side(kind)
        side = loaded.side
        items = np.array([requests[place][1].ordinal for place in places], dtype=np.uint32)
        parts = shares(interest, side, context.loaded.model.manifest.hyperparameters, side.rows(items))
        if context.query.mode is Mode.RECOMMENDED:
            if loaded.has_neighbours:
                parts += neighbour_shares(interest, side, loaded.neighbour_weight, side.rows(items))
            # What is there for its popularity is not there because of them.
            prior = score(Terms(side, bias=loaded.prior), items)
            parts[parts.sum(axis=1) <= prior] = 0.0
        acted = side.ordinals[interest.rows]
        sentences = _sentences(context, context.mirror.ids_of(acted))
        for place, values in zip(places, parts, strict=True):
            own = requests[place][1].ordinal  # that one was viewed is no reason to recommend it
            best = (row for row in np.argsort(-values, kind="stable").tolist() if values[row] > 0 and sentences[row])
            named = [(int(acted[row]), sentences[row] or "") for row in best if int(acted[row]) != own]
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


def is_popular(context: ListContext, ordinal: int) -> bool:
    """Whether an item belongs to the most popular share of its side."""
    loaded = context.loaded.side(context.query.item_kind)
    row = int(loaded.side.rows(np.array([ordinal], dtype=np.uint32))[0])
    return row >= 0 and float(loaded.side.popularity[row]) >= loaded.popular_from
