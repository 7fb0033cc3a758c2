"""A tiny market in real embedded stores behind the real app, in process: what the GraphQL and HTTP tests ask."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from gateway.adapters.directory.models import DirectoryModelStore
from gateway.adapters.memory.cache import MemoryCache
from gateway.adapters.sqlite.catalogue import SqliteCatalogue
from gateway.adapters.sqlite.events import SqliteEventLog
from gateway.adapters.sqlite.serving_log import SqliteServingLog
from gateway.erasure import Remains
from gateway.graphql.services import Services
from gateway.http.app import build_app
from gateway.http.auth import Access, build_access
from gateway.round_trips import Step
from gateway.settings import Settings
from recommender.documents import Budget, BudgetType, JobStatus, Kind, Level, Money, Patch
from recommender.events import EventType
from recommender.model import Hyperparameters, Manifest, Model, Side
from recommender.recommender import Recommender
from tests.factories import DAY_MS, NOW_MS, event

TALENTS, JOBS = 25, 40
SKILLS = ("Go", "Python", "Kubernetes", "SQL", "C++")
CATEGORIES = ("Software", "Design")
COUNTRIES = ("DE", "US", "FR")
LEVELS = tuple(Level)

BASE = "http://127.0.0.1:8000"


class Counted:
    """A port that counts its calls by method, and can be made to fail."""

    def __init__(self, port: Any) -> None:
        self._port = port
        self.calls: Counter[str] = Counter()
        self.failing: dict[str, Exception] = {}

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        if not callable(found):
            return found

        def call(*arguments: Any, **named: Any) -> Any:
            self.calls[name] += 1
            if name in self.failing:
                raise self.failing[name]
            return found(*arguments, **named)

        return call


@dataclass
class ServedMarket:
    """Stores, services and a client. `clock[0]` is now, in epoch milliseconds."""

    catalogue: Counted
    events: Counted
    serving_log: Counted
    models: DirectoryModelStore
    services: Services
    client: httpx.AsyncClient
    clock: list[int] = field(default_factory=lambda: [NOW_MS])

    async def ask(self, query: str, variables: dict[str, Any] | None = None, **headers: str) -> dict[str, Any]:
        """The whole JSON answer of one operation."""
        body = {"query": query, **({"variables": variables} if variables else {})}
        response = await self.client.post("/graphql", json=body, headers=headers)
        answer: dict[str, Any] = response.json()
        return answer

    async def data(self, query: str, variables: dict[str, Any] | None = None) -> Any:
        """The data of an operation that must not have errors."""
        answer = await self.ask(query, variables)
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    async def code(self, query: str, variables: dict[str, Any] | None = None) -> str:
        """The code of the one error of an operation."""
        answer = await self.ask(query, variables)
        codes = [error["extensions"]["code"] for error in answer.get("errors", [])]
        assert len(codes) == 1, answer
        return str(codes[0])

    def reset_counts(self) -> None:
        """Forget the calls so far."""
        for port in (self.catalogue, self.events, self.serving_log):
            port.calls.clear()


def talent_patch(number: int) -> Patch:
    """Talent `t<number>`."""
    return Patch(
        f"t{number}",
        {
            "title": f"Developer {number}",
            "description": "Builds things.",
            "skills": (SKILLS[number % 5], SKILLS[(number + 1) % 5]),
            "category": CATEGORIES[number % 2],
            "country": COUNTRIES[number % 3],
            "hourly_rate": Money(Decimal(20 + number), "USD"),
            "level": LEVELS[number % 3],
            "created_at_ms": NOW_MS - number * DAY_MS,
            "attributes": {"timezone": "CET" if number % 2 else "EST"},
        },
    )


def job_patch(number: int) -> Patch:
    """Job `j<number>`."""
    return Patch(
        f"j{number}",
        {
            "client_id": f"c{number % 4}",
            "title": f"{SKILLS[number % 5]} project {number}",
            "description": "A team that ships.",
            "skills": (SKILLS[number % 5], SKILLS[(number + 2) % 5]),
            "category": CATEGORIES[number % 2],
            "country": COUNTRIES[number % 3],
            "is_remote": number % 2 == 0,
            "budget": Budget(BudgetType.HOURLY, Decimal(10 + number), Decimal(30 + number), "USD"),
            "level": LEVELS[number % 3],
            "status": JobStatus.OPEN,
            "posted_at_ms": NOW_MS - number * DAY_MS,
            "expires_at_ms": NOW_MS + 30 * DAY_MS,
            "attributes": {"visa": "yes" if number % 3 else "no"},
        },
    )


def small_model(version: str = "m1", talents: int = TALENTS, jobs: int = JOBS) -> Model:
    """Seeded factors for every talent and job of the market, whose ordinals count from 1."""
    rng = np.random.default_rng(7)

    def side(size: int) -> Side:
        return Side(
            ordinals=np.arange(1, size + 1, dtype=np.uint32),
            factors=rng.normal(size=(size, 8)).astype(np.float32),
            popularity=rng.random(size).astype(np.float32),
        )

    manifest = Manifest(
        version=version,
        trained_at_ms=NOW_MS - DAY_MS,
        as_of_ms=NOW_MS - DAY_MS,
        watermark=0,
        events=talents * 3,
        hyperparameters=Hyperparameters(factors=8, regularization=0.1, alpha=2.0),
    )
    return Model(manifest=manifest, talents=side(talents), jobs=side(jobs))


async def open_market(
    path: Path, settings: Settings | None = None, base_url: str = BASE, *, access: Access | None = None
) -> ServedMarket:
    """The market in fresh stores under `path`, each talent with a view, a save and an application."""
    clock = [NOW_MS]
    numbers = count(1)
    catalogue = Counted(SqliteCatalogue.open(path / "catalogue.db"))
    events = Counted(SqliteEventLog.open(path / "events.db"))
    serving_log = Counted(SqliteServingLog.open(path / "serving.db"))
    models = DirectoryModelStore(path / "models")
    await catalogue.upsert(Kind.TALENT, [talent_patch(number) for number in range(1, TALENTS + 1)])
    await catalogue.upsert(Kind.JOB, [job_patch(number) for number in range(1, JOBS + 1)])
    await events.append(
        [
            event(kind, f"t{number}", f"j{(number * step) % JOBS + 1}", occurred_at_ms=NOW_MS - number * DAY_MS)
            for number in range(1, TALENTS + 1)
            for step, kind in ((1, EventType.VIEW), (3, EventType.SAVE), (7, EventType.APPLY))
        ]
    )
    models.publish(small_model())

    def clock_ms() -> int:
        return clock[0]

    def new_id() -> str:
        return f"r{next(numbers)}"

    recommender = Recommender(
        catalogue=catalogue,
        events=events,
        serving_log=serving_log,
        models=models,
        clock_ms=clock_ms,
        new_id=new_id,
        watched=Step,
        is_remote=False,
    )
    recommender.refresh_model()
    chosen = settings or Settings(auth="open")
    services = Services(
        recommender=recommender,
        catalogue=catalogue,
        events=events,
        clock_ms=clock_ms,
        new_id=new_id,
        compiles=chosen.compiled,
        remains=Remains(serving_log, models, MemoryCache(8_000_000, clock_ms), path / "import-rejects.jsonl", 0.0),
    )
    app = build_app(
        services,
        access or build_access(chosen),
        cors_origins=chosen.cors_origins,
        batch_operations=chosen.batch_operations,
        refused_status=int(chosen.refused_status),
    )
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    client = httpx.AsyncClient(transport=transport, base_url=base_url)
    market = ServedMarket(catalogue, events, serving_log, models, services, client, clock)
    market.reset_counts()
    return market


async def close_market(market: ServedMarket) -> None:
    """Close the client and the stores."""
    await market.client.aclose()
    market.serving_log.close()
    market.events.close()
    market.catalogue.close()
    market.models.close()
