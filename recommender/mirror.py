"""Columns of every document in process: structured filters, facets and sort orders without a round trip."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from recommender.columns import Column, NumberColumn, Ordinals, SetColumn, bitmap_of, grown, ordinals_in
from recommender.documents import (
    Budget,
    BudgetType,
    Changes,
    Document,
    Job,
    JobStatus,
    Kind,
    Level,
    Money,
    Talent,
)
from recommender.facets import count_pay, count_values
from recommender.filters import AttributeFilter, Filter, JobFilter, PayFilter
from recommender.id_order import IdOrder
from recommender.search import Facet, FacetField, SearchPage, SearchPosition, Sort
from recommender.sorting import best_places, last_places
from recommender.text import fold

DAY_MS = 86_400_000
CHANGES_KEPT = 256  # of one apply each
NAN, INFINITY = math.nan, math.inf

Amounts = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Eligible:
    """What may be recommended from one time to another, while nothing else changes. None may change `ordinals`."""

    ordinals: BitMap
    from_ms: float
    until_ms: float


class Mirror:
    """Every live document of one kind, as postings and columns indexed by ordinal.

    Safe to share between threads: each call sees one state whole, and every bitmap and array that it returns is the
    caller's own. `apply` may come between two calls of one reader; so `ids_of` and `id_order` also answer for a
    document that has just gone.

    currency: in which pay is compared where the filter names none.
    """

    def __init__(self, kind: Kind, *, currency: str = "USD") -> None:
        self.kind = kind
        self.revision = 0
        self._default_pay = PayFilter(currency, budget_type=BudgetType.HOURLY if kind is Kind.JOB else None)
        self._lock = threading.RLock()
        self._live = BitMap()
        self._ids = IdOrder()
        self._skills = SetColumn()
        self._texts = {name: Column(exact=name == "client_id") for name in _TEXTS[kind]}
        self._numbers = {name: NumberColumn() for name in _NUMBERS[kind]}
        self._attributes: dict[str, Column] = {}
        self._expiring = BitMap()
        self._changed_at = np.zeros(0, dtype=np.int64)  # by ordinal: a revision not before its last change
        self._newest = 0
        self._changes: deque[tuple[int, BitMap]] = deque()  # the latest ones: no look at all documents is needed
        self._changes_from = 0  # the revision of the last that is no longer among them
        self._eligible: _Eligible | None = None  # as of the last time that was asked about

    def __len__(self) -> int:
        with self._lock:
            return len(self._live)

    def apply(self, changes: Changes) -> None:
        """Take in what changed; `revision` becomes that of the changes."""
        documents = changes.upserted
        ordinals = np.array([document.ordinal for document in documents], dtype=np.uint32)
        with self._lock:
            self._ids.add(ordinals.tolist(), [document.id for document in documents])
            self._live |= bitmap_of(ordinals)
            self._skills.put(ordinals, [document.skills for document in documents])
            for name, text_of in _TEXTS[self.kind].items():
                self._texts[name].put(ordinals, [text_of(document) for document in documents])
            for name, number_of in _NUMBERS[self.kind].items():
                self._numbers[name].put(ordinals, [number_of(document) for document in documents])
            self._put_attributes(ordinals, documents)
            if self.kind is Kind.JOB:
                self._put_expiring(ordinals)
            gone = BitMap(changes.deleted) & self._live
            self._remove(gone)
            self._eligible = None
            self._mark_changed(np.concatenate([ordinals, ordinals_in(gone)]), max(changes.revision, changes.newest))
            self.revision = changes.revision

    def _mark_changed(self, ordinals: Ordinals, revision: int) -> None:
        if len(ordinals):
            self._newest = max(self._newest, revision)
            self._changed_at = grown(self._changed_at, int(ordinals.max()) + 1)
            self._changed_at[ordinals] = revision
            if len(self._changes) == CHANGES_KEPT:
                self._changes_from = max(self._changes_from, self._changes.popleft()[0])
            self._changes.append((revision, bitmap_of(ordinals)))

    def _put_attributes(self, ordinals: Ordinals, documents: Sequence[Document]) -> None:
        for document in documents:
            for name in document.attributes:
                if name not in self._attributes:
                    self._attributes[name] = Column()
        for name, column in self._attributes.items():
            column.put(ordinals, [document.attributes.get(name) for document in documents])

    def _put_expiring(self, ordinals: Ordinals) -> None:
        self._expiring -= bitmap_of(ordinals)
        self._expiring |= bitmap_of(ordinals[~np.isnan(self._numbers["expires_at_ms"].numbers(ordinals))])

    def _remove(self, gone: BitMap) -> None:
        self._live -= gone
        self._expiring -= gone
        ordinals = ordinals_in(gone)
        self._skills.put(ordinals, [()] * len(ordinals))
        for column in (*self._texts.values(), *self._attributes.values()):
            column.put(ordinals, [None] * len(ordinals))

    def matching(self, document_filter: Filter, as_of_ms: int) -> BitMap:
        """Ordinals that satisfy every clause. Jobs: no statuses means OPEN; expiry is no clause."""
        with self._lock:
            clauses = self._posting_clauses(document_filter)
            found: BitMap = BitMap.intersection(self._live, *sorted(clauses, key=len))
            found -= self._with_ids(document_filter.exclude_ids)
            found -= self._skills.having_any(document_filter.skills.none)
            # Numeric clauses look only at what the postings left.
            if document_filter.within_days is not None:
                since_ms = as_of_ms - document_filter.within_days * DAY_MS
                found = self._keep(found, lambda kept: self._numbers["since_ms"].numbers(kept) >= since_ms)
            if document_filter.pay is not None:
                pay = document_filter.pay
                found = self._keep(found, lambda kept: self._pays(kept, pay))
            for clause in document_filter.attributes:
                found = self._within_bounds(found, clause)
            return found

    def _posting_clauses(self, wanted: Filter) -> list[BitMap]:
        """Bitmaps that are all to be intersected; some belong to columns."""
        clauses = [self._skills.having(term) for term in wanted.skills.all]
        if wanted.skills.any:
            clauses.append(self._skills.having_any(wanted.skills.any))
        if wanted.ids is not None:
            clauses.append(self._with_ids(wanted.ids))
        lists: dict[str, Sequence[str]] = {
            "category": wanted.categories,
            "country": wanted.countries,
            "level": [level.value for level in wanted.levels],
        }
        if isinstance(wanted, JobFilter):
            lists["status"] = [status.value for status in wanted.statuses or (JobStatus.OPEN,)]
            lists["client_id"] = wanted.client_ids
            lists["is_remote"] = [] if wanted.is_remote is None else [_yes_or_no(wanted.is_remote)]
        else:
            lists["is_available"] = [] if wanted.is_available is None else [_yes_or_no(wanted.is_available)]
        clauses.extend(self._texts[name].having_any(texts) for name, texts in lists.items() if texts)
        for clause in wanted.attributes:
            if clause.any:
                column = self._attributes.get(clause.name)
                clauses.append(column.having_any(clause.any) if column else BitMap())
        return clauses

    def _keep(self, candidates: BitMap, passes: Callable[[Ordinals], npt.NDArray[np.bool_]]) -> BitMap:
        ordinals = ordinals_in(candidates)
        return bitmap_of(ordinals[passes(ordinals)])

    def _pays(self, ordinals: Ordinals, pay: PayFilter) -> npt.NDArray[np.bool_]:
        low = -INFINITY if pay.min is None else pay.min
        high = INFINITY if pay.max is None else pay.max
        lows, highs = self._pay_ranges(ordinals, pay)
        passing = (lows <= high) & (highs >= low)
        if pay.include_unknown:
            passing |= self._texts["pay_in"].codes(ordinals) == 0
        return passing

    def _pay_ranges(self, ordinals: Ordinals, pay: PayFilter) -> tuple[Amounts, Amounts]:
        """What these documents pay in the currency and budget type of `pay`: NaN where it is something else."""
        comparable = self._texts["pay_in"].has(ordinals, _pay_in(pay.currency, pay.budget_type))
        lows, highs = self._numbers["pay_low"].numbers(ordinals), self._numbers["pay_high"].numbers(ordinals)
        return np.where(comparable, lows, NAN), np.where(comparable, highs, NAN)

    def _within_bounds(self, candidates: BitMap, clause: AttributeFilter) -> BitMap:
        if clause.min is None and clause.max is None:
            return candidates
        column = self._attributes.get(clause.name)
        if column is None:
            return BitMap()
        low = -INFINITY if clause.min is None else clause.min
        high = INFINITY if clause.max is None else clause.max

        def passes(ordinals: Ordinals) -> npt.NDArray[np.bool_]:
            numbers = column.numbers(ordinals)
            return (numbers >= low) & (numbers <= high)

        return self._keep(candidates, passes)

    def _with_ids(self, ids: Sequence[str]) -> BitMap:
        return BitMap([ordinal for text in ids if (ordinal := self._ids.ordinal(text)) is not None])

    def alive(self) -> BitMap:
        """Every document that there is."""
        with self._lock:
            return self._live.copy()

    def eligible(self, as_of_ms: int) -> BitMap:
        """Jobs that are OPEN and not expired at `as_of_ms`; talents that are available."""
        with self._lock:
            known = self._eligible
            if known is None or not known.from_ms <= as_of_ms < known.until_ms:
                known = self._eligible = self._eligible_at(as_of_ms)
            return BitMap(known.ordinals)

    def eligible_until_ms(self, as_of_ms: int) -> float:
        """When the first of those that are eligible at `as_of_ms` no longer is, unless it changes before; or later."""
        self.eligible(as_of_ms)
        with self._lock:
            known = self._eligible
            return as_of_ms if known is None or not known.from_ms <= as_of_ms < known.until_ms else known.until_ms

    def _eligible_at(self, as_of_ms: int) -> _Eligible:
        if self.kind is Kind.TALENT:
            return _Eligible(self._texts["is_available"].having_any([_yes_or_no(True)]), -INFINITY, INFINITY)
        expiring = ordinals_in(self._expiring)
        times = self._numbers["expires_at_ms"].numbers(expiring)
        is_past = times <= as_of_ms
        open_jobs = self._texts["status"].having_any([JobStatus.OPEN.value]) - bitmap_of(expiring[is_past])
        return _Eligible(open_jobs, times[is_past].max(initial=-INFINITY), times[~is_past].min(initial=INFINITY))

    def changed_since(self, revision: int) -> BitMap:
        """Ordinals of documents that may have changed after a revision: all that did, of those that were ever here."""
        with self._lock:
            if revision >= self._newest:
                return BitMap()
            if revision >= self._changes_from:
                return BitMap.union(BitMap(), *(changed for at, changed in self._changes if at > revision))
            return bitmap_of(np.flatnonzero(self._changed_at > revision).astype(np.uint32))

    def changed_at(self, ordinals: Sequence[int]) -> list[int]:
        """For each document a revision after which it has not changed; 0 for one that was never here."""
        with self._lock:
            known = len(self._changed_at)
            return [int(self._changed_at[ordinal]) if ordinal < known else 0 for ordinal in ordinals]

    def ordinals_of(self, ids: Sequence[str]) -> list[int | None]:
        """Ordinals of the marketplace's own ids; None for one that is not alive here."""
        with self._lock:
            found = [self._ids.ordinal(text) for text in ids]
            return [ordinal if ordinal is not None and ordinal in self._live else None for ordinal in found]

    def ids_of(self, ordinals: Sequence[int] | npt.NDArray[np.uint32]) -> list[str]:
        """The marketplace's own ids of ordinals that are or were alive here."""
        with self._lock:
            return [self._ids.id(int(ordinal)) for ordinal in ordinals]

    def document(self, ordinal: int) -> Document | None:
        """What the columns hold of a document: all but its title, its text and when it was updated. None: it is not
        alive here."""
        with self._lock:
            if ordinal not in self._live:
                return None
            one = np.array([ordinal], dtype=np.uint32)

            def text(column: Column) -> str | None:
                return column.vocabulary.spellings[int(column.codes(one)[0])] or None

            texts = {name: text(column) for name, column in self._texts.items()}
            numbers = {name: float(column.numbers(one)[0]) for name, column in self._numbers.items()}
            named = {name: value for name, column in self._attributes.items() if (value := text(column)) is not None}
            skills = tuple(self._skills.vocabulary.spellings[code] for code in self._skills.codes(one).tolist())
            return _DOCUMENT_OF[self.kind](ordinal, self._ids.id(ordinal), skills, texts, numbers, named)

    def client_ids(self, ordinals: Sequence[int] | npt.NDArray[np.uint32]) -> list[str | None]:
        """The client of each job; None for a job without one."""
        with self._lock:
            column = self._texts["client_id"]
            codes = column.codes(np.asarray(ordinals, dtype=np.uint32)).tolist()
            return [column.vocabulary.spellings[code] or None for code in codes]

    def id_order(self, ordinals: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint64]:
        """A key per ordinal that sorts as the ids' UTF-8 bytes do. Keys of two calls do not compare."""
        with self._lock:
            return self._ids.keys(ordinals)

    def page(
        self,
        candidates: BitMap,
        sort: Sort,
        first: int,
        after: SearchPosition | None = None,
        *,
        last: int | None = None,
        before: SearchPosition | None = None,
        pay: PayFilter | None = None,
        relevance: Callable[[Ordinals], Amounts] | None = None,
    ) -> SearchPage:
        """One page of these documents in order; see Sort, and SearchRequest for which page.

        NEWEST sorts by posted_at of a job and created_at of a talent. PAY sorts by a talent's rate and by a job's
        budget max, or its min when it has no max; only pay in the currency and budget type of `pay` (the filter's pay
        clause; without one the default currency and HOURLY) compares, other documents sort as missing.
        relevance: the value of RELEVANCE by ordinal, above 0; without it RELEVANCE is the order of ids.
        """
        with self._lock:
            ordinals = ordinals_in(candidates & self._live)
            values = self._sort_values(ordinals, sort, pay or self._default_pay, relevance)
            sign = 1.0 if sort is Sort.PAY_ASC else -1.0
            costs = np.where(np.isnan(values), INFINITY, sign * values)
            keys = self._ids.keys(ordinals)

            def at(position: SearchPosition, key_of: Callable[[str], int]) -> tuple[float, int]:
                return INFINITY if position.value is None else sign * position.value, key_of(position.id)

            if last is None:
                behind = None if after is None else at(after, self._ids.key_before)
                places, has_next, has_previous = best_places(costs, keys, first, behind)
            else:
                ahead = None if before is None else at(before, self._ids.key_from)
                places, has_previous, has_next = last_places(costs, keys, last, ahead)
            positions = tuple(
                SearchPosition(None if math.isnan(value) else value, self._ids.id(ordinal))
                for value, ordinal in zip(values[places].tolist(), ordinals[places].tolist(), strict=True)
            )
            return SearchPage(tuple(ordinals[places].tolist()), positions, len(ordinals), has_next, has_previous)

    def _sort_values(
        self, ordinals: Ordinals, sort: Sort, pay: PayFilter, relevance: Callable[[Ordinals], Amounts] | None
    ) -> Amounts:
        if sort is Sort.RELEVANCE:
            return np.full(len(ordinals), NAN) if relevance is None else relevance(ordinals)
        if sort is Sort.NEWEST:
            return self._numbers["since_ms"].numbers(ordinals)
        lows, highs = self._pay_ranges(ordinals, pay)
        best = np.where(np.isfinite(highs), highs, lows)
        return np.where(np.isfinite(best), best, NAN)

    def facets(
        self,
        document_filter: Filter,
        fields: Sequence[FacetField],
        attributes: Sequence[str],
        size: int,
        as_of_ms: int,
        *,
        within: BitMap | None = None,
    ) -> list[Facet]:
        """Counts of the fields and then of the attributes, over what matches the filter and is in `within`.

        A facet ignores its own clause where that is a choice among values or a range; it keeps `all` and `none` of the
        skills. Talents have no REMOTE: theirs is missing for all. PAY counts pay in the currency and budget type of the
        filter's pay clause, else in the default currency and HOURLY; other pay counts as missing.
        """
        with self._lock:
            members: dict[Filter, Ordinals] = {}

            def ordinals_for(own: Filter) -> Ordinals:
                if own not in members:
                    found = self.matching(own, as_of_ms)
                    members[own] = ordinals_in(found if within is None else found & within)
                return members[own]

            counted = [self._field_facet(field, document_filter, ordinals_for, size) for field in fields]
            counted += [self._attribute_facet(name, document_filter, ordinals_for, size) for name in attributes]
            return counted

    def _field_facet(
        self, field: FacetField, wanted: Filter, ordinals_for: Callable[[Filter], Ordinals], size: int
    ) -> Facet:
        selected: tuple[str, ...] = ()
        column: Column | SetColumn
        match field:
            case FacetField.PAY:
                return self._pay_facet(wanted.pay, ordinals_for(replace(wanted, pay=None)), size)
            case FacetField.SKILLS:
                free: Filter = replace(wanted, skills=replace(wanted.skills, any=()))
                column, selected = self._skills, (*wanted.skills.all, *wanted.skills.any)
            case FacetField.CATEGORIES:
                free, column, selected = replace(wanted, categories=()), self._texts["category"], wanted.categories
            case FacetField.COUNTRIES:
                free, column, selected = replace(wanted, countries=()), self._texts["country"], wanted.countries
            case FacetField.LEVELS:
                free, column = replace(wanted, levels=()), self._texts["level"]
                selected = tuple(level.value for level in wanted.levels)
            case FacetField.REMOTE if isinstance(wanted, JobFilter):
                free, column = replace(wanted, is_remote=None), self._texts["is_remote"]
                selected = () if wanted.is_remote is None else (_yes_or_no(wanted.is_remote),)
            case FacetField.REMOTE:
                free, column = wanted, Column()
        return count_values(field.value, column, ordinals_for(free), selected, size)

    def _pay_facet(self, pay: PayFilter | None, ordinals: Ordinals, size: int) -> Facet:
        lows, highs = self._pay_ranges(ordinals, pay or self._default_pay)
        known = ~np.isnan(lows)
        selected = None if pay is None else (pay.min, pay.max)
        return count_pay(lows[known], highs[known], int(np.count_nonzero(~known)), selected, size)

    def _attribute_facet(
        self, name: str, wanted: Filter, ordinals_for: Callable[[Filter], Ordinals], size: int
    ) -> Facet:
        own = [clause for clause in wanted.attributes if clause.name == name]
        others = tuple(clause for clause in wanted.attributes if clause.name != name)
        ordinals = ordinals_for(replace(wanted, attributes=others))
        column = self._attributes.get(name, Column())
        return count_values(name, column, ordinals, [text for clause in own for text in clause.any], size)


