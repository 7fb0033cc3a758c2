"""Two interests over the same talents and jobs: what talents do and what clients do, and what makes them comparable.

Each is learnt from its own side's events. Where one side has too few for an interest of its own there is one interest,
learnt from everything, as in a log of one side alone. Why: docs/decisions/0015-two-sides.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from recommender.blend import Content
from recommender.calibration import Floats, Logit, ReliabilityBin, fit_logit, reliability, sigmoid
from recommender.cold_start import places_in
from recommender.conjugate_gradients import OnIteration
from recommender.documents import Kind
from recommender.documents import Side as Actor
from recommender.evaluation import Trial, build_trial
from recommender.events import EventType
from recommender.features import DescribedItems
from recommender.interactions import EventTable, affinity, hidden_pairs
from recommender.interest import MUTUAL_WEIGHT
from recommender.model import ClientsInterest, Factors, Fit, Manifest, Model, Ordinals, Side
from recommender.recipe import SEED, Recipe, brought_over, default_recipe
from recommender.splits import Split, split_events
from recommender.suitability import suitability
from recommender.training import Earlier, contenders_both_ways, train

FEWEST: Final = 50  # pairs acted on after the cut; the error of a logit's slope is then some 14 % of its spread
ASKED: Final = 1_500  # subjects of a calibration
OTHERS: Final = 200  # pairs of each that were not acted on and are looked at; their weight makes up for the rest
TOGETHER: Final = 128  # subjects that are scored at once, for all items
SURELY: Final = 2.0  # standard errors

Described = Mapping[Kind, DescribedItems]
Rows = npt.NDArray[np.intp]


class Scores(Protocol):
    """Scores of some subjects (rows) for all items."""

    def scores(self, talents: Rows) -> npt.NDArray[np.float32]:
        """subjects × items."""
        ...


@dataclass(frozen=True, eq=False)
class Sum:
    """A weighted sum of scores."""

    parts: Sequence[tuple[float, Scores]]

    def scores(self, talents: Rows) -> npt.NDArray[np.float32]:
        """subjects × items."""
        total: npt.NDArray[np.float32] = np.float32(self.parts[0][0]) * self.parts[0][1].scores(talents)
        for weight, part in self.parts[1:]:
            total = total + np.float32(weight) * part.scores(talents)
        return total


@dataclass(frozen=True, eq=False)
class ByFactors:
    """Products of rows of the subjects with rows of the items."""

    subjects: Factors
    items: Factors

    def scores(self, talents: Rows) -> npt.NDArray[np.float32]:
        """subjects × items."""
        products: npt.NDArray[np.float32] = self.subjects[talents] @ self.items.T
        return products


@dataclass(frozen=True, eq=False)
class Sides:
    """Both interests, comparable.

    history: what a history counts in the clients' interest beside suitability; 1 where is_suited is False.
    own, mutual: by kind of what is listed, the logit of who asks and that of the others.
    """

    recipes: Mapping[Actor, Recipe]
    history: float
    is_suited: bool
    own: Mapping[Kind, Logit]
    mutual: Mapping[Kind, Logit]


@dataclass(frozen=True, eq=False)
class Learnt:
    """Scorers of both interests, learnt from one part of a log. own: as served; mutual: products alone."""

    own: Mapping[Kind, Scores]
    mutual: Mapping[Kind, Scores]
    suited: Mapping[Kind, Scores] | None


def of_actor(table: EventTable, actor: Actor) -> EventTable:
    """The events of one side; the id lists stay."""
    return table.take(table.actor == (0 if actor is Actor.TALENT else 1))


def calibrate(
    table: EventTable,
    recipe: Recipe,
    *,
    content: Content | None = None,
    seed: int = SEED,
) -> Sides | None:
    """What makes both interests comparable, measured on a split inside `table`; None where there is but one.

    recipe: chosen on everything. content: what the table's talents and jobs say, rows as its id lists.
    A side has an interest of its own when what it learns of the older part of its events says beyond doubt who acts in
    the newer part, of at least FEWEST pairs.
    """
    recipes = _recipes(table, recipe)
    if recipes is None:
        return None
    split = split_events(table, seed=seed)
    learnt = learn(split, recipes, content, seed)
    if learnt is None:
        return None
    asked = {(actor, kind): _pairs_of(split, actor, kind, seed) for actor in Actor for kind in Kind}
    jobs, talents = Kind.JOB, Kind.TALENT
    of_talents = asked[Actor.TALENT, jobs].logit([learnt.own[jobs]])
    both = [learnt.own[talents]] + ([] if learnt.suited is None else [learnt.suited[talents]])
    of_clients = asked[Actor.CLIENT, talents].logit(both)
    if of_talents is None or of_clients is None or not of_talents.holds(0, SURELY):
        return None
    is_suited = learnt.suited is not None and of_clients.holds(1, SURELY)
    acts = of_clients.holds(0, SURELY)
    if not (is_suited or acts):
        return None
    history = (of_clients.slopes[0] / of_clients.slopes[1] if acts else 0.0) if is_suited else 1.0
    sides = Sides(recipes, history, is_suited, {}, {})
    own = {jobs: of_talents, talents: asked[Actor.CLIENT, talents].logit([clients_score(sides, learnt, talents)])}
    mutual = {
        jobs: asked[Actor.CLIENT, jobs].logit([clients_score(sides, learnt, jobs)]),
        talents: asked[Actor.TALENT, talents].logit([learnt.mutual[talents]]),
    }
    nothing = Logit((0.0,), 0.0, (0.0,))
    return replace(
        sides,
        own={kind: logit or nothing for kind, logit in own.items()},
        mutual={
            kind: logit if logit is not None and logit.holds(0, SURELY) else nothing for kind, logit in mutual.items()
        },
    )


def _recipes(table: EventTable, recipe: Recipe) -> dict[Actor, Recipe] | None:
    """A recipe for each side; None when one of them prefers nothing. The clients' is what their events suggest."""
    parts = {actor: affinity(of_actor(table, actor), None, None) for actor in Actor}
    if any(np.count_nonzero(part.data > 0) < 2 * FEWEST for part in parts.values()):
        return None
    formulas = {actor: default_recipe(part) for actor, part in parts.items()}
    whole = default_recipe(affinity(table, None, None))
    of_clients = replace(formulas[Actor.CLIENT], half_life_days=recipe.half_life_days)
    return {Actor.TALENT: brought_over(recipe, whole, formulas[Actor.TALENT]), Actor.CLIENT: of_clients}


