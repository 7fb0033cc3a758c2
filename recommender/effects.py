"""What a score would lose without one acted-on item: its effect, as against its share of the sum.

A share says how the sum is made up; it does not say what would happen without its item: the fold-in would be solved
from the others, which then explain more, or less, of what is left. The item with the largest share may even hold a
score down. So only effects speak of cause: docs/decisions/0020-steering.md.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recommender.interest import Interest, normal_matrix
from recommender.model import Hyperparameters, Side
from recommender.scoring import Scores


def effects(
    interest: Interest, side: Side, hyper: Hyperparameters, factors: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """score(with) − score(without) of each item, by the fold-in, for each acted-on item left out by itself.

    Shapes: (items, acted-on items) for factors (items, width).
    The other items keep their weights. With x = A⁻¹b and A = B + e·yyᵀ, b = a + cp·y, where B and a are without the
    item, Sherman and Morrison's formula for B⁻¹ gives x − B⁻¹a = A⁻¹y · (cp − e·y·x) / (1 − e·yᵀA⁻¹y): one solve for
    all of them. The denominator is 1 / (1 + e·yᵀB⁻¹y), so above 0. What a description lends is in x and b as well, and
    grows when one of n preferred items is left out: from prior / (prior + n) to prior / (prior + n − 1).
    """
    acted = side.factors[interest.rows].astype(np.float64)
    excess = hyper.alpha * np.abs(interest.weights)
    normal = normal_matrix(interest, side, hyper)
    solved = np.linalg.solve(normal, acted.T)
    remaining: Scores = 1.0 - excess * np.einsum("ij,ji->i", acted, solved)
    pulled = np.where(interest.weights > 0, 1.0 + excess, 0.0) - excess * (acted @ interest.vector)
    lost = solved * (pulled / remaining)
    if hyper.prior > 0:
        lost -= _grown(interest, acted, excess, solved, remaining, normal, hyper.prior)
    answer: npt.NDArray[np.float64] = factors @ lost
    return answer


def _grown(
    interest: Interest,
    acted: npt.NDArray[np.float64],
    excess: npt.NDArray[np.float64],
    solved: npt.NDArray[np.floating],
    remaining: npt.NDArray[np.floating],
    normal: npt.NDArray[np.float64],
    prior: float,
) -> npt.NDArray[np.float64]:
    """What a description would add to the vector without each acted-on item. Shape (width, acted-on items).

    It is what the equations hold on the right besides what was preferred, A·x − Σ c·y, times the growth of its share;
    solved by B⁻¹ = A⁻¹ + e·A⁻¹y(A⁻¹y)ᵀ / (1 − e·yᵀA⁻¹y).
    """
    preferred = interest.weights > 0
    given = normal @ interest.vector - acted.T @ np.where(preferred, 1.0 + excess, 0.0)
    growth = 1.0 / (prior + max(int(np.count_nonzero(preferred)) - 1, 0))
    share = np.linalg.solve(normal, given)
    grown = share[:, None] + solved * (excess * (acted @ share) / remaining)
    added: npt.NDArray[np.float64] = np.where(preferred, growth, 0.0) * grown
    return added


def neighbour_effects(interest: Interest, shares: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The same of the neighbour sum. Without one of n preferred items each of the others says 1/√(n − 1).

    shares: of the neighbour sum, see `neighbours.neighbour_shares`.
    """
    preferred = interest.weights > 0
    count = int(np.count_nonzero(preferred))
    total: Scores = shares.sum(axis=1, keepdims=True)
    without = (total - shares) * np.sqrt(count / (count - 1)) if count > 1 else np.zeros_like(shares)
    lost: npt.NDArray[np.float64] = np.where(preferred, total - without, 0.0)
    return lost
