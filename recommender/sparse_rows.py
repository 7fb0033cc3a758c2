"""Products of large sparse matrices, of which each row's largest entries are kept and nothing else is ever stored."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from recommender.compiled import CORES, compiled, parts_of, spread

Floats = npt.NDArray[np.float64]

PARTS = 32  # of the rows, to be spread over the cores; each has room for one row of the product
SPARSE = 16  # a row of the product with fewer sums than one in so many columns is gone through entry by entry
BLOCK = 1024  # columns of a row that are looked at together: most blocks hold nothing that is large enough
FEW_CELLS = 20_000_000  # multiplications; below, threads cost more than they save


def largest_products(
    left: sp.csr_matrix,
    right: sp.csr_matrix,
    most: int,
    without: npt.NDArray[np.integer],
    divisors: Sequence[tuple[Floats, Floats, float]] | None = None,
) -> list[sp.csr_matrix]:
    """Of each row of left × right the `most` largest entries above 0, float32; ties go to the lower column.

    Both are of positive float32 values. without: of each row the column that is left out, -1 for none.
    divisors: (of the rows, of the columns, more) ask for a matrix in which each entry of the product is divided by
    of_row · of_column + more, in float64; there is one for each of them. None: the product itself.
    """
    shape = (left.shape[0], right.shape[1])
    asked = divisors if divisors is not None else [(np.zeros(shape[0]), np.zeros(shape[1]), 1.0)]
    of_rows, of_columns = (np.stack([one[axis] for one in asked]).astype(np.float64) for axis in (0, 1))
    more = np.array([one[2] for one in asked], dtype=np.float64)
    most = max(1, min(most, shape[1]))
    columns = np.empty((len(asked), shape[0], most), np.int32)
    values = np.empty((len(asked), shape[0], most), np.float32)
    sizes = np.zeros((len(asked), shape[0]), np.int64)
    # How many products each row sums.
    owners, lengths = np.repeat(np.arange(shape[0]), np.diff(left.indptr)), np.diff(right.indptr)[left.indices]
    reach = np.bincount(owners, lengths, minlength=shape[0])
    skipped = np.asarray(without, dtype=np.int64)

    def part(first: int, end: int) -> None:
        _largest_products(
            first,
            end,
            (left.indptr, left.indices, left.data),
            (right.indptr, right.indices, right.data),
            (of_rows, of_columns, of_columns.min(axis=1), more),
            skipped,
            reach,
            (columns, values, sizes),
            np.zeros(shape[1], np.float32),
        )

    if shape[1]:
        spread(part, parts_of(reach, PARTS), CORES if reach.sum() > FEW_CELLS else 1)
    return [_matrix(*of, shape) for of in zip(columns, values, sizes, strict=True)]


def _matrix(
    columns: npt.NDArray[np.int32],
    values: npt.NDArray[np.float32],
    sizes: npt.NDArray[np.int64],
    shape: tuple[int, int],
) -> sp.csr_matrix:
    filled = np.arange(columns.shape[1]) < sizes[:, None]
    found = sp.csr_matrix((values[filled], columns[filled], np.concatenate([[0], np.cumsum(sizes)])), shape=shape)
    found.sort_indices()
    return found


@compiled()
def _largest_products(first, end, left, right, divisors, without, reach, found, sums):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Fill the largest entries of some rows. sums: a zero for each column."""
    starts, rows, factors = left
    ends, places, values = right
    of_rows, of_columns, least_of_columns, more = divisors
    kept_columns, kept_values, sizes = found
    width, most = len(sums), kept_columns.shape[2]
    touched = np.empty(width, np.int32)
    for row in range(first, end):
        is_sparse = SPARSE * reach[row] < width  # then the columns that are touched are remembered
        count = 0
        for entry in range(starts[row], starts[row + 1]):
            factor, shared = factors[entry], rows[entry]
            if is_sparse:
                for at in range(ends[shared], ends[shared + 1]):
                    if sums[places[at]] == 0.0:
                        touched[count] = places[at]
                        count += 1
                    sums[places[at]] += factor * values[at]
            else:
                for at in range(ends[shared], ends[shared + 1]):
                    sums[places[at]] += factor * values[at]
        if without[row] >= 0:
            sums[without[row]] = 0.0
        for one in range(len(more)):
            heap = (kept_values[one, row], kept_columns[one, row])
            of_row, of_column, added = of_rows[one, row], of_columns[one], more[one]
            least = (of_row * least_of_columns[one] + added) * (1.0 - 1e-6)  # of all divisors, and of their rounding
            size = 0
            for at in range(count):
                value = np.float32(sums[touched[at]] / (of_row * of_column[touched[at]] + added))
                size = _kept(heap, size, most, value, touched[at])
            for start in range(0, 0 if is_sparse else width, BLOCK):
                stop = min(start + BLOCK, width)
                low = np.float32(heap[0][0] * least) if size == most else np.float32(0.0)
                reached = 0
                for column in range(start, stop):
                    reached += sums[column] > low
                if reached == 0:
                    continue
                for column in range(start, stop):
                    if sums[column] > low:
                        value = np.float32(sums[column] / (of_row * of_column[column] + added))
                        size = _kept(heap, size, most, value, column)
            sizes[one, row] = size
        if is_sparse:
            for at in range(count):
                sums[touched[at]] = 0.0
        else:
            sums[:] = 0.0


@compiled()
def _kept(heap, size, most, value, column):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Take an entry into a heap of the `most` largest, whose root is the first to go; its size then.

    Of two that tie the one with the higher column goes first.
    """
    values, columns = heap
    if value <= 0.0:
        return size
    if size < most:
        place = size
        size += 1
        while place > 0:
            above = (place - 1) // 2
            if values[above] < value or (values[above] == value and columns[above] > column):
                break
            values[place], columns[place] = values[above], columns[above]
            place = above
        values[place], columns[place] = value, column
        return size
    if value < values[0] or (value == values[0] and column > columns[0]):
        return size
    place = 0
    while 2 * place + 1 < size:
        below = 2 * place + 1
        if below + 1 < size and (
            values[below + 1] < values[below]
            or (values[below + 1] == values[below] and columns[below + 1] > columns[below])
        ):
            below += 1
        if values[below] > value or (values[below] == value and columns[below] < column):
            break
        values[place], columns[place] = values[below], columns[below]
        place = below
    values[place], columns[place] = value, column
    return size
