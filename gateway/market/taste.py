"""What makes a talent want a job and a client want a talent: hidden, non-linear, and no inner product.

The nearest of a few spots under each person's own breadth, products of three yes-or-nos, rhythms on a circle that fit
or do not, thresholds of pay and quality, and rules that hold for some people alone: no product of two vectors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gateway.market.people import People
from gateway.market.postings import Clients, Postings
from gateway.market.trades import NO_SKILL, Bools, Floats, Ints


def sigmoid(value: Floats) -> Floats:
    """1 / (1 + exp(-value)), without overflow for any finite value."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * value)))


@dataclass(frozen=True, eq=False)
class Taste:
    """Both sides' liking of a pair, in logits. Arguments are aligned 1-d arrays of rows."""

    people: People
    postings: Postings
    clients: Clients

    def shared_skills(self, talent: Ints, job: Ints) -> Ints:
        """How many of the job's skills the talent has."""
        wanted = self.postings.skills[job]
        owned = self.people.skills[talent]
        found = np.zeros(len(talent), dtype=np.int32)
        for column in range(wanted.shape[1]):
            skill = wanted[:, column]
            found += (owned == skill[:, None]).any(axis=1) & (skill != NO_SKILL)
        return found

    def talent_likes(self, talent: Ints, job: Ints) -> Floats:
        """How much talents are drawn to jobs."""
        people, postings = self.people, self.postings
        turn = np.abs(np.mod(people.rhythm[talent] - postings.rhythm[job] + np.pi, 2 * np.pi) - np.pi)
        in_step = np.where(turn < people.tolerance[talent], 0.4, -0.5)

        skilled = 0.9 * np.tanh(self.shared_skills(talent, job) / 2.0) - 0.4
        ratio = np.nan_to_num(np.log(postings.pay[job] / people.least_pay[talent]))
        pay = np.where(ratio < 0, np.maximum(2.5 * ratio, -1.2), 0.4 * np.tanh(2.0 * ratio))

        step_up = postings.level[job] - people.level[talent]
        level = np.where(people.ambitious[talent], 0.35 * step_up, -0.4 * np.abs(step_up))
        terms = skilled + pay + level + self._place(talent, job)
        return np.asarray(self._drawn(talent, job) + self._twisted(talent, job) + in_step + terms)

    def _drawn(self, talent: Ints, job: Ints) -> Floats:
        """Steeply towards the nearest spot: two jobs that are liked may have nothing between them that is."""
        apart = self.people.spots[talent] - self.postings.trait[job][:, None, :]
        near = (apart**2).sum(axis=2).min(axis=1)
        return np.asarray(6.0 * np.exp(-near / (2.0 * self.people.breadth[talent] ** 2)) - 1.6)

    def _twisted(self, talent: Ints, job: Ints) -> Floats:
        """The product of three signs: no one of them says anything, and no two do."""
        heeded = np.take_along_axis(self.postings.signs[job], self.people.twist[talent], axis=1)
        return np.asarray(0.6 * heeded.prod(axis=1))

    def _place(self, talent: Ints, job: Ints) -> Floats:
        remote = self.postings.remote[job]
        abroad = self.people.country[talent] != self.postings.country[job]
        nomad = self.people.nomad[talent]
        on_site = np.where(abroad, -1.6, np.where(nomad, -1.0, 0.4))
        return np.where(remote, np.where(nomad, 0.4, 0.0), on_site)

    def client_likes(self, talent: Ints, job: Ints) -> Floats:
        """How much clients are drawn to talents for a job."""
        people, postings, clients = self.people, self.postings, self.clients
        client = postings.client[job]
        good_enough = people.quality[talent] > clients.standard[client]
        quality = np.where(good_enough, 0.7 + 0.3 * np.tanh(people.quality[talent]), -1.2)

        apart = ((people.style[talent] - clients.style[client]) ** 2).sum(axis=1)
        style = 2.0 * np.exp(-apart / 5.0) - 0.8

        wanted = (postings.skills[job] != NO_SKILL).sum(axis=1)
        covered = self.shared_skills(talent, job) / np.maximum(wanted, 1)
        trade = self.same_trade(talent, job)
        ratio = np.nan_to_num(np.log(people.rate[talent] / postings.pay[job]))
        price = np.where(ratio > 0.25, -1.4 * np.minimum(ratio, 1.5), np.where(ratio < -0.9, -0.4, 0.2))
        short = postings.level[job] - people.level[talent]
        level = np.where(short > 0, -0.8 * short, -0.25 * np.abs(short))
        abroad = people.country[talent] != postings.country[job]
        place = np.where(abroad & ~postings.remote[job], -2.0, np.where(abroad, -0.1, 0.25))
        return np.asarray(quality + style + 1.2 * np.sqrt(covered) + 0.6 * trade - 0.7 + price + level + place)

    def same_trade(self, talent: Ints, job: Ints) -> Bools:
        """Whether a job's occupation is one of the talent's two."""
        occupation = self.postings.occupation[job]
        first, second = self.people.occupation[talent], self.people.second[talent]
        return np.asarray((first == occupation) | (second == occupation))
