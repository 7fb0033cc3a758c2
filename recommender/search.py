"""Questions to a catalogue and their answers: sorted search and facets."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field

from pyroaring import FrozenBitMap

from recommender.filters import Filter


class Sort(enum.Enum):
    """Order of a search. Ties go by id bytes; a missing value sorts last."""

    RELEVANCE = "RELEVANCE"
    NEWEST = "NEWEST"
    PAY_DESC = "PAY_DESC"
    PAY_ASC = "PAY_ASC"


@dataclass(frozen=True, slots=True)
class SearchPosition:
    """A place in a search: the sort value and id of a document (None: that document had no sort value)."""

    value: float | None
    id: str


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """One page of documents that match a filter and contain every term of `text`.

    The `first` behind `after`; with `last`, so many that lead up to `before`, or to the end.
    """

    filter: Filter
    text: str | None = None
    sort: Sort = Sort.RELEVANCE
    first: int = 20
    after: SearchPosition | None = None
    last: int | None = None
    before: SearchPosition | None = None


@dataclass(frozen=True, slots=True)
class SearchPage:
    """The documents of one page, in order, each with the position behind it; total counts the whole match."""

    ordinals: Sequence[int]
    positions: Sequence[SearchPosition]
    total: int
    has_next: bool
    has_previous: bool


class FacetField(enum.Enum):
    """What can be counted. PAY is a histogram."""

    SKILLS = "SKILLS"
    CATEGORIES = "CATEGORIES"
    COUNTRIES = "COUNTRIES"
    LEVELS = "LEVELS"
    REMOTE = "REMOTE"
    PAY = "PAY"


@dataclass(frozen=True, slots=True)
class FacetRequest:
    """Which facets of which set. `attributes` are names of attributes to count, each a facet of its own.

    eligible_only: of what matches, count only what may be recommended: see `Mirror.eligible`; and then nothing of
    `without`, which are ordinals.
    """

    filter: Filter
    text: str | None = None
    fields: tuple[FacetField, ...] = tuple(FacetField)
    attributes: tuple[str, ...] = ()
    size: int = 20
    eligible_only: bool = False
    without: FrozenBitMap = field(default_factory=FrozenBitMap)


@dataclass(frozen=True, slots=True)
class FacetBucket:
    """One value (valid as filter input) and how many documents have it; a histogram's bucket has bounds."""

    value: str
    count: int
    is_selected: bool = False
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Facet:
    """Counts by value, most first, ties by value; `other` are in values beyond `size`, `missing` have none."""

    name: str
    buckets: Sequence[FacetBucket]
    other: int
    missing: int
