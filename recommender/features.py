"""What a document says, as a sparse row: its skills, field, country, level, pay, attributes and words, by rarity.

Rows of one space have length 1, so their products are cosines. Jobs have one space and talents another.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log2
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from recommender.documents import BudgetType, Document, Job
from recommender.text import fold, terms

MOST_WORDS: Final = 500  # of one document; bounds the work of a hostile one
MOST_VALUES: Final = 64  # skills of one document, and attributes
LONGEST_VALUE: Final = 128  # characters; a longer attribute is a text, which nobody shares
FEWEST_HOLDERS: Final = 2  # what one document alone says makes it like no other
HEAVIEST: Final = 64  # features of one document that are kept; 32 lose 4 % of NDCG@10 among cold items, 16 lose 9 %
MOST_PRODUCTS: Final = 4e9  # of features two documents share, over all pairs: some ten seconds of CPU

Ordinals = npt.NDArray[np.uint32]


def features_of(document: Document) -> list[str]:
    """Everything that a document may share with another of its kind, each once, in no meaningful order."""
    skills = document.skills[:MOST_VALUES]
    found = [f"skill {fold(skill)}" for skill in skills]
    if document.category:
        found.append(f"category {fold(document.category)}")
    if document.country:
        found.append(f"country {fold(document.country)}")
    if document.level is not None:
        found.append(f"level {document.level.value}")
    if isinstance(document, Job):
        if document.is_remote is not None:
            found.append(f"remote {document.is_remote}")
        if document.client_id:
            found.append(f"client {document.client_id}")
    found += _pay(document)
    for name, value in list(document.attributes.items())[:MOST_VALUES]:
        if len(value) <= LONGEST_VALUE:
            found.append(f"attribute {name}={fold(value)}")
    text = " ".join(part for part in (document.title, *skills, document.description) if part)
    found += [f"word {term}" for term in terms(text)[:MOST_WORDS]]
    return [name for name in dict.fromkeys(found) if "\0" not in name]  # which divides names where they are stored


def _pay(document: Document) -> list[str]:
    """The pay to within a factor of √2, beside its neighbours, so that what is close shares two of three."""
    if isinstance(document, Job):
        budget = document.budget
        if budget is None:
            return []
        amount = budget.max if budget.max is not None else budget.min
        unit = f"{budget.type.value} {budget.currency}"
    else:
        rate = document.hourly_rate
        if rate is None:
            return []
        amount, unit = rate.amount, f"{BudgetType.HOURLY.value} {rate.currency}"
    if amount is None or not amount.is_finite() or not 0 < amount < 10**12:
        return []
    step = round(2 * log2(float(amount)))
    return [f"pay {unit} {near}" for near in (step - 1, step, step + 1)]


@dataclass(frozen=True, eq=False)
class FeatureSpace:
    """Which features count, and how much: names (distinct) and their weights, float32, of equal length."""

    names: Sequence[str]
    weights: npt.NDArray[np.float32]

    @cached_property
    def _column(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.names)}

    def rows(self, documents: Iterable[Sequence[str]]) -> sp.csr_matrix:
        """documents × features of what `features_of` says of each; see `unit_rows`."""
        starts, columns, column = [0], list[int](), self._column
        for features in documents:
            columns += [column[name] for name in features if name in column]
            starts.append(len(columns))
        return unit_rows(np.array(starts), np.array(columns, dtype=np.int32), self.weights)


def unit_rows(
    starts: npt.NDArray[np.int64], columns: npt.NDArray[np.int32], weights: npt.NDArray[np.float32]
) -> sp.csr_matrix:
    """rows × features, float32, each row of length 1 or empty, of its `HEAVIEST` features; ties to the lower column."""
    owners = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    order = np.lexsort((columns, -weights[columns], owners))
    place = np.arange(len(order)) - np.repeat(starts[:-1], np.diff(starts))
    kept = np.sort(order[place < HEAVIEST])
    rows = sp.csr_matrix((weights[columns[kept]], (owners[kept], columns[kept])), shape=(len(starts) - 1, len(weights)))
    lengths = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
    rows.data /= np.repeat(np.maximum(lengths, np.float32(1e-30)), np.diff(rows.indptr)).astype(np.float32)
    rows.sort_indices()
    return rows


class FeatureTable:
    """What many documents of one kind say, gathered batch by batch without holding the documents."""

    def __init__(self) -> None:
        self._names: dict[str, int] = {}
        self._ordinals, self._starts, self._columns = array("I"), array("q", [0]), array("i")

    def add(self, documents: Iterable[Document]) -> None:
        """Take in some documents. Of one that comes again the last state counts."""
        names = self._names
        for document in documents:
            self._ordinals.append(document.ordinal)
            self._columns.extend(names.setdefault(name, len(names)) for name in features_of(document))
            self._starts.append(len(self._columns))

    def __len__(self) -> int:
        return len(self._ordinals)

    def build(self) -> DescribedItems:
        """The space of these documents and their rows in it, in order of their ordinals.

        The weight of a feature is ln(documents / holders). What all hold tells nothing apart, and what only one holds
        joins nobody; of the rest those with fewest holders are taken, until comparing all pairs would cost too much.
        """
        columns = np.frombuffer(self._columns, dtype=np.int32)
        starts = np.frombuffer(self._starts, dtype=np.int64)
        holders = np.bincount(columns, minlength=len(self._names)).astype(np.float64)
        counted = np.flatnonzero((holders >= FEWEST_HOLDERS) & (holders < len(self)))
        counted = counted[np.argsort(holders[counted], kind="stable")]
        counted = np.sort(counted[np.cumsum(holders[counted] ** 2) <= MOST_PRODUCTS])
        place_of = np.full(len(self._names), -1, dtype=np.int32)
        place_of[counted] = np.arange(len(counted), dtype=np.int32)
        names = list(self._names)
        space = FeatureSpace(
            [names[place] for place in counted.tolist()], np.log(len(self) / holders[counted]).astype(np.float32)
        )
        found = place_of[columns]
        kept = np.concatenate([[0], np.cumsum(found >= 0)])[starts]
        rows = unit_rows(kept, found[found >= 0], space.weights)
        ordinals = np.frombuffer(self._ordinals, dtype=np.uint32)
        order = np.argsort(ordinals, kind="stable")
        order = order[np.append(ordinals[order][1:] != ordinals[order][:-1], True)[: len(order)]]
        return DescribedItems(ordinals[order], space, rows[order])


@dataclass(frozen=True, eq=False)
class DescribedItems:
    """Rows of a space by ordinal. Shapes: ordinals (n,), ascending; rows (n, features)."""

    ordinals: Ordinals
    space: FeatureSpace
    rows: sp.csr_matrix

    def at(self, ordinals: Ordinals) -> sp.csr_matrix:
        """The rows of some ordinals, empty where there is no document."""
        places = np.minimum(np.searchsorted(self.ordinals, ordinals), max(len(self.ordinals) - 1, 0))
        if not len(self.ordinals):
            return sp.csr_matrix((len(ordinals), self.rows.shape[1]), dtype=np.float32)
        found = sp.diags((self.ordinals[places] == ordinals).astype(np.float32)) @ self.rows[places]
        found.eliminate_zeros()
        return found.tocsr()
