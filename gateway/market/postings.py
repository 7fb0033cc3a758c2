"""The clients and jobs of a market: what postings say, what drives clients without being said, and when jobs end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from gateway.market.people import STYLE
from gateway.market.places import COUNTRIES
from gateway.market.spec import DAY_MS, MarketSpec
from gateway.market.trades import SIGNS, TASTE, Bools, Floats, Ints, Times, Trades, draw_skills
from gateway.market.vocabulary import CATEGORIES, INDUSTRIES

MOST_SKILLS = 8
JOBS_PER_CLIENT = 3.5
JOBS_PER_SCENE = 32
STOCK_DAYS = 30  # of postings older than the log
NEVER_MS = 2**62


@dataclass(frozen=True, eq=False)
class Clients:
    """Columns over clients (C)."""

    country: Ints
    industry: Ints
    # hidden
    culture: Floats  # (C, TASTE): what is alike in all of a client's jobs
    style: Floats  # (C, STYLE): how they want people to work
    standard: Floats  # quality below which they lose interest
    care: Floats  # in [0, 1]: share of what comes in that they look at

    def __len__(self) -> int:
        return len(self.country)


@dataclass(frozen=True, eq=False)
class Postings:
    """Columns over jobs (J), in order of posting. Pay is US dollars an hour; NaN when nothing is said.

    ends_ms: after this nothing happens to the job; the simulation moves it forward when the job is filled.
    expires_ms: NEVER_MS when open-ended. hours: how long a fixed-price job takes.
    """

    client: Ints
    occupation: Ints
    level: Ints
    country: Ints
    remote: Bools
    hourly: Bools
    pay: Floats
    hours: Floats
    skills: Ints  # (J, MOST_SKILLS)
    months: Ints  # length of the contract
    posted_ms: Times
    expires_ms: Times
    ends_ms: Times
    draft: Bools
    paused: Bools
    vacancies: Ints
    # hidden
    trait: Floats  # (J, TASTE)
    scene: Ints  # the nearest of `scenes`
    scenes: Floats  # (S, TASTE), not a column: what a search finds together
    signs: Floats  # (J, SIGNS) of -1 and 1
    rhythm: Floats
    charm: Floats

    def __len__(self) -> int:
        return len(self.client)


def build_clients(spec: MarketSpec, rng: np.random.Generator) -> Clients:
    """Draw the clients of a market."""
    count = max(3, round(spec.jobs / JOBS_PER_CLIENT))
    shares = np.array([country.clients for country in COUNTRIES])
    return Clients(
        country=rng.choice(len(COUNTRIES), count, p=shares / shares.sum()).astype(np.int32),
        industry=rng.integers(0, len(INDUSTRIES), count, dtype=np.int32),
        culture=rng.normal(0.0, 0.5, (count, TASTE)),
        style=rng.normal(0.0, 1.0, (count, STYLE)),
        standard=rng.normal(-0.3, 0.6, count),
        care=rng.beta(5.0, 1.6, count),
    )


def build_postings(spec: MarketSpec, trades: Trades, clients: Clients, rng: np.random.Generator) -> Postings:
    """Draw the jobs of a market. Each client hires in a home occupation and, now and then, around it."""
    count = spec.jobs
    rank_weight = 1.0 / np.arange(1, len(clients) + 1) ** 0.7  # a few clients post a lot
    client = rng.choice(len(clients), count, p=rank_weight / rank_weight.sum()).astype(np.int32)
    home = rng.choice(len(trades.share), len(clients), p=trades.share)
    elsewhere = rng.choice(len(trades.share), count, p=trades.share)
    near = np.array([_near(trades, int(place), rng) for place in home[client]])
    kind = rng.random(count)
    occupation = np.where(kind < 0.45, home[client], np.where(kind < 0.7, near, elsewhere)).astype(np.int32)
    level = rng.choice(3, count, p=(0.22, 0.48, 0.30)).astype(np.int32)
    country = clients.country[client]
    prices = np.array([place.prices for place in COUNTRIES])[country]
    pay = trades.hourly_usd[occupation] * np.array([0.62, 1.0, 1.5])[level] * prices**0.5 * 0.9
    pay *= np.exp(rng.normal(0.0, 0.28, count))
    remote_share = np.array([CATEGORIES[name].remote for name in trades.category_names])[trades.category[occupation]]

    posted = (spec.start_ms + rng.uniform(-STOCK_DAYS, spec.days - 0.2, count) * DAY_MS).astype(np.int64)
    life_days = rng.choice((14, 30, 45, 60, 90), count, p=(0.12, 0.36, 0.22, 0.22, 0.08))
    expires = posted + life_days.astype(np.int64) * DAY_MS
    # What stood open when the log begins has not expired by then.
    gone = expires < spec.start_ms + DAY_MS
    expires[gone] = spec.start_ms + (rng.uniform(1, 40, int(gone.sum())) * DAY_MS).astype(np.int64)
    # What is open when the log ends stays open for some days more.
    soon = (expires > spec.end_ms) & (expires < spec.end_ms + 3 * DAY_MS)
    expires[soon] += 7 * DAY_MS
    open_ended = rng.random(count) < 0.03
    expires[open_ended] = NEVER_MS
    ends = expires.copy()
    called_off = rng.random(count) < 0.12
    end_of_life = np.minimum(expires, posted + 90 * DAY_MS)
    ends[called_off] = (posted + rng.uniform(0.15, 0.9, count) * (end_of_life - posted)).astype(np.int64)[called_off]
    ends = np.maximum(ends, spec.start_ms + 1)
    paused = (ends > spec.end_ms) & (rng.random(count) < 0.06)
    resting = rng.uniform(0.3, 0.95, count) * (spec.end_ms - np.maximum(posted, spec.start_ms))
    ends[paused] = (np.maximum(posted, spec.start_ms) + resting).astype(np.int64)[paused]
    draft = (rng.random(count) < 0.04) & ~paused & (expires > spec.end_ms)

    trait = trades.centroid[occupation] + clients.culture[client] + rng.normal(0.0, 0.5, (count, TASTE))
    scenes = trait[rng.choice(count, max(1, count // JOBS_PER_SCENE), replace=False)]
    rhythm = np.mod(rng.choice((0.3, 2.4, 4.6), count) + rng.normal(0.0, 0.45, count), 2 * np.pi)
    columns = {
        "client": client,
        "occupation": occupation,
        "level": level,
        "country": country,
        "remote": rng.random(count) < remote_share,
        "hourly": rng.random(count) < 0.62,
        "pay": np.where(rng.random(count) < 0.1, np.nan, pay),
        "hours": np.exp(rng.normal(4.0, 0.9, count)),
        "skills": draw_skills(
            trades, occupation, rng.integers(2, MOST_SKILLS + 1, count, dtype=np.int32), MOST_SKILLS, rng
        ),
        "months": rng.choice((0, 1, 2, 3, 6, 12), count, p=(0.3, 0.15, 0.1, 0.2, 0.17, 0.08)).astype(np.int32),
        "posted_ms": posted,
        "expires_ms": expires,
        "ends_ms": ends,
        "draft": draft,
        "paused": paused,
        "vacancies": np.where(rng.random(count) < 0.08, rng.integers(2, 6, count), 1).astype(np.int32),
        "trait": trait,
        "scene": nearest(scenes, trait),
        "signs": rng.choice((-1.0, 1.0), (count, SIGNS)),
        "rhythm": rhythm,
        "charm": rng.normal(0.0, 1.2, count),
    }
    order = np.argsort(posted, kind="stable")
    return Postings(scenes=scenes, **{name: column[order] for name, column in columns.items()})


def nearest(scenes: Floats, points: Floats) -> Ints:
    """The nearest scene of each point; points (…, TASTE) give (…)."""
    return np.asarray(cKDTree(scenes).query(points)[1], dtype=np.int32)


def _near(trades: Trades, place: int, rng: np.random.Generator) -> int:
    related = trades.occupations[place].related
    return int(rng.choice(related)) if related else place
