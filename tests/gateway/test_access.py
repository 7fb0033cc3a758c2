"""Who may see what: every role on every field of the real schema, over what is its own, another's and nobody's."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from graphql import (
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    is_introspection_type,
    is_leaf_type,
)
from starlette.requests import HTTPConnection

from gateway.graphql.access import REACH, Reach
from gateway.graphql.federation import build_subgraph
from gateway.graphql.ids import NodeType, relay_id
from gateway.graphql.schema import SCHEMA, build_schema
from gateway.graphql.sight import sees_event
from gateway.graphql.viewer import ENGINEER, ROLES, Viewer
from gateway.http.app import build_app
from gateway.http.auth import Access
from gateway.settings import Settings
from recommender.documents import JobStatus, Kind, Side
from recommender.events import EventType
from tests.factories import NOW_MS, event
from tests.gateway.served_market import ServedMarket, close_market, job_patch, open_market

STAFF = ("service", "engineer", "admin")
# Whose documents the subjects are. A talent's own jobs are those that are no drafts; a client's own talents are all.
OWN = {"talent": "t1", "job": "j1", "client": "c1"}
OTHER = {"talent": "t2", "job": "j2", "client": "c2"}
DRAFT = {"talent": "t2", "job": "draft", "client": "secret"}
MISSING = {"talent": "nobody", "job": "nowhere", "client": "noone"}
SUBJECTS = {"own": OWN, "other": OTHER, "draft": DRAFT, "missing": MISSING}


def who(request: HTTPConnection) -> Viewer:
    """The viewer that a test's request names: `role subject`."""
    role, _, subject = request.headers.get("x-viewer", "").partition(" ")
    return Viewer((role,), subject) if role else ENGINEER


@pytest.fixture
async def market(tmp_path: Path) -> AsyncIterator[ServedMarket]:
    """The tiny market with a draft, which has a history, of a client who has nothing else."""
    opened = await open_market(tmp_path, Settings(auth="open"), access=Access(who, who))
    secret = {**job_patch(41).fields, "client_id": "secret", "status": JobStatus.DRAFT, "title": "Secret plan"}
    await opened.catalogue.upsert(Kind.JOB, [replace(job_patch(41), id="draft", fields=secret)])
    await opened.events.append([event(EventType.VIEW, "t1", "draft", occurred_at_ms=NOW_MS)])
    yield opened
    await close_market(opened)


def viewer(role: str) -> str:
    return f"{role} {OWN.get(role, 'me')}"


async def ask(market: ServedMarket, role: str, query: str, subject: str | None = None) -> dict[str, Any]:
    name = viewer(role) if subject is None else f"{role} {subject}"
    return await market.ask(query, **{"X-Viewer": name})


def is_seen(role: str, kind: str, subject: str) -> bool:
    """Whether an existing document is there for a role: the rules in words, once more."""
    if subject == "missing":
        return False
    if role in STAFF:
        return True
    if role == "talent":
        return {"talent": subject == "own", "job": subject != "draft", "client": subject != "draft"}[kind]
    return {"talent": True, "job": subject == "own", "client": subject == "own"}[kind]


# ---- The table is whole ----------------------------------------------------------------------------------------------


def fields_of(schema: GraphQLSchema) -> set[tuple[str, str]]:
    return {
        (named.name, field)
        for named in schema.type_map.values()
        if isinstance(named, GraphQLObjectType | GraphQLInterfaceType) and not is_introspection_type(named)
        for field in named.fields
    }


def test_every_field_is_classified_and_nothing_else() -> None:
    federated = {("Query", "_entities"), ("Query", "_service"), ("_Service", "sdl")}
    assert federated <= fields_of(build_subgraph("Talent.id,Job.id", "Tandem").schema._schema)
    assert fields_of(SCHEMA._schema) | federated == REACH.keys()


