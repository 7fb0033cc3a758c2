"""Items that came after the model: what they are like lends them a score until the next training.

They have no row, so their value is one more sparse term: the products with the factors that they are lent, and what
those that they are like add as neighbours. docs/decisions/0018-cold-start.md says how.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from pyroaring import BitMap

from recommender.cold_start import alike, lent_factors, places_in
from recommender.documents import Document
from recommender.features import features_of
from recommender.interest import Interest
from recommender.mirror import Mirror
from recommender.model import Factors, Ordinals, Side
from recommender.neighbours import voices
from recommender.scoring import Dense, Rows, Scores, Sparse

READ_AT_ONCE: Final = 1_000  # documents that one request waits for; the others come with the next requests
MOST: Final = 20_000  # newcomers of one model; whoever comes later waits for the next training


@dataclass(frozen=True, eq=False)
class NewRows:
    """Shapes: ordinals (n,), ascending; likeness (n, rows of the side); factors (n, width) by name of a product."""

    ordinals: Ordinals
    factors: Mapping[str, Factors]
    likeness: sp.csr_matrix

    def term(self, interest: Interest, products: Iterable[Dense], neighbour_weight: float) -> Sparse:
        """What the newcomers score by an interest. neighbour_weight: with `Descriptions.strength` in it."""
        values = self.products(products).values
        if neighbour_weight > 0:
            said = np.zeros(self.likeness.shape[1])
            said[interest.rows] = voices(interest.weights)
            values += neighbour_weight * (self.likeness @ said)
        return Sparse("content", self.ordinals, values)

    def products(self, products: Iterable[Dense]) -> Sparse:
        """What the products of a score are with what the newcomers are lent."""
        values = np.zeros(len(self.ordinals))
        for product in products:
            values += (self.factors[product.name].astype(np.float64) * product.vector).sum(axis=1)
        return Sparse("content", self.ordinals, values)

    def lent_to(self, items: Ordinals, name: str) -> npt.NDArray[np.float64]:
        """What the items are lent for a product, zeros for those that are no newcomers. Shape (items, width)."""
        places = places_in(self.ordinals, items)
        found = np.zeros((len(items), self.factors[name].shape[1]))
        found[places >= 0] = self.factors[name][places[places >= 0]]
        return found

    def neighbour_shares(self, interest: Interest, neighbour_weight: float, items: Ordinals) -> Scores:
        """How much each acted-on item adds to each of the items as a neighbour; see `neighbours.neighbour_shares`."""
        places = places_in(self.ordinals, items)
        shares = np.zeros((len(items), len(interest.rows)))
        alike = self.likeness[places[places >= 0]][:, interest.rows].toarray().astype(np.float64)
        shares[places >= 0] = neighbour_weight * alike * voices(interest.weights)
        return shares


def described_by(side: Side, holders: sp.csr_matrix, documents: Sequence[Sequence[str]]) -> sp.csr_matrix:
    """How like each row of the side some features are. holders: see `holders_of`. Shape (documents, rows)."""
    return alike(side.descriptions.space.rows(documents), holders)


def holders_of(side: Side) -> sp.csr_matrix:
    """features × rows: the descriptions of a side, transposed."""
    said = side.descriptions
    shape = (len(side.ordinals), len(said.space.names))
    return sp.csr_matrix((said.values, said.columns, said.starts), shape=shape).T.tocsr()


class Newcomers:
    """The newcomers of one side of a model, as far as a mirror told of them. `turn`: of whoever reads documents."""

    def __init__(self, side: Side, tables: Mapping[str, Side]) -> None:
        """tables: whose rows the products of a score are with, by name."""
        self._side, self._tables = side, tables
        self._holders: sp.csr_matrix | None = None
        self._revision, self._waiting = 0, BitMap()
        self._said: dict[int, tuple[dict[str, npt.NDArray[np.float32]], sp.csr_matrix]] = {}
        self.turn = asyncio.Lock()
        self.rows = self._rows()

    @property
    def holders(self) -> sp.csr_matrix:
        """See `holders_of`."""
        if self._holders is None:
            self._holders = holders_of(self._side)
        return self._holders

    def is_behind(self, mirror: Mirror) -> bool:
        """Whether there may be somebody whom this does not know."""
        until = self._side.descriptions.until
        return until > 0 and (bool(self._waiting) or mirror.revision != self._revision)

    def wanted(self, mirror: Mirror) -> list[int]:
        """Ordinals whose documents are to be read now, the newest first; those that `take` does not get come again."""
        revision = mirror.revision
        changed = mirror.changed_since(self._revision)
        changed.remove_range(0, self._side.descriptions.until + 1)
        self._waiting |= changed
        self._revision = revision
        return [self._waiting[-place] for place in range(1, min(READ_AT_ONCE, len(self._waiting)) + 1)]

    def take(self, ordinals: Sequence[int], documents: Sequence[Document | None]) -> None:
        """Take in what the documents say; None is one that is gone. `rows` is another afterwards."""
        there = [document for document in documents if document is not None]
        self._waiting -= BitMap(ordinals)
        for ordinal in ordinals:
            self._said.pop(ordinal, None)
        likeness = described_by(self._side, self.holders, [features_of(document) for document in there])
        lent = self._lent(likeness)
        for place, document in enumerate(there):
            if likeness.indptr[place + 1] > likeness.indptr[place] and len(self._said) < MOST:
                self._said[document.ordinal] = {name: rows[place] for name, rows in lent.items()}, likeness[place]
        self.rows = self._rows()

    def _lent(self, likeness: sp.csr_matrix) -> dict[str, Factors]:
        """What those alike lend, of every table; one without a row there lends zeros."""
        alike = np.unique(likeness.indices)
        among = likeness[:, alike]
        lent = {}
        for name, table in self._tables.items():
            rows: Rows = table.rows(self._side.ordinals[alike])
            factors = table.factors[rows]
            factors[rows < 0] = 0.0
            lent[name] = lent_factors(among, factors)
        return lent

    def _rows(self) -> NewRows:
        known = sorted(self._said)
        return NewRows(
            np.array(known, dtype=np.uint32),
            {
                name: np.array([self._said[ordinal][0][name] for ordinal in known], np.float32).reshape(
                    len(known), table.factors.shape[1]
                )
                for name, table in self._tables.items()
            },
            sp.vstack([self._said[ordinal][1] for ordinal in known], format="csr")
            if known
            else sp.csr_matrix((0, len(self._side.ordinals)), dtype=np.float32),
        )


def lent_to(
    side: Side, newcomers: Newcomers, ordinals: Ordinals, said: Sequence[Sequence[str]]
) -> npt.NDArray[np.float64]:
    """What its description lends each subject: by its row, else by what it says now, where that is not empty.

    side: the subjects'. Shape (subjects, width); zeros for one of which neither is known.
    """
    found = side.lent_to(ordinals)
    strangers = [place for place, features in enumerate(said) if features]
    if strangers:
        likeness = described_by(side, newcomers.holders, [said[place] for place in strangers])
        found[strangers] = lent_factors(likeness, side.factors)
    return found
