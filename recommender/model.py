"""A trained model: factors, what they were learnt from and how. Immutable once made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from recommender.documents import Kind
from recommender.events import AS_LISTED, Emphasis
from recommender.features import FeatureSpace

Factors = npt.NDArray[np.float32]
Ordinals = npt.NDArray[np.uint32]

SCHEMA = 3  # of the stored format; raise it when the meaning or the set of arrays changes


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """How confidence and factors are learnt.

    factors: width. regularization, alpha, iterations: implicit ALS, confidence 1 + alpha * weight.
    half_life_days: a weight halves with every such age; None does not decay.
    seed: of the initial factors.
    popularity: what the most popular job gains in every talent's list, the others in proportion; 0 is exactly off.
    neighbours, talent_neighbours: weight of the neighbour sum in lists of jobs and of talents; 0 is exactly off.
    content: how much neighbours by content add to what has events of its own, beside neighbours by behaviour.
    emphasis: what is made of the weights of event types.
    likeness: what the neighbours were found by, the numbers of `likeness.Likeness` in their order.
    """

    factors: int = 64
    regularization: float = 0.0
    alpha: float = 0.0
    iterations: int = 15
    half_life_days: float | None = 90.0
    seed: int = 42
    popularity: float = 0.0
    neighbours: float = 0.0
    talent_neighbours: float = 0.0
    content: float = 0.0
    emphasis: Emphasis = AS_LISTED
    likeness: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a model says of itself.

    as_of_ms: the now that ages were measured from: the newest event's time, None when no event has one.
    watermark: seq of the last event in it.
    """

    version: str
    trained_at_ms: int
    as_of_ms: int | None
    watermark: int
    events: int
    hyperparameters: Hyperparameters
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    schema: int = SCHEMA


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Which rows of a side each row leads to, and how strongly: a sparse matrix by rows, without its diagonal.

    Shapes: starts (rows + 1,), ascending from 0; columns and strengths (starts[-1],). Strengths are above 0: that
    neighbours only ever add is what lets a list be nominated without them. No rows at all: there are no neighbours.
    """

    starts: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int32]
    strengths: npt.NDArray[np.float32]

    @classmethod
    def none(cls) -> Neighbours:
        """No neighbours for any row."""
        return cls(np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32))

    @classmethod
    def of(cls, rows: sp.csr_matrix) -> Neighbours:
        """A square sparse matrix as a model holds it."""
        rows.sort_indices()
        return cls(rows.indptr.astype(np.int64), rows.indices.astype(np.int32), rows.data.astype(np.float32))


@dataclass(frozen=True, eq=False)
class Descriptions:
    """What the rows of a side say of themselves, to find those that a new document is like.

    Shapes: starts (rows + 1,), columns and values (starts[-1],): a row per row of the side, of length 1 in `space`, or
    empty for one that is unknown to the catalogue or was taught by no event. strength: what a cosine of 1 adds to a
    neighbour sum.
    """

    space: FeatureSpace
    starts: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int32]
    values: npt.NDArray[np.float32]
    strength: float

    @classmethod
    def none(cls) -> Descriptions:
        """Nothing is known of any row."""
        space = FeatureSpace((), np.empty(0, np.float32))
        return cls(space, np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32), 0.0)


@dataclass(frozen=True, eq=False)
class Side:
    """One side's rows: ordinals (ascending), factors (rows × width), decayed popularity (rows) and neighbours.

    learnt: mask of the rows that events taught; the others stand on what is like them. None: all are.
    """

    ordinals: Ordinals
    factors: Factors
    popularity: npt.NDArray[np.float32]
    neighbours: Neighbours = field(default_factory=Neighbours.none)
    learnt: npt.NDArray[np.bool_] | None = None
    descriptions: Descriptions = field(default_factory=Descriptions.none)

    @cached_property
    def gram(self) -> npt.NDArray[np.float64]:
        """FᵀF in float64 of the learnt rows, width × width: the part of a fold-in that every subject shares."""
        wide = (self.factors if self.learnt is None else self.factors[self.learnt]).astype(np.float64)
        return wide.T @ wide

    @property
    def learnt_rows(self) -> int:
        """How many rows events taught."""
        return len(self.ordinals) if self.learnt is None else int(np.count_nonzero(self.learnt))

    @cached_property
    def norms(self) -> npt.NDArray[np.float64]:
        """Euclidean length of each row, in float64."""
        lengths: npt.NDArray[np.float64] = np.sqrt(np.einsum("ij,ij->i", self.factors, self.factors, dtype=np.float64))
        return lengths

    @cached_property
    def _row_of(self) -> npt.NDArray[np.int32]:
        size = int(self.ordinals[-1]) + 1 if len(self.ordinals) else 0
        table = np.full(size, -1, dtype=np.int32)
        table[self.ordinals] = np.arange(len(self.ordinals), dtype=np.int32)
        return table

    def rows(self, ordinals: npt.NDArray[np.uint32]) -> npt.NDArray[np.int32]:
        """Row of each ordinal, -1 for one that the model has not seen."""
        table = self._row_of
        found = np.full(len(ordinals), -1, dtype=np.int32)
        inside = ordinals < len(table)
        found[inside] = table[ordinals[inside]]
        return found


@dataclass(frozen=True, eq=False)
class Model:
    """Factors of both sides and the manifest. talents.factors[t] · jobs.factors[j] is the dense score of a pair.

    A talent's stored row equals a full solve of its whole history against the job factors, and so equals its fold-in
    as long as nothing new happened.
    """

    manifest: Manifest
    talents: Side
    jobs: Side

    def side(self, kind: Kind) -> Side:
        """The rows of one kind."""
        return self.talents if kind is Kind.TALENT else self.jobs