async def test_a_field_that_is_not_classified_is_refused_to_everybody(
    market: ServedMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(REACH, ("Talent", "title"))
    monkeypatch.delitem(REACH, ("Query", "client"))
    monkeypatch.setattr("gateway.http.app.SCHEMA", build_schema())
    market.client._transport.app = build_app(market.services, Access(who, who))  # type: ignore[attr-defined]
    for role in ROLES:
        answer = await ask(market, role, '{ client(clientId: "c1") { id } talent(talentId: "t1") { talentId title } }')
        assert answer["data"] == {"client": None, "talent": {"talentId": "t1", "title": None}}
        assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"] * 2


# ---- Every role on every field ---------------------------------------------------------------------------------------

_JOBS = 'jobs(first: 3, query: "project") {{ %s }}'
_LIST = 'talent(talentId: "{talent}") {{ recommendedJobs(first: 3) {{ %s }} }}'
_TALENTS = 'job(jobId: "{job}") {{ recommendedTalents(first: 3) {{ %s }} }}'
_EVENTS = 'job(jobId: "{job}") {{ interactions(first: 3) {{ %s }} }}'
_WHY = 'explain(talentId: "{talent}", jobId: "{job}", side: {side}) {{ %s }}'

# Where an object of each type is found, and whose document it hangs on. A new type needs a line here.
PLACES: dict[str, tuple[str, str | None]] = {
    "Talent": ('talent(talentId: "{talent}") {{ %s }}', "talent"),
    "Job": ('job(jobId: "{job}") {{ %s }}', "job"),
    "Client": ('client(clientId: "{client}") {{ %s }}', "client"),
    "Viewer": ("viewer {{ %s }}", None),
    "RateLimit": ("rateLimit {{ %s }}", None),
    "Attribute": ('job(jobId: "{job}") {{ attributes {{ %s }} }}', "job"),
    "Money": ('talent(talentId: "{talent}") {{ hourlyRate {{ %s }} }}', "talent"),
    "Budget": ('job(jobId: "{job}") {{ budget {{ %s }} }}', "job"),
    "PageInfo": (_JOBS % "pageInfo {{ %s }}", None),
    "Facet": (_JOBS % "facets {{ %s }}", None),
    "FacetBucket": (_JOBS % "facets {{ buckets {{ %s }} }}", None),
    "JobConnection": (_JOBS, None),
    "JobEdge": (_JOBS % "edges {{ %s }}", None),
    "Highlight": (_JOBS % "edges {{ highlights {{ %s }} }}", None),
    "TextRange": (_JOBS % "edges {{ highlights {{ ranges {{ %s }} }} }}", None),
    "TalentConnection": ("talents(first: 3) {{ %s }}", None),
    "TalentEdge": ("talents(first: 3) {{ edges {{ %s }} }}", None),
    "RecommendedJobConnection": (_LIST, "talent"),
    "RecommendedJobEdge": (_LIST % "edges {{ %s }}", "talent"),
    "Model": (_LIST % "model {{ %s }}", "talent"),
    "Reason": (_LIST % "edges {{ reasons {{ %s }} }}", "talent"),
    "RecommendedTalentConnection": (_TALENTS, "job"),
    "RecommendedTalentEdge": (_TALENTS % "edges {{ %s }}", "job"),
    "InteractionConnection": (_EVENTS, "job"),
    "InteractionEdge": (_EVENTS % "edges {{ %s }}", "job"),
    "Interaction": (_EVENTS % "nodes {{ %s }}", "job"),
    "Explanation": (_WHY, None),
    "Contribution": (_WHY % "contributions {{ %s }}", None),
}
# These are only ever answered by what is asked by itself below.
BY_THEMSELVES = {
    "Query",
    "Mutation",
    "Subscription",
    "Node",
    "RecordEventsPayload",
    "UpsertPayload",
    "DeletePayload",
    "UserError",
    "RecommendationsChanged",
}
DENIED_PLACES = {
    "talent": {"TalentConnection", "TalentEdge", "RecommendedTalentConnection", "RecommendedTalentEdge"},
    "client": {"RecommendedJobConnection", "RecommendedJobEdge", "Model", "Reason"},
}


def selection(named: Any) -> str:
    """All fields of a type, those that are objects by what they are called alone."""
    return " ".join(
        name if is_leaf_type(get_named_type(field.type)) else f"{name} {{ __typename }}"
        for name, field in named.fields.items()
    )


def denied(role: str, type_name: str, field: str) -> bool:
    """Whether a role reaches a field of an object that it sees."""
    reach = REACH[type_name, field]
    assert reach in (Reach.PART, Reach.OF_TALENT, Reach.OF_CLIENT), "give it a case of its own below"
    return (reach is Reach.OF_TALENT and role == "client") or (reach is Reach.OF_CLIENT and role == "talent")


@pytest.mark.parametrize("role", ROLES)
async def test_each_role_sees_of_each_type_what_the_table_says(market: ServedMarket, role: str) -> None:
    types = {name for name, _ in REACH} - BY_THEMSELVES - {"_Service"}
    assert types == PLACES.keys()
    for type_name in sorted(types):
        named = SCHEMA._schema.type_map[type_name]
        place, kind = PLACES[type_name]
        answers = {}
        for subject, ids in SUBJECTS.items():
            if kind is None and subject != "own":
                continue
            side = "CLIENT" if role == "client" else "TALENT"
            query = "{ " + (place % "FIELDS").format(**ids, side=side).replace("FIELDS", selection(named)) + " }"
            answer = answers[subject] = await ask(market, role, query)
            codes = {(str(error["path"][-1]), error["extensions"]["code"]) for error in answer.get("errors", [])}
            seen = kind is None or is_seen(role, kind, subject)
            if not seen:
                assert list(answer["data"].values()) == [None], (query, answer)
                assert not codes
            elif type_name in DENIED_PLACES.get(role, ()):
                assert {code for _, code in codes} == {"FORBIDDEN"}, (query, answer)
            else:
                refused = {(field, "FORBIDDEN") for field in named.fields if denied(role, type_name, field)}  # type: ignore[attr-defined]
                assert codes == refused, (query, answer)
        if kind is not None:
            for subject in SUBJECTS:
                if not is_seen(role, kind, subject):  # not yours and not there are one answer
                    assert answers[subject] == answers["missing"]


QUERIES: dict[str, tuple[str, str | None]] = {
    "talent": ('talent(talentId: "{talent}") {{ talentId }}', "talent"),
    "job": ('job(jobId: "{job}") {{ jobId }}', "job"),
    "client": ('client(clientId: "{client}") {{ clientId }}', "client"),
    "node": ('node(id: "{relay}") {{ id }}', "node"),
    "nodes": ('nodes(ids: ["{relay}"]) {{ id }}', "node"),
    "viewer": ("viewer {{ roles }}", None),
    "rateLimit": ("rateLimit {{ cost }}", None),
    "jobs": (
        "jobs(first: 100, filter: {{ statuses: [OPEN, DRAFT] }}) "
        "{{ totalCount nodes {{ jobId client {{ clientId }} }} }}",
        None,
    ),
    "talents": ("talents(first: 100) {{ nodes {{ talentId }} }}", None),
    "recommendedJobs": ('recommendedJobs(subject: {{ talentId: "{talent}" }}) {{ nodes {{ jobId }} }}', None),
    "explain": ('explain(talentId: "{talent}", jobId: "{job}", side: TALENT) {{ blockedBy text }}', None),
}


def test_every_query_has_a_case() -> None:
    assert {field for name, field in REACH if name == "Query" and not field.startswith("_")} == QUERIES.keys()


@pytest.mark.parametrize("role", ROLES)
async def test_each_role_finds_its_own_by_each_query_and_nothing_of_others(market: ServedMarket, role: str) -> None:
    for name in ("talent", "job", "client", "node", "nodes"):
        place, kind = QUERIES[name]
        kinds = ("talent", "job", "client") if kind == "node" else (kind,)
        for one in kinds:
            assert one is not None
            found = {}
            for subject, ids in SUBJECTS.items():
                relay = relay_id(NodeType[one.upper()], ids[one])
                answer = found[subject] = await ask(market, role, f"{{ {place.format(**ids, relay=relay)} }}")
                assert "errors" not in answer
                assert (answer["data"][name] not in (None, [None])) is is_seen(role, one, subject), (one, subject)
            assert all(is_seen(role, one, subject) or found[subject] == found["missing"] for subject in found)
    answer = await ask(market, role, "{ viewer { roles talent { talentId } client { clientId } } rateLimit { cost } }")
    assert answer["data"]["viewer"] == {
        "roles": [role],
        "talent": {"talentId": "t1"} if role == "talent" else None,
        "client": {"clientId": "c1"} if role == "client" else None,
    }
    jobs = (await ask(market, role, f"{{ {QUERIES['jobs'][0].format()} }}"))["data"]["jobs"]
    assert jobs["totalCount"] == len(jobs["nodes"]) == {"talent": 40, "client": 10}.get(role, 41)
    if role == "client":
        assert {job["client"]["clientId"] for job in jobs["nodes"]} == {"c1"}
    talents = await ask(market, role, f"{{ {QUERIES['talents'][0].format()} }}")
    assert talents["data"] == {"talents": None} if role == "talent" else len(talents["data"]["talents"]["nodes"]) == 25


@pytest.mark.parametrize("role", ["talent", "client"])
async def test_a_list_is_for_whose_it_is(market: ServedMarket, role: str) -> None:
    place, why = QUERIES["recommendedJobs"][0], QUERIES["explain"][0]
    found = {subject: await ask(market, role, f"{{ {place.format(**ids)} }}") for subject, ids in SUBJECTS.items()}
    if role == "talent":
        assert found.pop("own")["data"]["recommendedJobs"]["nodes"]
    for answer in found.values():
        assert answer["data"] == {"recommendedJobs": None}
        assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"]
    assert len({str(answer) for answer in found.values()}) == 1
    explained = {subject: await ask(market, role, f"{{ {why.format(**ids)} }}") for subject, ids in SUBJECTS.items()}
    if role == "client":
        assert {answer["errors"][0]["extensions"]["code"] for answer in explained.values()} == {"FORBIDDEN"}
        return
    assert explained["own"]["data"]["explain"]["blockedBy"] != "UNKNOWN"
    pairs = {"other": ("t2", "j2"), "draft": ("t1", "draft"), "missing": ("nobody", "nowhere")}
    for talent, job in pairs.values():
        answer = await ask(market, role, f"{{ {why.format(talent=talent, job=job)} }}")
        assert answer["data"]["explain"]["blockedBy"] == "UNKNOWN"


@pytest.mark.parametrize("role", ["talent", "client"])
async def test_what_cannot_be_somebodys_own_is_not_even_looked_for(market: ServedMarket, role: str) -> None:
    market.reset_counts()
    other = '{ talent(talentId: "t2") { title } }' if role == "talent" else '{ client(clientId: "c2") { id } }'
    assert list((await ask(market, role, other))["data"].values()) == [None]
    assert not market.catalogue.calls
    assert not market.events.calls


# ---- What is inside what one sees ------------------------------------------------------------------------------------

EVENTS = "interactions(first: 100) { nodes { type actor talent { talentId } job { jobId client { clientId } } } }"


async def record_all_types(market: ServedMarket) -> None:
    """Everything that the two sides can do, between t1 and t2 and the jobs of c1 and c2."""
    both = [(talent, job) for talent in ("t1", "t2") for job in ("j1", "j2")]
    talents = (EventType.VIEW, EventType.SAVE, EventType.APPLY, EventType.DISMISS)
    clients = (EventType.SHORTLIST, EventType.INVITE, EventType.REJECT, EventType.HIRE)
    await market.events.append(
        [event(kind, *pair, occurred_at_ms=NOW_MS) for pair in both for kind in (*talents, *clients)]
        + [
            event(EventType.VIEW, *pair, actor=Side.CLIENT, event_id=f"seen {pair}", occurred_at_ms=NOW_MS)
            for pair in both
        ]
    )


async def test_a_client_sees_what_a_talent_did_with_its_own_jobs_and_was_told_of(market: ServedMarket) -> None:
    await record_all_types(market)
    answer = await ask(market, "client", f'{{ talent(talentId: "t1") {{ {EVENTS} }} job(jobId: "j1") {{ {EVENTS} }} }}')
    for nodes in (answer["data"]["talent"]["interactions"]["nodes"], answer["data"]["job"]["interactions"]["nodes"]):
        assert {node["job"]["client"]["clientId"] for node in nodes} == {"c1"}
        did = {(node["actor"], node["type"]) for node in nodes}
        assert did == {
            ("TALENT", "APPLY"),
            *(("CLIENT", kind) for kind in ("VIEW", "SHORTLIST", "INVITE", "REJECT", "HIRE")),
        }


async def test_a_talent_sees_its_own_events_and_of_the_clients_what_it_was_told(market: ServedMarket) -> None:
    await record_all_types(market)
    answer = await ask(market, "talent", f'{{ talent(talentId: "t1") {{ {EVENTS} }} job(jobId: "j2") {{ {EVENTS} }} }}')
    for nodes in (answer["data"]["talent"]["interactions"]["nodes"], answer["data"]["job"]["interactions"]["nodes"]):
        assert {node["talent"]["talentId"] for node in nodes} == {"t1"}
        assert "draft" not in {node["job"]["jobId"] for node in nodes}
        did = {(node["actor"], node["type"]) for node in nodes}
        assert {kind for actor, kind in did if actor == "CLIENT"} == {"INVITE", "REJECT", "HIRE"}
        assert {"VIEW", "SAVE", "APPLY", "DISMISS"} <= {kind for actor, kind in did if actor == "TALENT"}


def test_an_event_is_its_own_talents_even_between_documents_in_sight() -> None:
    talent = Viewer(("talent",), "t1")
    for kind in (EventType.APPLY, EventType.INVITE):
        assert sees_event(talent, event(kind, "t1", "j1"))
        assert not sees_event(talent, event(kind, "t2", "j1"))
    assert not sees_event(Viewer(()), event(EventType.APPLY, "t1", "j1"))


async def test_the_log_is_not_asked_about_who_is_out_of_sight(market: ServedMarket) -> None:
    subgraph = build_subgraph("Talent.id,Job.id", "Tandem").schema
    market.client._transport.app = build_app(market.services, Access(who, who), federation=subgraph)  # type: ignore[attr-defined]
    query = """{ _entities(representations: [{ __typename: "Talent", id: "t2" }, { __typename: "Job", id: "draft" }]) {
        ... on Talent { interactions { nodes { eventId } } } ... on Job { interactions { nodes { eventId } } } } }"""
    market.reset_counts()
    response = await market.client.post("/federation", json={"query": query}, headers={"X-Viewer": viewer("talent")})
    assert response.json()["data"]["_entities"] == [{"interactions": {"nodes": []}}] * 2
    assert not market.events.calls


async def test_what_is_in_force_between_two_is_what_the_one_may_know(market: ServedMarket) -> None:
    await market.events.append(
        [
            event(EventType.SHORTLIST, "t9", "j1", occurred_at_ms=NOW_MS),
            event(EventType.SAVE, "t9", "j1", occurred_at_ms=NOW_MS),
        ]
    )
    jobs = 'talent(talentId: "t9") { recommendedJobs(first: 100) { edges { node { jobId } interactions } } }'
    talents = 'job(jobId: "j1") { recommendedTalents(first: 100) { edges { node { talentId } interactions } } }'

    async def between(role: str, subject: str, query: str) -> list[str]:
        data = (await ask(market, role, f"{{ {query} }}", subject))["data"]
        edges = next(iter(next(iter(data.values())).values()))["edges"]
        return next(
            edge["interactions"] for edge in edges if "t9" in edge["node"].values() or "j1" in edge["node"].values()
        )

    assert await between("talent", "t9", jobs) == ["SAVE"]
    assert await between("client", "c1", talents) == ["SHORTLIST"]
    assert await between("engineer", "me", talents) == ["SHORTLIST", "SAVE"]


async def test_reasons_and_explanations_name_what_is_the_viewers(market: ServedMarket) -> None:
    await record_all_types(market)
    query = """{ jobs(first: 10) { nodes { recommendedTalents(first: 20) { edges {
        reasons(first: 10) { text jobs { client { clientId } } } node { similarTalents(first: 3) { edges {
        reasons(first: 10) { text jobs { client { clientId } } } } } } } } } } }"""
    answer = await ask(market, "client", query)
    assert "errors" not in answer
    assert owners(answer) == {"c1"}
    why = (
        'explain(talentId: "t1", jobId: "j5", side: {}) {{ contributions {{ signal value reason {{ text }} }} score }}'
    )
    for role, side in (("talent", "TALENT"), ("client", "CLIENT")):
        query = f"{{ {why.format(side)} }}"
        masked, whole = await ask(market, role, query), await ask(market, "engineer", query)
        told = [term["signal"] for term in masked["data"]["explain"]["contributions"] if term["reason"] is None]
        assert not [signal for signal in told if signal.startswith(("history:", "neighbours:"))]
        values = [[term["value"] for term in one["data"]["explain"]["contributions"]] for one in (masked, whole)]
        assert values[0] == values[1]


@pytest.mark.parametrize(
    ("role", "side", "actor"), [("talent", "TALENT", Side.CLIENT), ("client", "CLIENT", Side.TALENT)]
)
async def test_who_was_dismissed_is_not_told(market: ServedMarket, role: str, side: str, actor: Side) -> None:
    await market.events.append([event(EventType.DISMISS, "t1", "j1", actor=actor, occurred_at_ms=NOW_MS)])
    why = f'{{ explain(talentId: "t1", jobId: "j1", side: {side}) {{ blockedBy rule rank text }} }}'
    told = (await ask(market, role, why))["data"]["explain"]
    assert told == {
        "blockedBy": "RULE",
        "rule": None,
        "rank": None,
        "text": "Not recommended: a rule keeps it out.",
    }
    assert (await ask(market, "engineer", why))["data"]["explain"]["blockedBy"] == "DISMISSED"
    own = Side.TALENT if role == "talent" else Side.CLIENT
    await market.events.append([event(EventType.DISMISS, "t1", "j1", actor=own, event_id="own", occurred_at_ms=NOW_MS)])
    assert (await ask(market, role, why))["data"]["explain"]["blockedBy"] == "DISMISSED"


async def test_the_row_that_led_to_an_event_is_told_to_who_was_shown_it(market: ServedMarket) -> None:
    for kind, quoted in ((EventType.APPLY, "list-of-the-talent.7"), (EventType.REJECT, "list-of-the-client.3")):
        await market.events.append([event(kind, "t1", "j1", recommendation_id=quoted, occurred_at_ms=NOW_MS)])
    query = '{ job(jobId: "j1") { interactions(types: [APPLY, REJECT]) { nodes { type recommendationId } } } }'

    async def quoted_to(role: str) -> dict[str, str | None]:
        nodes = (await ask(market, role, query))["data"]["job"]["interactions"]["nodes"]
        return {node["type"]: node["recommendationId"] for node in nodes}

    assert await quoted_to("talent") == {"APPLY": "list-of-the-talent.7", "REJECT": None}
    assert await quoted_to("client") == {"APPLY": None, "REJECT": "list-of-the-client.3"}
    assert await quoted_to("admin") == {"APPLY": "list-of-the-talent.7", "REJECT": "list-of-the-client.3"}


def owners(answer: Any) -> set[str]:
    """Every client id anywhere in an answer."""
    if isinstance(answer, dict):
        own = {answer["clientId"]} if "clientId" in answer else set()
        return own.union(*(owners(value) for value in answer.values()))
    return set().union(*map(owners, answer)) if isinstance(answer, list) else set()


async def test_totals_and_facets_count_what_the_viewer_sees(market: ServedMarket) -> None:
    count = "totalCount facets(fields: [LEVELS]) { buckets { count } }"

    async def counted(role: str, arguments: str) -> tuple[int, int]:
        found = (await ask(market, role, f"{{ jobs{arguments} {{ {count} }} }}"))["data"]["jobs"]
        return found["totalCount"], sum(bucket["count"] for bucket in found["facets"][0]["buckets"])

    everything = "(filter: { statuses: [DRAFT, OPEN] })"
    assert await counted("engineer", everything) == (41, 41)
    assert await counted("talent", everything) == (40, 40)
    assert await counted("talent", "(filter: { statuses: [DRAFT] })") == (0, 0)
    assert await counted("client", everything) == (10, 10)
    assert await counted("client", '(filter: { clientIds: ["c2", "c1"] })') == (10, 10)
    assert await counted("client", '(filter: { clientIds: ["c2"] })') == (0, 0)
    assert await counted("client", '(filter: { ids: ["j1", "j2"] })') == (1, 1)


ATTRIBUTE_QUERIES = {
    "talent": (
        'jobs(filter: { attributes: [{ name: "visa", in: ["yes"] }] }) { totalCount }',
        'jobs { facets(attributes: ["visa"]) { name } }',
        'talent(talentId: "t1") { recommendedJobs { facets(attributes: ["visa"]) { name } } }',
        'explain(talentId: "t1", jobId: "j5", side: TALENT, jobFilter: { attributes: [{ name: "visa", in: ["yes"] }] }'
        ") { rank }",
    ),
    "client": (
        'talents(filter: { attributes: [{ name: "timezone", in: ["CET"] }] }) { totalCount }',
        'job(jobId: "j1") { recommendedTalents { facets(attributes: ["timezone"]) { name } } }',
    ),
}


@pytest.mark.parametrize("role", ["talent", "client"])
async def test_another_ones_attributes_are_shown_and_found_by_when_they_are_public(
    market: ServedMarket, role: str
) -> None:
    shown = '{ talent(talentId: "t1") { attributes { name } } job(jobId: "j1") { attributes { name } } }'
    for query in ATTRIBUTE_QUERIES[role]:
        answer = await ask(market, role, f"{{ {query} }}")
        assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"], query
        assert "TANDEM_PUBLIC_ATTRIBUTES" in answer["errors"][0]["message"]
    data = (await ask(market, role, shown))["data"]
    assert data["talent"]["attributes"] == ([{"name": "timezone"}] if role == "talent" else [])
    assert data["job"]["attributes"] == ([{"name": "visa"}] if role == "client" else [])
    services = replace_public(market, frozenset({"visa", "timezone"}))
    market.client._transport.app = build_app(services, Access(who, who))  # type: ignore[attr-defined]
    for query in ATTRIBUTE_QUERIES[role]:
        assert "errors" not in await ask(market, role, f"{{ {query} }}")
    data = (await ask(market, role, shown))["data"]
    assert (data["talent"]["attributes"], data["job"]["attributes"]) == ([{"name": "timezone"}], [{"name": "visa"}])


def replace_public(market: ServedMarket, names: frozenset[str]) -> Any:
    return replace(market.services, public_attributes=names)


async def test_a_profile_does_not_tell_of_a_draft(market: ServedMarket) -> None:
    query = '{ recommendedJobs(subject: { profile: { likedJobIds: ["draft", "j3"] } }) { edges { reasons { text } } } }'
    assert "Secret" not in str(await ask(market, "talent", query))


# ---- Writing ---------------------------------------------------------------------------------------------------------


def recording(kind: str, actor: str, talent: str, job: str) -> str:
    one = f'eventId: "{random.random()}", actor: {actor}, type: {kind}, talentId: "{talent}", jobId: "{job}"'
    return f"mutation {{ recordEvents(input: {{ events: [{{ {one} }}] }}) {{ acceptedCount userErrors {{ code }} }} }}"


@pytest.mark.parametrize(
    ("role", "given", "code"),
    [
        ("talent", ("SAVE", "TALENT", "t1", "j2"), None),
        ("talent", ("SAVE", "TALENT", "t2", "j2"), "UNKNOWN_ID"),
        ("talent", ("SAVE", "TALENT", "nobody", "j2"), "UNKNOWN_ID"),
        ("talent", ("SAVE", "TALENT", "t1", "draft"), "UNKNOWN_ID"),
        ("talent", ("SAVE", "TALENT", "t1", "nowhere"), "UNKNOWN_ID"),
        ("talent", ("HIRE", "CLIENT", "t1", "j1"), "FORBIDDEN"),
        ("talent", ("VIEW", "CLIENT", "t1", "j1"), "FORBIDDEN"),
        ("client", ("INVITE", "CLIENT", "t2", "j1"), None),
        ("client", ("INVITE", "CLIENT", "t2", "j2"), "UNKNOWN_ID"),
        ("client", ("INVITE", "CLIENT", "t2", "nowhere"), "UNKNOWN_ID"),
        ("client", ("APPLY", "TALENT", "t2", "j1"), "FORBIDDEN"),
        ("service", ("HIRE", "CLIENT", "t2", "j2"), None),
        ("engineer", ("HIRE", "CLIENT", "t2", "j2"), None),
        ("admin", ("HIRE", "CLIENT", "t2", "j2"), None),
    ],
    ids=str,
)
async def test_each_role_records_what_it_did(
    market: ServedMarket, role: str, given: tuple[str, str, str, str], code: str | None
) -> None:
    before = (await market.services.events.state()).last_seq
    payload = (await ask(market, role, recording(*given)))["data"]["recordEvents"]
    assert payload == {"acceptedCount": int(code is None), "userErrors": [] if code is None else [{"code": code}]}
    assert (await market.services.events.state()).last_seq - before == int(code is None)


CHANGES = {
    "upsertTalents": (
        'upsertTalents(input: { talents: [{ talentId: "t1" }] }) { acceptedCount }',
        {"service", "admin"},
    ),
    "upsertJobs": ('upsertJobs(input: { jobs: [{ jobId: "j1" }] }) { acceptedCount }', {"service", "admin"}),
    "deleteTalent": ('deleteTalent(input: { id: "t1" }) { deletedId }', {"service", "admin"}),
    "deleteJob": ('deleteJob(input: { id: "j1", erase: true }) { deletedId }', {"service", "admin"}),
}


@pytest.mark.parametrize("role", ROLES)
async def test_documents_are_changed_by_who_may_and_nothing_is_written_by_others(
    market: ServedMarket, role: str
) -> None:
    assert {field for name, field in REACH if name == "Mutation"} == {"recordEvents", *CHANGES}
    for name, (mutation, allowed) in CHANGES.items():
        market.reset_counts()
        answer = await ask(market, role, f"mutation {{ {mutation} }}")
        if role in allowed:
            assert answer["data"][name] is not None, answer
        else:
            assert answer["data"] == {name: None}
            assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"]
            assert not market.catalogue.calls
            assert not market.events.calls


# ---- A router --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
async def test_a_router_gets_for_a_viewer_what_the_viewer_would(market: ServedMarket, role: str) -> None:
    subgraph = build_subgraph("Talent.id,Job.id", "Tandem").schema
    market.client._transport.app = build_app(market.services, Access(who, who), federation=subgraph)  # type: ignore[attr-defined]

    async def of(kind: str, own: str, selected: str) -> Any:
        key = f'{{ __typename: \\"{kind}\\", id: \\"{own}\\" }}'.replace("\\", "")
        query = f"{{ _entities(representations: [{key}]) {{ ... on {kind} {{ {selected} }} }} }}"
        response = await market.client.post("/federation", json={"query": query}, headers={"X-Viewer": viewer(role)})
        answer = response.json()
        return answer["data"]["_entities"][0], {error["extensions"]["code"] for error in answer.get("errors", [])}

    for subject, ids in SUBJECTS.items():
        jobs, codes = await of("Talent", ids["talent"], "recommendedJobs { nodes { id } }")
        if role == "client":
            assert (jobs, codes) == ({"recommendedJobs": None}, {"FORBIDDEN"})
        elif role == "talent" and subject != "own":
            assert (jobs, codes) == ({"recommendedJobs": None}, set())
        talents, codes = await of("Job", ids["job"], "recommendedTalents { nodes { id } }")
        if role == "talent":
            assert (talents, codes) == ({"recommendedTalents": None}, {"FORBIDDEN"})
        else:
            assert (talents["recommendedTalents"] is not None) is is_seen(role, "job", subject)
        events, _ = await of("Job", ids["job"], "interactions { nodes { eventId } }")
        assert is_seen(role, "job", subject) or events == {"interactions": {"nodes": []}}
        similar, _ = await of("Job", ids["job"], "similarJobs { nodes { id } }")
        assert (similar["similarJobs"] is not None) is is_seen(role, "job", subject)
    response = await market.client.post(
        "/federation", json={"query": "{ _service { sdl } }"}, headers={"X-Viewer": viewer(role)}
    )
    assert ("errors" not in response.json()) is (role in STAFF)


# ---- All at once -----------------------------------------------------------------------------------------------------


async def test_no_viewer_gets_what_is_anothers_when_all_ask_at_once(market: ServedMarket) -> None:
    talent = """{ viewer { talent { talentId interactions { nodes { talent { talentId } } } } }
        talent(talentId: "t5") { talentId } recommendedJobs(subject: { talentId: "%s" }) { nodes { jobId } } }"""
    client = """{ viewer { client { clientId } } jobs(first: 5) { nodes { client { clientId }
        recommendedTalents(first: 5) { edges { node { talentId interactions { nodes { job { client { clientId } } } } }
        reasons { jobs { client { clientId } } } } } } } client(clientId: "c3") { clientId } }"""
    alone: dict[str, Any] = {}

    async def one(role: str, subject: str) -> None:
        query = talent % subject if role == "talent" else client
        answer = await ask(market, role, query, subject)
        if role == "client":
            assert owners(answer) == {subject}
        else:
            own = answer["data"]["viewer"]["talent"]
            assert own["talentId"] == subject
            assert {node["talent"]["talentId"] for node in own["interactions"]["nodes"]} == {subject}
            assert (answer["data"]["talent"] is None) is (subject != "t5")
        assert alone.setdefault(subject, answer["data"]) == answer["data"]

    everybody = [("talent", f"t{number}") for number in range(1, 26)] + [
        ("client", f"c{number}") for number in range(4)
    ]
    for role, subject in everybody:
        await one(role, subject)
    mixed = [*everybody * 2]
    random.Random(7).shuffle(mixed)
    await asyncio.gather(*(one(role, subject) for role, subject in mixed))
