"""The trades of the market as arrays: what each occupation asks for, how common it is, where it lies in taste."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gateway.market.onet import Occupation, load_occupations
from gateway.market.vocabulary import CATEGORIES

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]
Times = npt.NDArray[np.int64]  # epoch milliseconds, UTC

TASTE = 4  # dimensions of hidden taste
SIGNS = 10  # hidden yes-or-no traits of a job, as -1 and 1
NO_SKILL = -1


@dataclass(frozen=True, eq=False)
class Trades:
    """Occupations (O) with their category, skills (ids into skill_names) and hidden place.

    category: (O,) place in category_names; share: (O,) of the market, sums to 1; hourly_usd: (O,) of an intermediate.
    """

    occupations: tuple[Occupation, ...]
    category_names: tuple[str, ...]
    category: Ints
    share: Floats
    hourly_usd: Floats
    skill_names: tuple[str, ...]
    skills: tuple[Ints, ...]
    skill_shares: tuple[Floats, ...]
    centroid: Floats  # (O, TASTE)
    twist: Ints  # (O, 3): the signs of a job that its people heed


def build_trades(rng: np.random.Generator) -> Trades:
    """Read the occupations and draw what is hidden about them."""
    occupations = load_occupations()
    names = tuple(CATEGORIES)
    category = np.array([names.index(occupation.category) for occupation in occupations], dtype=np.int32)

    share = np.zeros(len(occupations))
    for place, name in enumerate(names):
        members = np.flatnonzero(category == place)
        weight = 1.0 / np.arange(1, len(members) + 1) ** 0.9  # the subset lists the most wanted first
        share[members] = CATEGORIES[name].share * weight / weight.sum()

    zone_factor = {1: 0.55, 2: 0.65, 3: 0.8, 4: 1.0, 5: 1.3}
    hourly = [CATEGORIES[occupation.category].hourly_usd * zone_factor[occupation.zone] for occupation in occupations]

    skill_ids: dict[str, int] = {}
    skills, shares = [], []
    for occupation in occupations:
        weights: dict[str, float] = dict(occupation.tools)
        # Zipf over the crafts: each occupation's own order, so that neighbours differ.
        crafts = rng.permutation(np.array(CATEGORIES[occupation.category].crafts))
        weights |= {str(craft): max(weights.get(str(craft), 0), 8 / (place + 1)) for place, craft in enumerate(crafts)}
        skills.append(np.array([skill_ids.setdefault(name, len(skill_ids)) for name in weights], dtype=np.int32))
        # Within the same official weight some tools are far more asked for than others.
        drawn = np.array(list(weights.values()), dtype=np.float64) * rng.lognormal(0.0, 0.6, len(weights))
        shares.append(drawn / drawn.sum())

    of_category = rng.normal(0.0, 1.0, (len(names), TASTE))
    centroid = of_category[category] + rng.normal(0.0, 0.55, (len(occupations), TASTE))
    return Trades(
        occupations=occupations,
        category_names=names,
        category=category,
        share=share / share.sum(),
        hourly_usd=np.array(hourly),
        skill_names=tuple(skill_ids),
        skills=tuple(skills),
        skill_shares=tuple(shares),
        centroid=centroid,
        twist=draw_twists(len(occupations), rng),
    )


def draw_twists(count: int, rng: np.random.Generator) -> Ints:
    """Three different signs for each row, (count, 3)."""
    return np.argsort(rng.random((count, SIGNS)), axis=1)[:, :3].astype(np.int32)


def draw_skills(
    trades: Trades, occupation: Ints, counts: Ints, width: int, rng: np.random.Generator, lean: Floats | None = None
) -> Ints:
    """Skill ids of each row, (rows, width), most telling first, padded with NO_SKILL.

    lean: (rows,) in [0, 1): how far a row's skills bend away from the commonest ones of the occupation.
    """
    drawn = np.full((len(occupation), width), NO_SKILL, dtype=np.int32)
    for place in np.unique(occupation):
        rows = np.flatnonzero(occupation == place)
        own, share = trades.skills[place], trades.skill_shares[place]
        keys = np.log(share)[None, :] + rng.gumbel(0.0, 1.0, (len(rows), len(own)))
        if lean is not None:
            keys -= lean[rows, None] * np.log(share)[None, :]
        best = np.argsort(-keys, axis=1)[:, :width]
        chosen = own[best]
        chosen[np.arange(chosen.shape[1])[None, :] >= counts[rows, None]] = NO_SKILL
        drawn[rows, : chosen.shape[1]] = chosen
    return drawn
