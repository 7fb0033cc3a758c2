"""Counting what the documents of a set have: by value, and by range of pay."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recommender.columns import Codes, Column, SetColumn, Vocabulary
from recommender.search import Facet, FacetBucket
from recommender.text import fold

MOST_RANGES = 10  # a histogram with more bars is no help in choosing
OUTLIERS = 0.02  # this share of the largest amounts may share one open range, so that they don't squeeze the others


def count_values(
    name: str,
    column: Column | SetColumn,
    ordinals: npt.NDArray[np.uint32],
    selected: Collection[str],
    size: int,
) -> Facet:
    """Count the values of the documents, whatever their spelling; each is shown in its most common one.

    selected: values that the filter asks for, in any spelling.
    """
    codes = column.codes(ordinals)
    if isinstance(column, SetColumn):
        missing = int(np.count_nonzero(column.lengths(ordinals) == 0))
    else:
        missing = int(np.count_nonzero(codes == 0))
    counts, total = _counts_by_value(codes, column.vocabulary)
    show = _spelling_chooser(column)
    best = _largest(counts, size)
    shown = heapq.nsmallest(size, ((-int(counts[value]), show(int(value))) for value in best))
    chosen = {fold(text) for text in selected}
    buckets = tuple(FacetBucket(text, -negated, fold(text) in chosen) for negated, text in shown)
    return Facet(name, buckets, total - sum(bucket.count for bucket in buckets), missing)


def _counts_by_value(codes: Codes, vocabulary: Vocabulary) -> tuple[npt.NDArray[np.int64], int]:
    counts: npt.NDArray[np.int64] = np.bincount(codes, minlength=len(vocabulary.spellings))
    counts[0] = 0
    total = int(counts.sum())
    if not vocabulary.has_variants:
        return counts, total  # a value's code is that of its only spelling
    by_value: npt.NDArray[np.int64] = np.bincount(vocabulary.values, weights=counts).astype(np.int64)
    return by_value, total


def _largest(counts: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.intp]:
    """Values that can be among the `size` most frequent, ties included."""
    present = np.flatnonzero(counts)
    if len(present) <= size:
        return present
    of_present = counts[present]
    least = np.partition(of_present, len(present) - size)[len(present) - size]
    largest: npt.NDArray[np.intp] = present[of_present >= least]
    return largest


def _spelling_chooser(column: Column | SetColumn) -> Callable[[int], str]:
    vocabulary = column.vocabulary
    uses: list[npt.NDArray[np.int64]] = []

    def choose(value: int) -> str:
        spellings = vocabulary.codes_of[value]
        if len(spellings) == 1:
            return vocabulary.spellings[spellings[0]]
        if not uses:
            uses.append(column.spelling_counts())
        code = min(spellings, key=lambda code: (-int(uses[0][code]), vocabulary.spellings[code]))
        return vocabulary.spellings[code]

    return choose


@dataclass(frozen=True, slots=True)
class PayRange:
    """One range of a histogram, both ends inside it; `high` None is open."""

    low: float
    high: float | None

    @property
    def value(self) -> str:
        """As a person reads it: `50-75`, `500+`."""
        return f"{_plain(self.low)}+" if self.high is None else f"{_plain(self.low)}-{_plain(self.high)}"


def count_pay(
    lows: npt.NDArray[np.float64],
    highs: npt.NDArray[np.float64],
    missing: int,
    selected: tuple[float | None, float | None] | None,
    size: int,
) -> Facet:
    """A histogram of pay ranges, lowest first: how many documents a filter on each range would find.

    lows, highs: what each document pays, -inf and +inf for open ends. A document whose pay touches several ranges
    counts in each, as the filter finds it with each; so the counts may sum to more than the documents.
    selected: min and max of the filter's pay clause.
    """
    buckets = []
    for pay_range in nice_ranges(np.concatenate([lows, highs]), size):
        top = math.inf if pay_range.high is None else pay_range.high
        count = int(np.count_nonzero((lows <= top) & (highs >= pay_range.low)))
        is_selected = selected == (pay_range.low, pay_range.high)
        buckets.append(FacetBucket(pay_range.value, count, is_selected, pay_range.low, pay_range.high))
    return Facet("PAY", tuple(buckets), 0, missing)


def nice_ranges(amounts: npt.NDArray[np.float64], size: int) -> list[PayRange]:
    """At most `size` adjoining ranges of equal, round width that hold every finite amount.

    The last one is open when the largest amounts lie far from the rest.
    """
    finite = amounts[np.isfinite(amounts)]
    if not len(finite):
        return []
    count = max(1, min(size, MOST_RANGES))
    low, top = float(finite.min()), float(finite.max())
    usual = float(np.quantile(finite, 1 - OUTLIERS, method="lower"))
    has_tail = count > 1 and top - low > 2 * (usual - low) and usual > low
    if has_tail:
        count -= 1
    step = _nice_step(low, usual if has_tail else top, count)
    first, last = math.floor(low / step), math.ceil((usual if has_tail else top) / step)
    last = max(last, first + 1)
    ranges = [PayRange(n * step, (n + 1) * step) for n in range(first, last)]
    if has_tail:
        ranges.append(PayRange(last * step, None))
    return ranges


def _nice_step(low: float, high: float, count: int) -> float:
    """The smallest of 1, 2, 2.5, 5, 10, 20 … (never below 1) with which `count` steps cover low to high."""
    scale = 1.0
    while True:
        for factor in (1.0, 2.0, 2.5, 5.0):
            step = factor * scale
            if step != math.floor(step):
                continue  # 2.5: bounds of whole units read better
            if max(math.ceil(high / step), math.floor(low / step) + 1) - math.floor(low / step) <= count:
                return step
        scale *= 10.0


def _plain(number: float) -> str:
    return f"{number:.0f}"
