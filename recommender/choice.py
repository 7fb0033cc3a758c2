"""Hyper-parameters for a log, chosen on a split inside it: a few trial fits, then the blend of their signals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from recommender import metrics as measures
from recommender.als import fit_jobs, side_of
from recommender.blend import ALONE, Content, FoldedIn, K, Near, Pool, build_pool, near_both_ways
from recommender.documents import Kind
from recommender.errors import BadInputError
from recommender.evaluation import Trial, build_trial, top_lists
from recommender.events import Emphasis
from recommender.interactions import DAY_MS, UNKNOWN_TIME, EventTable, affinity, event_weights
from recommender.likeness import Likeness, neighbour_rows
from recommender.metrics import Lists
from recommender.recipe import LIKENESS, SEED, Recipe, carried_over, default_recipe, resolve
from recommender.splits import Split, split_events

OnTrial = Callable[[int, int], None]  # (trials done, at most of how many)
Gains = npt.NDArray[np.float64]

WIDE_FACTORS = 128
WIDE_MARGIN = 0.02  # a wider model costs in proportion at every request, so it has to pay for itself
HALF_LIVES_DAYS = (30.0, 90.0, 365.0)  # tried; none stands without need
EMPHASES = (Emphasis(power=0.5), Emphasis(views=2.0), Emphasis(views=0.3))  # tried, where types differ
TRIAL_ITERATIONS = 8  # enough to rank candidates
TRIAL_TALENTS = 4_000
BLEND_TALENTS = 1_500  # every one of them is asked a hundred times
TRIAL_PAIRS = 400_000  # of a larger log a share of the talents stands for the rest, so the choice stays cheap
TUNING_PAIRS = (
    1_000_000  # in half a log neighbours know half of what they know in all of it, and factors more than that
)
FEWEST_TALENTS = 50  # below, a validation split says nothing and the formula stands
MOST_TRIALS = 17  # and one for each blend

LIKENESSES = (LIKENESS, Likeness(1, 1, 0.2), Likeness(1, 0.5, 0.5), Likeness(0.5, 0.5, 0.5, 5))  # tried
NEIGHBOURS = (0.0, 0.1, 0.3, 0.6, 1.0, 2.0, 4.0, 10.0, 100.0)  # tried
CONTENTS = (0.0, 0.1, 0.3, 0.6, 1.0, 2.0)  # tried, where items are described
POPULARITIES = (0.03, 0.3, 1.0)  # tried, beside the formula's
FINE_NEIGHBOURS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.2, 2.0, 4.0, 10.0, 100.0)  # tried by `tandem tune`
FINE_POPULARITIES = (0.003, 0.01, 0.03, 0.1, 0.3, 0.6, 1.0)
SURELY = 2.0  # standard errors: of a hundred blends the best leads by one and more where nothing differs
FRESH_SHARE = 0.1  # of the pairs or the newest events, where a search is checked on splits that it was not made on
SPLITS = 3  # of a log that is split at random and has too few talents for one of them


@dataclass(slots=True)
class _Search:
    """Hill climbing over recipes on one validation split, by the factors alone. Remembers what it measured."""

    split: Split
    trial: Trial
    seed: int
    on_trial: OnTrial
    measured: dict[Recipe, Gains] = field(default_factory=dict)
    done: int = 0

    def gains(self, recipe: Recipe) -> Gains:
        """recall@20 + ndcg@20 of each asked talent."""
        if recipe not in self.measured:
            lists = top_lists(fitted(self.split, recipe, self.seed).with_popularity(ALONE), self.trial, K)
            self.measured[recipe] = gains_of(lists, self.trial)
            self.step()
        return self.measured[recipe]

    def step(self) -> None:
        """One more trial is done."""
        self.done += 1
        self.on_trial(self.done, MOST_TRIALS + 2)

    def better(
        self, best: Recipe, candidates: Sequence[Recipe], margin: float = 0.0, standard_errors: float = 1.0
    ) -> Recipe:
        """The best of all; a candidate must win by that much, and by `margin` of the incumbent's mean."""
        for candidate in candidates:
            if candidate not in self.measured and len(self.measured) >= MOST_TRIALS:
                break
            difference = self.gains(candidate) - self.gains(best)
            error = float(difference.std() / np.sqrt(len(difference)))
            if difference.mean() > max(standard_errors * error, margin * self.gains(best).mean()):
                best = candidate
        return best


