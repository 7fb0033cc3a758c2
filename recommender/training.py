"""From an event table to a model: the contenders of a comparison, the fit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from recommender.als import Start, fit, fit_jobs, fold_in_many, side_of
from recommender.baselines import Neighbours as NearBy
from recommender.baselines import Popularity, Scorer, item_knn, rp3beta
from recommender.blend import (
    ALONE,
    Blended,
    Content,
    FoldedIn,
    fit_neighbours,
    near_both_ways,
    popularity_weight,
    scale_of,
    voiced,
    weighed_content,
)
from recommender.cold_start import alike, content_rows, places_in, widened
from recommender.conjugate_gradients import OnIteration
from recommender.documents import Kind
from recommender.errors import BadInputError
from recommender.features import DescribedItems
from recommender.interactions import EventTable, affinity
from recommender.model import Fit, Hyperparameters, Manifest, Model, Neighbours, Ordinals, Side
from recommender.recipe import SEED, Recipe, resolve
from recommender.splits import Split

MOVED: Final = 1.5  # times, of confidence or regularisation since an earlier model


def contenders(
    split: Split,
    recipe: Recipe,
    *,
    seed: int = SEED,
    on_iteration: OnIteration | None = None,
    content: Content | None = None,
) -> dict[str, Callable[[], Scorer]]:
    """The algorithms of a comparison, each to be learnt from the split's train part when its turn comes.

    "als" is the factors of the recipe alone, "served" everything that it says; they share one fit. "content" is
    neighbours by content alone, where jobs are described.
    """
    return contenders_both_ways(split, recipe, seed=seed, on_iteration=on_iteration, content=content)[Kind.JOB]


def contenders_both_ways(
    split: Split,
    recipe: Recipe,
    *,
    seed: int = SEED,
    on_iteration: OnIteration | None = None,
    content: Content | None = None,
) -> dict[Kind, dict[str, Callable[[], Scorer]]]:
    """The algorithms that list jobs for talents, and those that list talents for jobs; all share one fit.

    Rows and columns of the latter are jobs and talents: they answer the questions of the transposed split.
    """
    matrix = affinity(split.train, recipe.half_life_days, split.train.newest_ms, recipe.emphasis)
    hyper = resolve(recipe, matrix, seed)
    fitted: dict[Kind, FoldedIn] = {}
    near = near_both_ways(content, matrix)

    def factors(kind: Kind) -> FoldedIn:
        if kind not in fitted:
            fitted[kind] = (
                FoldedIn(matrix, side_of(fit_jobs(matrix, hyper, on_iteration)), hyper)
                if kind is Kind.JOB
                else factors(Kind.JOB).transposed()
            )
        return fitted[kind]

    def served_jobs() -> Blended:
        alone = factors(Kind.JOB)
        rows, typical = fit_neighbours(matrix, alone.jobs, hyper, recipe, seed)
        prior = popularity_weight(typical, recipe.neighbours, recipe.popularity)
        by_content = weighed_content(near[Kind.JOB], alone, recipe.content, seed)
        return Blended(alone.lending(near).with_popularity(prior), rows, by_content)

    def served_talents() -> Blended:
        alone = factors(Kind.TALENT)
        rows, _ = fit_neighbours(alone.history, alone.jobs, hyper, recipe, seed)
        by_content = weighed_content(near[Kind.TALENT], alone, recipe.talent_content, seed)
        lent = factors(Kind.JOB).lending_both(near)
        return Blended(lent.under(replace(hyper, neighbours=hyper.talent_neighbours)), rows, by_content)

    def of(kind: Kind, history: sp.csr_matrix, served: Callable[[], Scorer]) -> dict[str, Callable[[], Scorer]]:
        by_content: dict[str, Callable[[], Scorer]] = {"content": lambda: NearBy(voiced(history), near[kind])}
        return {
            "popularity": lambda: Popularity(history),
            "item_knn": lambda: item_knn(history),
            "rp3beta": lambda: rp3beta(history),
            **(by_content if near[kind] is not None else {}),
            "als": lambda: factors(kind).with_popularity(ALONE),
            "served": served,
        }

    return {
        Kind.JOB: of(Kind.JOB, matrix, served_jobs),
        Kind.TALENT: of(Kind.TALENT, matrix.T.tocsr(), served_talents),
    }


def version_of(trained_at_ms: int, nonce: str) -> str:
    """A model's version: sorts by time to the millisecond, unique by the nonce."""
    at = datetime.fromtimestamp(trained_at_ms / 1000, UTC)
    return f"{at:%Y%m%dT%H%M%S}.{trained_at_ms % 1000:03d}Z-{hashlib.sha256(nonce.encode()).hexdigest()[:8]}"


