"""What a catalogue must answer, said in the plainest way: one document at a time, straight from the filter's meaning.

Also random documents and filters that meet each other often, for tests that compare.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from recommender.documents import Budget, BudgetType, Document, Job, JobStatus, Kind, Level, Money, Talent
from recommender.filters import AttributeFilter, Filter, JobFilter, PayFilter, TalentFilter, TermFilter
from recommender.search import FacetField, Sort
from recommender.text import terms
from tests.factories import DAY_MS, NOW_MS


def same(left: str, right: str) -> bool:
    """Whether two strings are equal casefolded after NFC."""

    def form(text: str) -> str:
        return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())

    return form(left) == form(right)


def among(text: str | None, wanted: Iterable[str]) -> bool:
    return text is not None and any(same(text, one) for one in wanted)


def matches(document: Document, wanted: Filter, as_of_ms: int) -> bool:
    """Whether a document satisfies every clause."""
    if wanted.ids is not None and document.id not in wanted.ids:
        return False
    if document.id in wanted.exclude_ids:
        return False
    if not all(among(term, document.skills) for term in wanted.skills.all):
        return False
    if wanted.skills.any and not any(among(term, document.skills) for term in wanted.skills.any):
        return False
    if any(among(term, document.skills) for term in wanted.skills.none):
        return False
    if wanted.categories and not among(document.category, wanted.categories):
        return False
    if wanted.countries and not among(document.country, wanted.countries):
        return False
    if wanted.levels and document.level not in wanted.levels:
        return False
    if wanted.pay is not None and not _pays(document, wanted.pay):
        return False
    if not all(_has_attribute(document, clause) for clause in wanted.attributes):
        return False
    if isinstance(wanted, TalentFilter):
        assert isinstance(document, Talent)
        if wanted.joined_within_days is not None:
            oldest = as_of_ms - wanted.joined_within_days * DAY_MS
            if document.created_at_ms is None or document.created_at_ms < oldest:
                return False
        return wanted.is_available is None or document.is_available == wanted.is_available
    assert isinstance(document, Job)
    if document.status not in (wanted.statuses or (JobStatus.OPEN,)):
        return False
    if wanted.client_ids and document.client_id not in wanted.client_ids:
        return False
    if wanted.is_remote is not None and document.is_remote is not wanted.is_remote:
        return False
    if wanted.posted_within_days is not None:
        oldest = as_of_ms - wanted.posted_within_days * DAY_MS
        return document.posted_at_ms is not None and document.posted_at_ms >= oldest
    return True


def pay_range(document: Document, pay: PayFilter) -> tuple[float, float] | None:
    """What a document pays in the filter's currency and budget type; None when it pays otherwise or not at all."""
    if isinstance(document, Talent):
        rate = document.hourly_rate
        if rate is None or pay.budget_type is not None or not same(rate.currency, pay.currency):
            return None
        return float(rate.amount), float(rate.amount)
    budget = document.budget
    if budget is None or budget.type is not pay.budget_type or not same(budget.currency, pay.currency):
        return None
    low = float("-inf") if budget.min is None else float(budget.min)
    high = float("inf") if budget.max is None else float(budget.max)
    return low, high


def has_pay(document: Document) -> bool:
    return (document.hourly_rate if isinstance(document, Talent) else document.budget) is not None


def _pays(document: Document, pay: PayFilter) -> bool:
    if not has_pay(document):
        return pay.include_unknown
    found = pay_range(document, pay)
    return found is not None and (pay.max is None or found[0] <= pay.max) and (pay.min is None or found[1] >= pay.min)


def _has_attribute(document: Document, clause: AttributeFilter) -> bool:
    text = document.attributes.get(clause.name)
    if clause.any and not among(text, clause.any):
        return False
    if clause.min is None and clause.max is None:
        return True
    try:
        number = float(text or "")
    except ValueError:
        return False
    return (clause.min is None or number >= clause.min) and (clause.max is None or number <= clause.max)


def relevance(document: Document, text: str | None) -> float | None:
    """The document's RELEVANCE value; 0 when it lacks a term, None when the text has no terms."""
    wanted = terms(text or "")
    if not wanted:
        return None
    fields = [(3, [document.title or ""]), (2, document.skills), (1, [document.description or ""])]
    weights = [sum(weight for weight, texts in fields if any(term in terms(t) for t in texts)) for term in wanted]
    return float(sum(weights)) if all(weights) else 0.0


def found(documents: Iterable[Document], wanted: Filter, text: str | None, as_of_ms: int) -> list[Document]:
    """The documents that match a filter and a text."""
    return [one for one in documents if matches(one, wanted, as_of_ms) and relevance(one, text) != 0.0]


