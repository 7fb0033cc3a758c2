"""The domain's enums as GraphQL enums: one definition each, with a description of every value."""

from __future__ import annotations

import enum
from typing import TypeVar

import strawberry

from gateway.graphql.changes import ChangeCause
from recommender.degradation import DegradedReason
from recommender.documents import BudgetType, JobStatus, Level, Side
from recommender.events import EventType
from recommender.highlights import HighlightField
from recommender.query import Blocker, Exactness, ReasonKind, Strategy
from recommender.search import FacetField, Sort


class UserErrorCode(enum.Enum):
    """Why one item of a mutation was not taken."""

    INVALID = "INVALID"
    UNKNOWN_ID = "UNKNOWN_ID"
    WRONG_ID_KIND = "WRONG_ID_KIND"
    CONFLICT = "CONFLICT"
    FORBIDDEN = "FORBIDDEN"


_E = TypeVar("_E", bound=enum.EnumMeta)


def _describe(cls: _E, description: str, values: dict[str, str]) -> _E:
    """Register a plain enum in place; every member must have its text."""
    strawberry.enum(cls, description=description)
    for value in cls.__strawberry_definition__.values:  # type: ignore[attr-defined]
        value.description = values[value.name]
    return cls


_describe(
    Side,
    "One side of the market, e.g. `TALENT`.",
    {
        "TALENT": "The person who looks for work, e.g. the actor of an `APPLY`.",
        "CLIENT": "The one who offers work, e.g. the actor of an `INVITE`.",
    },
)
_describe(
    EventType,
    "What a talent or a client did, e.g. `APPLY`. An undo is an event of its own, e.g. `WITHDRAW`. May grow.",
    {
        "IMPRESSION": "Either side was shown the other, e.g. a job card scrolled into view.",
        "VIEW": "Either side opened the other's page, e.g. a talent read a job.",
        "SAVE": "The talent kept the job for later, e.g. with a bookmark.",
        "UNSAVE": "The talent took a `SAVE` back, e.g. by removing the bookmark.",
        "APPLY": "The talent applied, e.g. sent a proposal. The pair is no longer recommended.",
        "WITHDRAW": "The talent took an `APPLY` back, e.g. withdrew the proposal. The pair is recommendable again.",
        "DISMISS": "Either side said no, e.g. with “not for me”. The pair is no longer recommended.",
        "UNDISMISS": "Takes a `DISMISS` back, e.g. with “undo”.",
        "SHORTLIST": "The client kept the talent for later, e.g. on a list of candidates.",
        "INVITE": "The client asked the talent to apply, e.g. by a message.",
        "INTERVIEW": "The client met the talent, e.g. in a call.",
        "OFFER": "The client made an offer, e.g. a contract to sign.",
        "HIRE": "The client hired the talent, e.g. the contract began.",
        "REJECT": "The client turned the talent down, e.g. after the interview.",
        "ACCEPT": "The talent said yes, e.g. to an offer.",
        "DECLINE": "The talent said no, e.g. to an invitation.",
    },
)
_describe(
    HighlightField,
    "A field that a text search looks at, e.g. `TITLE`.",
    {
        "TITLE": "The headline, e.g. `Go developer`.",
        "SKILLS": "One of the skills, e.g. `C++`.",
        "DESCRIPTION": "The long text, e.g. a piece of it around the word.",
    },
)
_describe(
    Level,
    "Seniority that a job asks for or a talent has, e.g. `EXPERT`.",
    {
        "ENTRY": "First steps in the field, e.g. up to two years.",
        "INTERMEDIATE": "Works alone, e.g. two to six years.",
        "EXPERT": "Leads others or solves the rare problem, e.g. beyond six years.",
    },
)
_describe(
    JobStatus,
    "Where a job is in its life, e.g. `OPEN`. Only an `OPEN` job is recommended to talents.",
    {
        "DRAFT": "Being written, e.g. not yet posted: it already gets talents recommended and is never shown to them.",
        "OPEN": "Takes applications, e.g. just posted.",
        "PAUSED": "Takes none for now, e.g. while the client is away.",
        "FILLED": "Somebody was hired, e.g. after a `HIRE`.",
        "CLOSED": "Ended without a hire, e.g. withdrawn by the client.",
    },
)
_describe(
    BudgetType,
    "How a job pays, e.g. `HOURLY`. Budgets of different types never compare.",
    {"HOURLY": "By the hour, e.g. 40 to 60 USD.", "FIXED": "One sum for the whole, e.g. 2,000 USD."},
)
_describe(
    Sort,
    "Order of a search, e.g. `NEWEST`. Ties go by id, and what lacks the value comes last.",
    {
        "RELEVANCE": "Best match of the query text first, e.g. its words in the title; without a text by id.",
        "NEWEST": "Latest first, e.g. by `postedAt`.",
        "PAY_DESC": "Best paid first, e.g. by the upper end of a budget.",
        "PAY_ASC": "Lowest pay first, e.g. by `hourlyRate`.",
    },
)
_describe(
    Strategy,
    "What a recommendation rests on, e.g. `COLLABORATIVE`. May grow.",
    {
        "COLLABORATIVE": "What this and similar people did, e.g. applications.",
        "CONTENT": "What the two say of themselves, e.g. shared skills; for those without a history.",
        "POPULAR": "What many chose, e.g. for somebody of whom nothing is known.",
        "HYBRID": "Several of these together, e.g. behaviour and content.",
    },
)
_describe(
    Exactness,
    "Whether a list is the true top of everything that matches, e.g. `EXACT`.",
    {
        "EXACT": "The true top, e.g. the order that a scan of every match gives.",
        "APPROXIMATE": "The top of what an index found, e.g. with the `recall` that the connection states.",
    },
)
_describe(
    ReasonKind,
    "Why a pair is recommended, e.g. `SHARED_SKILLS`; an app can say it in its own words. May grow.",
    {
        "SIMILAR_TO_ACTED_ON": "Like something the subject acted on, e.g. “because you applied to …”.",
        "SHARED_SKILLS": "Both name the same skills, e.g. Kubernetes and Go.",
        "CATEGORY": "Both are of one category, e.g. Data Science.",
        "PAY_FITS": "The rate lies within the budget, e.g. 50 in 40 to 60 USD.",
        "LEVEL_FITS": "The talent has the level that is asked for, e.g. expert.",
        "NEW": "Only just posted, e.g. today.",
        "POPULAR": "Many chose it, e.g. this week.",
        "LIKELY_TO_ACCEPT": "The other side is likely to say yes, e.g. to an application.",
    },
)
_describe(
    Blocker,
    "The first thing that keeps a pair out of a list, e.g. `EXPIRED`. May grow.",
    {
        "UNKNOWN": "One of the two does not exist, e.g. a mistyped id.",
        "CLOSED": "The job is not open, e.g. `FILLED`.",
        "EXPIRED": "The job's `expiresAt` has passed, e.g. yesterday.",
        "UNAVAILABLE": "The talent is not available, e.g. on leave.",
        "DISMISSED": "One side said no, e.g. by `DISMISS`, `DECLINE` or `REJECT`.",
        "ALREADY_APPLIED": "The two are already in touch, e.g. by `APPLY`, `INVITE` or `HIRE`.",
        "FILTER": "The filter leaves it out, e.g. another country.",
        "RULE": "A business rule leaves it out, e.g. at most two jobs per client.",
        "RANKED_LOWER": "Others score higher, e.g. it stands on rank 431.",
    },
)
_describe(
    FacetField,
    "What can be counted over a filtered set, e.g. `SKILLS`.",
    {
        "SKILLS": "Documents per skill, e.g. Python 312.",
        "CATEGORIES": "Documents per category, e.g. Design 88.",
        "COUNTRIES": "Documents per country, e.g. DE 41.",
        "LEVELS": "Documents per level, e.g. EXPERT 120.",
        "REMOTE": "Jobs by `isRemote`, e.g. true 900.",
        "PAY": "A histogram of rates or budgets, e.g. 40 to 60 USD: 77.",
    },
)
_describe(
    DegradedReason,
    "A part that could not help with the answer, e.g. `CATALOGUE`. May grow.",
    {
        "CATALOGUE": "The catalogue did not answer, e.g. documents are as last known.",
        "CACHE": "Not given: without the cache an answer is no poorer, e.g. only later.",
        "EVENT_LOG": "The event log did not answer, e.g. the newest events are missing.",
        "MODEL": "Not given: a good model goes on, e.g. while a newer one is refused.",
        "DEADLINE": "Time ran out, e.g. a step was left out.",
    },
)
_describe(
    ChangeCause,
    "Why a list is out of date, e.g. `EVENTS`. May grow.",
    {
        "EVENTS": "Something happened, e.g. a job was dismissed on another device.",
        "MODEL": "A newer model serves, e.g. after the nightly training.",
    },
)
_describe(
    UserErrorCode,
    "Why one item was not taken, e.g. `UNKNOWN_ID`. May grow.",
    {
        "INVALID": "A value is not allowed, e.g. an event of the wrong actor.",
        "UNKNOWN_ID": "No such talent or job, e.g. a mistyped id.",
        "WRONG_ID_KIND": "A Relay id came where the marketplace's own belongs, e.g. `id` instead of `talentId`.",
        "CONFLICT": "It contradicts what is kept, e.g. the same `eventId` with other content.",
        "FORBIDDEN": "The viewer may not write this item, e.g. for somebody else.",
    },
)