def choose_recipe(
    table: EventTable,
    *,
    seed: int = SEED,
    on_trial: OnTrial = lambda done, of: None,
    content: Content | None = None,
) -> Recipe:
    """Hyper-parameters for a log, by a short hill climb from the formula's on a split inside `table`.

    Deterministic; sees nothing but `table`, and what its talents and jobs say of themselves. At most `MOST_TRIALS`
    fits of `TRIAL_ITERATIONS` over `TRIAL_PAIRS`, and one more for each direction's blend. With too few talents to
    measure on, the formula stands.
    """
    everything = affinity(table, None, None)
    split = split_events(_sampled(table, seed, TRIAL_PAIRS), seed=seed)
    trial = build_trial(split, TRIAL_TALENTS, seed)
    if trial.population < FEWEST_TALENTS:
        return default_recipe(everything)
    part = affinity(split.train, None, None)
    start = default_recipe(part)
    search = _Search(split, trial, seed, on_trial)
    best = search.better(start, [replace(start, half_life_days=days) for days in _half_lives(split.train)])
    if has_types(split.train):
        best = search.better(best, [replace(best, emphasis=emphasis) for emphasis in EMPHASES])
    for _ in range(2):
        before = best
        for name, factor in (("shrinkage", 1.6), ("strength", 2.5)):
            value = getattr(best, name)
            best = search.better(
                best, [replace(best, **{name: value * factor}), replace(best, **{name: value / factor})]
            )
        if best == before:
            break
    best = search.better(best, [replace(best, factors=WIDE_FACTORS)], margin=WIDE_MARGIN)
    if best.factors == WIDE_FACTORS:
        # Where many patterns pay, weak ones may as well, and a step of the climb is too short to see it. On the widest
        # and sparsest logs a gain of 5 % stays within the error, so the better mean decides between these two.
        weak = replace(best, strength=best.strength / 2, shrinkage=best.shrinkage / 6)
        best = search.better(best, [weak], standard_errors=0.0)
    splits = [split]
    if split.cut_ms is None and trial.population < BLEND_TALENTS:
        splits += [split_events(table, seed=seed + other) for other in range(1, SPLITS)]
    near = [near_both_ways(content, affinity(one.train, None, None)) for one in splits]
    best = choose_blend(splits, best, seed, near)
    search.step()
    best = choose_talent_blend(split, best, seed, near[0])
    search.step()
    return carried_over(best, part, everything)


def fitted(split: Split, recipe: Recipe, seed: int, iterations: int = TRIAL_ITERATIONS) -> FoldedIn:
    """Factors learnt from the split's train part."""
    matrix = affinity(split.train, recipe.half_life_days, split.train.newest_ms, recipe.emphasis)
    hyper = resolve(replace(recipe, iterations=iterations), matrix, seed)
    return FoldedIn(matrix, side_of(fit_jobs(matrix, hyper)), hyper)


def gains_of(lists: Lists, trial: Trial) -> Gains:
    """recall@20 + ndcg@20 of each asked talent: what every choice goes by."""
    hits = measures.hits_of(lists, trial.relevance)
    gains: Gains = measures.recall(hits, trial.relevant, K) + measures.ndcg(hits, trial.relevant, K)
    return gains


def choose_blend(splits: Sequence[Split], recipe: Recipe, seed: int, near: Sequence[Near]) -> Recipe:
    """The recipe with the likeness and the weights that gain most beside its factors. near: of each split."""
    trials = [build_trial(split, BLEND_TALENTS, seed) for split in splits]
    pools = []
    for split, trial, of_split in zip(splits, trials, near, strict=True):
        factors = fitted(split, recipe, seed).lending(of_split)
        pools.append(_pool(factors, neighbour_rows(factors.history, LIKENESSES), trial, of_split[Kind.JOB]))
    popularities = sorted({recipe.popularity, *POPULARITIES})
    formula = Blend(0, recipe.neighbours, recipe.popularity, recipe.content)
    best = _blended(pools, trials, range(len(LIKENESSES)), NEIGHBOURS, popularities, formula)
    return replace(
        recipe,
        likeness=LIKENESSES[best.of],
        neighbours=best.neighbours,
        popularity=best.popularity,
        content=best.content,
    )


def choose_talent_blend(split: Split, recipe: Recipe, seed: int, near: Near) -> Recipe:
    """The recipe with the weights of neighbours in lists of talents, with all else as it is for lists of jobs."""
    trial = build_trial(split.transposed(), BLEND_TALENTS, seed)
    if trial.population < FEWEST_TALENTS:
        return replace(recipe, talent_neighbours=recipe.neighbours, talent_content=recipe.content)
    talents = fitted(split, recipe, seed).lending_both(near)
    pool = _pool(talents, neighbour_rows(talents.history, [recipe.likeness]), trial, near[Kind.TALENT])
    formula = Blend(0, recipe.neighbours, 0.0, recipe.talent_content)
    best = _blended([pool], [trial], [0], NEIGHBOURS, [0.0], formula)
    return replace(recipe, talent_neighbours=best.neighbours, talent_content=best.content)


