"""How a loop becomes machine code, and how the rows that it goes through are spread over the cores.

Compiled on first use and kept beside the source or in the user's cache; anew in each process where neither can be
written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt
import scipy.linalg  # noqa: F401 - has a BLAS of its own, which must be loaded to be found
from threadpoolctl import ThreadpoolController

Loop = Callable[..., Any]

CORES: Final[int] = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]  # that this process may use

# Found once: looking for BLAS libraries takes half a millisecond, setting their threads a few microseconds.
_BLAS = ThreadpoolController()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """While matrices are small, or sums must not depend on the machine: BLAS threads that wait for each other burn both
    cores and, where others want them too, take many times as long."""
    with _BLAS.limit(limits=1, user_api="blas"):
        yield


def compiled(*, reassociating: bool = False) -> Callable[[Loop], Loop]:
    """A loop that lets go of the interpreter's lock.

    reassociating: its sums may be taken in another order than they are written in, which is many times as fast: the
    same in every run on one kind of processor. Otherwise each number is the one that NumPy would find.
    """
    orders = {"reassoc", "contract"} if reassociating else False
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": orders}

    def compile_(loop: Loop) -> Loop:
        try:
            found: Loop = numba.njit(cache=True, **options)(loop)
        except RuntimeError:  # no place for a cache can be written
            found = numba.njit(**options)(loop)
        return found

    return compile_


def parts_of(work: npt.NDArray[np.number], parts: int) -> Sequence[tuple[int, int]]:
    """Consecutive rows from and to, at most so many parts of about equal work; none is empty."""
    if not len(work):
        return []
    done = np.cumsum(work + 1e-9 * (float(work.max()) or 1.0), dtype=np.float64)
    ends = np.searchsorted(done, done[-1] * np.arange(1, parts) / parts) + 1
    ends = np.unique(np.append(np.minimum(ends, len(work)), len(work)))
    return list(zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True))


def spread(loop: Callable[[int, int], object], parts: Sequence[tuple[int, int]], threads: int = CORES) -> None:
    """Run a loop over parts of its rows, so many at a time. Rows must not depend on each other."""
    if threads == 1 or len(parts) <= 1:
        for first, end in parts:
            loop(first, end)
        return
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(loop, first, end) for first, end in parts]:
            done.result()
