"""What a comparison says of one direction: the algorithms side by side, and in segments of who asks and what is found.

Everything speaks of jobs for talents; of a transposed split, of talents for jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from recommender import metrics
from recommender.baselines import Scorer
from recommender.documents import Document
from recommender.evaluation import (
    NEW_BELOW,
    Lead,
    Outcome,
    Trial,
    evaluate,
    intervals,
    lead_over,
    leads,
    measure,
)
from recommender.text import fold

SERVED, AGAINST, BASELINE = "served", "against", "popularity"
SEGMENT_K = 20  # the length of a list that people look at
HEAVY_FROM = 20  # jobs of a history
HEAD_SHARE = 0.2  # of the known jobs, those that most talents acted on
CATEGORIES = 6  # told apart; the rest are one segment

Mask = npt.NDArray[np.bool_]
Interval = tuple[float, float]
OnAlgorithm = Callable[[int, int], None]  # (algorithms done, of how many)


@dataclass(frozen=True, eq=False)
class Described:
    """What the catalogue says of jobs (or talents), row by row of a table's ids.

    categories: as written, None where there is none. traits: rows × distinct skills and categories, each row of length
    1, or empty where nothing is known.
    """

    categories: Sequence[str | None]
    traits: sp.csr_matrix


def describe(documents: Sequence[Document | None]) -> Described:
    """The categories and traits of documents; None is one that the catalogue does not have."""
    column: dict[tuple[str, str], int] = {}
    starts, columns = [0], []
    for document in documents:
        if document is not None:
            said = {("skill", fold(skill)) for skill in document.skills}
            said |= {("category", fold(document.category))} if document.category else set()
            columns += [column.setdefault(trait, len(column)) for trait in sorted(said)]
        starts.append(len(columns))
    sizes = np.diff(starts)
    values = np.repeat(1 / np.sqrt(np.maximum(sizes, 1)), sizes)
    traits = sp.csr_matrix((values, columns, starts), shape=(len(documents), max(len(column), 1)))
    return Described([document.category or None if document else None for document in documents], traits)


@dataclass(frozen=True, eq=False)
class Segment:
    """A part of the questions: what talents of one sort find, or what all find of one sort of jobs.

    by: "history" (how much a talent had done), "length" (the same, in powers of two), "popularity" or "category" (of
    the jobs that are relevant). talents: mask of the asked; jobs: mask of all.
    """

    by: str
    name: str
    talents: Mask
    jobs: Mask


def segments_of(trial: Trial, categories: Sequence[str | None] | None = None) -> list[Segment]:
    """The segments in which there is something to find, in the order of a table.

    Talents are new below NEW_BELOW jobs of a positive weight before the cut, heavy from HEAVY_FROM on, light between.
    The head are the HEAD_SHARE of the known jobs that most talents had acted on before the cut, the tail the others.
    Categories are those with most to find, CATEGORIES at most; the rest are "other", a job without one "none".
    """
    everybody, everything = np.ones(len(trial.talents), np.bool_), np.ones(len(trial.popularity), np.bool_)
    length = trial.history
    found = [
        Segment("history", "new", length < NEW_BELOW, everything),
        Segment("history", "light", (length >= NEW_BELOW) & (length < HEAVY_FROM), everything),
        Segment("history", "heavy", length >= HEAVY_FROM, everything),
    ]
    for power in range(int(length.max(initial=1)).bit_length()):
        least, most = 2**power, 2 ** (power + 1) - 1
        name = f"{least}" if least == most else f"{least}–{most}"
        found.append(Segment("length", name, (length >= least) & (length <= most), everything))
    ranked = np.lexsort((np.arange(len(trial.popularity)), -np.where(trial.candidates, trial.popularity, -1)))
    head = np.zeros(len(trial.popularity), np.bool_)
    head[ranked[: int(np.ceil(HEAD_SHARE * np.count_nonzero(trial.candidates)))]] = True
    found += [Segment("popularity", "head", everybody, head), Segment("popularity", "tail", everybody, ~head)]
    if categories is not None and any(categories):
        found += [Segment("category", name, everybody, jobs) for name, jobs in _of_categories(trial, categories)]
    return [segment for segment in found if len(_relevance(trial, segment).data)]


def _of_categories(trial: Trial, categories: Sequence[str | None]) -> list[tuple[str, Mask]]:
    wanted = np.bincount(trial.relevance.indices, minlength=len(categories))
    shown: dict[str, str] = {}
    names = np.array([fold(name) if name else "" for name in categories], dtype=object)
    for name in categories:
        if name:
            shown.setdefault(fold(name), name)
    distinct, of = np.unique(names, return_inverse=True)
    by_pairs = np.bincount(of, wanted, minlength=len(distinct))
    ranked = [place for place in np.lexsort((np.arange(len(distinct)), -by_pairs)).tolist() if distinct[place]]
    top = ranked[:CATEGORIES]
    parts = [(shown[distinct[place]], of == place) for place in top]
    parts.append(("other", np.isin(of, ranked[CATEGORIES:])))
    parts.append(("none", names == ""))
    return parts


def _relevance(trial: Trial, segment: Segment) -> sp.csr_matrix:
    """What the talents of a segment could find of its jobs; a row for each of them."""
    chosen = trial.relevance[np.flatnonzero(segment.talents)]
    chosen = sp.csr_matrix((chosen.data * segment.jobs[chosen.indices], chosen.indices, chosen.indptr), chosen.shape)
    chosen.eliminate_zeros()
    return chosen


@dataclass(frozen=True, eq=False)
class SegmentRow:
    """One segment measured at one k. talents: who has something to find in it; pairs: how much.

    means, intervals (95 %): by algorithm, by recall@k and ndcg@k. leads: of the served score over each other algorithm.
    """

    by: str
    name: str
    talents: int
    pairs: int
    means: Mapping[str, Mapping[str, float]]
    intervals: Mapping[str, Mapping[str, Interval]]
    leads: Sequence[Lead]


def measure_segment(
    segment: Segment, trial: Trial, lists: Mapping[str, metrics.Lists], k: int, seed: int = 0
) -> SegmentRow:
    """The lists of some algorithms, "served" first, measured by what is relevant in the segment alone."""
    relevance = _relevance(trial, segment)
    asked = np.diff(relevance.indptr) > 0
    relevance = relevance[np.flatnonzero(asked)]
    rows = np.flatnonzero(segment.talents)[asked]
    relevant = np.diff(relevance.indptr).astype(np.int64)
    gains: dict[tuple[str, str], metrics.PerTalent] = {}
    for name, of in lists.items():
        hits = metrics.hits_of(of[rows, :k], relevance)
        gains[name, f"recall@{k}"] = metrics.recall(hits, relevant, k)
        gains[name, f"ndcg@{k}"] = metrics.ndcg(hits, relevant, k)
    served, *others = lists
    compared = [(metric, other) for other in others for metric in (f"recall@{k}", f"ndcg@{k}")]
    differences = [gains[served, metric] - gains[other, metric] for metric, other in compared]
    # One resampling for all: the intervals of a line are of the same talents.
    ends = metrics.bootstrap_intervals(np.column_stack([*gains.values(), *differences]), seed).tolist()
    means: dict[str, dict[str, float]] = {name: {} for name in lists}
    by_name: dict[str, dict[str, Interval]] = {name: {} for name in lists}
    for ((name, metric), values), (low, high) in zip(gains.items(), ends, strict=False):
        means[name][metric], by_name[name][metric] = float(values.mean()), (low, high)
    found = [
        Lead(metric, other, float(difference.mean()), low, high)
        for (metric, other), difference, (low, high) in zip(compared, differences, ends[len(gains) :], strict=True)
    ]
    return SegmentRow(segment.by, segment.name, len(rows), int(relevant.sum()), means, by_name, found)


@dataclass(frozen=True, eq=False)
class Direction:
    """One direction of a comparison. metrics: by algorithm, by `<metric>@<k>`; intervals: of the means over talents.

    leads: of the served score over the best of the others, those of today aside. leads_today: over the lists of today,
    where some were given. exposure: of each algorithm, see metrics.lorenz. segment_k: what segments and exposure are
    of. Everything is empty when nobody could be asked.
    """

    trial: Trial
    metrics: Mapping[str, Mapping[str, float]]
    intervals: Mapping[str, Mapping[str, Interval]]
    leads: Sequence[Lead]
    leads_today: Sequence[Lead]
    segments: Sequence[SegmentRow]
    exposure: Mapping[str, Sequence[float]]
    segment_k: int


def compare_one_way(
    algorithms: Mapping[str, Callable[[], Scorer]],
    trial: Trial,
    ks: Sequence[int],
    *,
    seed: int = 0,
    described: Described | None = None,
    today: metrics.Lists | None = None,
    on_algorithm: OnAlgorithm = lambda done, of: None,
) -> Direction:
    """Measure algorithms, "served" and "popularity" among them, and lists of today beside them as "against"."""
    segment_k = SEGMENT_K if SEGMENT_K in ks else max(ks)
    if not trial.population:
        return Direction(trial, {}, {}, [], [], [], {}, segment_k)
    traits = described.traits if described is not None and described.traits.nnz else None
    outcomes: dict[str, Outcome] = {}
    on_algorithm(0, len(algorithms))
    for name, outcome in evaluate(algorithms, trial, ks, traits):
        outcomes[name] = outcome
        on_algorithm(len(outcomes), len(algorithms))
    found, found_today = leads(outcomes, SERVED, ks, seed), []
    if today is not None:
        theirs = outcomes[AGAINST] = measure(today, trial, ks, traits)
        served = outcomes[SERVED].by_talent
        names = [f"{measured}@{k}" for k in ks for measured in ("recall", "ndcg")]
        found_today = [lead_over(name, AGAINST, served[name], theirs.by_talent[name], seed) for name in names]
    lists = {name: outcomes[name].lists for name in (SERVED, BASELINE, AGAINST) if name in outcomes}
    categories = described.categories if described is not None else None
    jobs = len(trial.candidates)
    return Direction(
        trial,
        {name: outcome.metrics for name, outcome in outcomes.items()},
        {name: intervals(outcome, seed) for name, outcome in outcomes.items()},
        found,
        found_today,
        [measure_segment(segment, trial, lists, segment_k, seed) for segment in segments_of(trial, categories)],
        {
            name: metrics.lorenz(metrics.exposure(of, segment_k, jobs)[trial.candidates]).tolist()
            for name, of in lists.items()
        },
        segment_k,
    )
