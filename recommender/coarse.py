"""Rows in an eighth of the bytes of their scores: what is streamed to nominate, and how far off its products may be.

docs/decisions/0005-exact-retrieval.md says why.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from recommender import kernels

Number = TypeVar("Number", bound=np.generic)
Codes = npt.NDArray[np.int8]
Scales = npt.NDArray[np.float32]

LEAST_LARGEST: Final = 1e-30  # of a row that has codes: its scale is far from where float32 loses digits
FLOAT32_UNIT: Final = 2.0**-24


@dataclass(frozen=True, slots=True, eq=False)
class Coarse:
    """Rows as int8 times a scale of each: row = scale · codes + what is missed.

    Shapes: codes (rows, width), scales (rows,) ≥ 0. Over all rows, ‖missed‖ ≤ spread · scale and ‖row‖ ≤ reach · scale,
    or ‖row‖ ≤ floor where the scale is 0. The three are measured against the factors, whoever made the codes.
    """

    codes: Codes
    scales: Scales
    spread: float
    reach: float
    floor: float

    def scaled(self, by: npt.NDArray[np.float64], norms: npt.NDArray[np.float64]) -> Coarse:
        """Each row times a number ≥ 0. norms: lengths of the rows. Shares the codes."""
        scales = self.scales * by
        scales[scales < LEAST_LARGEST] = 0.0
        floor = float((norms * by).max(where=scales == 0.0, initial=0.0))
        # Rounding the new scale moves a row by 2⁻²⁴ of scale · codes.
        moved = FLOAT32_UNIT * (self.reach + self.spread)
        return Coarse(self.codes, scales.astype(np.float32), self.spread + moved, self.reach + moved, floor)


def fixed(array: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """A contiguous view that cannot be written, as a stored model's arrays are. For others loops are compiled anew."""
    view = np.ascontiguousarray(array).view()
    view.setflags(write=False)
    return view


def coarse_from_factors(factors: npt.NDArray[np.float32]) -> tuple[Codes, Scales]:
    """Codes and scales of rows."""
    room = np.empty(factors.size + kernels.LINE, np.int8)
    begin = -room.ctypes.data % kernels.LINE  # rows that straddle cache lines are fetched twice
    codes, scales = room[begin : begin + factors.size].reshape(factors.shape), np.empty(len(factors), np.float32)
    kernels.quantise(fixed(factors), codes, scales, LEAST_LARGEST)
    return codes, scales


def measured(factors: npt.NDArray[np.float32], codes: Codes, scales: Scales) -> Coarse:
    """Codes and scales with what they miss, in one pass that copies nothing. Raises ValueError unless all is finite."""
    spread, reach, floor = kernels.measure(fixed(factors), fixed(codes), fixed(scales))
    if not np.isfinite(spread + reach + floor):
        raise ValueError("factors and scales must be finite")
    return Coarse(codes, scales, spread, reach, floor)


@dataclass(frozen=True, slots=True, eq=False)
class CoarseQuery:
    """A vector as int16 times `step`. Its product with the codes of a row, times step and scale, is off by at most
    `coarseness` · scale + `floor`."""

    codes: npt.NDArray[np.int16]
    step: float
    coarseness: float
    floor: float


def coarse_query(vector: npt.NDArray[np.float64], coarse: Coarse) -> CoarseQuery:
    """With v = step · codes + w and x = scale · c + m: x·v − scale · step · (c · codes) = m·v + (x − m)·w, so by
    Cauchy and Schwarz it is at most scale · (spread·‖v‖ + (reach + spread)·‖w‖). What float64 loses in x·v, summed in
    any order, is below 2·width·2⁻⁵³·‖x‖·‖v‖; a relative 1e-9 swallows what it loses in the bounds themselves.
    """
    codes = np.empty(len(vector), np.int16)
    step, coarseness, floor = kernels.quantise_query(vector, coarse.spread, coarse.reach, coarse.floor, codes)
    return CoarseQuery(codes, step, coarseness, floor)
