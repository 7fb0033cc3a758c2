"""What replicas must answer, worked out from the documents in Elasticsearch, the events in Redis and the model's files.

Filters, totals and facets are those of `tests.brute_force`; a list's scores come from the normal equations of implicit
ALS in their plain form, over every job: (YᵀCY + λI) x = YᵀCp (Hu, Koren & Volinsky, ICDM 2008).
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import safetensors.numpy
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gateway.adapters.elasticsearch.records import record_from_hit
from recommender.documents import Document, JobStatus, Kind, Talent
from recommender.events import RULES, Event, in_force
from recommender.filters import Filter, JobFilter, TalentFilter
from recommender.search import FacetField, Sort
from tests import brute_force
from tests.elasticsearch_server import request_json
from tests.factories import DAY_MS
from tests.processes import ROOT
from tests.production.stack import Client, Replica, Stack, http_client

SAME = 1e-7  # of a score: both sides solve in float64
FACETS = (FacetField.SKILLS, FacetField.CATEGORIES, FacetField.COUNTRIES, FacetField.LEVELS)
DEFINED = "$t%d: ID!, $j%d: ID!, $jf%d: JobFilter, $tf%d: TalentFilter, $q%d: String, $js%d: Sort"
ASKED = """
  jobs%d: talent(talentId: $t%d) { list: recommendedJobs(first: 100, filter: $jf%d, query: $q%d) { ...J } }
  talents%d: job(jobId: $j%d) { list: recommendedTalents(first: 100, filter: $tf%d, query: $q%d) { ...T } }
  found%d: jobs(first: 100, filter: $jf%d, query: $q%d, sort: $js%d) { totalCount nodes { id: jobId } ...F }"""
FRAGMENTS = """
fragment J on RecommendedJobConnection { totalCount exactness strategy edges { score node { id: jobId } } facets(
  fields: [SKILLS, CATEGORIES, COUNTRIES, LEVELS], size: 100) { name buckets { value count } } }
fragment T on RecommendedTalentConnection { totalCount exactness strategy edges { score node { id: talentId } } facets(
  fields: [SKILLS, CATEGORIES, COUNTRIES, LEVELS], size: 100) { name buckets { value count } } }
fragment F on JobConnection { facets(fields: [SKILLS, CATEGORIES, COUNTRIES, LEVELS], size: 100) {
  name buckets { value count } } }"""


@dataclass(frozen=True)
class Question:
    """One of several that a request asks: the lists of a talent and of a job, and a search."""

    talent_id: str
    job_id: str
    jobs: JobFilter
    talents: TalentFilter
    text: str | None
    sort: Sort


def request_of(questions: Sequence[Question]) -> tuple[str, dict[str, Any]]:
    """One operation that asks them all, and its variables."""
    places = range(len(questions))
    defined = ", ".join(DEFINED.replace("%d", str(place)) for place in places)
    asked = "".join(ASKED.replace("%d", str(place)) for place in places)
    variables: dict[str, Any] = {}
    for place, one in enumerate(questions):
        values = (one.talent_id, one.job_id, input_of(one.jobs), input_of(one.talents), one.text, one.sort.value)
        variables |= {
            f"{name}{place}": value for name, value in zip(("t", "j", "jf", "tf", "q", "js"), values, strict=True)
        }
    return f"query({defined}) {{{asked}\n}}{FRAGMENTS}", variables


def input_of(wanted: Filter) -> dict[str, Any]:
    """A filter as GraphQL takes it."""
    found: dict[str, Any] = {
        "ids": None if wanted.ids is None else list(wanted.ids),
        "excludeIds": list(wanted.exclude_ids),
        "skills": {"all": wanted.skills.all, "any": wanted.skills.any, "none": wanted.skills.none},
        "categories": wanted.categories,
        "countries": wanted.countries,
        "levels": [level.value for level in wanted.levels],
        "attributes": [
            {"name": clause.name, "in": clause.any, "min": clause.min, "max": clause.max}
            for clause in wanted.attributes
        ],
    }
    pay = wanted.pay
    if pay is not None:
        bounds = {name: None if bound is None else str(bound) for name, bound in (("min", pay.min), ("max", pay.max))}
        asked = {"currency": pay.currency, "includeUnknown": pay.include_unknown, **bounds}
        if pay.budget_type is None:
            found["hourlyRate"] = asked
        else:
            found["budget"] = {**asked, "type": pay.budget_type.value}
    if isinstance(wanted, TalentFilter):
        return found | {"isAvailable": wanted.is_available, "joinedWithinDays": wanted.joined_within_days}
    return found | {
        "clientIds": wanted.client_ids,
        "isRemote": wanted.is_remote,
        "postedWithinDays": wanted.posted_within_days,
        "statuses": [status.value for status in wanted.statuses],
    }


def with_ids_of(wanted: Filter, kind: Kind) -> Filter:
    """A random filter with ids of the market in place of those that it has."""

    def names(ids: Sequence[str]) -> tuple[str, ...]:
        places = (brute_force.ids.index(one) + 1 if one in brute_force.ids else 10**6 for one in ids)
        return tuple(dict.fromkeys(f"{kind.value[0]}{place}" for place in places))

    return replace(wanted, ids=None if wanted.ids is None else names(wanted.ids), exclude_ids=names(wanted.exclude_ids))


@dataclass(frozen=True)
class World:
    """Everything there is, at one moment. versions: sequence number of each document's last write."""

    documents: Mapping[Kind, Sequence[Document]]
    versions: Mapping[Kind, Mapping[str, int]]
    events: Sequence[Event]
    now_ms: int

    def history(self, kind: Kind, subject_id: str) -> list[Event]:
        return [event for event in self.events if event.id_of(kind) == subject_id]


