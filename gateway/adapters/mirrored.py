"""Answers of a mirror within the matches of a text: what every engine with our postings gives."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from pyroaring import BitMap

from gateway.adapters.term_postings import TextMatch
from recommender.filters import Filter
from recommender.mirror import Mirror
from recommender.search import Facet, FacetRequest, SearchPage, SearchRequest

INLINE_DOCUMENTS: Final = 200_000  # of which clauses are asked: a millisecond or two where no value was asked for yet


def found(mirror: Mirror, wanted: Filter, match: TextMatch | None, as_of_ms: int) -> BitMap:
    """What matches a filter and a text."""
    matching = mirror.matching(wanted, as_of_ms)
    return matching if match is None else matching & match.documents


async def found_at_once(
    mirror: Mirror, requests: Sequence[tuple[Filter, str | None]], as_of_ms: int
) -> list[BitMap] | None:
    """What matches each filter in the mirror as it is; None when there is a text among the requests.

    On the caller's loop, unless that would keep it for long.
    """
    if any(text is not None for _, text in requests):
        return None

    def read() -> list[BitMap]:
        return [mirror.matching(wanted, as_of_ms) for wanted, _ in requests]

    return await asyncio.to_thread(read) if len(requests) * len(mirror) > INLINE_DOCUMENTS else read()


def page_of(mirror: Mirror, request: SearchRequest, match: TextMatch | None, as_of_ms: int) -> SearchPage:
    """One page of a search."""
    return mirror.page(
        found(mirror, request.filter, match, as_of_ms),
        request.sort,
        request.first,
        request.after,
        last=request.last,
        before=request.before,
        pay=request.filter.pay,
        relevance=None if match is None else match.relevance,
    )


def facets_of(mirror: Mirror, request: FacetRequest, match: TextMatch | None, as_of_ms: int) -> list[Facet]:
    """The facets of a request."""
    limits = [] if match is None else [match.documents]
    if request.eligible_only:
        limits.append(mirror.eligible(as_of_ms) - request.without)
    within = BitMap.intersection(*limits) if limits else None
    return mirror.facets(request.filter, request.fields, request.attributes, request.size, as_of_ms, within=within)
