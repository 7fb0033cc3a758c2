"""What a caller may ask of the documents in a list: hard constraints, ANDed between fields, ORed between values.

None or an empty list is no constraint, except `ids=()` which matches nothing. Strings compare after `fold`. A missing
value fails a positive clause. Bounds are inclusive. Pay compares only within one currency and budget type.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from recommender.documents import BudgetType, JobStatus, Level
from recommender.errors import BadInputError
from recommender.text import fold


@dataclass(frozen=True, slots=True)
class TermFilter:
    """A clause over a set of terms: has all of, any of, none of."""

    all: tuple[str, ...] = ()
    any: tuple[str, ...] = ()
    none: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        both = {fold(term) for term in self.all} & {fold(term) for term in self.none}
        if both:
            raise BadInputError(f"skills: {sorted(both)} stand in both `all` and `none`; nothing can match")


def _check_range(name: str, low: float | None, high: float | None) -> None:
    for bound in (low, high):
        if bound is not None and not math.isfinite(bound):
            raise BadInputError(f"{name}: a bound must be a finite number; got {bound}")
    if low is not None and high is not None and low > high:
        raise BadInputError(f"{name}: min must not be above max; got min {low} and max {high}")


@dataclass(frozen=True, slots=True)
class PayFilter:
    """A pay range in one currency; for jobs of one budget type, and then ranges overlap (a missing end is open)."""

    currency: str
    min: float | None = None
    max: float | None = None
    include_unknown: bool = False
    budget_type: BudgetType | None = None  # None for talents' hourly rates

    def __post_init__(self) -> None:
        _check_range("budget" if self.budget_type else "hourlyRate", self.min, self.max)


# ASCII digits only and no underscores: what other engines and programs read as the same number.
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def number_of(text: str) -> float | None:
    """The number that an attribute's text stands for (spaces around it allowed); None when it is none."""
    if not _NUMBER.fullmatch(text.strip()):
        return None
    number = float(text)
    return number if math.isfinite(number) else None


@dataclass(frozen=True, slots=True)
class AttributeFilter:
    """A clause over one attribute: one of the values, and within a numeric range (see `number_of`).

    The name is a key and compares exactly; the values are strings and compare folded. A clause with neither values nor
    bounds is no constraint.
    """

    name: str
    any: tuple[str, ...] = ()
    min: float | None = None
    max: float | None = None

    def __post_init__(self) -> None:
        _check_range(f"attribute {self.name!r}", self.min, self.max)


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentFilter:
    """Clauses that talents and jobs share."""

    ids: tuple[str, ...] | None = None  # () matches nothing
    exclude_ids: tuple[str, ...] = ()
    skills: TermFilter = TermFilter()
    categories: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()
    levels: tuple[Level, ...] = ()
    pay: PayFilter | None = None
    attributes: tuple[AttributeFilter, ...] = ()

    @property
    def within_days(self) -> int | None:
        """How many days ago the document may have begun."""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter(DocumentFilter):
    """Constraints on jobs. `statuses` empty means OPEN."""

    client_ids: tuple[str, ...] = ()
    is_remote: bool | None = None
    posted_within_days: int | None = None
    statuses: tuple[JobStatus, ...] = ()

    def __post_init__(self) -> None:
        _check_days("postedWithinDays", self.posted_within_days)

    @property
    def within_days(self) -> int | None:
        """See DocumentFilter."""
        return self.posted_within_days


@dataclass(frozen=True, slots=True, kw_only=True)
class TalentFilter(DocumentFilter):
    """Constraints on talents."""

    is_available: bool | None = None
    joined_within_days: int | None = None

    def __post_init__(self) -> None:
        _check_days("joinedWithinDays", self.joined_within_days)

    @property
    def within_days(self) -> int | None:
        """See DocumentFilter."""
        return self.joined_within_days


def _check_days(name: str, days: int | None) -> None:
    if days is not None and days < 0:
        raise BadInputError(f"{name} must be 0 or more; got {days}")


Filter = JobFilter | TalentFilter