async def read_world(stack: Stack) -> World:
    """Read it past the adapter of the catalogue."""
    documents: dict[Kind, list[Document]] = {}
    versions: dict[Kind, dict[str, int]] = {}
    body = orjson.dumps({"size": 10_000, "seq_no_primary_term": True, "query": {"term": {"is_live": True}}})
    for kind in Kind:
        found = request_json(stack.elasticsearch_url, "POST", f"{stack.namespace}.{kind.value}s/_search", body)
        hits = orjson.loads(found)["hits"]["hits"]
        documents[kind] = [record_from_hit(hit).document(kind) for hit in hits]
        versions[kind] = {hit["_source"]["id"]: hit["_seq_no"] for hit in hits}
    with stack.events() as log:
        events = [event async for batch in log.scan() for event in batch]
    return World(documents, versions, events, time.time_ns() // 1_000_000)


class ModelFiles:
    """The current model as its files have it."""

    def __init__(self, directory: Path) -> None:
        folder = directory / (directory / "CURRENT").read_text().strip()
        self._manifest = json.loads((folder / "manifest.json").read_bytes())
        self._arrays = safetensors.numpy.load_file(folder / "arrays.safetensors")

    def scores(self, kind: Kind, history: Sequence[Event], ordinal_of: Mapping[str, int]) -> dict[int, float] | None:
        """Score by ordinal of the items of a kind; None when the history prefers nothing that the model knows."""
        side = f"{kind.value}s"
        factors = self._arrays[f"{side}.factors"].astype(np.float64)
        ordinals = self._arrays[f"{side}.ordinals"].tolist()
        hyper = self._manifest["hyperparameters"]
        now_ms = max([self._manifest["as_of_ms"], *(event.occurred_at_ms or 0 for event in history)])
        weights = np.zeros(len(ordinals))
        for event in in_force(history):
            ordinal = ordinal_of.get(event.id_of(kind))
            if ordinal in ordinals:
                age_days = max(0, now_ms - (event.occurred_at_ms or 0)) / DAY_MS
                decay = 0.5 ** (age_days / hyper["half_life_days"])
                weights[ordinals.index(ordinal)] += RULES[event.type].weight * (event.value or 1.0) * decay
        if not (weights > 0).any():
            return None
        confidence = np.diag(1 + hyper["alpha"] * np.abs(weights))
        normal = factors.T @ confidence @ factors + hyper["regularization"] * np.eye(factors.shape[1])
        vector = np.linalg.solve(normal, factors.T @ confidence @ (weights > 0))
        return dict(zip(ordinals, (factors @ vector).tolist(), strict=True))


def is_eligible(document: Document, now_ms: int) -> bool:
    """Whether a document may be recommended to anybody."""
    if isinstance(document, Talent):
        return document.is_available
    expires = document.expires_at_ms
    return document.status is JobStatus.OPEN and (expires is None or expires > now_ms)


def hidden_from(history: Sequence[Event], kind: Kind) -> set[str]:
    """Ids of a kind that events in force keep out of the list of the history's subject."""
    return {
        event.id_of(kind)
        for event in in_force(history)
        if (RULES[event.type].hides_job_from_talent if kind is Kind.JOB else RULES[event.type].hides_talent_from_job)
    }


class Expected:
    """What a question must be answered with, in a world."""

    def __init__(self, world: World, model: ModelFiles) -> None:
        self._world, self._model = world, model
        self._ordinals = {
            kind: {one.id: one.ordinal for one in documents} for kind, documents in world.documents.items()
        }

    def faults(self, question: Question, place: int, data: Mapping[str, Any]) -> list[str]:
        """What is wrong with an answer; nothing when it is what brute force gives."""
        faults = []
        for kind, subject, subject_id, wanted in (
            (Kind.JOB, Kind.TALENT, question.talent_id, question.jobs),
            (Kind.TALENT, Kind.JOB, question.job_id, question.talents),
        ):
            answer = data[f"{kind.value}s{place}"]
            exists = subject_id in self._ordinals[subject]
            if exists != (answer is not None):
                faults.append(f"{subject_id} is {'not ' * (answer is None)}answered")
            elif answer is not None:
                history = self._world.history(subject, subject_id)
                faults += self._list_faults(kind, wanted, question.text, history, answer["list"])
        return faults + self._search_faults(question, data[f"found{place}"])

    def _list_faults(
        self, kind: Kind, wanted: Filter, text: str | None, history: Sequence[Event], found: Mapping[str, Any]
    ) -> list[str]:
        hidden = hidden_from(history, kind)
        everything = self._world.documents[kind]
        may_be = [one for one in everything if is_eligible(one, self._world.now_ms) and one.id not in hidden]
        matching = brute_force.found(may_be, wanted, text, self._world.now_ms)
        scores = self._model.scores(kind, history, self._ordinals[kind])
        edges = [(edge["node"]["id"], edge["score"]) for edge in found["edges"]]
        faults = _facet_faults(everything, may_be, wanted, text, self._world.now_ms, found["facets"])
        if found["exactness"] != "EXACT" or found["totalCount"] != len(matching):
            faults.append(f"total {found['totalCount']}, expected {len(matching)}")
        if {name for name, _ in edges} != {one.id for one in matching}:
            faults.append(f"list {sorted(name for name, _ in edges)}, expected {sorted(one.id for one in matching)}")
        elif edges != sorted(edges, key=lambda edge: (-edge[1], edge[0].encode())):
            faults.append(f"order {edges}")
        elif (found["strategy"] == "COLLABORATIVE") != (scores is not None):
            faults.append(f"strategy {found['strategy']}")
        elif scores is not None:
            of_id = {one.id: scores.get(one.ordinal, 0.0) for one in matching}
            faults += [
                f"{name} scores {score}, expected {of_id[name]}"
                for name, score in edges
                if abs(score - of_id[name]) > SAME * max(1.0, abs(of_id[name]))
            ]
        return faults

    def _search_faults(self, question: Question, found: Mapping[str, Any]) -> list[str]:
        everything, wanted = self._world.documents[Kind.JOB], question.jobs
        matching = brute_force.found(everything, wanted, question.text, self._world.now_ms)
        pay = wanted.pay or brute_force.default_pay(Kind.JOB)
        expected = [one.id for one in brute_force.in_order(matching, question.sort, pay, question.text)]
        faults = _facet_faults(everything, everything, wanted, question.text, self._world.now_ms, found["facets"])
        if ([one["id"] for one in found["nodes"]], found["totalCount"]) != (expected, len(expected)):
            faults.append(f"search {[one['id'] for one in found['nodes']]}, expected {expected}")
        return faults


def _facet_faults(
    everything: Sequence[Document],
    may_be: Sequence[Document],
    wanted: Filter,
    text: str | None,
    now_ms: int,
    found: Sequence[Mapping[str, Any]],
) -> list[str]:
    faults = []
    for name, facet in zip(FACETS, found, strict=True):
        free = brute_force.without_own_clause(wanted, name)
        expected = brute_force.counts(everything, brute_force.found(may_be, free, text, now_ms), name)
        counted = {bucket["value"]: bucket["count"] for bucket in facet["buckets"]}
        if counted != expected:
            faults.append(f"{name.value} {counted}, expected {expected}")
    return faults


def moving_faults(before: World, after: World, question: Question, place: int, data: Mapping[str, Any]) -> list[str]:
    """What is wrong with an answer that was given while documents changed: as to those that did not, it is exact."""
    faults = []
    found = {one["id"] for one in data[f"found{place}"]["nodes"]}
    listed = data[f"jobs{place}"]
    hidden = hidden_from(after.history(Kind.TALENT, question.talent_id), Kind.JOB)
    for job in after.documents[Kind.JOB]:
        if before.versions[Kind.JOB].get(job.id) != after.versions[Kind.JOB][job.id]:
            continue
        matches = bool(brute_force.found([job], question.jobs, question.text, after.now_ms))
        if (job.id in found) != matches:
            faults.append(f"{job.id} is {'in' if job.id in found else 'not in'} a search while others change")
        if listed is not None:
            is_listed = job.id in {edge["node"]["id"] for edge in listed["list"]["edges"]}
            if is_listed != (matches and is_eligible(job, after.now_ms) and job.id not in hidden):
                faults.append(f"{job.id} is {'in' if is_listed else 'not in'} a list while others change")
    return faults


class Writer:
    """The second process that changes documents."""

    def __init__(self, stack: Stack, talents: int, jobs: int) -> None:
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.production.writer", stack.elasticsearch_url, stack.namespace),
                *(str(talents), str(jobs)),
            ],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, seed: int, changes: int) -> None:
        """Begin to write."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seed} {changes}\n")
        self._process.stdin.flush()

    def wait(self) -> None:
        """Until everything that was begun is written."""
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "done\n"

    def end(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        assert self._process.wait(20) == 0


@contextmanager
def running_writer(stack: Stack, talents: int, jobs: int) -> Iterator[Writer]:
    """A writer for the length of a block."""
    writer = Writer(stack, talents, jobs)
    try:
        yield writer
    finally:
        writer.end()


async def check(
    stack: Stack, client: Client, replicas: Sequence[Replica], writer: Writer, questions: Sequence[Question], seed: int
) -> list[str]:
    """Ask while the writer writes, and again on every replica once it is done; what is wrong with the answers."""
    query, variables = request_of(questions)
    model = ModelFiles(stack.directory / "models")
    before = await read_world(stack)
    writer.start(seed, changes=4)
    moving = await client.data(random.Random(seed).choice(replicas), query, variables)
    writer.wait()
    after = await read_world(stack)
    faults = [
        fault
        for place, question in enumerate(questions)
        for fault in moving_faults(before, after, question, place, moving)
    ]
    expected = Expected(after, model)
    for number, replica in enumerate(replicas):
        data = await client.data(replica, query, variables)
        for place, question in enumerate(questions):
            faults += [f"replica {number}, {question}: {fault}" for fault in expected.faults(question, place, data)]
    return faults


def questions(talents: int, jobs: int) -> st.SearchStrategy[Question]:
    """Random questions to a market of that size."""
    return st.builds(
        Question,
        talent_id=st.integers(1, talents).map(lambda number: f"t{number}"),
        job_id=st.integers(1, jobs).map(lambda number: f"j{number}"),
        jobs=brute_force.filters_of(Kind.JOB).map(lambda wanted: with_ids_of(wanted, Kind.JOB)),
        talents=brute_force.filters_of(Kind.TALENT).map(lambda wanted: with_ids_of(wanted, Kind.TALENT)),
        text=st.none() | brute_force.texts,
        sort=st.sampled_from(Sort),
    )


def try_questions(
    stack: Stack, replicas: Sequence[Replica], writer: Writer, size: tuple[int, int], *, batches: int, of: int = 10
) -> None:
    """Ask batches of random questions; fails with what was answered wrongly. size: talents and jobs of the market."""

    @settings(
        max_examples=batches,
        phases=[Phase.generate],  # a failure cannot be shrunk: the documents have changed by then
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(questions(*size), min_size=of, max_size=of), st.integers(0, 2**32))
    def ask(batch: list[Question], seed: int) -> None:
        async def checked() -> list[str]:
            async with http_client() as client:
                return await check(stack, client, replicas, writer, batch, seed)

        assert asyncio.run(checked()) == []

    ask()