def learn(split: Split, recipes: Mapping[Actor, Recipe], content: Content | None, seed: int) -> Learnt | None:
    """Scorers of both interests, of the older part of a split; None when a side has nothing there."""
    older = {actor: of_actor(split.train, actor) for actor in Actor}
    if any(not (affinity(part, None, None).data > 0).any() for part in older.values()):
        return None
    scorers = {
        actor: contenders_both_ways(Split(part, part, split.cut_ms), recipes[actor], seed=seed, content=content)
        for actor, part in older.items()
    }
    suited = None
    if content is not None:
        places = {
            kind: np.where(np.diff(rows.indptr) > 0, np.arange(rows.shape[0]), -1) for kind, rows in content.items()
        }
        by = recipes[Actor.CLIENT]
        found = suited_factors(older[Actor.CLIENT], by, content, places, split.train.newest_ms, seed)
        if found is not None:
            suited = {Kind.JOB: ByFactors(*found), Kind.TALENT: ByFactors(*reversed(found))}
    of_talents, of_clients = scorers[Actor.TALENT], scorers[Actor.CLIENT]
    return Learnt(
        own={Kind.JOB: of_talents[Kind.JOB]["served"](), Kind.TALENT: of_clients[Kind.TALENT]["served"]()},
        mutual={Kind.JOB: of_clients[Kind.JOB]["als"](), Kind.TALENT: of_talents[Kind.TALENT]["als"]()},
        suited=suited,
    )


def clients_score(sides: Sides, learnt: Learnt, kind: Kind) -> Scores:
    """The clients' interest, in lists of talents as their own, in lists of jobs as the others'."""
    acted = learnt.own[kind] if kind is Kind.TALENT else learnt.mutual[kind]
    if not sides.is_suited or learnt.suited is None:
        return acted
    suited = (1.0, learnt.suited[kind])
    return Sum([(sides.history, acted), suited] if sides.history > 0 else [suited])


def suited_factors(
    clients: EventTable,
    recipe: Recipe,
    content: Content,
    places: Mapping[Kind, Rows],
    as_of_ms: int | None,
    seed: int,
) -> tuple[Factors, Factors] | None:
    """Factors by content of everything described, talents and jobs; None when there is nothing to learn them from.

    places: of the table's talents and jobs among the rows of `content`, -1 for one that is not described.
    A client's VIEWs are left out: they come to whoever applied, and say more of who applied than of who is wanted.
    """
    view = tuple(EventType).index(EventType.VIEW)
    wanted = affinity(clients.take(clients.kind != view), recipe.half_life_days, as_of_ms).maximum(0)
    wanted.eliminate_zeros()
    talents = np.where(np.diff(wanted.indptr) > 0, places[Kind.TALENT], -1)
    jobs = np.where(np.bincount(wanted.indices, minlength=wanted.shape[1]) > 0, places[Kind.JOB], -1)
    found = suitability(wanted, content[Kind.TALENT], content[Kind.JOB], talents, jobs, seed)
    return found if found[0].shape[1] else None


