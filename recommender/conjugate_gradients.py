"""Alternating least squares by conjugate gradients: factors of both sides of a matrix of signed confidences.

Each row is solved by a few steps from what it was: (G + λI + Σ (|c|−1) y yᵀ) x = Σ c⁺ y with the other side's rows y,
G = YᵀY, and c⁺ the confidences above 0. No row depends on another of its side, and each sums in an order of its own,
so the factors are the same to the last bit whatever the number of threads.
Source: Takács, Pilászy & Tikk, RecSys 2011; the steps and the stop are those of `implicit`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from recommender.compiled import CORES, compiled, parts_of, spread
from recommender.model import Factors

STEPS = 3  # of each row in each iteration
PARTS = 64  # of the rows, to be spread over the cores
FETCHED = 1024  # rows of the other side that are brought into the second-level cache together: 256 KB at 64 factors
CACHE_LINE = 16  # float32
GRAM_ROWS = 8192  # summed at once, always in the same blocks

OnIteration = Callable[[int, int], None]  # (iterations done, of how many)


def alternate(
    confidence: sp.csr_matrix,
    rows: Factors,
    columns: Factors,
    regularization: float,
    iterations: int,
    threads: int = CORES,
    on_iteration: OnIteration | None = None,
) -> None:
    """Improve the factors of the rows and of the columns, in place, by so many iterations of both.

    Shapes: confidence (rows, columns), float32: 1 + alpha·w where the pair is preferred, −(1 + alpha·|w|) where it is
    turned down. rows and columns C-contiguous float32 of equal width.
    """
    turned = confidence.T.tocsr()
    for done in range(iterations):
        _improve(confidence, rows, columns, regularization, threads)
        _improve(turned, columns, rows, regularization, threads)
        if on_iteration is not None:
            on_iteration(done + 1, iterations)


def _improve(confidence: sp.csr_matrix, ours: Factors, theirs: Factors, regularization: float, threads: int) -> None:
    shared = _gram(theirs) + np.float32(regularization) * np.eye(theirs.shape[1], dtype=np.float32)
    lengths = np.diff(confidence.indptr)
    matrix = (confidence.indptr, confidence.indices, confidence.data)

    def part(first: int, end: int) -> None:
        _solve(first, end, matrix, ours, theirs, shared, np.zeros(1, np.float32))

    spread(part, parts_of(lengths + STEPS * ours.shape[1] // 4, PARTS if threads > 1 else 1), threads)


def _gram(factors: Factors) -> npt.NDArray[np.float32]:
    """FᵀF. In blocks of a fixed size, and by one thread: the order of the sums is then the same everywhere."""
    total = np.zeros((factors.shape[1], factors.shape[1]), np.float32)
    for start in range(0, len(factors), GRAM_ROWS):
        block = factors[start : start + GRAM_ROWS]
        total += block.T @ block
    return total


@compiled(reassociating=True)
def _solve(first, end, matrix, ours, theirs, shared, sink):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Some steps for some rows."""
    starts, columns, confidence = matrix
    width = ours.shape[1]
    residual, direction = np.empty(width, np.float32), np.empty(width, np.float32)
    product, x = np.empty(width, np.float32), np.empty(width, np.float32)
    for row in range(first, end):
        start, stop = starts[row], starts[row + 1]
        for at in range(width):
            x[at] = ours[row, at] if stop > start else 0.0
        square = np.float32(1.0)
        for step in range(STEPS + 1 if stop > start else 0):
            is_first = step == 0  # of the residual of what the row was, which is the first direction
            vector = x if is_first else direction
            _times(shared, vector, product)
            for begin in range(start, stop, FETCHED):
                count = min(stop - begin, FETCHED)
                if is_first or stop - start > FETCHED:
                    sink[0] += _fetch(theirs, columns, begin, count)
                _add(theirs, columns, confidence, begin, count, vector, product, is_first)
            along, left = np.float32(0.0), np.float32(0.0)
            for at in range(width):
                along += vector[at] * product[at]
            length = square / along
            for at in range(width):
                if is_first:
                    residual[at] = -product[at]
                else:
                    x[at] += length * direction[at]
                    residual[at] -= length * product[at]
                left += residual[at] * residual[at]
            if left < 1e-20:
                break
            for at in range(width):
                direction[at] = residual[at] if is_first else residual[at] + left / square * direction[at]
            square = left
        for at in range(width):
            ours[row, at] = x[at]


@compiled(reassociating=True)
def _fetch(theirs, columns, begin, count):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Bring some rows into the cache: many loads at once, where sums would wait for one after the other."""
    total = np.float32(0.0)
    for place in range(begin, begin + count):
        row = columns[place]
        for at in range(0, theirs.shape[1], CACHE_LINE):
            total += theirs[row, at]
    return total


@compiled(reassociating=True)
def _times(shared, vector, product):  # type: ignore[no-untyped-def]  # pragma: no cover
    """product = shared · vector, for a symmetric matrix."""
    width = len(vector)
    whole = width - width % 4
    product[:] = 0.0
    for row in range(0, whole, 4):
        a, b, c, d = vector[row], vector[row + 1], vector[row + 2], vector[row + 3]
        for at in range(width):
            product[at] += (
                a * shared[row, at] + b * shared[row + 1, at] + c * shared[row + 2, at] + d * shared[row + 3, at]
            )
    for row in range(whole, width):
        for at in range(width):
            product[at] += vector[row] * shared[row, at]


@compiled(reassociating=True)
def _add(theirs, columns, confidence, begin, count, vector, product, is_first):  # type: ignore[no-untyped-def]  # pragma: no cover
    """product += Σ ((|c|−1) y·vector − c⁺ if is_first) y, four rows at a time: one load of the sums serves them all."""
    width, whole = len(vector), begin + count - count % 4
    for place in range(begin, whole, 4):
        i, j, k, m = columns[place], columns[place + 1], columns[place + 2], columns[place + 3]
        a, b, c, d = np.float32(0.0), np.float32(0.0), np.float32(0.0), np.float32(0.0)
        for at in range(width):
            a += theirs[i, at] * vector[at]
            b += theirs[j, at] * vector[at]
            c += theirs[k, at] * vector[at]
            d += theirs[m, at] * vector[at]
        a = _weighed(confidence[place], a, is_first)
        b = _weighed(confidence[place + 1], b, is_first)
        c = _weighed(confidence[place + 2], c, is_first)
        d = _weighed(confidence[place + 3], d, is_first)
        for at in range(width):
            product[at] += a * theirs[i, at] + b * theirs[j, at] + c * theirs[k, at] + d * theirs[m, at]
    for place in range(whole, begin + count):
        i, a = columns[place], np.float32(0.0)
        for at in range(width):
            a += theirs[i, at] * vector[at]
        a = _weighed(confidence[place], a, is_first)
        for at in range(width):
            product[at] += a * theirs[i, at]


@compiled(reassociating=True)
def _weighed(confidence, dot, is_first):  # type: ignore[no-untyped-def]  # pragma: no cover
    weighed = (abs(confidence) - np.float32(1.0)) * dot
    return weighed - max(confidence, np.float32(0.0)) if is_first else weighed
