"""Algorithms side by side on what happened after the cut, learnt from nothing but what happened before it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from recommender import metrics
from recommender.baselines import Scorer, Scores
from recommender.interactions import affinity
from recommender.metrics import Lists, PerTalent
from recommender.splits import Split

DEFAULT_KS = (10, 20, 100)
NEW_BELOW = 5  # talents, or jobs of a history: below, neighbours and factors know next to nothing
MAX_TALENTS = 5_000  # evaluated; the standard error of a mean in [0, 1] is then at most 0.0071
_BATCH_CELLS = 16_000_000  # scores of one batch: 64 MB
_SHALLOWEST = 4  # columns to a group; below, grouping saves nothing


@dataclass(frozen=True, eq=False)
class Trial:
    """The questions of one split: who is asked, what they saw before and what would be right.

    talents: rows of the tables' talent ids, those asked. seen: talents × jobs, any event before the cut, never
    recommended. relevance: one row per asked talent. candidates: mask of the jobs known at the cut, which coverage and
    Gini count over. left_out: talents with something to find but no positive history, or only jobs unknown at the cut.
    population: talents that could have been asked; more than were when they are a sample. history: how many jobs each
    asked talent had acted on at the cut, popularity: how many talents had acted on each job, both of positive weight;
    knowing: how many talents had acted on any, at least 1.
    """

    talents: npt.NDArray[np.intp]
    seen: sp.csr_matrix
    relevance: sp.csr_matrix
    candidates: npt.NDArray[np.bool_]
    left_out: int
    population: int
    history: npt.NDArray[np.int64]
    popularity: npt.NDArray[np.int64]
    knowing: int

    @property
    def relevant(self) -> npt.NDArray[np.int64]:
        """How many jobs each asked talent could find; at least 1."""
        counts: npt.NDArray[np.int64] = np.diff(self.relevance.indptr).astype(np.int64)
        return counts

    @property
    def self_information(self) -> npt.NDArray[np.float64]:
        """Of each job, in bits: log2(talents with a history / those of them who acted on it, one at least)."""
        information: npt.NDArray[np.float64] = np.log2(self.knowing / np.maximum(self.popularity, 1))
        return information


def build_trial(split: Split, max_talents: int = MAX_TALENTS, seed: int = 0) -> Trial:
    """Relevant is each job with a positive weight in the test part that is new to its talent.

    A pair with any event before the cut is no question; nor is a job or a talent without a positive weight before it:
    no algorithm here can know it. Above `max_talents` a sample by `seed` is asked.
    """
    known = affinity(split.train, None, None).maximum(0)
    known.eliminate_zeros()
    wanted = affinity(split.test, None, None).maximum(0)
    wanted.eliminate_zeros()
    seen = sp.csr_matrix(
        (np.ones(len(split.train), dtype=np.float32), (split.train.talent, split.train.job)), shape=known.shape
    )
    seen.data[:] = 1
    popularity = np.bincount(known.indices, minlength=known.shape[1]).astype(np.int64)
    candidates = popularity > 0
    fresh = wanted.astype(bool).astype(np.float32)
    rows = np.repeat(np.arange(fresh.shape[0]), np.diff(fresh.indptr))
    old = np.asarray(seen[rows, fresh.indices]).ravel() > 0 if fresh.nnz else np.empty(0, dtype=bool)
    fresh.data[old] = 0
    fresh.eliminate_zeros()
    with_something = int(np.count_nonzero(np.diff(fresh.indptr)))
    fresh.data[~candidates[fresh.indices]] = 0
    fresh.eliminate_zeros()
    history = np.diff(known.indptr).astype(np.int64)
    talents = np.flatnonzero((np.diff(fresh.indptr) > 0) & (history > 0))
    population = len(talents)
    if population > max_talents:
        talents = np.sort(np.random.default_rng(seed).choice(talents, max_talents, replace=False))
    return Trial(
        talents,
        seen,
        fresh[talents],
        candidates,
        with_something - population,
        population,
        history[talents],
        popularity,
        max(int(np.count_nonzero(history)), 1),
    )


def top_lists(scorer: Scorer, trial: Trial, k: int) -> Lists:
    """The k best unseen jobs of each asked talent (talents × k rows of jobs), ties to the lower row, padded with -1.

    So the first 20 of 100 are the same as the 20 best.
    """
    jobs = trial.seen.shape[1]
    lists = np.full((len(trial.talents), k), -1, dtype=np.int64)
    batch = max(1, _BATCH_CELLS // max(jobs, 1))
    for start in range(0, len(trial.talents), batch):
        talents = trial.talents[start : start + batch]
        scores = scorer.scores(talents)
        hide(scores, trial.seen[talents], trial.candidates)
        places = min(k, jobs)
        best = np.sort(_first_of_ties(scores, best_columns(scores, places)), axis=1)
        values = np.take_along_axis(scores, best, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        best, values = np.take_along_axis(best, order, axis=1), np.take_along_axis(values, order, axis=1)
        lists[start : start + batch, :places] = np.where(np.isneginf(values), -1, best)
    return lists


def hide(scores: Scores, seen: sp.csr_matrix, candidates: npt.NDArray[np.bool_]) -> None:
    """Set -inf, in place, where a talent (row) has seen a job or nobody may be recommended it."""
    scores[:, ~candidates] = -np.inf
    scores[np.repeat(np.arange(len(scores)), np.diff(seen.indptr)), seen.indices] = -np.inf


def best_columns(scores: Scores, places: int) -> npt.NDArray[np.intp]:
    """Columns of the `places` largest scores of each row, in no order.

    Wide rows are cut into groups first: the largest are in the groups with the largest maxima, and finding those is a
    tenth of the work of partitioning everything.
    """
    rows, jobs = scores.shape
    depth = int(np.sqrt(jobs / places))
    if depth < _SHALLOWEST:
        return np.argpartition(scores, jobs - places, axis=1)[:, jobs - places :]
    groups = -(-jobs // depth)
    padded = np.full((rows, depth * groups), -np.inf, dtype=np.float32)
    padded[:, :jobs] = scores
    maxima = padded.reshape(rows, depth, groups).max(axis=1)  # a group is every `groups`-th column
    chosen = np.argpartition(maxima, groups - places, axis=1)[:, groups - places :]
    columns = (chosen[:, :, None] + groups * np.arange(depth)).reshape(rows, -1)
    values = np.take_along_axis(padded, columns, axis=1)
    within = np.argpartition(values, values.shape[1] - places, axis=1)[:, values.shape[1] - places :]
    best: npt.NDArray[np.intp] = np.minimum(np.take_along_axis(columns, within, axis=1), jobs - 1)  # -inf either way
    return best


def _first_of_ties(scores: Scores, best: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """`best` with the lowest columns of those that tie for its last place."""
    places = best.shape[1]
    last = np.take_along_axis(scores, best, axis=1).min(axis=1, keepdims=True)
    tied = (scores >= last).sum(axis=1) > places
    for row in np.flatnonzero(tied & np.isfinite(last[:, 0])).tolist():
        above = np.flatnonzero(scores[row] > last[row])
        level = np.flatnonzero(scores[row] == last[row])
        best[row] = np.concatenate([above, level[: places - len(above)]])
    return best


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one algorithm reached, and by which lists. by_talent: recall@k, ndcg@k and map@k of each asked talent, whose
    means are among `metrics`, beside what is measured of all lists together; see `measure`."""

    metrics: dict[str, float]
    by_talent: dict[str, PerTalent]
    lists: Lists