@dataclass(frozen=True, eq=False)
class BothSides:
    """Both interests of the older part of a split: what would be served, and how well its log-odds hold."""

    sides: Sides
    learnt: Learnt

    def contenders(self, mutual_weight: float = MUTUAL_WEIGHT) -> dict[Kind, dict[str, Callable[[], Scores]]]:
        """By kind of what is listed, as `training.contenders_both_ways`: "own_side" is by the interest of who asks
        alone, "served" by both."""
        found: dict[Kind, dict[str, Callable[[], Scores]]] = {}
        for kind, own in self._own.items():
            other = clients_score(self.sides, self.learnt, kind) if kind is Kind.JOB else self.learnt.mutual[kind]
            (theirs,), (mine,) = self.sides.mutual[kind].slopes, self.sides.own[kind].slopes
            both = Sum([(1.0, own), (mutual_weight * theirs / mine if mine > 0 else 0.0, other)])
            found[kind] = {"own_side": partial(_itself, own), "served": partial(_itself, both)}
        return found

    def reliability(self, split: Split, seed: int = SEED) -> dict[Actor, Sequence[ReliabilityBin]]:
        """How well each side's probabilities hold on the newer part of the split."""
        found = {}
        for actor, kind in ((Actor.TALENT, Kind.JOB), (Actor.CLIENT, Kind.TALENT)):
            pairs, logit = _pairs_of(split, actor, kind, seed), self.sides.own[kind]
            if pairs.acted.any():
                chances = sigmoid(logit.slopes[0] * pairs.scored(self._own[kind]) + logit.intercept)
                found[actor] = reliability(chances, pairs.acted, pairs.weights)
        return found

    @property
    def _own(self) -> dict[Kind, Scores]:
        clients = clients_score(self.sides, self.learnt, Kind.TALENT)
        return {Kind.JOB: self.learnt.own[Kind.JOB], Kind.TALENT: clients}


def both_sides(split: Split, recipe: Recipe, *, content: Content | None = None, seed: int = SEED) -> BothSides | None:
    """Both interests, learnt on the older part of a split, made comparable on a split inside that; None for one."""
    sides = calibrate(split.train, recipe, content=content, seed=seed)
    learnt = None if sides is None else learn(split, sides.recipes, content, seed)
    return None if sides is None or learnt is None else BothSides(sides, learnt)


def _itself(scorer: Scores) -> Scores:
    return scorer


@dataclass(frozen=True, eq=False)
class Pairs:
    """Subjects of a trial with the items that each was looked at for: acted on later, or one of those that were not.

    Shapes: rows, columns, acted, weights (pairs,). weights: how many pairs each stands for.
    """

    rows: Rows
    columns: Rows
    acted: npt.NDArray[np.bool_]
    weights: Floats

    def scored(self, by: Scores) -> Floats:
        """The score of each pair."""
        found = np.empty(len(self.rows))
        subjects, places = np.unique(self.rows, return_inverse=True)
        for start in range(0, len(subjects), TOGETHER):
            within = np.flatnonzero((places >= start) & (places < start + TOGETHER))
            scores = by.scores(subjects[start : start + TOGETHER])
            found[within] = scores[places[within] - start, self.columns[within]]
        return found

    def logit(self, by: Sequence[Scores]) -> Logit | None:
        """Log-odds of being acted on later by some scores; None where too few were."""
        if np.count_nonzero(self.acted) < FEWEST:
            return None
        return fit_logit(np.column_stack([self.scored(one) for one in by]), self.acted, self.weights)


def _pairs_of(split: Split, actor: Actor, kind: Kind, seed: int) -> Pairs:
    """The questions of one side: who acts on what in the newer part, that it had nothing to do with before."""
    train_part, test_part = of_actor(split.train, actor), of_actor(split.test, actor)
    if kind is Kind.TALENT:
        train_part, test_part = train_part.transposed(), test_part.transposed()
    return sampled_pairs(build_trial(Split(train_part, test_part, split.cut_ms), ASKED, seed), seed)


def sampled_pairs(trial: Trial, seed: int) -> Pairs:
    """All pairs of a trial that were acted on, and OTHERS of each subject's that were not."""
    rng = np.random.default_rng(seed)
    rows, columns, acted, weights = [], [], [], []
    for place, subject in enumerate(trial.talents.tolist()):
        found = trial.relevance.indices[trial.relevance.indptr[place] : trial.relevance.indptr[place + 1]]
        others = trial.candidates.copy()
        others[trial.seen.indices[trial.seen.indptr[subject] : trial.seen.indptr[subject + 1]]] = False
        others[found] = False
        left = np.flatnonzero(others)
        drawn = rng.choice(left, min(OTHERS, len(left)), replace=False)
        rows.append(np.full(len(found) + len(drawn), subject))
        columns += [found, drawn]
        acted.append(np.arange(len(found) + len(drawn)) < len(found))
        weights.append(np.r_[np.ones(len(found)), np.full(len(drawn), len(left) / max(len(drawn), 1))])
    if not rows:
        nothing = np.empty(0, np.intp)
        return Pairs(nothing, nothing, np.empty(0, np.bool_), np.empty(0))
    return Pairs(
        np.concatenate(rows), np.concatenate(columns).astype(np.intp), np.concatenate(acted), np.concatenate(weights)
    )