def train(
    table: EventTable,
    recipe: Recipe,
    *,
    talent_ordinals: Ordinals,
    job_ordinals: Ordinals,
    as_of_ms: int | None,
    watermark: int,
    trained_at_ms: int,
    nonce: str,
    seed: int = SEED,
    metrics: Mapping[str, Mapping[str, float]] | None = None,
    on_iteration: OnIteration | None = None,
    described: Mapping[Kind, DescribedItems] | None = None,
    earlier: Earlier | None = None,
) -> Model:
    """A model of everything in `table`, and of what `described` says of those that no event speaks of.

    talent_ordinals, job_ordinals: the catalogue's number of each of the table's ids. as_of_ms: the now that ages are
    measured from. watermark: seq of the last event of the log that was read. trained_at_ms, nonce: see `version_of`.
    earlier: to go on from where that will do, see `start_from`.
    Raises: BadInputError when no event in force speaks for a pair.
    """
    matrix = affinity(table, recipe.half_life_days, as_of_ms, recipe.emphasis)
    if not (matrix.data > 0).any():
        raise BadInputError(
            "there is nothing to learn from: training needs at least one VIEW, SAVE, APPLY, SHORTLIST, INVITE, "
            f"INTERVIEW, OFFER, HIRE or ACCEPT in force, and none of the {len(table)} events is"
        )
    talents = _rows_in_order(talent_ordinals, np.diff(matrix.indptr))
    jobs = _rows_in_order(job_ordinals, np.bincount(matrix.indices, minlength=matrix.shape[1]))
    matrix = matrix[talents][:, jobs]
    matrix.sort_indices()
    hyper = resolve(recipe, matrix, seed)
    start = None if earlier is None else start_from(earlier.fit, hyper, talent_ordinals[talents], job_ordinals[jobs])
    talent_factors, job_factors = fit(matrix, hyper, on_iteration, start)
    near_jobs, typical = fit_neighbours(matrix, side_of(job_factors), hyper, recipe, seed)
    near_talents, _ = fit_neighbours(matrix.T.tocsr(), side_of(talent_factors), hyper, recipe, seed)
    hyper = replace(hyper, popularity=popularity_weight(typical, recipe.neighbours, recipe.popularity))
    positive = matrix.maximum(0)
    of_talents, of_jobs = (_sums(positive, axis).astype(np.float32) for axis in (1, 0))
    talent_side = Side(talent_ordinals[talents], talent_factors, of_talents, Neighbours.of(near_talents))
    job_side = Side(job_ordinals[jobs], job_factors, of_jobs, Neighbours.of(near_jobs))
    if described is not None:
        job_side, weight = _with_content(
            job_side, described[Kind.JOB], matrix, hyper, hyper.neighbours, hyper.content, seed
        )
        talent_side, talent_weight = _with_content(
            talent_side,
            described[Kind.TALENT],
            matrix.T.tocsr(),
            hyper,
            hyper.talent_neighbours,
            hyper.talent_content,
            seed,
        )
        hyper = replace(hyper, neighbours=weight, talent_neighbours=talent_weight)
        if talent_side.lent is not None:
            learnt = np.flatnonzero(talent_side.is_learnt)
            talent_factors = talent_side.factors.copy()
            talent_factors[learnt] = fold_in_many(
                side_of(job_factors), matrix, hyper, talent_side.lent[learnt].astype(np.float64)
            )
            talent_side = replace(talent_side, factors=talent_factors)
    return Model(
        manifest=Manifest(
            version=version_of(trained_at_ms, nonce),
            trained_at_ms=trained_at_ms,
            as_of_ms=as_of_ms,
            watermark=watermark,
            events=len(table),
            hyperparameters=hyper,
            metrics=metrics or {},
            started_from=earlier.version if earlier is not None and start is not None else None,
        ),
        talents=talent_side,
        jobs=job_side,
    )


@dataclass(frozen=True, eq=False)
class Earlier:
    """An interest of an earlier model."""

    version: str
    fit: Fit


def start_from(fit: Fit, hyper: Hyperparameters, talents: Ordinals, jobs: Ordinals) -> Start | None:
    """The factors that an earlier fit had for some talents and jobs; None where they are no start for this one.

    They are none where events were weighed otherwise, where the factors have another width or, as confidence or
    regularisation have moved by more than MOVED, another length, and where most of the rows are new.
    """
    old = fit.hyperparameters
    moved = [(hyper.alpha, old.alpha), (hyper.regularization, old.regularization)]
    alike_weighed = (hyper.half_life_days, hyper.emphasis) == (old.half_life_days, old.emphasis)
    if not alike_weighed or hyper.factors != old.factors or any(max(a, b) > MOVED * min(a, b) for a, b in moved):
        return None
    sides = ((fit.talents, talents), (fit.jobs, jobs))
    known = [side.rows(ordinals) >= 0 for side, ordinals in sides]
    if any(2 * np.count_nonzero(of) < len(of) for of in known):
        return None
    of_talents, of_jobs = (side.factors_of(ordinals).astype(np.float32) for side, ordinals in sides)
    return Start(of_talents, of_jobs, *known)


def _with_content(
    side: Side,
    items: DescribedItems,
    history: sp.csr_matrix,
    hyper: Hyperparameters,
    weight: float,
    content: float,
    seed: int,
) -> tuple[Side, float]:
    """The side with what its items say of themselves, and the weight of neighbours in its lists from now on.

    history: subjects × the side's rows. weight, content: of neighbours by behaviour and by content. Where those
    by behaviour have no weight, those by content stand alone.
    """
    itself = places_in(side.ordinals, items.ordinals)
    likeness = alike(items.rows, items.at(side.ordinals).T.tocsr(), itself)
    if not likeness.nnz:
        return side, weight
    scale, _ = scale_of(content_rows(likeness, itself), history, side, replace(hyper, popularity=0.0), seed)
    if weight == 0:
        side, weight = replace(side, neighbours=Neighbours.none()), 1.0
    return widened(side, items, likeness, scale / weight, content), weight


def _rows_in_order(ordinals: Ordinals, counts: npt.NDArray[np.integer]) -> npt.NDArray[np.intp]:
    """Rows that say anything, ascending by ordinal."""
    rows = np.flatnonzero(counts)
    ordered: npt.NDArray[np.intp] = rows[np.argsort(ordinals[rows], kind="stable")]
    return ordered


def _sums(matrix: sp.csr_matrix, axis: int) -> npt.NDArray[np.float64]:
    sums: npt.NDArray[np.float64] = np.asarray(matrix.sum(axis=axis, dtype=np.float64)).ravel()
    return sums
