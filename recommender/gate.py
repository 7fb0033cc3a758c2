"""The gate between a trained model and its publication: whether it is surely worse than the one that serves.

Neither model can be asked what it has learnt from: the more a model memorises, the better it would look, and the probe
would refuse the better one. So both are learnt again without the talents who are asked: the serving one from its own
events and hyper-parameters, the new one from all events. docs/decisions/0017-gate.md has the figures.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from recommender.als import fit_jobs, side_of
from recommender.baselines import Scorer, Scores
from recommender.blend import Blended, Content, FoldedIn, fit_neighbours, near_in_content, weighed_content
from recommender.documents import Kind, Side
from recommender.evaluation import Lead, Trial, lead_over, measure, top_lists
from recommender.events import Event, EventType
from recommender.interactions import UNKNOWN_TIME, EventTable, affinity
from recommender.interest import interests_from_histories
from recommender.likeness import Likeness
from recommender.metrics import PerTalent
from recommender.model import Factors, Hyperparameters, Manifest, Model, Ordinals
from recommender.recipe import default_recipe
from recommender.scoring import score
from recommender.versions import LoadedModel

K: Final = 20
METRIC: Final = f"ndcg@{K}"
MARGIN: Final = 0.05  # of what the serving model reaches: a loss that nobody sees is no reason to serve an old model
ASKED: Final = 1_000  # talents; then a loss of a tenth is found where NDCG@20 is .15
ASKED_SHARE: Final = 5  # one in so many of those who can be asked: the others are learnt from
FEWEST: Final = 20  # asked; below, nothing is sure
PAIRS: Final = 400_000  # learnt from; of a larger log a share of the talents stands for the rest

_TYPES = tuple(EventType)
_ACTORS = (Side.TALENT, Side.CLIENT)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the gate measured: NDCG@20 of the one job that each asked talent's history was robbed of, mean over them.

    values: of the serving model and the new one, both learnt again without those who are asked ("serving", "learnt"),
    and of the new model itself ("model"), which has seen the answers and still may be broken. Then the same by factors
    alone, without what neighbours make up for ("learnt_factors", "model_factors").
    leads: of learnt and model over serving, and of the model's factors over those that were learnt again.
    """

    asked: int
    values: Mapping[str, float]
    leads: Mapping[str, Lead]

    @property
    def refused_for(self) -> Lead | None:
        """The first lead that is wholly behind by more than the margin, at 95 %; None lets the model serve."""
        return next((lead for lead in self.leads.values() if lead.high < -MARGIN * self.values[lead.best]), None)


