"""Pages that were served a moment ago and would be made again just so: nothing that they rest on has changed since."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from recommender.degradation import degraded
from recommender.documents import Document
from recommender.eligibility import document_blocker
from recommender.events import Event
from recommender.newcomers import NewRows
from recommender.ports import ServedList
from recommender.query import ListQuery, RankedPage
from recommender.ranking import Draft
from recommender.steering import Steering
from recommender.versions import LoadedModel

KEPT: Final = 2_000  # pages of some 10 KB each
KEPT_MS: Final = 60_000  # then the page is made anew of the kept list: a cursor tells when its list began


@dataclass(slots=True, eq=False)
class _Kept:
    """A page and all that it rests on. until_ms: when something in the catalogue expires."""

    query: ListQuery
    page: RankedPage
    served: ServedList
    loaded: LoadedModel
    revision: int
    newcomers: NewRows | None
    steering: Steering
    subject_ordinal: int | None
    history: list[Event]
    from_ms: int
    until_ms: float


class KeptPages:
    """The first pages that were asked for last, of lists that rest on nothing but what a draft knows when it is begun.

    That is, of those by interest: who has none is described by documents, and what is re-ranked or matched by age
    changes with time.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[ListQuery, _Kept] = OrderedDict()

    def get(self, draft: Draft, new_id: Callable[[], str]) -> tuple[RankedPage, ServedList] | None:
        """The page of a draft that has just been begun, as of now and under a new id, and its row for the log."""
        kept = self._kept.get(draft.query)
        if kept is None or draft.rules or draft.impressions:
            return None
        holds = (
            kept.from_ms <= draft.now_ms < kept.until_ms
            and kept.loaded is draft.loaded
            and kept.steering is draft.steering
            and kept.newcomers is draft.newcomers
            and kept.revision == draft.mirror.revision
            and kept.page.context.mirror is draft.mirror
            and kept.subject_ordinal == draft.subject_ordinal
            and kept.history == draft.history
        )
        if not holds:
            del self._kept[draft.query]
            return None
        self._kept.move_to_end(kept.query)
        context = replace(kept.page.context, as_of_ms=draft.now_ms, history=draft.history)
        page = replace(kept.page, request_id=new_id(), context=context)
        return page, replace(kept.served, request_id=page.request_id, served_at_ms=draft.now_ms)

    def put(self, draft: Draft, page: RankedPage, served: ServedList, revision: int) -> None:
        """Keep a page, if it may be. revision: of the items before any of the list was looked up."""
        if not _may_be_kept(draft, page) or draft.mirror.revision != revision:
            return
        self._kept[draft.query] = _Kept(
            query=draft.query,
            page=page,
            served=served,
            loaded=draft.loaded,
            revision=revision,
            newcomers=draft.newcomers,
            steering=draft.steering,
            subject_ordinal=draft.subject_ordinal,
            history=list(draft.history),
            from_ms=draft.now_ms,
            until_ms=min(draft.now_ms + KEPT_MS, draft.mirror.eligible_until_ms(draft.now_ms)),
        )
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    def show(self, page: RankedPage, documents: Sequence[Document | None]) -> None:
        """Serve a page from now on with the documents of its items, if these are whole, current and may be shown."""
        context, kept = page.context, self._kept.get(page.context.query)
        # Read after the page was made: unless the mirror has moved, they are as new as all that the page rests on.
        if kept is None or kept.page.items is not page.items or kept.revision != context.mirror.revision or degraded():
            return
        found = [(item, document) for item, document in zip(page.items, documents, strict=True) if document is not None]
        if len(found) == len(documents) and not any(document_blocker(one, context.as_of_ms) for _, one in found):
            kept.page = replace(kept.page, shown=found)


def _may_be_kept(draft: Draft, page: RankedPage) -> bool:
    query, snapshot = draft.query, draft.known_snapshot
    is_ageless = query.after is None and query.text is None and query.filter.within_days is None
    is_by_interest = snapshot.interest is not None and not draft.said and not draft.traits
    is_known = snapshot.kept is not None and not draft.leads  # what is asked for once needs no page kept
    is_plain = not draft.rules and not draft.is_reranked and not draft.impressions
    return is_ageless and is_by_interest and is_known and is_plain and page.recall is None and bool(page.items)
