"""Scores made comparable: the affine map from a score to the log-odds that somebody acts later, and how well it holds.

Source: Platt, Advances in Large Margin Classifiers, 1999: logistic regression of what happened on the score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

STEPS: Final = 50  # of Newton's method; some ten suffice unless the scores part what happened from what did not
SOFTEST: Final = 1e-6  # of a ridge, in standard deviations: keeps a perfect parting from running away
BINS: Final = 10


@dataclass(frozen=True, slots=True)
class Logit:
    """log-odds = Σ slopes · scores + intercept. errors: standard errors of the slopes."""

    slopes: tuple[float, ...]
    intercept: float
    errors: tuple[float, ...]

    def holds(self, of: int, standard_errors: float = 2.0) -> bool:
        """Whether a higher score goes with acting beyond doubt."""
        return self.slopes[of] > standard_errors * self.errors[of]


def fit_logit(scores: Floats, acted: npt.NDArray[np.bool_], weights: Floats) -> Logit:
    """Logistic regression. Shapes: scores (pairs, of how many kinds); acted, weights (pairs,).

    weights: how many pairs each stands for, where only some of those that were not acted on are looked at.
    A kind of score without variance gets slope 0. Raises ValueError when all or none acted.
    """
    if acted.all() or not acted.any():
        raise ValueError("a logit needs pairs that were acted on and pairs that were not")
    total = float(weights.sum())
    means = weights @ scores / total
    spreads = np.sqrt(weights @ (scores - means) ** 2 / total)
    varied = np.flatnonzero(spreads > 0)
    design = np.column_stack([(scores[:, varied] - means[varied]) / spreads[varied], np.ones(len(scores))])
    share = float(weights[acted].sum()) / total
    coefficients = np.zeros(design.shape[1])
    coefficients[-1] = np.log(share / (1 - share))
    soft = np.full(design.shape[1], SOFTEST * total)
    soft[-1] = 0.0
    for _ in range(STEPS):
        chances = sigmoid(design @ coefficients)
        slope = design.T @ (weights * (acted - chances)) - soft * coefficients
        information = (design * (weights * chances * (1 - chances))[:, None]).T @ design + np.diag(soft)
        step = np.linalg.solve(information, slope)
        coefficients += step / max(1.0, float(np.abs(step).max()))
        if float(np.abs(step).max()) < 1e-9:
            break
    errors = np.sqrt(np.diag(np.linalg.inv(information)))
    slopes, slope_errors = np.zeros(scores.shape[1]), np.zeros(scores.shape[1])
    slopes[varied] = coefficients[:-1] / spreads[varied]
    slope_errors[varied] = errors[:-1] / spreads[varied]
    return Logit(tuple(slopes.tolist()), float(coefficients[-1] - slopes @ means), tuple(slope_errors.tolist()))


def sigmoid(logits: Floats) -> Floats:
    """1 / (1 + exp(-x)) without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)))


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Pairs of like predicted probability: its mean, the share that was acted on, and how many pairs there are."""

    predicted: float
    observed: float
    pairs: float


def reliability(
    chances: Floats, acted: npt.NDArray[np.bool_], weights: Floats, bins: int = BINS
) -> Sequence[ReliabilityBin]:
    """The reliability curve, of bins that hold about as many acted-on pairs each, from unlikely to likely.

    Such pairs are rare: bins of equal width or equal size would put nearly all of them into the last one.
    """
    order = np.argsort(chances, kind="stable")
    chances, acted, weights = chances[order], acted[order], weights[order]
    done = np.cumsum(acted)
    places = np.searchsorted(done, np.linspace(0, done[-1], bins + 1)[1:-1]) if len(done) else np.empty(0, np.intp)
    parts = np.split(np.arange(len(chances)), np.unique(places) + 1)
    return tuple(
        ReliabilityBin(
            float(np.average(chances[part], weights=weights[part])),
            float(np.average(acted[part], weights=weights[part])),
            float(weights[part].sum()),
        )
        for part in parts
        if len(part)
    )
