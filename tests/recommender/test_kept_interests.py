"""What was folded in is taken again for as long as all that it rests on is the same, and then it is the same."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest

from recommender.documents import Kind
from recommender.events import EventType
from recommender.filters import JobFilter
from recommender.interest import Interest
from recommender.kept_interests import ITSELF, LONGEST, MOST_EVENTS, KeptInterests, RestsOn
from recommender.query import Options, RankedPage
from recommender.versions import LoadedModel
from tests.factories import event
from tests.recommender.fakes import World, model
from tests.recommender.test_caching import documents, jobs_for, page, told, uncached

LOADED = LoadedModel(model())


class Counted:
    """A world whose process says how often it folds in."""

    def __init__(self) -> None:
        self.world = World(documents(), [event(EventType.SAVE, "t1", "j3"), event(EventType.VIEW, "t1", "j5")])
        self.steps: list[str] = []
        self.recommender = self.world.recommender
        self.recommender._watched = lambda step: (self.steps.append(step), nullcontext())[1]

    async def folds_in(self, **asked: object) -> bool:
        """Whether the talent's next list takes a solution; it is the list of a process that keeps nothing."""
        self.steps.clear()
        query = jobs_for(**asked)  # type: ignore[arg-type]
        assert told(await page(self.recommender, query)) == told(await page(uncached(self.world), query))
        return "fold-in" in self.steps


async def test_a_filter_changes_no_interest() -> None:
    counted = Counted()
    assert await counted.folds_in()
    assert not await counted.folds_in(filter=JobFilter(levels=()))
    assert not await counted.folds_in(filter=JobFilter(ids=("j7", "j8", "j9")))
    assert not await counted.folds_in(first=3)
    assert await counted.folds_in(talent_id="t2")
    assert not await counted.folds_in()


def _acts(world: World) -> None:
    world.events.add(event(EventType.APPLY, "t1", "j9"))


def _is_erased(world: World) -> None:
    world.events.events.pop(0)


def _job_goes(world: World) -> None:
    world.catalogue.remove(Kind.JOB, 5)


def _is_trained_anew(world: World) -> None:
    world.models.publish(model("m9", seed=9))
    world.recommender.refresh_model()


@pytest.mark.parametrize("changes", [_acts, _is_erased, _job_goes, _is_trained_anew])
async def test_what_an_interest_rests_on_has_changed(changes: Callable[[World], None]) -> None:
    counted = Counted()
    await counted.folds_in()
    changes(counted.world)
    assert await counted.folds_in()
    assert not await counted.folds_in()


async def test_the_weight_of_the_others_interest_and_a_forgotten_document() -> None:
    counted = Counted()
    await counted.folds_in()
    assert await counted.folds_in(options=Options(mutual_weight=0.3))
    counted.recommender.forget_pages()
    assert await counted.folds_in(options=Options(mutual_weight=0.3))


async def test_two_talents_of_one_batch_of_whom_one_is_known() -> None:
    counted = Counted()
    await counted.folds_in()
    queries = [jobs_for("t1"), jobs_for("t2"), jobs_for("t1", first=2)]
    answers = await counted.recommender.lists(queries)
    for query, answer in zip(queries, answers, strict=True):
        assert isinstance(answer, RankedPage)
        assert told(answer) == told(await page(uncached(counted.world), query))


def rests_on(subject: str, events: int) -> RestsOn:
    history = tuple(event(EventType.VIEW, subject, f"j{number}") for number in range(events))
    return RestsOn(LOADED, Kind.JOB, (Kind.TALENT, subject), 1.0, history, (), None, ())


def test_those_who_have_done_nothing_are_bounded_as_well() -> None:
    kept, interest = KeptInterests(), Interest(np.empty(0, np.int32), np.empty(0), np.ones(2))
    asked = [rests_on(f"t{number}", 0) for number in range(MOST_EVENTS // ITSELF + 1)]
    for one in asked:
        kept.put(one, interest)
    assert [kept.get(one) is None for one in asked[:2]] == [True, False]


def test_events_are_bounded_and_a_profile_is_not_kept() -> None:
    kept, interest = KeptInterests(), Interest(np.empty(0, np.int32), np.empty(0), np.ones(2))
    each = MOST_EVENTS // 25 - ITSELF
    asked = [rests_on(f"t{number}", each) for number in range(26)]
    for one in asked:
        kept.put(one, interest)
    assert [kept.get(one) is None for one in asked] == [True] + [False] * 25
    for lost in (rests_on("t1", LONGEST + 1), replace(asked[0], subject=None)):
        kept.put(lost, interest)
        assert kept.get(lost) is None
    kept.put(replace(asked[3], loaded=LoadedModel(model("m2"))), interest)
    assert kept.get(asked[5]) is None