def judge(
    table: EventTable,
    serving: Manifest,
    model: Model,
    job_ordinals: Ordinals,
    *,
    content: Content | None = None,
    seed: int = 0,
    on_step: Callable[[int, int], None] = lambda done, of: None,
) -> Judgement | None:
    """Compare a new model with the serving one; None when fewer than FEWEST talents could be asked.

    table: all events that the new model was made of. job_ordinals: of its job ids. content: what the jobs of the table
    say, where the models know.
    Where clients have an interest of their own, the talents' is judged, by what talents did.
    Each talent who is asked loses the newest pair that the serving model knew of; jobs that only one of the two models
    would know are no candidates. So neither a changed catalogue nor newer events count for or against a model.
    """
    hyper = model.manifest.hyperparameters
    if model.manifest.of_clients is not None:
        table = table.take(table.actor == _ACTORS.index(Side.TALENT))
    table = _sampled(table, seed)
    known = table.take(table.seq <= serving.watermark)
    asked = _drawn(known, seed)
    without = tuple(of.take(~asked[of.talent]) for of in (known, table))
    fitted = [
        affinity(of, by.hyperparameters.half_life_days, by.as_of_ms, by.hyperparameters.emphasis)
        for of, by in zip(without, (serving, model.manifest), strict=True)
    ]
    candidates = np.logical_and(*((np.bincount(of.indices[of.data > 0], minlength=of.shape[1]) > 0) for of in fitted))
    histories, trial = _robbed(known.take(asked[known.talent]), candidates, fitted[0])
    if len(trial.talents) < FEWEST:
        return None
    gains: dict[str, PerTalent] = {}

    def ask(scorers: Mapping[str, Scorer]) -> None:
        for name, scorer in scorers.items():
            gains[name] = measure(top_lists(scorer, trial, K), trial, (K,)).by_talent[METRIC]

    on_step(0, 3)
    near = near_in_content(content, Kind.JOB, fitted[1])
    whole, _ = _learnt(fitted[0], histories, near, serving.hyperparameters, serving.as_of_ms, seed)
    ask({"serving": whole})
    on_step(1, 3)
    whole, factors = _learnt(fitted[1], histories, near, hyper, model.manifest.as_of_ms, seed)
    ask({"learnt": whole, "learnt_factors": factors})
    on_step(2, 3)
    asker = _Asker(LoadedModel(model), histories, job_ordinals)
    ask({"model": asker, "model_factors": replace(asker, by_factors_alone=True)})
    on_step(3, 3)
    return Judgement(
        len(trial.talents),
        {name: float(of.mean()) for name, of in gains.items()},
        {
            name: lead_over(METRIC, other, gains[name], gains[other], seed)
            for name, other in (("learnt", "serving"), ("model", "serving"), ("model_factors", "learnt_factors"))
        },
    )


def _weights(table: EventTable, hyper: Hyperparameters, as_of_ms: int | None) -> sp.csr_matrix:
    return affinity(table, hyper.half_life_days, as_of_ms, hyper.emphasis)


def _sampled(table: EventTable, seed: int) -> EventTable:
    pairs = len(np.unique(table.pair))
    if pairs <= PAIRS:
        return table
    return table.take((np.random.default_rng(seed).random(len(table.talent_ids)) < PAIRS / pairs)[table.talent])


