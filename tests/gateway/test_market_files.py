"""The market's three files look like a real marketplace's and keep the import contract."""

from __future__ import annotations

import csv
from collections import Counter
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest

from gateway.market.files import EVENT_COLUMNS, JOB_COLUMNS, TALENT_COLUMNS, write_market
from gateway.market.market import Market, generate_market
from gateway.market.onet import load_occupations
from gateway.market.spec import MarketSpec
from gateway.market.vocabulary import CATEGORIES
from recommender.documents import JobStatus, Level
from recommender.events import EventType
from tests.factories import NOW_MS

SPEC = MarketSpec(end_ms=NOW_MS, talents=600, jobs=400, events=6_000)
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def market() -> Market:
    return generate_market(SPEC)


@pytest.fixture(scope="module")
def written(market: Market, tmp_path_factory: pytest.TempPathFactory) -> tuple[Rows, Rows, Rows]:
    paths = write_market(market, tmp_path_factory.mktemp("market"))
    return tuple(pq.read_table(path).to_pylist() for path in (paths.talents, paths.jobs, paths.events))  # type: ignore[return-value]


def share(rows: Rows, name: str) -> float:
    return sum(row[name] not in (None, []) for row in rows) / len(rows)


def test_the_files_have_the_columns_of_the_import_contract() -> None:
    talents = "talent_id title description skills category country hourly_rate currency level available created_at"
    jobs = (
        "job_id client_id title description skills category country remote budget_type budget_min budget_max currency "
        "level status posted_at expires_at"
    )
    events = "event_id actor type talent_id job_id occurred_at value recommendation_id"
    assert TALENT_COLUMNS[: len(talents.split())] == tuple(talents.split())
    assert JOB_COLUMNS[: len(jobs.split())] == tuple(jobs.split())
    assert tuple(events.split()) == EVENT_COLUMNS


def test_ids_are_unique_and_events_name_known_talents_and_jobs(written: tuple[Rows, Rows, Rows]) -> None:
    talents, jobs, events = written
    talent_ids, job_ids = {row["talent_id"] for row in talents}, {row["job_id"] for row in jobs}
    assert (len(talent_ids), len(job_ids)) == (SPEC.talents, SPEC.jobs)
    assert len({row["event_id"] for row in events}) == len(events) == SPEC.events
    assert {row["talent_id"] for row in events} <= talent_ids
    assert {row["job_id"] for row in events} <= job_ids
    assert {row["type"] for row in events} <= {kind.value for kind in EventType}
    assert all(row["recommendation_id"] is None for row in events)


def test_event_ids_are_stable_and_belong_to_their_market(market: Market, written: tuple[Rows, Rows, Rows]) -> None:
    assert written[2][0]["event_id"] == f"{SPEC.fingerprint}-000000001"
    other = MarketSpec(end_ms=NOW_MS + 1, talents=600, jobs=400, events=6_000)
    assert other.fingerprint != SPEC.fingerprint