def measure(lists: Lists, trial: Trial, ks: Sequence[int] = DEFAULT_KS, traits: sp.csr_matrix | None = None) -> Outcome:
    """Everything that is measured of some lists.

    Of each talent recall@k, ndcg@k and map@k; of all together coverage@k and gini@k over the known jobs, novelty@k,
    new@k, the share of places that hold jobs fewer than NEW_BELOW talents had acted on, and, with traits of the jobs
    (see metrics.diversity) in at least one list, diversity@k.
    """
    hits = metrics.hits_of(lists, trial.relevance)
    measured: dict[str, float] = {}
    by_talent: dict[str, PerTalent] = {}
    for k in ks:
        shown = metrics.exposure(lists, k, len(trial.candidates))[trial.candidates]
        for name, values in (
            ("recall", metrics.recall(hits, trial.relevant, k)),
            ("ndcg", metrics.ndcg(hits, trial.relevant, k)),
            ("map", metrics.average_precision(hits, trial.relevant, k)),
        ):
            by_talent[f"{name}@{k}"] = values
            measured[f"{name}@{k}"] = float(values.mean()) if len(values) else 0.0
        measured[f"coverage@{k}"] = metrics.coverage(shown)
        measured[f"gini@{k}"] = metrics.gini(shown)
        measured[f"novelty@{k}"] = metrics.novelty(lists, k, trial.self_information)
        measured[f"new@{k}"] = metrics.share_shown(lists, k, trial.popularity < NEW_BELOW)
        diversity = None if traits is None else metrics.diversity(lists, k, traits)
        if diversity is not None:
            measured[f"diversity@{k}"] = diversity
    return Outcome(measured, by_talent, lists)


