"""A trained model: factors, what they were learnt from and how. Immutable once made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from recommender.coarse import Coarse, Codes, Scales, coarse_from_factors, measured
from recommender.documents import Kind
from recommender.events import AS_LISTED, Emphasis
from recommender.features import FeatureSpace
from recommender.hidden_pairs import HiddenPairs
from recommender.tables import Table, table_of

Factors = npt.NDArray[np.float32]
Ordinals = npt.NDArray[np.uint32]

SCHEMA = 5  # of the stored format; raise it when the meaning or the set of arrays changes
GRAM_ROWS = 65_536  # that are made float64 at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """How confidence and factors are learnt.

    factors: width. regularization, alpha, iterations: implicit ALS, confidence 1 + alpha * weight.
    half_life_days: a weight halves with every such age; None does not decay.
    seed: of the initial factors.
    popularity: what the most popular job gains in every talent's list, the others in proportion; 0 is exactly off.
    neighbours, talent_neighbours: weight of the neighbour sum in lists of jobs and of talents; 0 is exactly off.
    prior: how many preferred items a subject's description is worth; 0 is exactly off.
    content, talent_content: weight of neighbours by content for jobs and talents with events of their own.
    emphasis: what is made of the weights of event types.
    likeness: what the neighbours were found by, the numbers of `likeness.Likeness` in their order.
    history: what the vector and neighbours of a history count beside suitability; 1 without it.
    calibration, talent_calibration: of lists of jobs and of talents, slope and intercept that make a score log-odds.
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
    talent_content: float = 0.0
    emphasis: Emphasis = AS_LISTED
    prior: float = 0.0
    likeness: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    history: float = 1.0
    calibration: tuple[float, float] = (0.0, 0.0)
    talent_calibration: tuple[float, float] = (0.0, 0.0)

    def calibration_of(self, item_kind: Kind) -> tuple[float, float]:
        """Of lists of that kind."""
        return self.talent_calibration if item_kind is Kind.TALENT else self.calibration


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a model says of itself.

    as_of_ms: the now that ages were measured from: the newest event's time, None when no event has one.
    watermark: seq of the last event in it.
    of_clients: how the clients' interest was learnt, where it is one of its own.
    started_from: the version whose factors this one went on from; None: it was learnt from the log alone.
    is_without: whether somebody's rows were taken out of it after it was learnt: the others were learnt beside them.
    """

    version: str
    trained_at_ms: int
    as_of_ms: int | None
    watermark: int
    events: int
    hyperparameters: Hyperparameters
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    schema: int = SCHEMA
    of_clients: Hyperparameters | None = None
    started_from: str | None = None
    is_without: bool = False


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
    neighbour sum. until: the newest ordinal that was there to be described; 0 for none.
    """

    space: FeatureSpace
    starts: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int32]
    values: npt.NDArray[np.float32]
    strength: float
    until: int = 0

    @classmethod
    def none(cls) -> Descriptions:
        """Nothing is known of any row."""
        space = FeatureSpace((), np.empty(0, np.float32))
        return cls(space, np.zeros(1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32), 0.0)


@dataclass(frozen=True, eq=False)
class Side:
    """One side's rows: ordinals (ascending), factors (rows × width), decayed popularity (rows) and neighbours.

    learnt: mask of the rows that events taught; the others stand on what is like them. None: all are.
    lent: rows × width, the factors of what each row is like, without its own events. None: nothing is known of any.
    codes: the coarse rows of the factors, codes and scales, where they are at hand; see coarse.
    """

    ordinals: Ordinals
    factors: Factors
    popularity: npt.NDArray[np.float32]
    neighbours: Neighbours = field(default_factory=Neighbours.none)
    learnt: npt.NDArray[np.bool_] | None = None
    lent: Factors | None = None
    descriptions: Descriptions = field(default_factory=Descriptions.none)
    codes: tuple[Codes, Scales] | None = None

    @cached_property
    def coarse(self) -> Coarse:
        """The factors in a quarter of their bytes, to nominate by. Raises ValueError unless they are finite."""
        return measured(self.factors, *(coarse_from_factors(self.factors) if self.codes is None else self.codes))

    @cached_property
    def table(self) -> Table:
        """Its rows as compiled loops take them."""
        return table_of(self.row_of, self.factors, self.coarse)

    @cached_property
    def gram(self) -> npt.NDArray[np.float64]:
        """FᵀF in float64 of the learnt rows, width × width: the part of a fold-in that every subject shares."""
        width = self.factors.shape[1]
        found = np.zeros((width, width))
        for start in range(0, len(self.factors), GRAM_ROWS):
            some = slice(start, start + GRAM_ROWS)
            rows = self.factors[some] if self.learnt is None else self.factors[some][self.learnt[some]]
            wide = rows.astype(np.float64)
            found += wide.T @ wide
        return found

    @property
    def is_learnt(self) -> npt.NDArray[np.bool_]:
        """The mask, all true where there is none."""
        return np.ones(len(self.ordinals), np.bool_) if self.learnt is None else self.learnt

    @property
    def learnt_rows(self) -> int:
        """How many rows events taught."""
        return int(np.count_nonzero(self.is_learnt))

    @cached_property
    def norms(self) -> npt.NDArray[np.float64]:
        """Euclidean length of each row, in float64."""
        lengths: npt.NDArray[np.float64] = np.sqrt(np.einsum("ij,ij->i", self.factors, self.factors, dtype=np.float64))
        return lengths

    @cached_property
    def longest(self) -> float:
        """Length of the longest row."""
        return float(self.norms.max(initial=0.0))

    @cached_property
    def row_of(self) -> npt.NDArray[np.int32]:
        """Row by ordinal, -1 where there is none, as far as the last ordinal that has one."""
        size = int(self.ordinals[-1]) + 1 if len(self.ordinals) else 0
        table = np.full(size, -1, dtype=np.int32)
        table[self.ordinals] = np.arange(len(self.ordinals), dtype=np.int32)
        return table

    def lent_to(self, ordinals: npt.NDArray[np.uint32]) -> npt.NDArray[np.float64]:
        """What is lent to the row of each ordinal, zeros where there is none. Shape (ordinals, width)."""
        rows = self.rows(ordinals)
        found = np.zeros((len(rows), self.factors.shape[1]))
        if self.lent is not None:
            found[rows >= 0] = self.lent[rows[rows >= 0]]
        return found

    def factors_of(self, ordinals: npt.NDArray[np.uint32]) -> npt.NDArray[np.float64]:
        """The factors of each ordinal, zeros for one that the model has not seen. Shape (ordinals, width)."""
        rows = self.rows(ordinals)
        found = np.zeros((len(rows), self.factors.shape[1]))
        found[rows >= 0] = self.factors[rows[rows >= 0]]
        return found

    def rows(self, ordinals: npt.NDArray[np.uint32]) -> npt.NDArray[np.int32]:
        """Row of each ordinal, -1 for one that the model has not seen."""
        table = self.row_of
        found = np.full(len(ordinals), -1, dtype=np.int32)
        inside = ordinals < len(table)
        found[inside] = table[ordinals[inside]]
        return found