class Blend(NamedTuple):
    """Which likeness, and the weights of neighbours, of popularity and of content."""

    of: int
    neighbours: float
    popularity: float
    content: float = 0.0


def _pool(factors: FoldedIn, rows: Sequence[sp.csr_matrix], trial: Trial, near: sp.csr_matrix | None) -> Pool:
    return build_pool(factors, rows, trial.talents, trial.seen, trial.candidates, near)


def _blended(
    pools: Sequence[Pool],
    trials: Sequence[Trial],
    likenesses: Sequence[int],
    neighbours: Sequence[float],
    popularities: Sequence[float],
    formula: Blend,
) -> Blend:
    """The best of all blends at the formula's weight of content, and then, where there is any, of all weights of it.

    Where content says much, neighbours by behaviour may say less or more beside it, so both are weighed together.
    """
    blends = [Blend(*of, formula.content) for of in product(likenesses, neighbours, popularities)]
    best = _best_blend(pools, trials, blends, formula)
    if all(pool.content is None for pool in pools):
        return best
    blends = [best._replace(neighbours=near, content=alike) for near, alike in product(neighbours, CONTENTS)]
    return _best_blend(pools, trials, blends, best)


def _best_blend(pools: Sequence[Pool], trials: Sequence[Trial], blends: Sequence[Blend], formula: Blend) -> Blend:
    """Of the blends that surely gain over the formula's, on the same talents, the one that gains most.

    The formula's own when none gains for sure: of some 100 blends the best is the best partly by chance. Where
    a blend changes what only a few talents find, as in the sparsest logs, their mean is luck whatever its error.
    """
    by_formula = _gains_of_blend(pools, trials, formula)
    chosen, most = formula, 0.0
    for blend in blends:
        if blend.neighbours == 0 and blend.of != formula.of:
            continue  # without neighbours a likeness says nothing
        gained = _gains_of_blend(pools, trials, blend) - by_formula
        if np.count_nonzero(gained) < FEWEST_TALENTS:
            continue
        gain = float(gained.mean())
        if gain > max(most, SURELY * float(gained.std()) / np.sqrt(len(gained))):
            chosen, most = blend, gain
    return chosen


def _gains_of_blend(pools: Sequence[Pool], trials: Sequence[Trial], blend: Blend) -> Gains:
    return np.concatenate([gains_of(pool.lists(*blend), trial) for pool, trial in zip(pools, trials, strict=True)])


def has_types(table: EventTable) -> bool:
    """Whether events of two types or more speak for their pairs, so that it matters what each type weighs."""
    return len(np.unique(table.kind[event_weights(table, None, None) > 0])) > 1


def _half_lives(table: EventTable) -> list[float]:
    """Half-lives that make a difference on this log: those shorter than its span."""
    known = table.at_ms[table.at_ms != UNKNOWN_TIME]
    span_days = (int(known.max()) - int(known.min())) / DAY_MS if len(known) else 0.0
    return [days for days in HALF_LIVES_DAYS if days < span_days]


def _sampled(table: EventTable, seed: int, most: int) -> EventTable:
    """All events of as many talents, drawn by chance, as make about `most` pairs."""
    pairs = len(np.unique(table.pair))
    if pairs <= most:
        return table
    drawn = np.random.default_rng(seed).random(len(table.talent_ids)) < most / pairs
    return table.take(drawn[table.talent])


@dataclass(frozen=True, eq=False)
class Measured:
    """A recipe, the blend chosen for its factors and likeness, and what each asked talent gained by it."""

    recipe: Recipe
    gains: Gains

    @property
    def value(self) -> float:
        """Mean recall@20 + ndcg@20."""
        return float(self.gains.mean())

    def surely_beats(self, other: Measured) -> bool:
        """Whether the gain is above `SURELY` standard errors, over the same talents: of many one wins by luck."""
        gain = self.gains - other.gains
        return bool(gain.mean() > SURELY * gain.std() / np.sqrt(len(gain)))


