"""From an event table to a model: hyper-parameters that follow the data, the contenders of a comparison, the fit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from recommender import metrics as measures
from recommender.als import OnIteration, fit, fit_jobs, fold_in_many, side_of
from recommender.baselines import Popularity, Scorer, Scores, item_knn, rp3beta
from recommender.content import popularity_bias
from recommender.errors import BadInputError
from recommender.evaluation import Trial, build_trial, top_lists
from recommender.interactions import DAY_MS, UNKNOWN_TIME, EventTable, affinity
from recommender.model import Hyperparameters, Manifest, Model, Ordinals, Side
from recommender.splits import Split, split_events

SEED = 42
FACTORS = 64
WIDE_FACTORS = 128
WIDE_MARGIN = 0.02  # a wider model costs in proportion at every request, so it has to pay for itself
HALF_LIVES_DAYS = (30.0, 90.0, 365.0)  # tried; none stands without need
ITERATIONS = 15  # ten lose up to 0.5 % of recall@20; thirty gain 0.4 % on one log and lose 5 % on another
TRIAL_ITERATIONS = 8  # enough to rank candidates
TRIAL_K = 20
TRIAL_TALENTS = 4_000
TRIAL_PAIRS = 400_000  # of a larger log a share of the talents stands for the rest, so the choice stays cheap
FEWEST_TALENTS = 50  # below, a validation split says nothing and the formula stands
MOST_TRIALS = 17
FAINT = 0.001  # of popularity: decides where a history says nothing, as of a job that nobody else acted on; else silent
POPULARITIES = (0.1, 0.2, 0.4)  # tried


@dataclass(frozen=True, slots=True)
class Recipe:
    """Hyper-parameters in terms that carry over from one log to another; `resolve` gives the numbers.

    strength: alpha × the typical weight, so the confidence of a typical pair is 1 + strength.
    shrinkage: regularisation / (1 + strength): about how many talents a pattern must stand on to be kept. A direction
    of the confidence matrix survives when its singular value exceeds the regularisation.
    popularity: see Hyperparameters.
    """

    factors: int
    strength: float
    shrinkage: float
    half_life_days: float | None = None
    popularity: float = FAINT


def default_recipe(matrix: sp.csr_matrix) -> Recipe:
    """What the shape of the log suggests, before anything is measured on it.

    Fitted on eight unlike logs; docs/decisions/0006-default-hyperparameters.md has the figures.
    """
    pairs = int(np.count_nonzero(matrix.data > 0))
    talents = max(int(np.count_nonzero(np.diff(matrix.indptr))), 1)
    jobs = max(len(np.unique(matrix.indices)), 1)
    density = max(pairs, 1) / (talents * jobs)
    events_per_row = max(pairs, 1) / np.sqrt(talents * jobs)  # geometric mean over both sides
    strength = float(np.clip(min(8 * density ** (-1 / 3), 0.3 / density), 3, 200))
    # In a dense log a silent pair says nearly as much as an event: confidences are weak there, and patterns that a few
    # talents share are noise.
    caution = max((21 / (1 + strength)) ** 0.3, 1.0)
    return Recipe(
        factors=FACTORS,
        strength=strength,
        shrinkage=float(np.clip(1.3 * events_per_row ** (1 / 3) * caution, 1.8, 10)),
        popularity=float(np.clip(0.25 / events_per_row**2, FAINT, POPULARITIES[0])),
    )


def carried_over(recipe: Recipe, chosen_on: sp.csr_matrix, to: sp.csr_matrix) -> Recipe:
    """A recipe chosen on a part of a log for more of it: what it departs from the formula by is kept, in proportion."""
    part, whole = default_recipe(chosen_on), default_recipe(to)
    return replace(
        recipe,
        strength=recipe.strength * whole.strength / part.strength,
        shrinkage=recipe.shrinkage * whole.shrinkage / part.shrinkage,
        popularity=whole.popularity if recipe.popularity == part.popularity else recipe.popularity,
    )


def resolve(recipe: Recipe, matrix: sp.csr_matrix, seed: int = SEED, iterations: int = ITERATIONS) -> Hyperparameters:
    """The recipe's numbers for one matrix of signed weights.

    Regularisation at or above the largest singular value of the confidences leaves nothing but zeros, so it ends at
    half of a lower bound of that: the longest row or column.
    """
    weights = np.abs(matrix.data.astype(np.float64))
    # The mean with the largest hundredth cut to its edge: a few huge values must not silence the rest. Not the median:
    # under decay most weights of a long log are tiny.
    typical = float(np.minimum(weights, np.quantile(weights, 0.99)).mean()) if len(weights) else 1.0
    alpha = recipe.strength / max(typical, 1e-12)
    squares = matrix.maximum(0).astype(np.float64)
    squares.data = (1 + alpha * squares.data) ** 2
    longest = float(np.sqrt(max(_sums(squares, axis).max(initial=0.0) for axis in (0, 1))))
    return Hyperparameters(
        factors=recipe.factors,
        regularization=min(recipe.shrinkage * (1 + recipe.strength), longest / 2 or 1.0),
        alpha=alpha,
        iterations=iterations,
        half_life_days=recipe.half_life_days,
        seed=seed,
        popularity=recipe.popularity,
    )


@dataclass(slots=True)
class _Search:
    """Hill climbing over recipes on one validation split. Remembers what it measured."""

    split: Split
    trial: Trial
    seed: int
    on_trial: Callable[[int, int], None]
    measured: dict[Recipe, npt.NDArray[np.float64]] = field(default_factory=dict)
    fitted: tuple[Recipe, FoldedIn] | None = None  # the last; recipes that differ in popularity alone share a fit

    def gains(self, recipe: Recipe) -> npt.NDArray[np.float64]:
        """recall@20 + ndcg@20 of each asked talent."""
        if recipe not in self.measured:
            bare = replace(recipe, popularity=0.0)
            if self.fitted is None or self.fitted[0] != bare:
                self.fitted = bare, _als(self.split, bare, self.seed, TRIAL_ITERATIONS)
            scorer = self.fitted[1].with_popularity(recipe.popularity)
            hits = measures.hits_of(top_lists(scorer, self.trial, TRIAL_K), self.trial.relevance)
            relevant = self.trial.relevant
            self.measured[recipe] = measures.recall(hits, relevant, TRIAL_K) + measures.ndcg(hits, relevant, TRIAL_K)
            self.on_trial(len(self.measured), MOST_TRIALS)
        return self.measured[recipe]

    def better(
        self, best: Recipe, candidates: Sequence[Recipe], margin: float = 0.0, standard_errors: float = 1.0
    ) -> Recipe:
        """The best of all; a candidate must win by that much, and by `margin` of the incumbent's mean."""
        for candidate in candidates:
            if candidate not in self.measured and len(self.measured) >= MOST_TRIALS:
                break
            difference = self.gains(candidate) - self.gains(best)
            error = float(difference.std() / np.sqrt(len(difference)))
            if difference.mean() > max(standard_errors * error, margin * self.gains(best).mean()):
                best = candidate
        return best


