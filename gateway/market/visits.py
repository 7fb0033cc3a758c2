"""Talents at the marketplace: a list is shown, the first rows get most of the looks, and what is looked at gets shown.

This loop of exposure is what makes popularity a power law, and what makes an honest recommender's life hard.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gateway.market.ledger import Batch
from gateway.market.pairs import Pools, mark_repeats, pick
from gateway.market.people import SPOTS
from gateway.market.postings import nearest
from gateway.market.spec import DAY_MS
from gateway.market.state import ALL_DAY, HOUR_MS, State
from gateway.market.taste import sigmoid
from gateway.market.trades import Bools, Floats, Ints, Times
from recommender.documents import Side
from recommender.events import EventType

SEARCHED, HOME, SECOND, ANYWHERE = 30, 5, 2, 4  # candidates by where they come from
SLATE = 24  # rows that a list can show
REMEMBERED = 6  # jobs that a talent comes back to
LOGGED = 0.6  # of the rows on screen leave an IMPRESSION: real front ends sample and lose them
SECONDS = 1000


@dataclass(frozen=True, eq=False)
class Visited:
    """What one day's visits lead to: applications to be answered, and saved jobs that will be let go."""

    applied: tuple[Ints, Ints, Times]
    let_go: tuple[Ints, Ints, Times]