def evaluate(
    algorithms: Mapping[str, Callable[[], Scorer]],
    trial: Trial,
    ks: Sequence[int] = DEFAULT_KS,
    traits: sp.csr_matrix | None = None,
) -> Iterator[tuple[str, Outcome]]:
    """What each algorithm reaches, one after the other; each is built when its turn comes and dropped after it."""
    for name, build in algorithms.items():
        yield name, measure(top_lists(build(), trial, max(ks)), trial, ks, traits)


@dataclass(frozen=True, slots=True)
class Lead:
    """By how much one algorithm leads the best of the others in one metric: the difference of the means, and between
    what it would lie in 95 of 100 evaluations with other talents (paired bootstrap)."""

    metric: str
    best: str
    difference: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """better, worse, or level when the interval holds 0."""
        return "better" if self.low > 0 else "worse" if self.high < 0 else "level"


def leads(outcomes: Mapping[str, Outcome], name: str, ks: Sequence[int], seed: int = 0) -> list[Lead]:
    """Of one algorithm over the best of the others, in recall@k and ndcg@k."""
    others = [other for other in outcomes if other != name]
    found = []
    for metric in (f"{kind}@{k}" for k in ks for kind in ("recall", "ndcg")):
        best = max(others, key=lambda other: outcomes[other].metrics[metric])
        found.append(lead_over(metric, best, outcomes[name].by_talent[metric], outcomes[best].by_talent[metric], seed))
    return found


def lead_over(metric: str, other: str, ours: PerTalent, theirs: PerTalent, seed: int = 0) -> Lead:
    """Of one algorithm over another, from what the same talents gained by both."""
    difference = ours - theirs
    ((low, high),) = metrics.bootstrap_intervals(difference[:, None], seed).tolist()
    return Lead(metric, other, float(difference.mean()), low, high)


def intervals(outcome: Outcome, seed: int = 0) -> dict[str, tuple[float, float]]:
    """Of each mean over talents, 95 %."""
    ends = metrics.bootstrap_intervals(np.column_stack(list(outcome.by_talent.values())), seed)
    return {name: (low, high) for name, (low, high) in zip(outcome.by_talent, ends.tolist(), strict=True)}


@dataclass(frozen=True, slots=True)
class ServedRow:
    """One row of a file of lists served today. Lower `order` comes first: a rank, or a negated score."""

    talent_id: str
    job_id: str
    order: float


def lists_served(rows: Iterable[ServedRow], split: Split, trial: Trial, k: int) -> Lists:
    """The served lists of the asked talents (talents × k rows of jobs), as `top_lists` gives ours.

    Jobs that the talent had seen before the cut are passed over, as ours pass over them; a job unknown to the log
    keeps its place and counts as a miss. Repeats count once. Ties in order go by job id.
    """
    talent_place = {split.train.talent_ids[talent]: place for place, talent in enumerate(trial.talents.tolist())}
    job_row = {job_id: row for row, job_id in enumerate(split.train.job_ids)}
    served: dict[int, list[tuple[float, str]]] = {}
    for row in rows:
        place = talent_place.get(row.talent_id)
        if place is not None:
            served.setdefault(place, []).append((row.order, row.job_id))
    lists = np.full((len(trial.talents), k), -1, dtype=np.int64)
    unknown = len(split.train.job_ids)  # a row behind the last: never relevant, never counted as exposure
    for place, ranked in served.items():
        talent = trial.talents[place]
        before = set(trial.seen.indices[trial.seen.indptr[talent] : trial.seen.indptr[talent + 1]].tolist())
        distinct = dict.fromkeys(job_id for _, job_id in sorted(ranked))
        found = [job_row.get(job_id, unknown) for job_id in distinct]
        kept = [row for row in found if row not in before][:k]
        lists[place, : len(kept)] = kept
    return lists
