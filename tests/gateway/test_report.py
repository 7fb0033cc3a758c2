"""`tandem report`: what is counted, what is credited to what, and what is not."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.attribution import Group, build_report
from gateway.cli import main
from gateway.settings import load_settings
from gateway.wiring import Stores, stores
from recommender.documents import Kind
from recommender.events import Event, EventType
from recommender.ports import ServedItem, ServedList, SubjectKey
from tests.factories import DAY_MS, NOW_MS, event

HOME = Group("v1", "home", "COLLABORATIVE", "jobs")
POPULAR = Group("v1", "home", "POPULAR", "jobs")
T1 = SubjectKey(Kind.TALENT, "t1")
NUMBERS = itertools.count()


@pytest.fixture(autouse=True)
def no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("TANDEM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TANDEM_DATA_DIR", str(tmp_path / "data"))


@pytest.fixture
async def opened() -> AsyncIterator[Stores]:
    """Stores with jobs j1 to j4 (ordinals 1 to 4) and talents t1 to t3."""
    async with stores(load_settings()) as found:
        await found.catalogue.ensure(Kind.JOB, ["j1", "j2", "j3", "j4"])
        await found.catalogue.ensure(Kind.TALENT, ["t1", "t2", "t3"])
        yield found


def served(
    request_id: str = "r1",
    ordinals: Sequence[int] = (1, 2, 3),
    strategies: Sequence[str] = ("COLLABORATIVE", "COLLABORATIVE", "POPULAR"),
    kind: Kind = Kind.JOB,
    subject: SubjectKey | None = T1,
    placement: str | None = "home",
    model: str = "v1",
) -> ServedList:
    items = [
        ServedItem(rank, ordinal, 1.0, strategy)
        for rank, (ordinal, strategy) in enumerate(zip(ordinals, strategies, strict=False), 1)
    ]
    return ServedList(request_id, NOW_MS, subject, kind, model, placement, items)


def quoting(recommendation_id: str, kind: EventType = EventType.VIEW, **fields: Any) -> Event:
    return event(kind, event_id=f"e{next(NUMBERS)}", recommendation_id=recommendation_id, **fields)


async def test_what_was_served_is_counted_by_model_placement_and_strategy(opened: Stores) -> None:
    await opened.serving_log.append([served("r1"), served("r2"), served("r3", placement=None, model="v2")])
    report = await build_report(opened.serving_log, opened.events, opened.catalogue)
    assert {group: (tally.lists, tally.rows) for group, tally in report.tallies.items()} == {
        HOME: (2, 4),
        POPULAR: (2, 2),
        Group("v2", "", "COLLABORATIVE", "jobs"): (1, 2),
        Group("v2", "", "POPULAR", "jobs"): (1, 1),
    }
    assert not report.uncredited


async def test_an_outcome_is_credited_to_the_row_it_quotes(opened: Stores) -> None:
    await opened.serving_log.append([served()])
    await opened.events.append(
        [
            quoting("r1.1", EventType.IMPRESSION),
            quoting("r1.3", EventType.VIEW, job_id="j3"),
            quoting("r1.2", EventType.APPLY, job_id="j2"),
            quoting("r1.2", EventType.HIRE, job_id="j2"),
            event(EventType.SAVE),  # quotes nothing: no business of the report
        ]
    )
    report = await build_report(opened.serving_log, opened.events, opened.catalogue)
    assert dict(report.tallies[HOME].outcomes) == {EventType.IMPRESSION: 1, EventType.APPLY: 1, EventType.HIRE: 1}
    assert dict(report.tallies[POPULAR].outcomes) == {EventType.VIEW: 1}
    assert not report.uncredited


async def test_each_outcome_is_credited_once(opened: Stores) -> None:
    await opened.serving_log.append([served(), served("r2")])
    await opened.events.append([quoting("r1.1"), quoting("r1.1"), quoting("r1.1", EventType.SAVE), quoting("r2.1")])
    await opened.events.append([quoting("r1.1")])
    report = await build_report(opened.serving_log, opened.events, opened.catalogue)
    assert dict(report.tallies[HOME].outcomes) == {EventType.VIEW: 2, EventType.SAVE: 1}
    assert dict(report.uncredited) == {"repeated": 2}


@pytest.mark.parametrize(
    ("quoted", "reason"),
    [
        ("r1", "malformed"),
        ("r1.", "malformed"),
        (".1", "malformed"),
        ("r1.one", "malformed"),
        ("r1.-1", "malformed"),
        ("r1.01", "malformed"),
        ("r1.1 ", "malformed"),
        ("r1.²", "malformed"),
        ("r1." + "9" * 200, "malformed"),
        ("r9.1", "unknown"),
        ("r1.4", "unknown"),
        ("r1.x.1", "unknown"),
    ],
)
async def test_a_quote_of_no_served_row_is_not_credited(opened: Stores, quoted: str, reason: str) -> None:
    await opened.serving_log.append([served()])
    await opened.events.append([quoting(quoted)])
    report = await build_report(opened.serving_log, opened.events, opened.catalogue)
    assert dict(report.uncredited) == {reason: 1}
    assert not report.tallies[HOME].outcomes


async def test_a_row_earns_nothing_from_another_pair(opened: Stores) -> None:
    await opened.serving_log.append([served()])
    await opened.events.append([quoting("r1.1", job_id="j2"), quoting("r1.1", talent_id="t2")])
    report = await build_report(opened.serving_log, opened.events, opened.catalogue)
    assert dict(report.uncredited) == {"other_pair": 2}


async def test_a_list_of_talents_is_credited_for_what_its_client_does(opened: Stores) -> None:
    page = served(kind=Kind.TALENT, subject=SubjectKey(Kind.JOB, "j4"), placement=None)
    await opened.serving_log.append([page])
    await opened.events.append(
        [
            quoting("r1.2", EventType.INVITE, job_id="j4", talent_id="t2"),
            quoting("r1.2", EventType.HIRE, job_id="j1", talent_id="t2"),
        ]
    )
    report = await build_report(opened.serving_log, opened.events, opened.catalogue)
    assert dict(report.tallies[Group("v1", "", "COLLABORATIVE", "talents")].outcomes) == {EventType.INVITE: 1}
    assert dict(report.uncredited) == {"other_pair": 1}


async def test_a_list_of_nobody_is_credited_for_what_anybody_does_with_its_rows(opened: Stores) -> None:
    await opened.serving_log.append([served(subject=None)])
    await opened.events.append([quoting("r1.1", talent_id="t3"), quoting("r1.1", EventType.SAVE, job_id="j2")])
    report = await build_report(opened.serving_log, opened.events, opened.catalogue)
    assert dict(report.tallies[HOME].outcomes) == {EventType.VIEW: 1}
    assert dict(report.uncredited) == {"other_pair": 1}


async def test_similar_jobs_are_credited_for_what_a_talent_does_with_them(opened: Stores) -> None:
    await opened.serving_log.append([served(subject=SubjectKey(Kind.JOB, "j4"))])
    await opened.events.append([quoting("r1.1", talent_id="t2")])
    report = await build_report(opened.serving_log, opened.events, opened.catalogue)
    assert dict(report.tallies[HOME].outcomes) == {EventType.VIEW: 1}


async def test_a_job_that_was_deleted_keeps_its_credit(opened: Stores) -> None:
    await opened.serving_log.append([served()])
    await opened.events.append([quoting("r1.1")])
    await opened.catalogue.delete(Kind.JOB, "j1")
    report = await build_report(opened.serving_log, opened.events, opened.catalogue)
    assert dict(report.tallies[HOME].outcomes) == {EventType.VIEW: 1}


def _run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as left:
        main(["report", *arguments])
    assert left.value.code in (0, None)
    return capsys.readouterr().out


def _fill(pages: Sequence[ServedList], events: Sequence[Event]) -> None:
    async def write() -> None:
        async with stores(load_settings()) as found:
            await found.catalogue.ensure(Kind.JOB, ["j1", "j2", "j3"])
            await found.serving_log.append(pages)
            await found.events.append(events)

    asyncio.run(write())


def test_the_table_has_rates_with_what_they_are_of(capsys: pytest.CaptureFixture[str]) -> None:
    pages = [served(f"r{n}", subject=None) for n in range(4)]
    impressions = [quoting(f"r{n}.1", EventType.IMPRESSION) for n in range(2)]
    _fill(pages, [*impressions, quoting("r0.1"), quoting("r0.3", job_id="j3"), quoting("r0")])
    lines = [" ".join(line.split()) for line in _run(capsys).splitlines() if line.strip()]
    assert lines[0] == (
        "Model Placement Strategy Items Lists Served Impressions Clicks Saves Applications Invites Hires"
    )
    assert lines[2:4] == [
        "v1 home COLLABORATIVE jobs 4 8 2 (25.0% of 8, 7.1%–59.1%) 1 (50.0% of 2, 9.5%–90.5%) 0 0 0 0",
        "v1 home POPULAR jobs 4 4 0 1 (25.0% of 4, 4.6%–69.9%) 0 0 0 0",
    ]
    assert lines[-1] == "Events not credited: 1 with a malformed recommendation id."


def test_the_json_has_every_type_and_both_denominators(capsys: pytest.CaptureFixture[str]) -> None:
    _fill([served(ordinals=[1])], [quoting("r1.1", EventType.IMPRESSION), quoting("r1.1", EventType.APPLY)])
    document = json.loads(_run(capsys, "--json"))
    (group,) = document["groups"]
    outcomes = group.pop("outcomes")
    assert group == {
        "model": "v1",
        "placement": "home",
        "strategy": "COLLABORATIVE",
        "items": "jobs",
        "lists": 1,
        "served": 1,
    }
    assert list(outcomes) == [kind.value for kind in EventType]
    assert outcomes["APPLY"] == {
        "count": 1,
        "per_served": 1.0,
        "per_served_interval": [pytest.approx(0.2065, abs=1e-4), 1.0],
        "per_impression": 1.0,
        "per_impression_interval": [pytest.approx(0.2065, abs=1e-4), 1.0],
    }
    assert outcomes["HIRE"]["per_served_interval"] == [0.0, pytest.approx(0.7935, abs=1e-4)]
    assert document["uncredited"] == {"malformed": 0, "unknown": 0, "other_pair": 0, "repeated": 0}


def test_a_rate_of_nothing_is_null(capsys: pytest.CaptureFixture[str]) -> None:
    _fill([served(ordinals=[1])], [])
    (group,) = json.loads(_run(capsys, "--json"))["groups"]
    view = group["outcomes"]["VIEW"]
    assert (view["per_impression"], view["per_impression_interval"]) == (None, None)


def test_a_period_counts_what_was_served_in_it_and_what_came_of_that(capsys: pytest.CaptureFixture[str]) -> None:
    pages = [replace(served(f"r{day}"), served_at_ms=NOW_MS + day * DAY_MS) for day in range(4)]
    late = NOW_MS + 9 * DAY_MS
    _fill(pages, [quoting(f"r{day}.1", occurred_at_ms=late) for day in range(4)] + [quoting("r1.9")])
    days = [
        f"{datetime.fromtimestamp(NOW_MS / 1000, UTC) + timedelta(days=day):%Y-%m-%dT%H:%M:%SZ}" for day in range(4)
    ]
    document = json.loads(_run(capsys, "--json", "--since", days[1], "--until", days[3]))
    collaborative, popular = document["groups"]
    assert (collaborative["lists"], collaborative["served"], popular["lists"]) == (2, 4, 2)
    assert collaborative["outcomes"]["VIEW"]["count"] == 2
    assert document["uncredited"]["unknown"] == 1
    assert json.loads(_run(capsys, "--json", "--until", days[0]))["groups"] == []
    with pytest.raises(SystemExit) as left:
        main(["report", "--since", days[2], "--until", days[1]])
    assert left.value.code == 2
    assert "it must be after --since" in capsys.readouterr().err


def test_before_anything_is_served_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    _fill([], [])
    assert _run(capsys).startswith("nothing was served yet")
