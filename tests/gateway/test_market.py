"""The demo market has the properties of a real marketplace's log."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.market.ledger import CODE, SIDE_CODE, EventColumns
from gateway.market.market import STATUSES, Market, generate_market
from gateway.market.spec import DAY_MS, MarketSpec
from gateway.market.taste import Taste
from recommender.documents import JobStatus, Side
from recommender.errors import BadInputError
from recommender.events import RULES, EventType
from tests.factories import NOW_MS

SPEC = MarketSpec(end_ms=NOW_MS, talents=1_500, jobs=900, events=75_000)


@pytest.fixture(scope="module")
def market() -> Market:
    return generate_market(SPEC)


def of(events: EventColumns, kind: EventType, side: Side | None = None) -> EventColumns:
    rows = events.type == CODE[kind]
    if side is not None:
        rows &= events.actor == SIDE_CODE[side]
    return events.take(rows)


def pairs(events: EventColumns) -> np.ndarray:
    return events.talent.astype(np.int64) << 32 | events.job


def gini(counts: np.ndarray) -> float:
    ordered = np.sort(counts.astype(np.float64))
    place = np.arange(1, len(ordered) + 1)
    return float(2 * (place * ordered).sum() / (len(ordered) * ordered.sum()) - (len(ordered) + 1) / len(ordered))


def same(one: Market, other: Market) -> bool:
    return all(
        np.array_equal(getattr(one.events, column), getattr(other.events, column))
        for column in ("talent", "job", "type", "actor", "at_ms")
    ) and np.array_equal(one.status, other.status)


def test_the_same_spec_gives_the_same_market() -> None:
    small = MarketSpec(end_ms=NOW_MS, talents=200, jobs=100, events=5_000)
    assert same(generate_market(small), generate_market(small))


def test_another_seed_gives_another_market_of_the_same_size() -> None:
    one, other = (
        generate_market(MarketSpec(end_ms=NOW_MS, talents=200, jobs=100, events=5_000, seed=seed)) for seed in (1, 2)
    )
    assert len(one.events) == len(other.events) == 5_000
    assert not same(one, other)


@settings(max_examples=12, deadline=None)
@given(
    talents=st.integers(20, 300), jobs=st.integers(20, 200), seed=st.integers(0, 9), days=st.integers(7, 40),
    per_talent=st.floats(0, 0.4),
)  # fmt: skip
def test_a_market_of_any_size_is_as_large_as_asked_and_its_log_is_possible(
    talents: int, jobs: int, seed: int, days: int, per_talent: float
) -> None:
    events = int(talents * days * per_talent)
    market = generate_market(MarketSpec(end_ms=NOW_MS, talents=talents, jobs=jobs, events=events, seed=seed, days=days))
    assert len(market.people) == talents
    assert len(market.postings) == jobs
    assert len(market.events) <= events + 0.02 * events + 10
    assert_possible(market)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"talents": 19}, "talents must be at least 20; got 19"),
        ({"jobs": 0}, "jobs must be at least 20; got 0"),
        ({"days": 6}, "days must be at least 7; got 6"),
        ({"talents": 100, "events": 45_001}, "100 talents leave at most 45000 events in 90 days; got events = 45001"),
    ],
)
def test_a_size_that_cannot_be_built_is_refused(asked: dict[str, int], says: str) -> None:
    with pytest.raises(BadInputError) as error:
        MarketSpec(end_ms=NOW_MS, **asked)
    assert str(error.value) == says


def assert_possible(market: Market) -> None:
    """No event before both exist, after the job's end or outside the log; in order of time; of a side that may."""
    events = market.events
    assert (np.diff(events.at_ms) >= 0).all()
    assert (events.at_ms >= market.postings.posted_ms[events.job]).all()
    assert (events.at_ms >= market.people.created_ms[events.talent]).all()
    assert (events.at_ms < market.ended_ms[events.job]).all()
    assert ((events.at_ms >= market.spec.start_ms) & (events.at_ms < market.spec.end_ms)).all()
    assert not market.postings.draft[events.job].any()
    for kind, rule in RULES.items():
        if rule.actor is not None:
            assert (of(events, kind).actor == SIDE_CODE[rule.actor]).all()