def choose_recipe(
    table: EventTable, *, seed: int = SEED, on_trial: Callable[[int, int], None] = lambda done, of: None
) -> Recipe:
    """Hyper-parameters for a log, by a short hill climb from the formula's on a split inside `table`.

    Deterministic; sees nothing but `table`. At most `MOST_TRIALS` fits of `TRIAL_ITERATIONS` over `TRIAL_PAIRS`. With
    too few talents to measure on, the formula stands.
    """
    everything = affinity(table, None, None)
    split = split_events(_sampled(table, seed), seed=seed)
    trial = build_trial(split, TRIAL_TALENTS, seed)
    if trial.population < FEWEST_TALENTS:
        return default_recipe(everything)
    part = affinity(split.train, None, None)
    start = default_recipe(part)
    search = _Search(split, trial, seed, on_trial)
    best = search.better(start, [replace(start, half_life_days=days) for days in _half_lives(split.train)])
    for _ in range(2):
        before = best
        for name, factor in (("shrinkage", 1.6), ("strength", 2.5)):
            value = getattr(best, name)
            best = search.better(
                best, [replace(best, **{name: value * factor}), replace(best, **{name: value / factor})]
            )
        if best == before:
            break
    best = search.better(best, [replace(best, factors=WIDE_FACTORS)], margin=WIDE_MARGIN)
    if best.factors == WIDE_FACTORS:
        # Where many patterns pay, weak ones may as well, and a step of the climb is too short to see it. On the widest
        # and sparsest logs a gain of 5 % stays within the error, so the better mean decides between these two.
        weak = replace(best, strength=best.strength / 2, shrinkage=best.shrinkage / 6)
        best = search.better(best, [weak], standard_errors=0.0)
    best = search.better(best, [replace(best, popularity=popularity) for popularity in POPULARITIES])
    return carried_over(best, part, everything)