def sort_value(document: Document, sort: Sort, pay: PayFilter, text: str | None) -> float | None:
    """What a document sorts by; None is missing."""
    if sort is Sort.RELEVANCE:
        return relevance(document, text)
    if sort is Sort.NEWEST:
        return document.created_at_ms if isinstance(document, Talent) else document.posted_at_ms
    bounds = pay_range(document, pay)
    finite = [bound for bound in reversed(bounds or ()) if abs(bound) != float("inf")]
    return finite[0] if finite else None


def default_pay(kind: Kind) -> PayFilter:
    return PayFilter("USD", budget_type=BudgetType.HOURLY if kind is Kind.JOB else None)


def in_order(documents: Iterable[Document], sort: Sort, pay: PayFilter, text: str | None = None) -> list[Document]:
    """Documents by sort value, missing last, ties by id bytes."""
    sign = 1 if sort is Sort.PAY_ASC else -1

    def key(document: Document) -> tuple[bool, float, bytes]:
        value = sort_value(document, sort, pay, text)
        return value is None, 0.0 if value is None else sign * value, document.id.encode()

    return sorted(documents, key=key)


def values_of(document: Document, name: FacetField | str) -> list[str]:
    """The values that a facet counts for a document, each once."""
    raw: Sequence[str | None]
    match name:
        case FacetField.SKILLS:
            raw = document.skills
        case FacetField.CATEGORIES:
            raw = [document.category]
        case FacetField.COUNTRIES:
            raw = [document.country]
        case FacetField.LEVELS:
            raw = [document.level.value if document.level else None]
        case FacetField.REMOTE:
            remote = document.is_remote if isinstance(document, Job) else None
            raw = [None if remote is None else str(remote).lower()]
        case _:
            raw = [document.attributes.get(str(name))]
    kept: list[str] = []
    for text in raw:
        if text is not None and not among(text, kept):
            kept.append(text)
    return kept


def without_own_clause(wanted: Filter, name: FacetField | str) -> Filter:
    """The filter that a facet counts under."""
    match name:
        case FacetField.SKILLS:
            return replace(wanted, skills=TermFilter(all=wanted.skills.all, none=wanted.skills.none))
        case FacetField.CATEGORIES:
            return replace(wanted, categories=())
        case FacetField.COUNTRIES:
            return replace(wanted, countries=())
        case FacetField.LEVELS:
            return replace(wanted, levels=())
        case FacetField.REMOTE:
            return replace(wanted, is_remote=None) if isinstance(wanted, JobFilter) else wanted
        case FacetField.PAY:
            return replace(wanted, pay=None)
    return replace(wanted, attributes=tuple(clause for clause in wanted.attributes if clause.name != name))


def counts(everything: Sequence[Document], counted: Sequence[Document], name: FacetField | str) -> dict[str, int]:
    """Documents by value, each value in the spelling that most of all documents use, the smaller of equals."""
    spellings = Counter(text for document in everything for text in values_of(document, name))
    result: Counter[str] = Counter()
    for document in counted:
        for text in values_of(document, name):
            result[min((one for one in spellings if same(one, text)), key=lambda one: (-spellings[one], one))] += 1
    return dict(result)


SKILLS = ["Go", "go", "GO", "C++", "c#", "Straße", "STRASSE", "caf\u00e9", "cafe\u0301", "İ", "Rust", "node.js"]
CATEGORIES = ["Design", "design", "Büro", "Bu\u0308ro", "Law"]
COUNTRIES = ["DE", "de", "FR", "US"]
CURRENCIES = ["USD", "usd", "EUR"]
CLIENTS = ["c1", "C1", "c2"]
WORDS = ["Go", "C++", "c#", ".NET", "node.js", "straße", "STRASSE", "cafe\u0301", "design", "remote", "and", "NEAR"]
AMOUNTS = [0, 10, 25, 49, 50, 75, 100, 250]
NUMBERS = ["1", "2.5", " 10 ", "-3", "many", "1e2"]


def few(values: Sequence[Any], most: int = 3) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(st.sampled_from(values), max_size=most).map(tuple)


def maybe(values: Sequence[Any]) -> st.SearchStrategy[Any]:
    return st.none() | st.sampled_from(values)


texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join)
amounts = maybe(AMOUNTS).map(lambda amount: None if amount is None else Decimal(amount))
moments = maybe([NOW_MS, NOW_MS - DAY_MS, NOW_MS - 7 * DAY_MS, NOW_MS - 7 * DAY_MS - 1, NOW_MS + DAY_MS])
attributes = st.dictionaries(st.sampled_from(["size", "Size", "team"]), st.sampled_from([*NUMBERS, *CATEGORIES]))

