"""What the neighbours of a history add to a score, and whose share it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender.documents import Kind
from recommender.events import EventType
from recommender.filters import JobFilter, TalentFilter
from recommender.interest import Interest
from recommender.model import Model, Neighbours
from recommender.neighbours import neighbour_shares, neighbour_term, voices
from recommender.query import ListQuery, Mode, RankedPage
from recommender.scoring import Scores
from tests.factories import event, job, talent
from tests.recommender.fakes import World, blended, model

SIDE = blended(model()).jobs
DENSE = np.zeros((120, 120))
for row in range(120):
    entries = slice(*SIDE.neighbours.starts[row : row + 2])
    DENSE[row, SIDE.neighbours.columns[entries]] = SIDE.neighbours.strengths[entries]


@st.composite
def interests(draw: st.DrawFn) -> Interest:
    rows = sorted(draw(st.sets(st.integers(0, 119), max_size=40)))
    weights = [draw(st.sampled_from([-2.0, 0.5, 1.0, 7.0])) for _ in rows]
    return Interest(np.array(rows, np.int32), np.array(weights), np.zeros(8))


def by_hand(interest: Interest, weight: float) -> Scores:
    preferred = interest.weights > 0
    return weight * DENSE[interest.rows[preferred]].sum(axis=0) / max(preferred.sum(), 1) ** 0.5


@settings(max_examples=60, deadline=None)
@given(interests(), st.sampled_from([0.25, 3.0]))
def test_the_neighbour_sum_is_that_of_the_whole_matrix(interest: Interest, weight: float) -> None:
    term = neighbour_term(interest, SIDE, weight)
    values = np.zeros(120)
    values[SIDE.rows(term.ordinals)] = term.values
    assert values == pytest.approx(by_hand(interest, weight), abs=1e-12)
    assert np.all(np.diff(term.ordinals.astype(np.int64)) > 0)
    assert np.all(term.values > 0)


@settings(max_examples=60, deadline=None)
@given(interests())
def test_shares_sum_to_what_neighbours_add(interest: Interest) -> None:
    rows = np.array([7, -1, 0, 119, 7], dtype=np.int32)
    parts = neighbour_shares(interest, SIDE, 0.5, rows)
    assert parts.shape == (5, len(interest.rows))
    assert parts.sum(axis=1) == pytest.approx(np.where(rows >= 0, by_hand(interest, 0.5)[rows], 0.0), abs=1e-12)
    assert not parts[:, interest.weights < 0].any()


def test_what_was_turned_down_says_nothing_and_the_others_the_same() -> None:
    assert voices(np.array([3.0, -1.0, 0.01, 9.0, 2.0])).tolist() == [0.5, 0.0, 0.5, 0.5, 0.5]
    assert voices(np.array([-3.0])).tolist() == [0.0]


def listing(kind: Kind, subject_id: str) -> ListQuery:
    wanted = JobFilter() if kind is Kind.TALENT else TalentFilter()
    return ListQuery(mode=Mode.RECOMMENDED, subject_kind=kind, subject_id=subject_id, filter=wanted, first=200)


async def scores(w: World, query: ListQuery) -> dict[str, float]:
    (page,) = await w.recommender.lists([query])
    assert isinstance(page, RankedPage)
    return {item.id: item.score for item in page.items}


def world(*models: Model) -> World:
    documents = [*(talent(n) for n in range(1, 41)), *(job(n) for n in range(1, 121))]
    return World(documents, [event(EventType.APPLY, "t1", "j2"), event(EventType.VIEW, "t3", "j2")], *models)


@pytest.mark.parametrize("kind", list(Kind))
async def test_weight_zero_is_exactly_the_score_without_neighbours(kind: Kind) -> None:
    off, without = blended(model(), 0.0, 0.0, 0.0), model()
    query = listing(kind, "t1" if kind is Kind.TALENT else "j2")
    assert await scores(world(off), query) == await scores(world(without), query)


async def test_a_new_event_brings_its_neighbours_at_once_in_both_directions() -> None:
    with_neighbours = blended(model(), 4.0, 4.0)
    w, bare = world(with_neighbours), world(blended(model(), 0.0, 0.0))
    for kind, subject, acted_on in ((Kind.TALENT, "t1", "j8"), (Kind.JOB, "j2", "t9")):
        new = event(EventType.SAVE, "t1", "j8") if kind is Kind.TALENT else event(EventType.VIEW, "t9", "j2")
        w.events.add(new)
        bare.events.add(new)
        side = with_neighbours.side(Kind.JOB if kind is Kind.TALENT else Kind.TALENT)
        row = int(acted_on[1:]) - 1
        near = side.neighbours.columns[side.neighbours.starts[row] : side.neighbours.starts[row + 1]]
        ours, theirs = await scores(w, listing(kind, subject)), await scores(bare, listing(kind, subject))
        names = [f"{acted_on[0] if kind is Kind.JOB else 'j'}{place + 1}" for place in near.tolist()]
        assert all(ours[name] > theirs[name] for name in names if name in ours), kind


async def test_a_reason_counts_what_neighbours_add() -> None:
    """Without neighbours j2 speaks most for the item, or nothing does; its neighbours' say makes it j9."""
    starts = np.zeros(121, np.int64)
    starts[9:] = 1  # the only row is j9's, and leads to j50
    only = Neighbours(starts, np.array([49], np.int32), np.array([100.0], np.float32))
    base = blended(model(), 1.0, 0.0, 0.0)
    w = world(Model(base.manifest, base.talents, replace(base.jobs, neighbours=only)))
    w.events.add(event(EventType.SAVE, "t1", "j9"))
    (page,) = await w.recommender.lists([listing(Kind.TALENT, "t1")])
    assert isinstance(page, RankedPage)
    assert page.items[0].id == "j50"
    ((reason, *_),) = await w.recommender.reasons([(page, page.items[0])])
    assert reason.job_ordinals == (9,)
