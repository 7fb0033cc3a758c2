"""Where the arrays of a dense term lie in memory, as compiled loops take them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recommender.coarse import Coarse
from recommender.kernels import TABLE


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """One term's record for `kernels`, and the arrays that it points to: they stay where they are as long as it does.

    Tens of arrays that are handed over one by one cost as much as a list of a few hundred candidates, and loops that
    are compiled for each number of them.
    """

    record: bytes
    arrays: tuple[object, ...]


def table_of(
    row_of: npt.NDArray[np.int32],
    factors: npt.NDArray[np.float32],
    coarse: Coarse,
    scale: npt.NDArray[np.float64] | None = None,
) -> Table:
    """Shapes: row_of as in Side, factors (rows, width), scale (rows,) of float64 scores; None: 1. Copies what is not
    contiguous."""
    rows, width = factors.shape
    if coarse.codes.shape != factors.shape or coarse.scales.shape != (rows,):
        raise ValueError(f"codes {coarse.codes.shape} and scales {coarse.scales.shape} for factors {factors.shape}")
    held = (
        np.ascontiguousarray(row_of, np.int32),
        np.ascontiguousarray(factors, np.float32),
        np.ascontiguousarray(coarse.codes, np.int8),
        np.ascontiguousarray(coarse.scales, np.float32),
        *(() if scale is None else (np.ascontiguousarray(scale, np.float64),)),
    )
    known_rows, known_factors, codes, scales, *others = (array.ctypes.data for array in held)
    numbers = (coarse.spread, coarse.reach, coarse.floor)
    record = np.array(
        [(known_rows, len(row_of), known_factors, rows, width, codes, scales, *(others or [0]), *numbers)], TABLE
    )
    return Table(record.tobytes(), held)