def _drawn(known: EventTable, seed: int) -> npt.NDArray[np.bool_]:
    """Mask of the talents who are asked: a share of those with two jobs, of which one can be taken away."""
    could = np.flatnonzero(np.diff(affinity(known, None, None).maximum(0).astype(bool).indptr) >= 2)
    drawn = np.random.default_rng(seed).choice(could, min(ASKED, len(could) // ASKED_SHARE), replace=False)
    asked = np.zeros(len(known.talent_ids), np.bool_)
    asked[drawn] = True
    return asked


def _robbed(asked: EventTable, candidates: npt.NDArray[np.bool_], fitted: sp.csr_matrix) -> tuple[EventTable, Trial]:
    """The histories of the asked talents without their newest pair among the candidates, and the question for it."""
    positive = affinity(asked, None, None).maximum(0)
    positive.eliminate_zeros()
    jobs = max(len(asked.job_ids), 1)
    liked = np.isin(
        asked.pair, np.repeat(np.arange(positive.shape[0]), np.diff(positive.indptr)) * jobs + positive.indices
    )
    order = np.lexsort((asked.seq, asked.at_ms, asked.talent))
    order = order[(liked & candidates[asked.job])[order]]
    last = order[np.append(asked.talent[order][1:] != asked.talent[order][:-1], True)] if len(order) else order
    lost = np.full(len(asked.talent_ids), -1, dtype=np.int64)
    lost[asked.talent[last]] = asked.job[last]
    histories = asked.take(asked.job != lost[asked.talent])
    left = affinity(histories, None, None).maximum(0)
    left.eliminate_zeros()
    talents = np.flatnonzero((lost >= 0) & (np.diff(left.indptr) > 0))
    relevance = sp.csr_matrix(
        (np.ones(len(talents), np.float32), lost[talents], np.arange(len(talents) + 1)), (len(talents), len(candidates))
    )
    seen = sp.csr_matrix((np.ones(len(histories), np.float32), (histories.talent, histories.job)), shape=left.shape)
    popularity = np.bincount(fitted.indices[fitted.data > 0], minlength=fitted.shape[1]).astype(np.int64)
    history = np.diff(left.indptr)[talents].astype(np.int64)
    speaking = max(int(np.count_nonzero(np.diff(fitted.indptr))), 1)
    return histories, Trial(talents, seen, relevance, candidates, 0, len(talents), history, popularity, speaking)


def _learnt(
    fitted: sp.csr_matrix,
    histories: EventTable,
    near: sp.csr_matrix | None,
    hyper: Hyperparameters,
    as_of_ms: int | None,
    seed: int,
) -> tuple[Blended, FoldedIn]:
    """The served score of jobs, learnt from a matrix that the asked talents are not in, for their histories.

    And that of factors alone. near: jobs that are alike in content.
    """
    jobs = side_of(fit_jobs(fitted, hyper))
    likeness = replace(default_recipe(fitted), likeness=Likeness(*hyper.likeness))
    neighbours, _ = fit_neighbours(fitted, jobs, hyper, likeness, seed)
    by_content = weighed_content(near, FoldedIn(fitted, jobs, hyper), hyper.content, seed)
    factors = FoldedIn(fitted + _weights(histories, hyper, as_of_ms), jobs, hyper)
    return Blended(factors, neighbours, by_content), factors.with_popularity(0.0)


@dataclass(frozen=True, eq=False)
class _Asker:
    """The scores of a model as it would serve: ids, ordinals, rows and all."""

    loaded: LoadedModel
    histories: EventTable
    job_ordinals: Ordinals
    by_factors_alone: bool = False

    def scores(self, talents: npt.NDArray[np.intp]) -> Scores:
        """talents × jobs."""
        history_of = _events_by_talent(self.histories.take(np.isin(self.histories.talent, talents)))
        ordinal_of = dict(zip(self.histories.job_ids, self.job_ordinals.tolist(), strict=True))
        interests = interests_from_histories(
            [history_of[talent] for talent in talents.tolist()],
            Kind.JOB,
            self.loaded.model,
            lambda ids: [ordinal_of.get(job_id) for job_id in ids],
        )
        terms = [self.loaded.jobs.terms_of(interest) for interest in interests]
        # What clients want, and what content adds to the products, is left out: what is learnt again has neither.
        vectors = [next((part.vector for part in of.dense if part.name == "interest"), None) for of in terms]
        width = self.factors.shape[1]
        scores: Scores = np.stack([np.zeros(width) if one is None else one for one in vectors]).astype(np.float32)
        scores = scores @ self.factors.T
        if not self.by_factors_alone:
            for row, of in zip(scores, terms, strict=True):
                row += score(replace(of, dense=()), self.job_ordinals).astype(np.float32)
        return scores

    @cached_property
    def factors(self) -> Factors:
        """A row per job, zeros for one that the model does not know."""
        side = self.loaded.jobs.side
        rows = side.rows(self.job_ordinals)
        return np.where(rows[:, None] >= 0, side.factors[rows], np.float32(0))


def _events_by_talent(table: EventTable) -> dict[int, list[Event]]:
    """A few talents' events as serving reads them, by row."""
    found: dict[int, list[Event]] = defaultdict(list)
    for place in np.argsort(table.seq, kind="stable").tolist():
        at_ms = int(table.at_ms[place])
        found[int(table.talent[place])].append(
            Event(
                event_id=f"{table.seq[place]}",
                actor=_ACTORS[table.actor[place]],
                type=_TYPES[table.kind[place]],
                talent_id=table.talent_ids[table.talent[place]],
                job_id=table.job_ids[table.job[place]],
                occurred_at_ms=None if at_ms == UNKNOWN_TIME else at_ms,
                value=float(table.value[place]),
                seq=int(table.seq[place]),
            )
        )
    return found
