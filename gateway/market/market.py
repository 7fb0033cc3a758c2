"""Builds a market: draws people and jobs, then lets them meet day by day."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gateway.market.hiring import Hiring, Stage
from gateway.market.ledger import Batch, EventColumns, cut, join
from gateway.market.people import People, build_people
from gateway.market.postings import Clients, Postings, build_clients, build_postings
from gateway.market.spec import DAY_MS, MarketSpec
from gateway.market.state import State
from gateway.market.taste import Taste
from gateway.market.trades import Bools, Floats, Times, Trades, build_trades
from gateway.market.visits import Visits
from recommender.documents import JobStatus

STATUSES = tuple(JobStatus)
BROWSING = 0.09  # of a day's events come from clients who look for people
EVENTS_PER_BROWSE = 8.0
WEEKEND = 0.55
ROUNDS = 3  # of visits at most per day, until its quota is reached


@dataclass(frozen=True, eq=False)
class Market:
    """A finished market: its columns, and its events in order of time.

    ended_ms: (J,) when the job was over, or will be. status: (J,) places in STATUSES. available: (T,).
    """

    spec: MarketSpec
    trades: Trades
    people: People
    clients: Clients
    postings: Postings
    events: EventColumns
    ended_ms: Times
    status: npt.NDArray[np.int8]
    available: Bools


def generate_market(spec: MarketSpec, progress: Callable[[int, int], None] | None = None) -> Market:
    """The market of a spec. `progress` is told the days done and the days in all.

    The log has exactly spec.events events unless the people in it cannot make that many.
    """
    seeds = np.random.SeedSequence(spec.seed).spawn(5)
    rng_trades, rng_people, rng_jobs, rng_days, rng_end = (np.random.default_rng(seed) for seed in seeds)
    trades = build_trades(rng_trades)
    people = build_people(spec, trades, rng_people)
    clients = build_clients(spec, rng_jobs)
    postings = build_postings(spec, trades, clients, rng_jobs)
    state = State(
        spec=spec,
        trades=trades,
        people=people,
        postings=postings,
        clients=clients,
        taste=Taste(people, postings, clients),
        rng=rng_days,
        ends_ms=postings.ends_ms.copy(),
        vacancies=postings.vacancies.copy(),
        filled=np.zeros(len(postings), dtype=np.bool_),
        busy=np.zeros(len(people), dtype=np.bool_),
        job_popularity=np.zeros(len(postings)),
        talent_popularity=np.zeros(len(people)),
        free_ms=np.zeros(len(people), dtype=np.int64),
    )
    events = _live(state, progress)
    status = _statuses(state)
    available = ~state.busy & (rng_end.random(len(people)) > 0.06)
    return Market(spec, trades, people, clients, postings, events, state.ends_ms, status, available)


def _live(state: State, progress: Callable[[int, int], None] | None) -> EventColumns:
    """Every day's events, each day cut to its quota; what one day lacks the next makes up."""
    spec = state.spec
    hiring, visits = Hiring(state), Visits(state)
    quotas = _quotas(spec)
    log: list[EventColumns] = []
    debt, per_visit = 0, 9.0
    for day in range(spec.days):
        day_ms = spec.start_ms + day * DAY_MS
        quota = int(quotas[day]) + debt
        # Some of what comes about proves impossible, and no later day makes up for the last one: it begins with more.
        wanted = quota + (quota // 20 + 20 if day == spec.days - 1 else 0)
        batch = Batch()
        hiring.advance(day_ms, batch)
        hiring.browse(day_ms, int(quota * BROWSING / EVENTS_PER_BROWSE), batch)
        for _ in range(ROUNDS):
            lack = wanted - len(batch)
            sessions = int(1.08 * lack / per_visit) + 1
            if lack <= 0:
                break
            before = len(batch)
            visited = visits.run(day_ms, sessions, batch)
            hiring.wait(Stage.APPLIED, *visited.applied, 1.2)
            hiring.wait(Stage.SAVED, *visited.let_go, 6.0)
            per_visit = 0.7 * per_visit + 0.3 * max((len(batch) - before) / sessions, 2.0)
        today = join(batch.parts)
        today = cut(today.take(_possible(state, today)), quota, state.rng)
        debt = quota - len(today)
        log.append(today)
        state.job_popularity *= 0.95
        state.talent_popularity *= 0.97
        if progress is not None:
            progress(day + 1, spec.days)
    events = join(log)
    return events.take(np.lexsort((events.type, events.job, events.talent, events.at_ms)))


def _possible(state: State, events: EventColumns) -> Bools:
    """Nothing happens after the log's end, before both exist, or after the job is over."""
    born = np.maximum(state.people.created_ms[events.talent], state.postings.posted_ms[events.job])
    over = np.minimum(state.ends_ms[events.job], state.spec.end_ms)
    return np.asarray((events.at_ms >= np.maximum(born, state.spec.start_ms)) & (events.at_ms < over))


def _quotas(spec: MarketSpec) -> npt.NDArray[np.int64]:
    """Events per day: fewer at weekends, more as the market grows; they sum to spec.events."""
    day = np.arange(spec.days)
    weekday = ((spec.start_ms + day * DAY_MS + DAY_MS // 2) // DAY_MS + 3) % 7  # 1970 began on a Thursday
    weight: Floats = np.where(weekday >= 5, WEEKEND, 1.0) * (0.85 + 0.3 * day / spec.days)
    reached = np.round(np.cumsum(weight) / weight.sum() * spec.events).astype(np.int64)
    return np.asarray(np.diff(reached, prepend=0))


def _statuses(state: State) -> npt.NDArray[np.int8]:
    """What became of each job by the end of the log."""
    code = {status: np.int8(place) for place, status in enumerate(STATUSES)}
    still_open = state.ends_ms > state.spec.end_ms
    status = np.where(still_open, code[JobStatus.OPEN], code[JobStatus.CLOSED])
    status = np.where(state.postings.paused, code[JobStatus.PAUSED], status)
    status = np.where(state.filled, code[JobStatus.FILLED], status)
    return np.asarray(np.where(state.postings.draft, code[JobStatus.DRAFT], status), dtype=np.int8)
