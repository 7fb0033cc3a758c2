"""Whether more events would help: the served score, learnt from a share of what is known before the cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from recommender.blend import Content
from recommender.documents import Kind
from recommender.evaluation import Trial, intervals, measure, top_lists
from recommender.interactions import affinity
from recommender.recipe import Recipe, carried_over
from recommender.splits import Split
from recommender.training import contenders_both_ways

SHARES = (0.125, 0.25, 0.5)  # less than one more fit together; the whole is measured anyway


@dataclass(frozen=True, slots=True)
class Point:
    """How good lists are when they are learnt from a share of the events. low, high: 95 %, over talents."""

    share: float
    events: int
    metric: str
    value: float
    low: float
    high: float


def learning_curve(
    split: Split,
    recipe: Recipe,
    trial: Trial,
    k: int,
    seed: int = 0,
    on_point: Callable[[int, int], None] = lambda done, of: None,
    content: Content | None = None,
) -> Iterator[Point]:
    """recall@k and ndcg@k of lists of jobs at each of SHARES.

    The events of a share of the pairs are kept, drawn by chance, for those who are asked, too; the questions stay.
    """
    pairs, pair_of = np.unique(split.train.pair, return_inverse=True)
    drawn = np.random.default_rng(seed).random(len(pairs))
    whole = affinity(split.train, None, None)
    for done, share in enumerate(SHARES):
        on_point(done, len(SHARES))
        train = split.train.take((drawn < share)[pair_of])
        part = affinity(train, None, None)
        if not (part.data > 0).any():
            continue
        smaller = Split(train, split.test, split.cut_ms)
        algorithms = contenders_both_ways(smaller, carried_over(recipe, whole, part), seed=seed, content=content)
        outcome = measure(top_lists(algorithms[Kind.JOB]["served"](), trial, k), trial, (k,))
        ends = intervals(outcome, seed)
        for metric in (f"recall@{k}", f"ndcg@{k}"):
            yield Point(share, len(train), metric, outcome.metrics[metric], *ends[metric])
    on_point(len(SHARES), len(SHARES))
