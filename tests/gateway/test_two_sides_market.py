"""Held-out hires of a small demo market: the asking side alone ranks them worse than both sides together."""

from __future__ import annotations

import numpy as np

from benchmarks.two_sides import END_MS, hires_of, outcome
from gateway.market.market import generate_market
from gateway.market.spec import MarketSpec
from recommender.documents import Kind


def test_hires_stand_higher_in_lists_of_both_sides_than_in_those_of_the_asking_side_alone() -> None:
    """That it is so beyond doubt takes 2,000 hires: benchmarks/two_sides.py and docs/decisions/0015-two-sides.md."""
    market = generate_market(MarketSpec(end_ms=END_MS, talents=700, jobs=400, events=60_000, seed=11))
    asked = hires_of(market, cuts=1)
    assert len(asked) > 15
    for kind, alone in ((Kind.JOB, "talents alone"), (Kind.TALENT, "clients alone")):
        typical = {name: float(np.exp(np.log(of).mean())) for name, of in outcome(asked)[kind].items()}
        assert typical["both"] < 0.95 * typical[alone]
