"""How good ranked lists are. Every function is vectorised over talents; binary relevance; no smoothing.

Shapes: `lists` (talents × places) holds job rows best first, without repeats, -1 where a list ends early; `hits`
(talents × places) says which of them are relevant; `relevant` (talents,) counts what there was to find, at least 1.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

Lists = npt.NDArray[np.int64]
Hits = npt.NDArray[np.bool_]
PerTalent = npt.NDArray[np.float64]

RESAMPLES = 2_000  # the ends of a 95 % interval then stand on fifty draws each
_RESAMPLED_CELLS = 2_000_000
_Z95 = 1.959963984540054  # of a standard normal, 97.5 % are below


def hits_of(lists: Lists, relevance: sp.csr_matrix) -> Hits:
    """Which places hold a relevant job; `relevance` has one row per list and a stored entry per relevant job."""
    columns = max(relevance.shape[1], 1)
    rows = np.repeat(np.arange(relevance.shape[0], dtype=np.int64), np.diff(relevance.indptr))
    known = np.sort(rows * columns + relevance.indices)
    asked = np.arange(len(lists), dtype=np.int64)[:, None] * columns + lists
    if not len(known):
        return np.zeros(lists.shape, dtype=np.bool_)
    found = known[np.minimum(np.searchsorted(known, asked), len(known) - 1)] == asked
    hits: Hits = found & (lists >= 0) & (lists < columns)
    return hits


def recall(hits: Hits, relevant: npt.NDArray[np.integer], k: int) -> PerTalent:
    """Share of the relevant jobs that stand in the first k places: hits@k / |relevant| (not / min(k, |relevant|))."""
    share: PerTalent = hits[:, :k].sum(axis=1) / relevant
    return share


def ndcg(hits: Hits, relevant: npt.NDArray[np.integer], k: int) -> PerTalent:
    """Normalised discounted cumulative gain at k: gain 1, discount 1/log2(rank + 1), ideal over min(k, |relevant|).

    Source: Järvelin & Kekäläinen, TOIS 2002.
    """
    discounts = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discounts)[np.minimum(relevant, k) - 1]
    places = min(k, hits.shape[1])
    gained: PerTalent = hits[:, :places] @ discounts[:places] / ideal
    return gained


def average_precision(hits: Hits, relevant: npt.NDArray[np.integer], k: int) -> PerTalent:
    """Mean over all relevant jobs of the precision at their rank, 0 for one below k. Its mean over talents is MAP@k.

    Divided by |relevant|, as trec_eval's map_cut does, not by min(k, |relevant|).
    """
    first = hits[:, :k]
    precision = np.cumsum(first, axis=1) / np.arange(1, first.shape[1] + 1)
    average: PerTalent = (precision * first).sum(axis=1) / relevant
    return average


def exposure(lists: Lists, k: int, jobs: int) -> npt.NDArray[np.int64]:
    """How many of the lists show each job (row) in their first k places. Rows outside `jobs` are not counted."""
    shown = lists[:, :k]
    counts: npt.NDArray[np.int64] = np.bincount(shown[(shown >= 0) & (shown < jobs)], minlength=jobs)
    return counts


def coverage(counts: npt.NDArray[np.int64]) -> float:
    """Share of the jobs that at least one list shows."""
    return float(np.count_nonzero(counts) / len(counts)) if len(counts) else 0.0


def gini(counts: npt.NDArray[np.int64]) -> float:
    """Gini coefficient of exposure: 0 when every job is shown equally often, near 1 when one has it all.

    Σ (2i − n − 1)·c_i / (n·Σ c) with c ascending and i from 1; 0 when nothing is shown.
    """
    total = int(counts.sum())
    if not total:
        return 0.0
    size = len(counts)
    ranks = 2 * np.arange(1, size + 1) - size - 1
    return float((ranks * np.sort(counts)).sum() / (size * total))


def lorenz(counts: npt.NDArray[np.int64], points: int = 21) -> npt.NDArray[np.float64]:
    """Share of all exposure that the least shown 0, 5, … 100 % of the jobs have together; the diagonal is equality.

    Shapes: counts (jobs,), the answer (points,), rising from 0 to 1; zeros when nothing is shown.
    Source: Lorenz, Publications of the American Statistical Association, 1905.
    """
    held = np.concatenate([[0], np.cumsum(np.sort(counts))]).astype(np.float64)
    shares: npt.NDArray[np.float64] = np.interp(
        np.linspace(0, len(counts), points), np.arange(len(held)), held / max(held[-1], 1)
    )
    return shares


def novelty(lists: Lists, k: int, self_information: npt.NDArray[np.float64]) -> float:
    """Mean self-information, in bits, of what the first k places show: log2(talents / talents who acted on the job).

    Shapes: self_information (jobs,). 0 when nothing is shown; rows outside the jobs are passed over.
    Source: Zhou et al., PNAS 2010; mean self-information in Vargas & Castells, RecSys 2011.
    """
    shown = lists[:, :k]
    known = shown[(shown >= 0) & (shown < len(self_information))]
    return float(self_information[known].mean()) if len(known) else 0.0


def share_shown(lists: Lists, k: int, which: npt.NDArray[np.bool_]) -> float:
    """Share of the filled first k places that hold one of the jobs of a mask; 0 when nothing is shown."""
    shown = lists[:, :k][lists[:, :k] >= 0]
    inside = shown[shown < len(which)]
    return float(np.count_nonzero(which[inside]) / len(shown)) if len(shown) else 0.0


def diversity(lists: Lists, k: int, traits: sp.csr_matrix) -> float | None:
    """Intra-list diversity: 1 − the mean cosine of the traits of all pairs in the first k places, mean over the lists.

    traits: jobs × traits, rows of length 1, or empty where nothing is known of a job: such a job is passed over, as is
    a list with fewer than two others. None when that leaves no list.
    Source: Ziegler et al., WWW 2005, whose intra-list similarity this is one minus.
    """
    described = np.diff(traits.indptr) > 0
    shown = lists[:, :k]
    inside = (shown >= 0) & (shown < len(described))
    inside[inside] = described[shown[inside]]
    sizes = inside.sum(axis=1)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    members = sp.csr_matrix((np.ones(starts[-1]), shown[inside], starts), shape=(len(lists), len(described)))
    sums = members @ traits  # ‖Σ x‖² is n and twice the sum over pairs
    squares = np.asarray(sums.multiply(sums).sum(axis=1), dtype=np.float64).ravel()
    enough = sizes >= 2
    if not enough.any():
        return None
    pairs = (sizes * (sizes - 1))[enough]
    return float(np.mean(1 - (squares[enough] - sizes[enough]) / pairs))


def wilson_interval(count: int, of: int) -> tuple[float, float] | None:
    """Between what a rate lies, 95 %, when it happened `count` times of `of`; None unless 0 <= count <= of > 0.

    Unlike the usual p ± 1.96·√(p(1 − p)/n) it is inside [0, 1] and not empty where nothing, or everything, happened.
    Source: Wilson, JASA 1927.
    """
    if not 0 <= count <= of or not of:
        return None
    squared = _Z95 * _Z95
    rate, spread = count / of, squared / of
    half = _Z95 * float(np.sqrt(rate * (1 - rate) / of + spread / (4 * of)))
    low, high = ((rate + spread / 2 + sign * half) / (1 + spread) for sign in (-1, 1))
    return (low if count else 0.0, high if count < of else 1.0)  # exactly, where rounding would leave 1e-17


def bootstrap_intervals(values: npt.NDArray[np.float64], seed: int, share: float = 0.95) -> npt.NDArray[np.float64]:
    """Where means over talents lie, had other talents like these been asked: percentiles of resampled means.

    Shapes: values (talents, quantities), the answer (quantities, 2), lowest and highest. All quantities are of the same
    resampled talents; of differences between two algorithms it is the paired test. Deterministic for a seed.
    Raises: ValueError without talents. Source: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13.
    """
    talents = len(values)
    if not talents:
        raise ValueError("no talents to resample")
    rng = np.random.default_rng(seed)
    means = np.empty((RESAMPLES, values.shape[1]))
    block = max(1, _RESAMPLED_CELLS // talents)
    for start in range(0, RESAMPLES, block):
        rows = min(block, RESAMPLES - start)
        drawn = rng.integers(0, talents, (rows, talents)) + np.arange(rows)[:, None] * talents
        counts = np.bincount(drawn.ravel(), minlength=rows * talents).reshape(rows, talents)
        means[start : start + rows] = counts @ values / talents
    ends: npt.NDArray[np.float64] = np.quantile(means, [(1 - share) / 2, (1 + share) / 2], axis=0).T
    return ends