def _yes_or_no(value: bool) -> str:
    return "true" if value else "false"


def _pay_in(currency: str, budget_type: BudgetType | None) -> str:
    """In what a document pays: amounts compare only where this is the same."""
    return f"{fold(currency)} {budget_type.value if budget_type else ''}"


def _pay_in_of(document: Document) -> str | None:
    if isinstance(document, Talent):
        return None if document.hourly_rate is None else _pay_in(document.hourly_rate.currency, None)
    return None if document.budget is None else _pay_in(document.budget.currency, document.budget.type)


def _pay_low(document: Document) -> float:
    """The least that a document pays or asks, -inf for an open end, NaN without pay."""
    if isinstance(document, Talent):
        return NAN if document.hourly_rate is None else float(document.hourly_rate.amount)
    if document.budget is None:
        return NAN
    return -INFINITY if document.budget.min is None else float(document.budget.min)


def _pay_high(document: Document) -> float:
    """The most that a document pays or asks, +inf for an open end, NaN without pay."""
    if isinstance(document, Talent):
        return NAN if document.hourly_rate is None else float(document.hourly_rate.amount)
    if document.budget is None:
        return NAN
    return INFINITY if document.budget.max is None else float(document.budget.max)


def _or_nan(number: int | None) -> float:
    return NAN if number is None else number


