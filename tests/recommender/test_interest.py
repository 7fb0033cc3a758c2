"""Vectors from histories, and shares of a score."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender.als import fold_in
from recommender.documents import Kind
from recommender.events import Event, EventType
from recommender.interactions import pair_weights
from recommender.interest import decay_reference_ms, interests_from_histories, shares
from tests.factories import DAY_MS, NOW_MS, event
from tests.recommender.fakes import model

MODEL = model()
KINDS = [EventType.VIEW, EventType.SAVE, EventType.APPLY, EventType.DISMISS, EventType.HIRE, EventType.WITHDRAW]


def ordinals_of(ids: list[str]) -> list[int | None]:
    return [int(name[1:]) if name != "gone" else None for name in ids]


@st.composite
def histories(draw: st.DrawFn) -> list[list[Event]]:
    found = []
    for _ in range(draw(st.integers(1, 8))):
        talent_id = f"t{draw(st.integers(1, 4))}"  # the same talent may come twice, with different histories
        acts = draw(st.lists(st.tuples(st.sampled_from(KINDS), st.integers(1, 130), st.integers(-40, 3)), max_size=9))
        found.append(
            [event(kind, talent_id, f"j{job}", occurred_at_ms=NOW_MS + days * DAY_MS) for kind, job, days in acts]
        )
    return found


@settings(max_examples=60, deadline=None)
@given(histories())
def test_a_vector_is_the_same_alone_and_in_company_and_is_the_fold_in(batch: list[list[Event]]) -> None:
    together = interests_from_histories(batch, Kind.JOB, MODEL, ordinals_of)
    hyper = MODEL.manifest.hyperparameters
    for history, interest in zip(batch, together, strict=True):
        (alone,) = interests_from_histories([history], Kind.JOB, MODEL, ordinals_of)
        assert alone.vector.tobytes() == interest.vector.tobytes()
        weights = pair_weights(history, hyper, decay_reference_ms(MODEL.manifest, history))
        rows = {int(job_id[1:]) - 1: weight for (_, job_id), weight in weights.items() if int(job_id[1:]) <= 120}
        places = np.array(sorted(rows), dtype=np.int64)
        expected = fold_in(MODEL.jobs, places, np.array([rows[place] for place in places.tolist()]), hyper)
        assert interest.vector.tobytes() == expected.tobytes()


@settings(max_examples=60, deadline=None)
@given(histories())
def test_shares_sum_to_the_score(batch: list[list[Event]]) -> None:
    hyper = MODEL.manifest.hyperparameters
    factors = MODEL.jobs.factors_of(np.array([1, 6, 900, 120], dtype=np.uint32))
    for interest in interests_from_histories(batch, Kind.JOB, MODEL, ordinals_of):
        parts = shares(interest, MODEL.jobs, hyper, factors)
        expected = factors @ interest.vector
        assert parts.shape == (4, len(interest.rows))
        assert parts.sum(axis=1) == pytest.approx(expected, abs=1e-10)
        assert not parts[:, interest.weights < 0].any()


def test_items_that_are_gone_or_unseen_say_nothing() -> None:
    history = [event(EventType.SAVE, "t1", "gone"), event(EventType.SAVE, "t1", "j900")]
    (interest,) = interests_from_histories([history], Kind.JOB, MODEL, ordinals_of)
    assert interest.is_silent
    assert len(interest.rows) == 0


def test_the_now_of_decay_is_the_later_of_model_and_history() -> None:
    late, early = event(occurred_at_ms=NOW_MS + 1), event(occurred_at_ms=NOW_MS - 1)
    assert decay_reference_ms(MODEL.manifest, [early]) == NOW_MS
    assert decay_reference_ms(MODEL.manifest, [early, late, event(occurred_at_ms=None)]) == NOW_MS + 1
