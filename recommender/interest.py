"""What a history says in the factors' space: the vector of a subject, and each acted-on item's share of a score."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from recommender.als import fold_in_many
from recommender.documents import Kind
from recommender.documents import Side as Actor
from recommender.events import Event
from recommender.interactions import pair_weights
from recommender.model import ClientsInterest, Fit, Hyperparameters, Manifest, Model, Side
from recommender.scoring import Rows, Scores

MUTUAL_WEIGHT: Final = 1.0  # of the others' interest where nobody says another; docs/decisions/0015-two-sides.md

OrdinalsOf = Callable[[Sequence[str]], list[int | None]]


@dataclass(frozen=True, slots=True, eq=False)
class Interest:
    """A subject's taste in items, solved from its whole history.

    Shapes: rows of the items' side that spoke, ascending, and their signed weights, of equal length; vector (width,),
    zeros when nothing spoke for anything, and there is no description.
    suited (width by content): the subject's own row of what suits whom, of no length without one; see suitability.
    mutual: what the others want of the subject, where that is an interest of its own; then this one is of what the
    subject's side did alone. mutual_weight: how much it counts.
    """

    rows: Rows
    weights: Scores
    vector: npt.NDArray[np.float64]
    suited: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    mutual: Interest | None = None
    mutual_weight: float = 0.0

    @property
    def is_by_events(self) -> bool:
        """Whether it rests on something that was done, and not on a description alone."""
        return len(self.rows) > 0 or (self.mutual is not None and self.mutual.is_by_events)

    @property
    def is_silent(self) -> bool:
        """Whether neither a history nor what is known of who asks prefers anything that the model knows."""
        says = bool(self.vector.any()) or bool(self.suited.any())
        return not says and (self.mutual is None or not bool(self.mutual.vector.any()))


def decay_reference_ms(manifest: Manifest, history: Sequence[Event]) -> int | None:
    """The now that ages are measured from: the later of the model's and the history's newest event, never a clock."""
    times = [event.occurred_at_ms for event in history if event.occurred_at_ms is not None]
    if manifest.as_of_ms is not None:
        times.append(manifest.as_of_ms)
    return max(times, default=None)


def interests_from_histories(
    histories: Sequence[Sequence[Event]],
    item_kind: Kind,
    model: Model,
    ordinals_of: OrdinalsOf,
    lent: npt.NDArray[np.float64] | None = None,
    *,
    mutual_weight: float = 0.0,
    subjects: Sequence[int | None] = (),
) -> list[Interest]:
    """The interest behind each history, bit for bit the same in every batch.

    Each history is of one subject; items that `ordinals_of` does not know, or the model has not seen, say nothing.
    lent: what each subject's description lends it, see `als.fold_in_many`. Shape (histories, width).
    mutual_weight: of what the others want of the subject; at 0 it is exactly left out. subjects: their ordinals, where
    the model tells what suits whom.
    """
    if model.clients is None:
        return _folded_in(histories, item_kind, model.first, model.manifest, ordinals_of, lent)
    actors = (Actor.TALENT, Actor.CLIENT) if item_kind is Kind.JOB else (Actor.CLIENT, Actor.TALENT)
    suited = _suited(model.clients, item_kind, subjects or [None] * len(histories))
    found: list[list[Interest]] = []
    for actor, fit, given in zip(actors, (model.own(item_kind), model.mutual(item_kind)), (lent, None), strict=True):
        if fit is None or (found and mutual_weight == 0):
            break
        done = [[event for event in history if event.actor is actor] for history in histories]
        folded = _folded_in(done, item_kind, fit, model.manifest, ordinals_of, given)
        if actor is Actor.CLIENT:
            folded = [replace(one, suited=row) for one, row in zip(folded, suited, strict=True)]
        found.append(folded)
    if len(found) == 1:
        return found[0]
    return [replace(own, mutual=other, mutual_weight=mutual_weight) for own, other in zip(*found, strict=True)]


def _suited(clients: ClientsInterest, item_kind: Kind, subjects: Sequence[int | None]) -> npt.NDArray[np.float64]:
    """The row by content of each subject; zeros without one. Shape (subjects, width by content)."""
    side = clients.suited(Kind.JOB if item_kind is Kind.TALENT else Kind.TALENT)
    ordinals = np.array([ordinal or 0 for ordinal in subjects], dtype=np.uint32)  # no document has ordinal 0
    rows = np.where(ordinals > 0, side.rows(ordinals), -1)
    found = np.zeros((len(rows), side.factors.shape[1]))
    found[rows >= 0] = side.factors[rows[rows >= 0]]
    return found


def _folded_in(
    histories: Sequence[Sequence[Event]],
    item_kind: Kind,
    fit: Fit,
    manifest: Manifest,
    ordinals_of: OrdinalsOf,
    lent: npt.NDArray[np.float64] | None,
) -> list[Interest]:
    """The interest behind each history by one fit."""
    side, hyper = fit.side(item_kind), fit.hyperparameters
    weights = _weights_by_item(histories, item_kind, hyper, manifest)
    ids = list(dict.fromkeys(document_id for of_one in weights for document_id in of_one))
    ordinals = np.array([ordinal or 0 for ordinal in ordinals_of(ids)], dtype=np.uint32)  # no document has ordinal 0
    row_of = dict(zip(ids, np.where(ordinals > 0, side.rows(ordinals), -1).tolist(), strict=True))
    spoken = []
    for of_one in weights:
        # Ascending rows: the order of a sum must not depend on who else is in the batch.
        rows = sorted(
            (row_of[document_id], weight) for document_id, weight in of_one.items() if row_of[document_id] >= 0
        )
        spoken.append(
            (np.array([row for row, _ in rows], np.int32), np.array([weight for _, weight in rows], np.float64))
        )
    vectors = _fold_in_each(spoken, side, hyper, lent)
    return [Interest(rows, values, vector) for (rows, values), vector in zip(spoken, vectors, strict=True)]


def _weights_by_item(
    histories: Sequence[Sequence[Event]], item_kind: Kind, hyper: Hyperparameters, manifest: Manifest
) -> list[dict[str, float]]:
    """Weight by item id of each history. Histories that share a now are weighed in one call; twins must not meet."""
    answers: list[dict[str, float]] = [{} for _ in histories]
    batches: dict[tuple[int | None, int], dict[str, int]] = defaultdict(dict)
    for place, history in enumerate(histories):
        if not history:
            continue
        subject_id = history[0].talent_id if item_kind is Kind.JOB else history[0].job_id
        as_of_ms, turn = decay_reference_ms(manifest, history), 0
        while subject_id in batches[as_of_ms, turn]:
            turn += 1
        batches[as_of_ms, turn][subject_id] = place
    for (as_of_ms, _), places in batches.items():
        events = [event for place in places.values() for event in histories[place]]
        for (talent_id, job_id), weight in pair_weights(events, hyper, as_of_ms).items():
            subject_id, other_id = (talent_id, job_id) if item_kind is Kind.JOB else (job_id, talent_id)
            answers[places[subject_id]][other_id] = weight
    return answers


def _fold_in_each(
    spoken: Sequence[tuple[Rows, Scores]],
    side: Side,
    hyper: Hyperparameters,
    lent: npt.NDArray[np.float64] | None,
) -> list[npt.NDArray[np.float64]]:
    """One vector per history. Only those of equal length are solved together: padding would change the last bits."""
    vectors = [np.zeros(side.factors.shape[1]) for _ in spoken]
    by_length: dict[int, list[int]] = defaultdict(list)
    for place, (rows, _) in enumerate(spoken):
        if len(rows) or lent is not None:
            by_length[len(rows)].append(place)
    for length, places in by_length.items():
        columns = np.concatenate([spoken[place][0] for place in places])
        values = np.concatenate([spoken[place][1] for place in places])
        starts = np.arange(len(places) + 1) * length
        matrix = sp.csr_matrix((values, columns, starts), shape=(len(places), len(side.factors)))
        theirs = None if lent is None else lent[places]
        for place, vector in zip(places, fold_in_many(side, matrix, hyper, theirs), strict=True):
            vectors[place] = vector
    return vectors


def shares(
    interest: Interest, side: Side, hyper: Hyperparameters, factors: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """How much of each item's score comes from each acted-on item; a line sums to the item's dense score.

    Shapes: (items, acted-on items) for factors (items, width).
    Where a description speaks too, what is left of the score is its share.
    The fold-in is linear in what was preferred: x = A⁻¹ Σ cᵢpᵢyᵢ, so x·y = Σ cᵢpᵢ (yᵢ · A⁻¹y), with the same normal
    matrix A as `als.fold_in`. Items that were turned down have p = 0 and so no share of their own.
    """
    acted = side.factors[interest.rows].astype(np.float64)
    excess = hyper.alpha * np.abs(interest.weights)
    solved = np.linalg.solve(normal_matrix(interest, side, hyper), factors.T)
    answer: npt.NDArray[np.float64] = (acted @ solved).T * np.where(interest.weights > 0, 1 + excess, 0.0)
    return answer


def normal_matrix(interest: Interest, side: Side, hyper: Hyperparameters) -> npt.NDArray[np.float64]:
    """The matrix that the fold-in behind an interest was solved with. Shape (width, width)."""
    acted = side.factors[interest.rows].astype(np.float64)
    excess = hyper.alpha * np.abs(interest.weights)
    matrix: npt.NDArray[np.float64] = side.gram + hyper.regularization * np.eye(side.factors.shape[1])
    matrix += (acted * excess[:, None]).T @ acted
    return matrix