class Visits:
    """Sessions of talents."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._scenes = nearest(state.postings.scenes, state.people.spots)
        self._memory = np.full((len(state.people), REMEMBERED), -1, dtype=np.int32)

    def run(self, day_ms: int, count: int, batch: Batch) -> Visited:
        """At most `count` sessions in the 24 hours from day_ms, one per talent."""
        state, rng = self._state, self._state.rng
        people = state.people
        new = (day_ms + DAY_MS - people.created_ms) < 5 * DAY_MS
        eager = people.activity * np.where(new, 3.0, 1.0) * np.where(state.busy, 0.15, 1.0)
        here = (people.created_ms < day_ms + DAY_MS) & (people.leaves_ms > day_ms)
        talent = pick(eager * here, count, rng).astype(np.int32)
        start = state.moments(day_ms, people.country[talent], ALL_DAY)
        start = np.maximum(start, state.free_ms[talent])
        arrived = (people.created_ms[talent] <= start) & (start < state.spec.end_ms)
        talent, start = talent[arrived], start[arrived]
        jobs = state.open_jobs(day_ms)
        if not len(talent) or not len(jobs):
            nothing = (np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.int64))
            return Visited(nothing, nothing)

        back, back_open = self._comebacks(talent, start)
        slate, shown = self._slates(talent, start, jobs, np.where(back_open, back, -1), day_ms)
        seconds = 25 + 15 * np.arange(SLATE)[None, :] + rng.integers(0, 10, slate.shape)
        row, place = np.nonzero(shown)
        t, j = talent[row], slate[row, place]
        seen_ms = start[row] + seconds[row, place] * SECONDS
        logged = rng.random(len(t)) < LOGGED
        batch.add(EventType.IMPRESSION, Side.TALENT, t[logged], j[logged], seen_ms[logged])

        liking = state.taste.talent_likes(t, j)
        attention = 1.0 / np.log2(place + 2.0) ** 0.5
        looks = rng.random(len(t)) < attention * sigmoid(2.8 * (liking + 0.2))
        looks |= rng.random(len(t)) < 0.02  # curiosity and slips of the finger
        back_row, back_place = np.nonzero(back_open)
        t = np.concatenate([t[looks], talent[back_row]])
        j = np.concatenate([j[looks], back[back_row, back_place]])
        liking = np.concatenate([liking[looks], state.taste.talent_likes(talent[back_row], back[back_row, back_place])])
        came = start[back_row] + (1 + back_place * 20) * SECONDS
        viewed_ms = np.concatenate([seen_ms[looks] + rng.integers(2, 9, int(looks.sum())) * SECONDS, came])
        batch.add(EventType.VIEW, Side.TALENT, t, j, viewed_ms)
        again = rng.random(len(t)) < 0.07
        batch.add(
            EventType.VIEW, Side.TALENT, t[again], j[again],
            viewed_ms[again] + rng.integers(40, 200, int(again.sum())) * SECONDS,
        )  # fmt: skip
        self._remember(t, j)
        np.maximum.at(state.free_ms, t, viewed_ms + HOUR_MS // 2)
        np.add.at(state.job_popularity, j, 1.0)
        return self._decide(t, j, liking, viewed_ms, batch)

    def _comebacks(self, talent: Ints, start: Times) -> tuple[Ints, Bools]:
        """Up to two remembered jobs per session that are still there."""
        state, rng = self._state, self._state.rng
        places = rng.integers(0, REMEMBERED, (len(talent), 2))
        back = np.take_along_axis(self._memory[talent], places, axis=1)
        wanted = (rng.random(back.shape) < 0.2) & (back >= 0) & ~mark_repeats(back)
        wanted &= state.is_open(np.maximum(back, 0), start[:, None], 2 * HOUR_MS)
        wanted &= ~state.settled.contains(np.broadcast_to(talent[:, None], back.shape), np.maximum(back, 0))
        return back, wanted

    def _slates(self, talent: Ints, start: Times, jobs: Ints, back: Ints, day_ms: int) -> tuple[Ints, Bools]:
        """The list of the days before Tandem: what one search finds, popular, fresh, of the trade.

        (n, SLATE) jobs, and which are seen.
        """
        state, rng, trades = self._state, self._state.rng, self._state.trades
        postings, people = state.postings, state.people
        age_days = np.maximum(day_ms + DAY_MS - postings.posted_ms, 0) / DAY_MS
        pull = (1.0 + state.job_popularity) ** 0.68 * (1.0 + 3.0 * np.exp(-age_days / 3.0)) * np.exp(postings.charm)
        pools = Pools(jobs, trades.category[postings.occupation[jobs]], pull[jobs], len(trades.category_names))
        scenes = Pools(jobs, postings.scene[jobs], pull[jobs], len(postings.scenes))
        sought = self._scenes[talent, rng.integers(0, SPOTS, len(talent))]
        candidates = np.concatenate(
            [
                scenes.draw(sought, SEARCHED, rng),
                pools.draw(trades.category[people.occupation[talent]], HOME, rng),
                pools.draw(trades.category[people.second[talent]], SECOND, rng),
                pools.draw_any(len(talent), ANYWHERE, rng),
            ],
            axis=1,
        )
        wide = np.broadcast_to(talent[:, None], candidates.shape)
        forbidden = mark_repeats(candidates) | state.settled.contains(wide, candidates)
        forbidden |= ~state.is_open(candidates, start[:, None], 2 * HOUR_MS)
        forbidden |= (candidates[:, :, None] == back[:, None, :]).any(axis=2)
        fits = state.taste.same_trade(wide, candidates)
        found = postings.scene[candidates] == sought[:, None]
        score = 0.7 * np.log(pull[candidates]) + 1.1 * fits + 2.5 * found + rng.gumbel(0.0, 0.8, candidates.shape)
        score[forbidden] = -np.inf
        order = np.argsort(-score, axis=1, kind="stable")[:, :SLATE]
        depth = 2 + rng.geometric(0.22, len(talent))
        shown = (np.arange(order.shape[1])[None, :] < depth[:, None]) & np.isfinite(
            np.take_along_axis(score, order, axis=1)
        )
        return np.take_along_axis(candidates, order, axis=1), shown

    def _decide(self, t: Ints, j: Ints, liking: Floats, viewed_ms: Times, batch: Batch) -> Visited:
        """What follows a look: apply, save, dismiss or nothing."""
        state, rng = self._state, self._state.rng
        mood = liking + rng.logistic(0.0, 0.35, len(t))
        chance = rng.random(len(t))
        keen = state.people.quality[t] * 0.1  # the good apply a little more
        apply_now = chance < 0.75 * sigmoid(1.6 * (mood - 1.0 + keen)) * np.where(state.busy[t], 0.15, 1.0)
        leave = ~apply_now & (rng.random(len(t)) < 0.28 * sigmoid(-1.5 * (mood + 0.4)))
        known = state.saved.contains(t, j)
        keep = ~apply_now & ~leave & ~known & (rng.random(len(t)) < 0.5 * sigmoid(1.4 * (mood - 0.9)))

        def after(rows: Bools, least: int, most: int) -> Times:
            return np.asarray(viewed_ms[rows] + rng.integers(least, most, int(rows.sum())) * SECONDS)

        applied_ms = after(apply_now, 60, 900)
        batch.add(EventType.APPLY, Side.TALENT, t[apply_now], j[apply_now], applied_ms)
        batch.add(EventType.SAVE, Side.TALENT, t[keep], j[keep], after(keep, 8, 60))
        dismissed_ms = after(leave, 5, 40)
        batch.add(EventType.DISMISS, Side.TALENT, t[leave], j[leave], dismissed_ms)
        slip = rng.random(len(dismissed_ms)) < 0.04
        batch.add(
            EventType.UNDISMISS, Side.TALENT, t[leave][slip], j[leave][slip],
            dismissed_ms[slip] + rng.integers(2, 20, int(slip.sum())) * SECONDS,
        )  # fmt: skip
        state.settled.add(t[apply_now], j[apply_now])
        state.applied.add(t[apply_now], j[apply_now])
        state.settled.add(t[leave][~slip], j[leave][~slip])
        state.saved.add(t[keep], j[keep])
        np.add.at(state.job_popularity, j[apply_now], 2.0)
        drop = keep & (rng.random(len(t)) < 0.12)
        return Visited((t[apply_now], j[apply_now], applied_ms), (t[drop], j[drop], viewed_ms[drop] + HOUR_MS))

    def _remember(self, t: Ints, j: Ints) -> None:
        """Keep looked-at jobs in mind, each in a place of its own so that old ones fade at random."""
        self._memory[t, self._state.rng.integers(0, REMEMBERED, len(t))] = j