def _half_lives(table: EventTable) -> list[float]:
    """Half-lives that make a difference on this log: those shorter than its span."""
    known = table.at_ms[table.at_ms != UNKNOWN_TIME]
    span_days = (int(known.max()) - int(known.min())) / DAY_MS if len(known) else 0.0
    return [days for days in HALF_LIVES_DAYS if days < span_days]


def _sampled(table: EventTable, seed: int) -> EventTable:
    """All events of as many talents, drawn by chance, as make about TRIAL_PAIRS pairs."""
    pairs = len(np.unique(table.pair))
    if pairs <= TRIAL_PAIRS:
        return table
    drawn = np.random.default_rng(seed).random(len(table.talent_ids)) < TRIAL_PAIRS / pairs
    return table.take(drawn[table.talent])


def _as_of(split: Split) -> int | None:
    """The now of a learner before the cut: its newest event."""
    return split.train.newest_ms


class FoldedIn:
    """Scores of a fitted ALS: each asked talent is folded in from its whole history when its turn comes."""

    def __init__(self, history: sp.csr_matrix, hyper: Hyperparameters, on_iteration: OnIteration | None = None) -> None:
        self._history, self._hyper = history, hyper
        self._jobs = replace(
            side_of(fit_jobs(history, hyper, on_iteration)),
            popularity=_sums(history.maximum(0), axis=0).astype(np.float32),
        )

    def with_popularity(self, popularity: float) -> FoldedIn:
        """The same fit under another weight of popularity."""
        other = copy(self)
        other._hyper = replace(self._hyper, popularity=popularity)
        return other

    def scores(self, talents: npt.NDArray[np.intp]) -> Scores:
        """talents × jobs."""
        folded = fold_in_many(self._jobs, self._history[talents], self._hyper).astype(np.float32)
        scores: Scores = folded @ self._jobs.factors.T
        scores += popularity_bias(self._jobs, self._hyper.popularity).values.astype(np.float32)
        return scores


def _als(split: Split, recipe: Recipe, seed: int, iterations: int, on_iteration: OnIteration | None = None) -> FoldedIn:
    matrix = affinity(split.train, recipe.half_life_days, _as_of(split))
    return FoldedIn(matrix, resolve(recipe, matrix, seed, iterations), on_iteration)


def contenders(
    split: Split, recipe: Recipe, *, seed: int = SEED, on_iteration: OnIteration | None = None
) -> dict[str, Callable[[], Scorer]]:
    """The algorithms of a comparison, each to be learnt from the split's train part when its turn comes."""
    decayed = affinity(split.train, recipe.half_life_days, _as_of(split))
    return {
        "popularity": lambda: Popularity(decayed),
        "item_knn": lambda: item_knn(decayed),
        "rp3beta": lambda: rp3beta(decayed),
        "als": lambda: _als(split, recipe, seed, ITERATIONS, on_iteration),
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
) -> Model:
    """A model of everything in `table`.

    talent_ordinals, job_ordinals: the catalogue's number of each of the table's ids. as_of_ms: the now that ages are
    measured from. watermark: seq of the last event of the log that was read. trained_at_ms, nonce: see `version_of`.
    Raises: BadInputError when no event in force speaks for a pair.
    """
    matrix = affinity(table, recipe.half_life_days, as_of_ms)
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
    talent_factors, job_factors = fit(matrix, hyper, on_iteration)
    positive = matrix.maximum(0)
    return Model(
        manifest=Manifest(
            version=version_of(trained_at_ms, nonce),
            trained_at_ms=trained_at_ms,
            as_of_ms=as_of_ms,
            watermark=watermark,
            events=len(table),
            hyperparameters=hyper,
            metrics=metrics or {},
        ),
        talents=Side(talent_ordinals[talents], talent_factors, _sums(positive, axis=1).astype(np.float32)),
        jobs=Side(job_ordinals[jobs], job_factors, _sums(positive, axis=0).astype(np.float32)),
    )


def _rows_in_order(ordinals: Ordinals, counts: npt.NDArray[np.integer]) -> npt.NDArray[np.intp]:
    """Rows that say anything, ascending by ordinal."""
    rows = np.flatnonzero(counts)
    ordered: npt.NDArray[np.intp] = rows[np.argsort(ordinals[rows], kind="stable")]
    return ordered


def _sums(matrix: sp.csr_matrix, axis: int) -> npt.NDArray[np.float64]:
    sums: npt.NDArray[np.float64] = np.asarray(matrix.sum(axis=axis, dtype=np.float64)).ravel()
    return sums