def share_rows(sides: Iterable[Side]) -> None:
    """Let sides that have rows for the same ordinals look them up in one table: once for all of them."""
    known: list[Side] = []
    for side in sides:
        same = next((one for one in known if np.array_equal(one.ordinals, side.ordinals)), None)
        if same is None:
            known.append(side)
        else:
            side.__dict__["row_of"] = same.row_of  # as a cached property that was asked for
            side.__dict__.pop("table", None)  # which holds the one before


@dataclass(frozen=True, eq=False)
class Fit:
    """What one interest was learnt as: how, and the rows of both kinds."""

    hyperparameters: Hyperparameters
    talents: Side
    jobs: Side

    def side(self, kind: Kind) -> Side:
        """The rows of one kind."""
        return self.talents if kind is Kind.TALENT else self.jobs


@dataclass(frozen=True, eq=False)
class ClientsInterest:
    """Which talents clients want for which jobs.

    talents, jobs: as in Model. suited_talents, suited_jobs: factors by content, see suitability; no rows without.
    """

    talents: Side
    jobs: Side
    suited_talents: Side
    suited_jobs: Side

    def suited(self, kind: Kind) -> Side:
        """The factors by content of one kind."""
        return self.suited_talents if kind is Kind.TALENT else self.suited_jobs


@dataclass(frozen=True, eq=False)
class Model:
    """Factors of both sides and the manifest. talents.factors[t] · jobs.factors[j] is the dense score of a pair.

    A talent's stored row equals a full solve of its whole history against the job factors, and so equals its fold-in
    as long as nothing new happened.
    clients: the clients' interest; then talents and jobs are the talents' own. None: they are learnt from everything.
    hidden: the pairs that events in force keep out of lists, of everything up to the watermark.
    """

    manifest: Manifest
    talents: Side
    jobs: Side
    clients: ClientsInterest | None = None
    hidden: HiddenPairs = field(default_factory=HiddenPairs.none)

    def side(self, kind: Kind) -> Side:
        """The rows of one kind, of the talents' interest or the only one."""
        return self.talents if kind is Kind.TALENT else self.jobs

    def lends_to(self, kind: Kind) -> bool:
        """Whether what subjects of a kind say of themselves counts in their lists."""
        is_asked = kind is Kind.TALENT or self.clients is None  # lists of jobs, or of the only interest
        return is_asked and self.manifest.hyperparameters.prior > 0 and self.side(kind).lent is not None

    @property
    def first(self) -> Fit:
        """The talents' interest, or the only one."""
        return Fit(self.manifest.hyperparameters, self.talents, self.jobs)

    @property
    def of_clients(self) -> Fit | None:
        """The clients' interest, where it is one of its own."""
        how, clients = self.manifest.of_clients, self.clients
        return None if how is None or clients is None else Fit(how, clients.talents, clients.jobs)

    def own(self, item_kind: Kind) -> Fit:
        """The interest of who asks for a list of that kind; the only one where there is one."""
        return self.first if item_kind is Kind.JOB else self.of_clients or self.first

    def mutual(self, item_kind: Kind) -> Fit | None:
        """The interest of those who are listed, or whose jobs are; None where there is one for both."""
        clients = self.of_clients
        return None if clients is None else clients if item_kind is Kind.JOB else self.first
