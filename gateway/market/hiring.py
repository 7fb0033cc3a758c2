"""Clients at the marketplace: they look for people, answer applications, interview, offer and, rarely, hire."""

from __future__ import annotations

import enum

import numpy as np
import numpy.typing as npt

from gateway.market.ledger import Batch
from gateway.market.pairs import Pools, mark_repeats, pick
from gateway.market.spec import DAY_MS
from gateway.market.state import ALL_DAY, HOUR_MS, OFFICE_HOURS, State
from gateway.market.taste import sigmoid
from gateway.market.trades import Bools, Floats, Ints, Times
from recommender.documents import Side
from recommender.events import EventType

MINUTE_MS = 60_000
HOME, ANYWHERE, SLATE = 24, 8, 12


class Stage(enum.IntEnum):
    """Whose move a pair waits for."""

    APPLIED = 0
    SHORTLISTED = 1
    INTERVIEWED = 2
    OFFERED = 3
    ACCEPTED = 4
    INVITED = 5
    SAVED = 6  # by a talent who will let it go


class Hiring:
    """Every pair that waits for somebody's next move, as columns."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._talent: Ints = np.empty(0, np.int32)
        self._job: Ints = np.empty(0, np.int32)
        self._stage: npt.NDArray[np.int8] = np.empty(0, np.int8)
        self._last_ms: Times = np.empty(0, np.int64)
        self._due_ms: Times = np.empty(0, np.int64)
        self._offers: Ints = np.zeros(len(state.postings), np.int32)

    def wait(self, stage: Stage, talent: Ints, job: Ints, last_ms: Times, mean_days: float) -> None:
        """Let pairs wait for their next move, half a day at least and never on the day of the last one."""
        pause = (0.5 + self._state.rng.exponential(mean_days, len(talent))) * DAY_MS
        self._talent = np.concatenate([self._talent, talent])
        self._job = np.concatenate([self._job, job])
        self._stage = np.concatenate([self._stage, np.full(len(talent), stage, np.int8)])
        self._last_ms = np.concatenate([self._last_ms, last_ms])
        self._due_ms = np.concatenate([self._due_ms, last_ms + pause.astype(np.int64)])

    def advance(self, day_ms: int, batch: Batch) -> None:
        """Make the moves that are due in the 24 hours from day_ms, hires first: they end the job for the others."""
        state = self._state
        due = self._due_ms < day_ms + DAY_MS
        talent, job, stage, last = self._talent[due], self._job[due], self._stage[due], self._last_ms[due]
        self._keep(~due)
        talents_move = np.isin(stage, (Stage.OFFERED, Stage.INVITED, Stage.SAVED))
        country = np.where(talents_move, state.people.country[talent], state.postings.country[job])
        at = np.maximum(state.moments(day_ms, country, OFFICE_HOURS + 0.15 * ALL_DAY), last + 20 * MINUTE_MS)
        for step in (Stage.ACCEPTED, Stage.OFFERED, Stage.INTERVIEWED, Stage.SHORTLISTED, Stage.APPLIED, Stage.INVITED,
                     Stage.SAVED):  # fmt: skip
            rows = (stage == step) & state.is_open(job, at, HOUR_MS) & (at < state.spec.end_ms)
            _MOVES[step](self, talent[rows], job[rows], at[rows], batch)

    def browse(self, day_ms: int, count: int, batch: Batch) -> None:
        """At most `count` clients look for people, one job each, in the 24 hours from day_ms."""
        state, rng, trades = self._state, self._state.rng, self._state.trades
        postings, people = state.postings, state.people
        jobs = state.open_jobs(day_ms)
        age_days = np.maximum(day_ms - postings.posted_ms[jobs], 0) / DAY_MS
        job = jobs[pick(state.clients.care[postings.client[jobs]] / (1.0 + age_days / 7.0), count, rng)]
        at = state.moments(day_ms, postings.country[job], OFFICE_HOURS)
        fine = state.is_open(job, at, 2 * HOUR_MS) & (at < state.spec.end_ms)
        job, at = job[fine], at[fine]
        present = np.flatnonzero((people.created_ms < day_ms + DAY_MS) & (people.leaves_ms > day_ms)).astype(np.int32)
        if not len(job) or not len(present):
            return
        pull = (0.5 + state.talent_popularity) ** 0.7 * np.exp(0.4 * people.quality) * np.where(state.busy, 0.1, 1.0)
        pools = Pools(present, trades.category[people.occupation[present]], pull[present], len(trades.category_names))
        candidates = np.concatenate(
            [pools.draw(trades.category[postings.occupation[job]], HOME, rng), pools.draw_any(len(job), ANYWHERE, rng)],
            axis=1,
        )
        wide = np.broadcast_to(job[:, None], candidates.shape)
        forbidden = mark_repeats(candidates) | state.settled.contains(candidates, wide)
        forbidden |= state.shortlisted.contains(candidates, wide) | (people.created_ms[candidates] > at[:, None])
        fits = state.taste.same_trade(candidates, wide)
        score = 0.6 * np.log(pull[candidates]) + 2.0 * fits + rng.gumbel(0.0, 0.8, candidates.shape)
        score[forbidden] = -np.inf
        order = np.argsort(-score, axis=1, kind="stable")[:, :SLATE]
        depth = 3 + rng.geometric(0.3, len(job))
        shown = (np.arange(SLATE)[None, :] < depth[:, None]) & np.isfinite(np.take_along_axis(score, order, axis=1))
        row, place = np.nonzero(shown)
        self._look(np.take_along_axis(candidates, order, axis=1)[row, place], job[row], place, at[row], batch)

    def _look(self, t: Ints, j: Ints, place: npt.NDArray[np.int64], at: Times, batch: Batch) -> None:
        state, rng = self._state, self._state.rng
        seen_ms = at + (20 + 20 * place + rng.integers(0, 10, len(t))) * 1000
        batch.add(EventType.IMPRESSION, Side.CLIENT, t, j, seen_ms)
        liking = state.taste.client_likes(t, j)
        looks = rng.random(len(t)) < sigmoid(liking) / np.log2(place + 2.0) ** 0.4
        t, j, liking, at = t[looks], j[looks], liking[looks], seen_ms[looks] + 4000
        batch.add(EventType.VIEW, Side.CLIENT, t, j, at)
        np.add.at(state.talent_popularity, t, 1.0)
        mood = liking + rng.logistic(0.0, 0.4, len(t))
        chance = rng.random(len(t))
        invite = chance < 0.5 * sigmoid(1.5 * (mood - 1.0))
        keep = ~invite & (rng.random(len(t)) < 0.35 * sigmoid(1.5 * (mood - 1.0)))
        leave = ~invite & ~keep & (rng.random(len(t)) < 0.12 * sigmoid(-1.5 * (mood + 0.5)))
        at = at + rng.integers(20, 400, len(t)) * 1000
        batch.add(EventType.INVITE, Side.CLIENT, t[invite], j[invite], at[invite])
        batch.add(EventType.SHORTLIST, Side.CLIENT, t[keep], j[keep], at[keep])
        batch.add(EventType.DISMISS, Side.CLIENT, t[leave], j[leave], at[leave])
        state.settled.add(t[invite | leave], j[invite | leave])
        state.shortlisted.add(t[keep], j[keep])
        np.add.at(state.talent_popularity, t[invite], 2.0)
        self.wait(Stage.INVITED, t[invite], j[invite], at[invite], 0.6)

    def _answer_application(self, t: Ints, j: Ints, at: Times, batch: Batch) -> None:
        state, rng = self._state, self._state.rng
        t, j, at = self._withdraw(t, j, at, 0.04, batch)
        looked = rng.random(len(t)) < state.clients.care[state.postings.client[j]]
        t, j, at = t[looked], j[looked], at[looked]
        batch.add(EventType.IMPRESSION, Side.CLIENT, t, j, at)
        batch.add(EventType.VIEW, Side.CLIENT, t, j, at + 6000)
        np.add.at(state.talent_popularity, t, 1.0)
        wanted = rng.random(len(t)) < sigmoid(1.4 * (self._client_mood(t, j) + 0.2))
        wanted &= state.vacancies[j] > 0
        at = at + rng.integers(60, 1200, len(t)) * 1000
        known = state.shortlisted.contains(t, j)
        new = wanted & ~known
        batch.add(EventType.SHORTLIST, Side.CLIENT, t[new], j[new], at[new])
        state.shortlisted.add(t[new], j[new])
        self.wait(Stage.SHORTLISTED, t[wanted], j[wanted], at[wanted], 1.5)
        self._reject(t, j, at, ~wanted & (rng.random(len(t)) < 0.4), batch)

    def _interview(self, t: Ints, j: Ints, at: Times, batch: Batch) -> None:
        state, rng = self._state, self._state.rng
        t, j, at = self._withdraw(t, j, at, 0.03, batch, only_applied=True)
        wanted = rng.random(len(t)) < sigmoid(self._client_mood(t, j) + 1.1)
        wanted &= state.vacancies[j] > 0
        batch.add(EventType.INTERVIEW, Side.CLIENT, t[wanted], j[wanted], at[wanted])
        self.wait(Stage.INTERVIEWED, t[wanted], j[wanted], at[wanted], 2.0)
        self._reject(t, j, at, ~wanted & (rng.random(len(t)) < 0.5), batch)

    def _offer(self, t: Ints, j: Ints, at: Times, batch: Batch) -> None:
        state, rng = self._state, self._state.rng
        mood = self._client_mood(t, j)
        wanted = (rng.random(len(t)) < sigmoid(mood + 1.6)) & (self._offers[j] < state.vacancies[j])
        best = np.lexsort((-mood, j))  # one offer per job and day: to the one they like most
        first = np.ones(len(t), dtype=np.bool_)
        rank = np.flatnonzero(wanted[best])
        ordered = j[best][rank]
        repeated = np.concatenate([[False], ordered[1:] == ordered[:-1]]) if len(ordered) else np.empty(0, np.bool_)
        first[best[rank[repeated]]] = False
        offered = wanted & first
        batch.add(EventType.OFFER, Side.CLIENT, t[offered], j[offered], at[offered])
        np.add.at(self._offers, j[offered], 1)
        np.add.at(state.talent_popularity, t[offered], 2.0)
        self.wait(Stage.OFFERED, t[offered], j[offered], at[offered], 0.8)
        self._reject(t, j, at, ~offered & (rng.random(len(t)) < 0.5), batch)

    def _answer_offer(self, t: Ints, j: Ints, at: Times, batch: Batch) -> None:
        state, rng = self._state, self._state.rng
        accepts = rng.random(len(t)) < sigmoid(state.taste.talent_likes(t, j) + 1.4)
        accepts &= ~state.busy[t] | (rng.random(len(t)) < 0.4)
        batch.add(EventType.ACCEPT, Side.TALENT, t[accepts], j[accepts], at[accepts])
        batch.add(EventType.DECLINE, Side.TALENT, t[~accepts], j[~accepts], at[~accepts])
        np.subtract.at(self._offers, j[~accepts], 1)
        self.wait(Stage.ACCEPTED, t[accepts], j[accepts], at[accepts], 0.3)

    def _hire(self, t: Ints, j: Ints, at: Times, batch: Batch) -> None:
        state, rng = self._state, self._state.rng
        batch.add(EventType.HIRE, Side.CLIENT, t, j, at)
        np.subtract.at(self._offers, j, 1)
        np.subtract.at(state.vacancies, j, 1)
        state.busy[t] |= rng.random(len(t)) < 0.6
        np.add.at(state.talent_popularity, t, 3.0)
        last = np.zeros(len(state.ends_ms), dtype=np.int64)
        np.maximum.at(last, j, at)
        full = np.unique(j[state.vacancies[j] == 0])
        state.filled[full] = True
        over = last[full] + (rng.uniform(3, 48, len(full)) * HOUR_MS).astype(np.int64)
        state.ends_ms[full] = np.minimum(state.ends_ms[full], over)
        self._turn_down(full, last, batch)

    def _turn_down(self, full: Ints, hired_ms: Times, batch: Batch) -> None:
        """Tell about half of those who still wait for a filled job; the others never hear."""
        state, rng = self._state, self._state.rng
        waiting = np.isin(self._job, full) & (self._stage != Stage.SAVED)
        t, j, last = self._talent[waiting], self._job[waiting], self._last_ms[waiting]
        self._keep(~waiting)
        from_ms = np.maximum(hired_ms[j], last) + 5 * MINUTE_MS
        room = state.ends_ms[j] - from_ms - MINUTE_MS
        told = (room > 0) & (rng.random(len(t)) < 0.55)
        at = from_ms + (rng.random(len(t)) * np.maximum(room, 0)).astype(np.int64)
        self._reject(t, j, at, told, batch)

    def _answer_invitation(self, t: Ints, j: Ints, at: Times, batch: Batch) -> None:
        state, rng = self._state, self._state.rng
        heard = rng.random(len(t)) < np.where(state.busy[t], 0.5, 0.85)
        t, j, at = t[heard], j[heard], at[heard]
        batch.add(EventType.VIEW, Side.TALENT, t, j, at)
        np.add.at(state.job_popularity, j, 1.0)
        at = at + rng.integers(40, 900, len(t)) * 1000
        accepts = rng.random(len(t)) < sigmoid(state.taste.talent_likes(t, j) + 0.1) * np.where(state.busy[t], 0.2, 1.0)
        declines = ~accepts & (rng.random(len(t)) < 0.6)
        batch.add(EventType.ACCEPT, Side.TALENT, t[accepts], j[accepts], at[accepts])
        batch.add(EventType.DECLINE, Side.TALENT, t[declines], j[declines], at[declines])
        self.wait(Stage.SHORTLISTED, t[accepts], j[accepts], at[accepts], 1.0)

    def _let_go(self, t: Ints, j: Ints, at: Times, batch: Batch) -> None:
        state = self._state
        still = state.saved.contains(t, j) & ~state.settled.contains(t, j)
        batch.add(EventType.UNSAVE, Side.TALENT, t[still], j[still], at[still])
        state.saved.discard(t[still], j[still])

    def _withdraw(
        self, t: Ints, j: Ints, at: Times, share: float, batch: Batch, *, only_applied: bool = False
    ) -> tuple[Ints, Ints, Times]:
        """Let some applicants withdraw; returns the others. Who was invited has nothing to withdraw."""
        state, rng = self._state, self._state.rng
        leaves = rng.random(len(t)) < share
        if only_applied:
            leaves &= self._state.applied.contains(t, j)
        batch.add(EventType.WITHDRAW, Side.TALENT, t[leaves], j[leaves], at[leaves])
        state.settled.discard(t[leaves], j[leaves])
        state.applied.discard(t[leaves], j[leaves])
        return t[~leaves], j[~leaves], at[~leaves]

    def _reject(self, t: Ints, j: Ints, at: Times, rows: Bools, batch: Batch) -> None:
        batch.add(EventType.REJECT, Side.CLIENT, t[rows], j[rows], at[rows])
        self._state.settled.add(t[rows], j[rows])

    def _client_mood(self, t: Ints, j: Ints) -> Floats:
        return np.asarray(self._state.taste.client_likes(t, j) + self._state.rng.logistic(0.0, 0.3, len(t)))

    def _keep(self, rows: Bools) -> None:
        self._talent, self._job, self._stage = self._talent[rows], self._job[rows], self._stage[rows]
        self._last_ms, self._due_ms = self._last_ms[rows], self._due_ms[rows]


_MOVES = {
    Stage.APPLIED: Hiring._answer_application,
    Stage.SHORTLISTED: Hiring._interview,
    Stage.INTERVIEWED: Hiring._offer,
    Stage.OFFERED: Hiring._answer_offer,
    Stage.ACCEPTED: Hiring._hire,
    Stage.INVITED: Hiring._answer_invitation,
    Stage.SAVED: Hiring._let_go,
}
