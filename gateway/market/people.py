"""The talents of a market: what their profiles say and what drives them without being said."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gateway.market.places import COUNTRIES
from gateway.market.spec import DAY_MS, MarketSpec
from gateway.market.trades import TASTE, Bools, Floats, Ints, Times, Trades, draw_skills, draw_twists

MOST_SKILLS = 12
STYLE = 3  # dimensions of how somebody works, which clients care about
SPOTS = 3  # places in the space of taste that somebody is fond of
LATE_SHARE = 0.33  # of the talents join while the log runs


@dataclass(frozen=True, eq=False)
class People:
    """Columns over talents (T), in order of creation. Level is 0, 1 or 2; money is US dollars an hour."""

    occupation: Ints
    second: Ints  # occupation that they can do as well
    level: Ints
    country: Ints
    rate: Floats
    skills: Ints  # (T, MOST_SKILLS)
    created_ms: Times
    # hidden
    spots: Floats  # (T, SPOTS, TASTE): what they are fond of, with nothing in between
    breadth: Floats  # how far from a spot they still look
    twist: Ints  # (T, 3): the signs of a job whose product they heed
    rhythm: Floats  # angle: the pace of work that suits them
    tolerance: Floats  # how far from their rhythm they accept, radians
    least_pay: Floats
    nomad: Bools  # wants remote work alone
    ambitious: Bools
    style: Floats  # (T, STYLE)
    quality: Floats
    activity: Floats
    leaves_ms: Times  # after this they do not come back

    def __len__(self) -> int:
        return len(self.occupation)


def build_people(spec: MarketSpec, trades: Trades, rng: np.random.Generator) -> People:
    """Draw the talents of a market."""
    count = spec.talents
    occupation = rng.choice(len(trades.share), count, p=trades.share).astype(np.int32)
    second = np.array(
        [
            rng.choice(related) if (related := trades.occupations[place].related) and rng.random() < 0.45 else place
            for place in occupation
        ],
        dtype=np.int32,
    )
    level = rng.choice(3, count, p=(0.26, 0.46, 0.28)).astype(np.int32)
    shares = np.array([country.talents for country in COUNTRIES])
    country = rng.choice(len(COUNTRIES), count, p=shares / shares.sum()).astype(np.int32)
    prices = np.array([place.prices for place in COUNTRIES])[country]
    quality = rng.normal(0.0, 1.0, count) + 0.35 * (level - 1)
    # Rates follow level, country and quality, and pride: a poor guide to quality on purpose.
    rate = trades.hourly_usd[occupation] * np.array([0.6, 1.0, 1.5])[level] * prices**0.8
    rate *= np.exp(0.10 * quality + rng.normal(0.0, 0.22, count))

    late = rng.random(count) < LATE_SHARE
    before = rng.exponential(260 * DAY_MS, count) + DAY_MS
    # The last days bring fewer: somebody who came an hour ago has hardly a history.
    during = rng.random(count) ** 1.15 * (spec.days - 0.5) * DAY_MS
    created = np.where(late, spec.start_ms + during, spec.start_ms - before).astype(np.int64)
    lifetime = rng.exponential(150 * DAY_MS, count) + DAY_MS
    # Lifetimes have no memory, so those who came long ago are given theirs from the log's start.
    leaves = (np.maximum(created, spec.start_ms) + lifetime).astype(np.int64)

    # Pareto: a few live on the site, many look in once a month, one in eight never comes.
    activity = (1.0 + rng.pareto(1.6, count)) * (rng.random(count) > 0.12)
    # Two spots in their own trade, one anywhere: a back-end developer who would rather write about wine.
    fond_of = np.stack([occupation, second, rng.integers(0, len(trades.share), count)], axis=1)
    spots = trades.centroid[fond_of] + rng.normal(0.0, 0.6, (count, SPOTS, TASTE))
    own_twist = rng.random(count) < 0.2
    twist = np.where(own_twist[:, None], draw_twists(count, rng), trades.twist[occupation])
    order = np.argsort(created, kind="stable")
    skills = draw_skills(trades, occupation, rng.integers(4, MOST_SKILLS, count, dtype=np.int32), MOST_SKILLS, rng)
    return People(
        occupation=occupation[order],
        second=second[order],
        level=level[order],
        country=country[order],
        rate=rate[order],
        skills=skills[order],
        created_ms=created[order],
        spots=spots[order],
        breadth=0.75 * np.exp(rng.normal(0.0, 0.3, count)),
        twist=twist[order],
        rhythm=_rhythms(count, rng)[order],
        tolerance=rng.uniform(0.5, 1.6, count)[order],
        least_pay=(rate * rng.uniform(0.6, 0.95, count))[order],
        nomad=(rng.random(count) < 0.45)[order],
        ambitious=(rng.random(count) < 0.4)[order],
        style=rng.normal(0.0, 1.0, (count, STYLE))[order],
        quality=quality[order],
        activity=activity[order],
        leaves_ms=leaves[order],
    )


def _rhythms(count: int, rng: np.random.Generator) -> Floats:
    """Angles in three loose clusters: sprints, steady work, odd hours."""
    angle = rng.choice((0.3, 2.4, 4.6), count) + rng.normal(0.0, 0.55, count)
    return np.asarray(np.mod(angle, 2 * np.pi), dtype=np.float64)
