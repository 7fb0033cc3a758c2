"""Hyper-parameters in terms that carry over from one log to another, and what the shape of a log suggests."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from recommender.events import AS_LISTED, Emphasis
from recommender.likeness import Likeness
from recommender.model import Hyperparameters

SEED = 42
FACTORS = 64
ITERATIONS = 15  # ten lose up to 0.5 % of recall@20; thirty gain 0.4 % on one log and lose 5 % on another
FAINT = 0.003  # of popularity: decides where a history says nothing, as of a job that nobody else acted on; else silent
NEIGHBOURS = 0.3  # of the neighbour sum beside the factors; on 3 of 9 logs the best of .1, .3, 1, 3
CONTENT = 0.1  # of neighbours by content beside the factors: costs nothing where content says little
PRIOR = 5.0  # gains 18 % of ndcg@20 beside one event, 8 % beside two, 1 % beside five; see docs/decisions/0018
LIKENESS = Likeness(talent=1, source=0.5, target=0.2)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Hyper-parameters that mean the same on every log; `resolve` gives the numbers.

    strength: alpha × the typical weight, so the confidence of a typical pair is 1 + strength.
    shrinkage: regularisation / (1 + strength): about how many talents a pattern must stand on to be kept. A direction
    of the confidence matrix survives when its singular value exceeds the regularisation.
    likeness: of neighbours. neighbours: weight of their sum in lists of jobs, talent_neighbours in lists of talents;
    at 1 the best neighbours of a typical history are worth as much as its best products of factors.
    emphasis: what is made of the weights of event types.
    prior: how many preferred items a subject's description is worth.
    content: weight of neighbours by content for jobs with events of their own, talent_content for talents; at 1 their
    best sums are worth as much as the best products of factors.
    popularity: what the most popular job gains, in shares of what the best jobs of a typical talent score by both.
    """

    factors: int
    strength: float
    shrinkage: float
    half_life_days: float | None = None
    popularity: float = FAINT
    likeness: Likeness = LIKENESS
    neighbours: float = NEIGHBOURS
    talent_neighbours: float = NEIGHBOURS
    iterations: int = ITERATIONS
    content: float = CONTENT
    talent_content: float = CONTENT
    emphasis: Emphasis = AS_LISTED
    prior: float = PRIOR


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
        # Where a talent shares nothing with anybody else, factors are noise: neighbours and popularity say more.
        popularity=float(np.clip(2.5 / events_per_row**2, FAINT, 1.0)),
        neighbours=float(np.clip(10 / events_per_row**2, NEIGHBOURS, 10.0)),
    )


def carried_over(recipe: Recipe, chosen_on: sp.csr_matrix, to: sp.csr_matrix) -> Recipe:
    """A recipe chosen on a part of a log for more of it: what it departs from the formula by is kept, in proportion."""
    return brought_over(recipe, default_recipe(chosen_on), default_recipe(to))


def brought_over(recipe: Recipe, part: Recipe, whole: Recipe) -> Recipe:
    """As `carried_over`, between the formula's recipes of the two."""
    return replace(
        recipe,
        strength=recipe.strength * whole.strength / part.strength,
        shrinkage=recipe.shrinkage * whole.shrinkage / part.shrinkage,
        popularity=whole.popularity if recipe.popularity == part.popularity else recipe.popularity,
    )


def resolve(recipe: Recipe, matrix: sp.csr_matrix, seed: int = SEED) -> Hyperparameters:
    """The recipe's numbers for one matrix of signed weights; popularity, which takes fitted factors, is left at 0.

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
    sums = (np.asarray(squares.sum(axis=axis, dtype=np.float64)) for axis in (0, 1))
    longest = float(np.sqrt(max(of_axis.max(initial=0.0) for of_axis in sums)))
    likeness = recipe.likeness
    return Hyperparameters(
        factors=recipe.factors,
        regularization=min(recipe.shrinkage * (1 + recipe.strength), longest / 2 or 1.0),
        alpha=alpha,
        iterations=recipe.iterations,
        half_life_days=recipe.half_life_days,
        seed=seed,
        neighbours=recipe.neighbours,
        talent_neighbours=recipe.talent_neighbours,
        content=recipe.content,
        talent_content=recipe.talent_content,
        emphasis=recipe.emphasis,
        prior=recipe.prior,
        likeness=(likeness.talent, likeness.source, likeness.target, likeness.shrinkage),
    )
