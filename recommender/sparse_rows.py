"""Products of large sparse matrices block by block, of which each row keeps its largest entries."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

_CHUNK_CELLS = 4_000_000  # stored entries of one block of a product: some 200 MB with what sorts them


def chunks(left: sp.csr_matrix, right: sp.csr_matrix) -> list[tuple[int, int]]:
    """Rows of the product from and to, each block within _CHUNK_CELLS where a single row is."""
    # An upper bound of a row's entries: the summed lengths of what it multiplies, at most the width.
    reach = np.minimum(left.astype(bool).astype(np.float64) @ np.diff(right.indptr), right.shape[1])
    ends = np.flatnonzero(np.diff(np.floor(np.cumsum(reach) / _CHUNK_CELLS), append=np.inf)) + 1
    return list(zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True)) if len(ends) else []


def largest(
    rows: npt.NDArray[np.intp],
    columns: npt.NDArray[np.int32],
    values: npt.NDArray[np.float32],
    shape: tuple[int, int],
    most: int,
) -> sp.csr_matrix:
    """The `most` largest entries of each row, of entries in the order of their rows; ties go to the lower column."""
    order = np.lexsort((columns, -values, rows))
    sizes = np.bincount(rows, minlength=shape[0])
    place = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    kept = order[place < most]
    return sp.csr_matrix((values[kept], (rows[kept], columns[kept])), shape=shape, dtype=np.float32)
