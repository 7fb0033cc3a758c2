"""A request for a ranked list and its answer, in the recommender's own words."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from recommender.documents import Document, Kind, Level
from recommender.filters import Filter
from recommender.model import Manifest


class Strategy(enum.Enum):
    """What a recommendation rests on."""

    COLLABORATIVE = "COLLABORATIVE"
    CONTENT = "CONTENT"
    POPULAR = "POPULAR"
    HYBRID = "HYBRID"


class Exactness(enum.Enum):
    """EXACT: the true top of all eligible. APPROXIMATE: of what an index found."""

    EXACT = "EXACT"
    APPROXIMATE = "APPROXIMATE"


@dataclass(frozen=True, slots=True)
class Profile:
    """An unknown or anonymous talent, by what is known of them."""

    skills: tuple[str, ...] = ()
    category: str | None = None
    country: str | None = None
    level: Level | None = None
    liked_job_ids: tuple[str, ...] = ()


class Mode(enum.Enum):
    """RECOMMENDED: what suits the subject (of the other kind). SIMILAR: what is like it (of its own kind)."""

    RECOMMENDED = "recommended"
    SIMILAR = "similar"


@dataclass(frozen=True, slots=True)
class Options:
    """What a caller may switch. mutual_weight: of the other side's interest; None is the setting's. explore changes
    nothing until its issue lands."""

    placement: str | None = None
    mutual_weight: float | None = None
    max_per_client: int | None = None
    exclude_seen: bool = False
    explore: bool = False
    rerank: bool = True


@dataclass(frozen=True, slots=True)
class Pins:
    """What fixes the order of a list: with the same pins and the same documents it comes out the same.

    history: seq up to which the subject's events count towards the score. as_of_ms: now, when the list began.
    """

    model_version: str
    history: int
    as_of_ms: int
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page ended: pins, and the score, id and rank of its last item. Order: score descending, id ascending.

    digest: of everything else in the query, so that a cursor of another list is refused.
    """

    pins: Pins
    score: float
    id: str
    rank: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQuery:
    """One page of one list. subject_id names a talent or job of `subject_kind`; None goes with a profile."""

    mode: Mode
    subject_kind: Kind
    subject_id: str | None
    filter: Filter
    profile: Profile | None = None
    text: str | None = None
    options: Options = field(default_factory=Options)
    first: int = 20
    after: Position | None = None
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        said = (self.mode, self.subject_kind, self.subject_id, self.filter, self.profile, self.text)
        object.__setattr__(self, "_hash", hash((*said, self.options, self.first, self.after)))

    def __hash__(self) -> int:
        """Worked out once: a query is looked up some ten times on its way."""
        return self._hash

    @property
    def item_kind(self) -> Kind:
        """The kind of what is listed."""
        if self.mode is Mode.SIMILAR:
            return self.subject_kind
        return Kind.JOB if self.subject_kind is Kind.TALENT else Kind.TALENT


@dataclass(frozen=True, slots=True)
class RankedItem:
    """One row: a document's ordinal and id, its place, its score and what that rests on."""

    ordinal: int
    id: str
    rank: int
    score: float
    strategy: Strategy
    position: Position


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedPage:
    """One page of a list.

    total: what paging from the start to the end returns now. recall: measured share of the true top, None when EXACT.
    request_id: of the serving log.
    context: what explanation and facets need of the computation; opaque to the gateway.
    shown: the items with their documents, all of which may be shown, where they are at hand: the same object for as
    long as the same page is served.
    """

    items: Sequence[RankedItem]
    total: int
    has_next: bool
    has_previous: bool
    strategy: Strategy
    exactness: Exactness
    model: Manifest
    request_id: str
    context: Any
    recall: float | None = None
    shown: Sequence[tuple[RankedItem, Document]] | None = None


class ReasonKind(enum.Enum):
    """Why a pair is recommended."""

    SIMILAR_TO_ACTED_ON = "SIMILAR_TO_ACTED_ON"
    SHARED_SKILLS = "SHARED_SKILLS"
    CATEGORY = "CATEGORY"
    PAY_FITS = "PAY_FITS"
    LEVEL_FITS = "LEVEL_FITS"
    NEW = "NEW"
    POPULAR = "POPULAR"
    LIKELY_TO_ACCEPT = "LIKELY_TO_ACCEPT"


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason, structured so that an app can say it in its own language, and said in English."""

    kind: ReasonKind
    text: str
    skills: tuple[str, ...] = ()
    job_ordinals: tuple[int, ...] = ()
    talent_ordinals: tuple[int, ...] = ()


class Blocker(enum.Enum):
    """The first thing that keeps a pair out of a list."""

    UNKNOWN = "UNKNOWN"
    CLOSED = "CLOSED"
    EXPIRED = "EXPIRED"
    UNAVAILABLE = "UNAVAILABLE"
    DISMISSED = "DISMISSED"
    ALREADY_APPLIED = "ALREADY_APPLIED"
    FILTER = "FILTER"
    RULE = "RULE"
    RANKED_LOWER = "RANKED_LOWER"


@dataclass(frozen=True, slots=True)
class Contribution:
    """One named term of a score.

    effect: of an acted-on item, what the score would lose without it; see effects.effects. Only what it would lose is
    a reason.
    """

    signal: str
    value: float
    reason: Reason | None = None
    effect: float | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why, or why not: the terms of the score, which sum to it, or the blocker.

    clause: of the filter, that it fails with FILTER. rule: that keeps it out with RULE. score_gap: with RANKED_LOWER,
    what its score lacks to that of the last rank that is re-ranked.
    probability: that who asks acts on the other later, mutual_probability: that the other does on them; None where the
    model does not know. For people to read: no list goes by them.
    """

    blocked_by: Blocker | None
    rank: int | None
    score: float | None
    contributions: Sequence[Contribution]
    text: str
    clause: str | None = None
    rule: str | None = None
    score_gap: float | None = None
    probability: float | None = None
    mutual_probability: float | None = None