def train_both_sides(
    table: EventTable,
    recipe: Recipe,
    *,
    talent_ordinals: Ordinals,
    job_ordinals: Ordinals,
    as_of_ms: int | None,
    watermark: int,
    trained_at_ms: int,
    nonce: str,
    seed: int = SEED,
    metrics: Mapping[str, Mapping[str, float]] | None = None,
    on_iteration: OnIteration | None = None,
    described: Described | None = None,
    earlier: Model | None = None,
) -> Model:
    """A model of everything in `table`, with an interest for each side that can have its own; see `training.train`.

    earlier: a model to go on from; not one that knows of anything after this one's as-of or watermark, or that somebody
    was erased from, nor, for an interest of one side, one that has but one for both. What is calibrated is always
    learnt anew.
    """
    if earlier is not None and not precedes(earlier.manifest, as_of_ms, watermark):
        earlier = None

    def learnt(part: EventTable, by: Recipe, of: Fit | None) -> Model:
        return train(
            part,
            by,
            talent_ordinals=talent_ordinals,
            job_ordinals=job_ordinals,
            as_of_ms=as_of_ms,
            watermark=watermark,
            trained_at_ms=trained_at_ms,
            nonce=nonce,
            seed=seed,
            metrics=metrics,
            on_iteration=on_iteration,
            described=described,
            earlier=None if of is None or earlier is None else Earlier(earlier.manifest.version, of),
        )

    ordinals = {Kind.TALENT: talent_ordinals, Kind.JOB: job_ordinals}
    content = None if described is None else {kind: described[kind].at(of) for kind, of in ordinals.items()}
    sides = calibrate(table, recipe, content=content, seed=seed)
    hidden = hidden_pairs(table, talent_ordinals, job_ordinals)
    if sides is None:
        only = learnt(table, recipe, None if earlier is None or earlier.clients is not None else earlier.first)
        return replace(only, hidden=hidden)
    of_clients = of_actor(table, Actor.CLIENT)
    of_each = (None, None) if earlier is None or earlier.clients is None else (earlier.first, earlier.of_clients)
    model = learnt(of_actor(table, Actor.TALENT), sides.recipes[Actor.TALENT], of_each[0])
    clients = learnt(of_clients, sides.recipes[Actor.CLIENT], of_each[1])
    factors = None
    if sides.is_suited and described is not None:
        everything = {kind: described[kind].rows for kind in Kind}
        places = {kind: places_in(described[kind].ordinals, of) for kind, of in ordinals.items()}
        factors = suited_factors(of_clients, sides.recipes[Actor.CLIENT], everything, places, as_of_ms, seed)
    suited = [
        Side(ordinals, rows, np.zeros(len(rows), np.float32))
        for ordinals, rows in (
            [(described[kind].ordinals, of) for kind, of in zip((Kind.TALENT, Kind.JOB), factors, strict=True)]
            if factors is not None and described is not None
            else [(np.empty(0, np.uint32), np.empty((0, 0), np.float32))] * 2
        )
    ]
    return replace(
        model,
        manifest=replace(
            model.manifest,
            events=len(table),
            started_from=model.manifest.started_from or clients.manifest.started_from,
            hyperparameters=replace(
                model.manifest.hyperparameters,
                calibration=_map_of(sides.own[Kind.JOB]),
                talent_calibration=_map_of(sides.mutual[Kind.TALENT]),
            ),
            of_clients=replace(
                clients.manifest.hyperparameters,
                history=sides.history,
                calibration=_map_of(sides.mutual[Kind.JOB]),
                talent_calibration=_map_of(sides.own[Kind.TALENT]),
            ),
        ),
        clients=ClientsInterest(clients.talents, clients.jobs, *suited),
        hidden=hidden,
    )


def precedes(manifest: Manifest, as_of_ms: int | None, watermark: int) -> bool:
    """Whether a model was made of nothing that a training at that time, of so much of the log, must not know.

    Whose rows were taken out of it by an erasure left a trace in the others.
    """
    known = manifest.as_of_ms
    is_earlier = known is None or (as_of_ms is not None and known <= as_of_ms)
    return is_earlier and manifest.watermark <= watermark and not manifest.is_without


def _map_of(logit: Logit) -> tuple[float, float]:
    return logit.slopes[0], logit.intercept