def test_ids_grow_with_time(written: tuple[Rows, Rows, Rows]) -> None:
    for rows, name in ((written[0], "created_at"), (written[1], "posted_at")):
        moments = [row[name] for row in rows if row[name] is not None]
        assert moments == sorted(moments)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_the_other_formats_say_the_same(
    market: Market, written: tuple[Rows, Rows, Rows], tmp_path: Path, form: Any
) -> None:
    paths = write_market(market, tmp_path, form)
    for path, rows in zip((paths.talents, paths.jobs, paths.events), written, strict=True):
        if form == "csv":
            with path.open(encoding="utf-8", newline="") as file:
                again: Rows = list(csv.DictReader(file))
        else:
            again = [orjson.loads(line) for line in path.read_bytes().splitlines()]
        assert len(again) == len(rows)
        assert list(again[0]) == list(rows[0])
        for found, row in zip(again[:50], rows[:50], strict=True):
            for name, value in row.items():
                assert _plain(found[name]) == _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ";".join(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds")
    text = "" if value is None else str(value)
    if text in ("True", "False"):
        return text.lower()
    try:
        return datetime.fromisoformat(text).isoformat(timespec="milliseconds") if "T" in text else text
    except ValueError:
        return text


def test_the_same_market_writes_the_same_bytes(market: Market, tmp_path: Path) -> None:
    one, other = write_market(market, tmp_path / "one"), write_market(market, tmp_path / "other")
    for first, second in zip(
        (one.talents, one.jobs, one.events), (other.talents, other.jobs, other.events), strict=True
    ):
        assert first.read_bytes() == second.read_bytes()


def test_values_are_missing_as_in_real_files(written: tuple[Rows, Rows, Rows]) -> None:
    talents, jobs, _ = written
    for name in ("title", "description", "skills", "category", "country", "hourly_rate", "level", "timezone"):
        assert 0.7 < share(talents, name) < 1.0
    for name in ("description", "skills", "category", "country", "remote", "level", "industry", "budget_max",
                 "expires_at", "posted_at"):  # fmt: skip
        assert 0.7 < share(jobs, name) < 1.0


def test_pay_is_in_the_currencies_of_the_countries_mostly_dollars(written: tuple[Rows, Rows, Rows]) -> None:
    for rows, name in ((written[0], "hourly_rate"), (written[1], "budget_min")):
        currencies = Counter(row["currency"] for row in rows)
        assert set(currencies) == {"USD", "EUR", "GBP"}
        assert currencies["USD"] > 0.6 * len(rows)
        assert all(row[name] is None or row[name] > 0 for row in rows)
    rates = sorted(row["hourly_rate"] for row in written[0] if row["hourly_rate"] is not None)
    assert 20 < rates[len(rates) // 2] < 60
    assert rates[-1] < 600
    hourly = sorted(row["budget_max"] for row in written[1] if row["budget_type"] == "HOURLY" and row["budget_max"])
    fixed = sorted(row["budget_max"] for row in written[1] if row["budget_type"] == "FIXED" and row["budget_max"])
    assert hourly[len(hourly) // 2] < 120 < 1_000 < fixed[len(fixed) // 2]
    assert all(
        row["budget_min"] <= row["budget_max"]
        for row in written[1]
        if row["budget_min"] is not None and row["budget_max"] is not None
    )


def test_experts_cost_more_than_beginners(written: tuple[Rows, Rows, Rows]) -> None:
    def median(level: Level) -> float:
        rates = sorted(row["hourly_rate"] for row in written[0] if row["level"] == level.value and row["hourly_rate"])
        return float(rates[len(rates) // 2])

    assert median(Level.EXPERT) > 1.5 * median(Level.ENTRY)


def test_titles_skills_and_texts_come_from_the_occupation(written: tuple[Rows, Rows, Rows]) -> None:
    occupations = load_occupations()
    titles = {title for occupation in occupations for title in occupation.titles}
    skills = {name for occupation in occupations for name, _ in occupation.tools}
    skills |= {craft for category in CATEGORIES.values() for craft in category.crafts}
    ranks = ("Senior", "Lead", "Principal", "Junior", "Entry-level")
    for row in written[0]:
        assert set(row["skills"]) <= skills
        assert len(set(row["skills"])) == len(row["skills"])
        if row["title"] is not None:
            bare = row["title"].split(" ", 1)[1] if row["title"].startswith(ranks) else row["title"]
            assert bare in titles
        assert row["description"] is None or 80 < len(row["description"]) < 900
    assert any(row["title"].startswith("Senior ") for row in written[0] if row["title"])
    assert {row["category"] for row in written[0]} <= {*CATEGORIES, None}


def test_clients_own_several_jobs_and_a_few_own_many(written: tuple[Rows, Rows, Rows]) -> None:
    counts = sorted(Counter(row["client_id"] for row in written[1]).values(), reverse=True)
    assert 3 <= len(written[1]) / len(counts) <= 6
    assert counts[0] > 5 * counts[len(counts) // 2]


def test_an_open_job_expires_after_the_log_and_a_draft_was_never_posted(written: tuple[Rows, Rows, Rows]) -> None:
    end = datetime.fromtimestamp(NOW_MS / 1000, UTC)
    for row in written[1]:
        if row["status"] == JobStatus.OPEN.value:
            assert row["expires_at"] is None or row["expires_at"] > end
        assert (row["posted_at"] is None) == (row["status"] == JobStatus.DRAFT.value)


def test_the_subset_of_onet_is_small_and_carries_its_attribution() -> None:
    package = files("gateway.market")
    assert len(package.joinpath("onet.json.gz").read_bytes()) < 400_000
    notice = " ".join(package.joinpath("onet.ATTRIBUTION.txt").read_text(encoding="utf-8").split())
    assert (
        "This product includes information from the O*NET 29.2 Database by the U.S. Department of Labor, Employment "
        "and Training Administration (USDOL/ETA). Used under the CC BY 4.0 license. O*NET® is a trademark of "
        "USDOL/ETA."
    ) in notice
    assert (
        "The Tandem project has modified all or some of this information. USDOL/ETA has not approved, endorsed, or "
        "tested these modifications."
    ) in notice


def test_every_category_has_occupations_that_can_fill_a_profile() -> None:
    occupations = load_occupations()
    assert {occupation.category for occupation in occupations} == set(CATEGORIES)
    for occupation in occupations:
        assert len(occupation.titles) >= 5
        assert len(occupation.tools) >= 3
        assert len(occupation.tasks) >= 5
        assert all(0 <= place < len(occupations) for place in occupation.related)