# What the mirror keeps of a document: values that compare as text, and numbers.
_SHARED_TEXTS: dict[str, Callable[[Any], str | None]] = {
    "category": lambda document: document.category,
    "country": lambda document: document.country,
    "level": lambda document: document.level and document.level.value,
    "pay_in": _pay_in_of,
}
_TEXTS: dict[Kind, dict[str, Callable[[Any], str | None]]] = {
    Kind.TALENT: {**_SHARED_TEXTS, "is_available": lambda talent: _yes_or_no(talent.is_available)},
    Kind.JOB: {
        **_SHARED_TEXTS,
        "client_id": lambda job: job.client_id,
        "is_remote": lambda job: None if job.is_remote is None else _yes_or_no(job.is_remote),
        "status": lambda job: job.status.value,
    },
}
_NUMBERS: dict[Kind, dict[str, Callable[[Any], float]]] = {
    Kind.TALENT: {
        "pay_low": _pay_low,
        "pay_high": _pay_high,
        "since_ms": lambda talent: _or_nan(talent.created_at_ms),
    },
    Kind.JOB: {
        "pay_low": _pay_low,
        "pay_high": _pay_high,
        "since_ms": lambda job: _or_nan(job.posted_at_ms),
        "expires_at_ms": lambda job: _or_nan(job.expires_at_ms),
    },
}


