"""Who suits whom by content: a bilinear map, learnt from what happened, between what jobs and what talents say.

One side's events may be too few to place a job or a talent by them (a client acts on some ten talents for a job), and
still enough to learn which kinds of talents are wanted for which kinds of jobs.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from recommender.model import Factors

WIDTH: Final = 64  # of the factors; 128 gain 1 % more hires in the top 20 of the demo market
SKETCH: Final = 256  # directions of each side's features that are looked at
SHRINKAGE: Final = 3.0  # ridge, in rows of unit length; 1 and 10 find 3 % fewer hires
POWER_STEPS: Final = 2  # of subspace iteration

Floats = npt.NDArray[np.float64]


def suitability(
    wanted: sp.csr_matrix,
    talent_rows: sp.csr_matrix,
    job_rows: sp.csr_matrix,
    known_talents: npt.NDArray[np.intp],
    known_jobs: npt.NDArray[np.intp],
    seed: int,
) -> tuple[Factors, Factors]:
    """Factors of everything described: their product is a ridge regression of `wanted` on both sides' features.

    Shapes: wanted (talents, jobs), above 0 where the pair was wanted; talent_rows, job_rows (described, features);
    known_talents, known_jobs: places of wanted's rows and columns among the described, -1 for one that is not. The
    factors are (described, at most WIDTH). W = (A'A + λ)⁻¹ A'MB (B'B + λ)⁻¹ for sketched features A and B, cut to its
    largest directions in the metric of the known rows.
    """
    rng = np.random.default_rng(seed)
    talents, jobs = _sketched(talent_rows, rng), _sketched(job_rows, rng)
    rows, columns = np.flatnonzero(known_talents >= 0), np.flatnonzero(known_jobs >= 0)
    target = (wanted[rows][:, columns] > 0).astype(np.float64)
    left, right = talents[known_talents[rows]], jobs[known_jobs[columns]]
    if not target.nnz or not left.shape[1] or not right.shape[1]:
        return np.zeros((len(talents), 0), np.float32), np.zeros((len(jobs), 0), np.float32)
    # With A'A + λ = L L' and B'B + λ = R R', the regression is A L'⁻¹ C R⁻¹ B' with C = L⁻¹ A'M B R'⁻¹.
    of_left, of_right = _root(left), _root(right)
    core = np.linalg.solve(of_right, np.linalg.solve(of_left, left.T @ (target @ right)).T).T
    towards, strengths, back = np.linalg.svd(core, full_matrices=False)
    width = min(WIDTH, len(strengths))
    scale = np.sqrt(strengths[:width])
    talent_factors = talents @ np.linalg.solve(of_left.T, towards[:, :width] * scale)
    job_factors = jobs @ np.linalg.solve(of_right.T, back[:width].T * scale)
    return talent_factors.astype(np.float32), job_factors.astype(np.float32)


def _root(rows: Floats) -> Floats:
    """The Cholesky factor of F'F + λ."""
    return np.asarray(np.linalg.cholesky(rows.T @ rows + SHRINKAGE * np.eye(rows.shape[1])), dtype=np.float64)


def _sketched(rows: sp.csr_matrix, rng: np.random.Generator) -> Floats:
    """The rows in the coordinates of their strongest directions, found by subspace iteration.

    Source: Halko, Martinsson & Tropp, SIAM Review 2011.
    """
    width = min(SKETCH, *rows.shape)
    wide = rows.astype(np.float64)
    basis = rng.standard_normal((rows.shape[1], width))
    for _ in range(POWER_STEPS + 1):
        basis, _ = np.linalg.qr(wide.T @ (wide @ basis))
    return np.asarray(wide @ basis)