def test_the_log_is_as_long_as_asked_and_nothing_in_it_is_impossible(market: Market) -> None:
    assert len(market.events) == SPEC.events
    assert_possible(market)


def test_the_log_reaches_up_to_its_end(market: Market) -> None:
    assert SPEC.end_ms - market.events.at_ms[-1] < 3_600_000
    assert market.events.at_ms[0] - SPEC.start_ms < 3_600_000


@pytest.mark.parametrize(
    ("later", "earlier"),
    [
        (EventType.SAVE, (EventType.VIEW,)),
        (EventType.UNSAVE, (EventType.SAVE,)),
        (EventType.APPLY, (EventType.VIEW,)),
        (EventType.WITHDRAW, (EventType.APPLY,)),
        (EventType.UNDISMISS, (EventType.DISMISS,)),
        (EventType.INTERVIEW, (EventType.SHORTLIST, EventType.ACCEPT)),
        (EventType.OFFER, (EventType.INTERVIEW,)),
        (EventType.ACCEPT, (EventType.OFFER, EventType.INVITE)),
        (EventType.DECLINE, (EventType.OFFER, EventType.INVITE)),
        (EventType.HIRE, (EventType.ACCEPT,)),
        (EventType.REJECT, (EventType.APPLY, EventType.INVITE)),
    ],
)
def test_every_step_follows_the_one_that_leads_to_it(
    market: Market, later: EventType, earlier: tuple[EventType, ...]
) -> None:
    first: dict[int, int] = {}
    for kind in earlier:
        before = of(market.events, kind)
        for pair, at in zip(pairs(before).tolist(), before.at_ms.tolist(), strict=True):
            first[pair] = min(at, first.get(pair, at))
    steps = of(market.events, later)
    assert len(steps) > 0
    never = 2**62
    assert all(
        first.get(pair, never) < at for pair, at in zip(pairs(steps).tolist(), steps.at_ms.tolist(), strict=True)
    )


def test_nobody_applies_twice_without_withdrawing_and_nobody_is_hired_twice(market: Market) -> None:
    applied, counts = np.unique(pairs(of(market.events, EventType.APPLY)), return_counts=True)
    withdrawn, times = np.unique(pairs(of(market.events, EventType.WITHDRAW)), return_counts=True)
    taken_back = dict(zip(withdrawn.tolist(), times.tolist(), strict=True))
    assert all(
        count <= 1 + taken_back.get(pair, 0) for pair, count in zip(applied.tolist(), counts.tolist(), strict=True)
    )
    hired = pairs(of(market.events, EventType.HIRE))
    assert len(np.unique(hired)) == len(hired)


def test_hires_are_few_and_never_more_than_a_job_has_places(market: Market) -> None:
    hires = of(market.events, EventType.HIRE)
    assert 0.003 <= len(hires) / len(market.events) <= 0.01
    per_job = np.bincount(hires.job, minlength=SPEC.jobs)
    assert (per_job <= market.postings.vacancies).all()
    filled = market.status == STATUSES.index(JobStatus.FILLED)
    # A draw of 0 places left is what makes a job FILLED, and nothing else does.
    assert np.array_equal(filled, (per_job == market.postings.vacancies) & ~market.postings.draft)


def test_the_funnel_narrows_at_each_step(market: Market) -> None:
    shares = {kind: len(of(market.events, kind)) / len(market.events) for kind in EventType}
    funnel = [EventType.IMPRESSION, EventType.VIEW, EventType.APPLY, EventType.SHORTLIST, EventType.INTERVIEW,
              EventType.OFFER, EventType.HIRE]  # fmt: skip
    assert [shares[kind] for kind in funnel] == sorted((shares[kind] for kind in funnel), reverse=True)
    assert 0.4 < shares[EventType.IMPRESSION] < 0.6
    assert 0.03 < shares[EventType.APPLY] < 0.09
    assert min(shares.values()) > 0