def _shared_of(
    skills: tuple[str, ...], texts: Mapping[str, str | None], attributes: Mapping[str, str]
) -> dict[str, Any]:
    level = texts["level"]
    return {
        "skills": skills,
        "category": texts["category"],
        "country": texts["country"],
        "level": None if level is None else Level(level),
        "attributes": attributes,
    }


def _talent_of(
    ordinal: int,
    talent_id: str,
    skills: tuple[str, ...],
    texts: Mapping[str, str | None],
    numbers: Mapping[str, float],
    attributes: Mapping[str, str],
) -> Talent:
    rate, pay_in = _amount(numbers["pay_low"]), texts["pay_in"]
    return Talent(
        ordinal=ordinal,
        talent_id=talent_id,
        hourly_rate=None if rate is None or pay_in is None else Money(rate, pay_in.partition(" ")[0].upper()),
        is_available=texts["is_available"] == _yes_or_no(True),
        created_at_ms=_whole(numbers["since_ms"]),
        **_shared_of(skills, texts, attributes),
    )


def _job_of(
    ordinal: int,
    job_id: str,
    skills: tuple[str, ...],
    texts: Mapping[str, str | None],
    numbers: Mapping[str, float],
    attributes: Mapping[str, str],
) -> Job:
    pay_in, is_remote = texts["pay_in"], texts["is_remote"]
    budget = None
    if pay_in is not None:
        currency, _, budget_type = pay_in.partition(" ")
        low, high = _amount(numbers["pay_low"]), _amount(numbers["pay_high"])
        budget = Budget(BudgetType(budget_type), low, high, currency.upper())
    return Job(
        ordinal=ordinal,
        job_id=job_id,
        client_id=texts["client_id"],
        is_remote=None if is_remote is None else is_remote == _yes_or_no(True),
        budget=budget,
        status=JobStatus(texts["status"]),
        posted_at_ms=_whole(numbers["since_ms"]),
        expires_at_ms=_whole(numbers["expires_at_ms"]),
        **_shared_of(skills, texts, attributes),
    )


def _whole(number: float) -> int | None:
    return None if math.isnan(number) else int(number)


def _amount(number: float) -> Decimal | None:
    """None for an open end."""
    if not math.isfinite(number):
        return None
    return Decimal(int(number)) if number.is_integer() else Decimal(repr(number))


_DOCUMENT_OF: dict[Kind, Callable[..., Document]] = {Kind.TALENT: _talent_of, Kind.JOB: _job_of}