class Validation:
    """Validation splits inside a log, to measure recipes on: one, or three where a small log has no times."""

    def __init__(self, table: EventTable, seed: int = SEED, content: Content | None = None) -> None:
        """Raises BadInputError when too few talents could be asked."""
        self._table, self._seed = table, seed
        sampled = _sampled(table, seed, TUNING_PAIRS)
        self.splits = [split_events(sampled, seed=seed)]
        self.trials = [build_trial(self.splits[0], TRIAL_TALENTS, seed)]
        if self.trials[0].population < FEWEST_TALENTS:
            raise BadInputError(
                f"there is too little to tune on: {self.trials[0].population} talents have a history and something new "
                f"to find after it, and {FEWEST_TALENTS} are needed; `tandem train` uses what the log's shape suggests"
            )
        if self.splits[0].cut_ms is None and self.trials[0].population < BLEND_TALENTS:
            self.splits += [split_events(sampled, seed=seed + other) for other in range(1, SPLITS)]
            self.trials += [build_trial(split, TRIAL_TALENTS, seed) for split in self.splits[1:]]
        self._part = affinity(self.splits[0].train, None, None)
        self.formula = default_recipe(self._part)
        self._near = [near_both_ways(content, affinity(split.train, None, None)) for split in self.splits]
        fresh = [split_events(sampled, FRESH_SHARE, seed + SPLITS + other) for other in range(len(self.splits))]
        self._fresh = [(split, build_trial(split, TRIAL_TALENTS, seed)) for split in fresh]
        self._content = content
        self._on_fresh: dict[Recipe, Gains] = {}

    @property
    def asked(self) -> int:
        """How many talents are asked, over all splits."""
        return sum(len(trial.talents) for trial in self.trials)

    @property
    def half_lives_days(self) -> list[float]:
        """Half-lives that make a difference on this log."""
        return _half_lives(self.splits[0].train)

    @property
    def has_types(self) -> bool:
        """Whether what is made of the weights of event types makes a difference on this log."""
        return has_types(self.splits[0].train)

    @property
    def is_lending(self) -> bool:
        """Whether talents are described, so that the prior on what they like makes a difference."""
        return any(near[Kind.TALENT] is not None for near in self._near)

    def brought_back(self, choice: Recipe) -> Recipe:
        """A recipe for the whole of the log, such as `choose_recipe` makes, for the part that trials learn from."""
        return carried_over(choice, affinity(self._table, None, None), self._part)

    def measure(self, recipe: Recipe) -> Measured:
        """What the recipe gains with the weights of neighbours, popularity and content that suit it best."""
        pools = [
            self._pool_of(split, trial, near, recipe)
            for split, trial, near in zip(self.splits, self.trials, self._near, strict=True)
        ]
        formula = Blend(0, self.formula.neighbours, self.formula.popularity, self.formula.content)
        best = _blended(pools, self.trials, [0], FINE_NEIGHBOURS, FINE_POPULARITIES, formula)
        return Measured(
            replace(recipe, neighbours=best.neighbours, popularity=best.popularity, content=best.content),
            _gains_of_blend(pools, self.trials, best),
        )

    def holds(self, better: Recipe, worse: Recipe) -> bool:
        """Whether a recipe, its weights as they are, leads another by a standard error on splits that chose neither.

        They leave more to learn from than the others do: what pays in less of a log must go on paying in more of it.
        """
        gain = self._gains_on_fresh(better) - self._gains_on_fresh(worse)
        return bool(len(gain)) and bool(gain.mean() > gain.std() / np.sqrt(len(gain)))

    def _gains_on_fresh(self, recipe: Recipe) -> Gains:
        if recipe not in self._on_fresh:
            scale = carried_over(recipe, self._part, affinity(self._fresh[0][0].train, None, None))
            pools = [
                self._pool_of(split, trial, near_both_ways(self._content, affinity(split.train, None, None)), scale)
                for split, trial in self._fresh
            ]
            blend = Blend(0, scale.neighbours, scale.popularity, scale.content)
            self._on_fresh[recipe] = _gains_of_blend(pools, [trial for _, trial in self._fresh], blend)
        return self._on_fresh[recipe]

    def _pool_of(self, split: Split, trial: Trial, near: Near, recipe: Recipe) -> Pool:
        factors = fitted(split, recipe, self._seed, recipe.iterations).lending(near)
        return _pool(factors, neighbour_rows(factors.history, [recipe.likeness]), trial, near[Kind.JOB])

    def finished(self, recipe: Recipe) -> Recipe:
        """The recipe with the weights of neighbours in lists of talents."""
        return choose_talent_blend(self.splits[0], recipe, self._seed, self._near[0])
