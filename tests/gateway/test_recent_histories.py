"""A history that is at hand is what the file says, whoever has written into it since."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.adapters.sqlite.events import SqliteEventLog
from gateway.adapters.sqlite.recent import LONGEST, MOST_EVENTS, RecentHistories
from recommender.documents import Kind
from recommender.events import Event, EventType
from recommender.ports import SubjectKey
from tests.factories import event

T1, T2, J1 = (SubjectKey(Kind.TALENT, "t1"), SubjectKey(Kind.TALENT, "t2"), SubjectKey(Kind.JOB, "j1"))


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[tuple[SqliteEventLog, SqliteEventLog]]:
    """Two processes' logs in one file."""
    both = SqliteEventLog.open(tmp_path / "events.db"), SqliteEventLog.open(tmp_path / "events.db")
    yield both
    for log in both:
        log.close()


async def ids(log: SqliteEventLog, *subjects: SubjectKey) -> list[list[str]]:
    return [[one.event_id for one in history] for history in await log.history(subjects)]


async def test_what_anybody_appends_or_erases_is_seen_at_once(logs: tuple[SqliteEventLog, SqliteEventLog]) -> None:
    mine, theirs = logs
    assert await ids(mine, T1, J1) == [[], []]
    await theirs.append([event(EventType.SAVE, "t1", "j1", event_id="a")])
    assert await ids(mine, T1, J1) == [["a"], ["a"]]
    await mine.append(
        [event(EventType.VIEW, "t2", "j1", event_id="b"), event(EventType.VIEW, "t1", "j2", event_id="c")]
    )
    assert await ids(mine, T1, T2, J1) == [["a", "c"], ["b"], ["a", "b"]]
    await theirs.forget(T1)  # of J1 an event in the middle goes, and its newest stays
    assert await ids(mine, T1, T2, J1) == [[], ["b"], ["b"]]


async def test_a_history_that_did_not_change_is_not_read_again(
    logs: tuple[SqliteEventLog, SqliteEventLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, theirs = logs
    await mine.append([event(EventType.SAVE, "t1", "j1", event_id="a")])
    (before,) = await mine.history([T1])
    monkeypatch.setattr(SqliteEventLog, "_history", None)
    await theirs.append([event(EventType.SAVE, "t2", "j2", event_id="b"), event(EventType.IMPRESSION, "t1", "j2")])
    for _ in range(2):
        (again,) = await mine.history([T1])
        assert again == before
        assert again is not before
        again.clear()  # the caller's own


def test_no_more_is_kept_than_is_allowed() -> None:
    recent = RecentHistories()
    history = [event(event_id=str(number)) for number in range(LONGEST)]
    recent.put(Kind.TALENT, "long", [*history, event()], 1)
    assert recent.get(Kind.TALENT, "long", 1) is None
    most = MOST_EVENTS // (LONGEST + 1)
    for number in range(most + 1):
        recent.put(Kind.TALENT, str(number), history, 1)
    there: list[list[Event] | None] = [recent.get(Kind.TALENT, str(number), 1) for number in range(most + 1)]
    assert [one is not None for one in there] == [False] + [True] * most