_shared: dict[str, st.SearchStrategy[Any]] = {
    "title": st.none() | texts,
    "description": st.none() | texts,
    "skills": few(SKILLS, 4),
    "category": maybe(CATEGORIES),
    "country": maybe(COUNTRIES),
    "level": maybe(list(Level)),
    "attributes": attributes,
}


@st.composite
def budgets(draw: st.DrawFn) -> Budget:
    low, high = draw(amounts), draw(amounts)
    if low is not None and high is not None and low > high:
        low, high = high, low
    return Budget(draw(st.sampled_from(list(BudgetType))), low, high, draw(st.sampled_from(CURRENCIES)))


talent_fields = st.fixed_dictionaries(
    {
        **_shared,
        "hourly_rate": st.none() | st.builds(Money, st.sampled_from(AMOUNTS).map(Decimal), st.sampled_from(CURRENCIES)),
        "is_available": st.booleans(),
        "created_at_ms": moments,
    }
)
job_fields = st.fixed_dictionaries(
    {
        **_shared,
        "client_id": maybe(CLIENTS),
        "is_remote": maybe([True, False]),
        "budget": st.none() | budgets(),
        "status": st.sampled_from([JobStatus.OPEN, JobStatus.OPEN, JobStatus.OPEN, *JobStatus]),
        "posted_at_ms": moments,
        "expires_at_ms": moments,
    }
)
fields_of = {Kind.TALENT: talent_fields, Kind.JOB: job_fields}

ids = [f"{prefix}{number}" for number in range(6) for prefix in ("", "a", "é", "e\u0301", "\uffff", "\U0001f600")]


def documents_of(kind: Kind, *, most: int = 25) -> st.SearchStrategy[list[Document]]:
    """Documents with ordinals from 1 and ids in no order."""
    build: Any = Job if kind is Kind.JOB else Talent

    def number(drawn: list[tuple[str, dict[str, Any]]]) -> list[Document]:
        return [
            build(ordinal=place, **{f"{kind.value}_id": one}, **fields) for place, (one, fields) in enumerate(drawn, 1)
        ]

    pairs = st.tuples(st.sampled_from(ids), fields_of[kind])
    return st.lists(pairs, max_size=most, unique_by=lambda pair: pair[0]).map(number)


@st.composite
def _bounds(draw: st.DrawFn) -> tuple[float | None, float | None]:
    low, high = draw(maybe(AMOUNTS)), draw(maybe(AMOUNTS))
    return (high, low) if low is not None and high is not None and low > high else (low, high)


@st.composite
def pay_filters(draw: st.DrawFn, kind: Kind) -> PayFilter:
    low, high = draw(_bounds())
    budget_type = draw(st.sampled_from(list(BudgetType))) if kind is Kind.JOB else None
    return PayFilter(draw(st.sampled_from(CURRENCIES)), low, high, draw(st.booleans()), budget_type)


@st.composite
def attribute_filters(draw: st.DrawFn) -> AttributeFilter:
    low, high = draw(st.just((None, None)) | _bounds())
    return AttributeFilter(draw(st.sampled_from(["size", "team", "none"])), draw(few([*CATEGORIES, "10"])), low, high)


@st.composite
def term_filters(draw: st.DrawFn) -> TermFilter:
    all_of, any_of, none_of = draw(few(SKILLS, 1)), draw(few(SKILLS)), draw(few(SKILLS, 1))
    return TermFilter(all_of, any_of, tuple(term for term in none_of if not among(term, all_of)))


@st.composite
def filters_of(draw: st.DrawFn, kind: Kind) -> Filter:
    """A filter of a few clauses: with many nothing would ever match."""
    clauses: dict[str, st.SearchStrategy[Any]] = {
        "ids": st.none() | few([*ids, "unknown"], 20),
        "exclude_ids": few([*ids, "unknown"], 20),
        "skills": term_filters(),
        "categories": few([*CATEGORIES, "nowhere"]),
        "countries": few(COUNTRIES),
        "levels": few(list(Level)),
        "pay": pay_filters(kind),
        "attributes": st.lists(attribute_filters(), max_size=2).map(tuple),
    }
    if kind is Kind.JOB:
        clauses |= {
            "client_ids": few(CLIENTS),
            "is_remote": maybe([True, False]),
            "posted_within_days": maybe([0, 1, 7]),
            "statuses": few(list(JobStatus)),
        }
    else:
        clauses |= {"is_available": maybe([True, False]), "joined_within_days": maybe([0, 1, 7])}
    chosen = draw(st.lists(st.sampled_from(sorted(clauses)), max_size=3, unique=True))
    build: Any = JobFilter if kind is Kind.JOB else TalentFilter
    return build(**{name: draw(clauses[name]) for name in chosen})  # type: ignore[no-any-return]