def test_popularity_is_a_power_law(market: Market) -> None:
    views = of(market.events, EventType.VIEW, Side.TALENT)
    per_job = np.bincount(views.job, minlength=SPEC.jobs)
    per_talent = np.bincount(views.talent, minlength=SPEC.talents)
    assert 0.6 < gini(per_job) < 0.85
    assert 0.45 < gini(per_talent) < 0.75
    # A Pareto tail: the survival function of the most viewed fifth is a line on log-log axes. Hill's estimator
    # gives its exponent, which is 1 to 3 for item popularity in public logs.
    tail = np.sort(per_job)[::-1][: SPEC.jobs // 5].astype(np.float64)
    hill = 1.0 / np.log(tail / tail[-1]).mean()
    fit = np.corrcoef(np.log(tail), np.log(np.arange(1, len(tail) + 1)))[0, 1] ** 2
    assert 0.8 < hill < 3.0
    assert fit > 0.9


def test_some_talents_and_jobs_have_no_history_at_all(market: Market) -> None:
    assert 0.05 < 1 - len(np.unique(market.events.talent)) / SPEC.talents < 0.35
    assert 0.01 < 1 - len(np.unique(market.events.job)) / SPEC.jobs < 0.35


def test_what_stood_first_is_looked_at_more(market: Market) -> None:
    """Position bias: of the same impressions, early ones of a session (they are logged from the top) get the views."""
    seen = of(market.events, EventType.IMPRESSION, Side.TALENT)
    order = np.lexsort((seen.at_ms, seen.talent))
    seen = seen.take(order)
    new_session = np.concatenate([[True], (np.diff(seen.talent) != 0) | (np.diff(seen.at_ms) > 20 * 60_000)])
    start = np.maximum.accumulate(np.where(new_session, np.arange(len(seen)), 0))
    depth = (seen.at_ms - seen.at_ms[start]) // 15_000
    viewed = np.isin(pairs(seen), pairs(of(market.events, EventType.VIEW, Side.TALENT)))
    assert viewed[depth <= 1].mean() > 1.15 * viewed[depth >= 5].mean()


def test_views_are_repeated(market: Market) -> None:
    views = pairs(of(market.events, EventType.VIEW, Side.TALENT))
    assert 0.08 < 1 - len(np.unique(views)) / len(views) < 0.3


def test_talents_arrive_late_and_act_after_they_came(market: Market) -> None:
    late = market.people.created_ms > SPEC.start_ms
    assert 0.25 < late.mean() < 0.4
    assert late[market.events.talent].mean() > 0.1


def test_activity_rests_at_weekends(market: Market) -> None:
    weekday = (market.events.at_ms // DAY_MS + 3) % 7
    assert (weekday >= 5).mean() < 0.25  # 2/7 would be no difference


def test_jobs_open_fill_and_expire_by_the_end_of_the_log(market: Market) -> None:
    postings = market.postings
    share = {status: (market.status == place).mean() for place, status in enumerate(STATUSES)}
    assert 0.15 < share[JobStatus.OPEN] < 0.45
    assert share[JobStatus.FILLED] > 0.1
    assert share[JobStatus.CLOSED] > 0.2
    assert 0 < share[JobStatus.PAUSED] < 0.06
    assert 0 < share[JobStatus.DRAFT] < 0.03
    still_open = market.status == STATUSES.index(JobStatus.OPEN)
    assert (postings.expires_ms[still_open] > SPEC.end_ms + DAY_MS).all()
    assert (market.ended_ms[still_open] > SPEC.end_ms).all()


def test_most_open_jobs_are_still_open_a_week_later(market: Market) -> None:
    still_open = market.status == STATUSES.index(JobStatus.OPEN)
    assert (market.postings.expires_ms[still_open] > SPEC.end_ms + 7 * DAY_MS).mean() > 0.7


def liking_of_some(market: Market, count: int) -> np.ndarray:
    """The taste of drawn talents for drawn jobs, (count, count)."""
    rng = np.random.default_rng(0)
    talents, jobs = rng.choice(SPEC.talents, count, replace=False), rng.choice(SPEC.jobs, count, replace=False)
    left, right = np.meshgrid(talents.astype(np.int32), jobs.astype(np.int32), indexing="ij")
    taste = Taste(market.people, market.postings, market.clients)
    return taste.talent_likes(left.ravel(), right.ravel()).reshape(count, count)


def test_the_taste_is_no_inner_product(market: Market) -> None:
    """Main effects removed, much of it lies beyond 16 factors, and beyond the 64 of a usual model."""
    liking = liking_of_some(market, 600)
    own = liking - liking.mean(axis=0) - liking.mean(axis=1)[:, None] + liking.mean()
    strength = np.linalg.svd(own, compute_uv=False) ** 2
    assert strength[16:].sum() / strength.sum() > 0.4
    assert strength[64:].sum() / strength.sum() > 0.15


def test_the_space_between_two_jobs_that_somebody_likes_may_hold_one_that_they_do_not(market: Market) -> None:
    """An inner product is linear: whoever likes two jobs likes what lies halfway."""
    people, postings = market.people, market.postings
    spots = people.spots
    halfway = replace(postings, trait=postings.trait.copy())
    talents = np.arange(200, dtype=np.int32)
    for row in talents:  # three jobs each: on two spots and between them
        halfway.trait[3 * row : 3 * row + 3] = (spots[row, 0], spots[row, 2], (spots[row, 0] + spots[row, 2]) / 2)
    drawn = Taste(people, halfway, market.clients)._drawn(np.repeat(talents, 3), np.arange(600, dtype=np.int32))
    first, second, between = drawn.reshape(200, 3).T
    assert (np.minimum(first, second) > 4).all()
    assert (between < 0).mean() > 0.5


def test_liking_shows_in_what_people_do_and_noise_does_too(market: Market) -> None:
    taste = Taste(market.people, market.postings, market.clients)
    applied, left = (of(market.events, kind, Side.TALENT) for kind in (EventType.APPLY, EventType.DISMISS))
    for_applied = taste.talent_likes(applied.talent, applied.job)
    for_left = taste.talent_likes(left.talent, left.job)
    assert for_applied.mean() > for_left.mean() + 0.8
    assert (for_left > np.quantile(for_applied, 0.25)).mean() > 0.05


def test_the_recommender_cannot_see_the_market() -> None:
    root = Path(__file__).parent.parent.parent
    imports = re.compile(r"^\s*(from|import) gateway", re.MULTILINE)
    assert not [path for path in (root / "recommender").rglob("*.py") if imports.search(path.read_text("utf-8"))]


def test_nothing_outside_the_package_is_read(tmp_path: Path) -> None:
    """Every file that a build opens lies in the package, in a library or in Python itself."""
    program = """
import sys
from dataclasses import replace
from pathlib import Path
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
from gateway.market.market import generate_market
from gateway.market.spec import MarketSpec
import gateway.market
generate_market(MarketSpec(end_ms=1_760_000_000_000, talents=50, jobs=30, events=500))
package = str(Path(gateway.market.__file__).parent.parent.parent)
data = [p for p in opened if p.endswith((".gz", ".txt", ".csv", ".json", ".parquet")) and "site-packages" not in p]
assert data == [str(Path(gateway.market.__file__).parent / "onet.json.gz")], data
"""
    root = Path(__file__).parent.parent.parent
    subprocess.run([sys.executable, "-c", program], cwd=root, check=True)
