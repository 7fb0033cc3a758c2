"""Hostile documents: refused, with a typed error, before they cost anything; nothing of them is kept or logged."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from graphql import get_introspection_query

from gateway.graphql import documents
from gateway.graphql.bounds import (
    MAX_DEFINITIONS,
    MAX_DIRECTIVES,
    MAX_NESTING,
    MAX_TEXT,
    MAX_TOKENS,
    MAX_UNKNOWN,
    MAX_VARIABLES,
    MAX_WRITTEN,
)
from gateway.graphql.documents import CACHED_DOCUMENTS, DOCUMENTS
from tests.gateway.hostile_documents import HOSTILE, refused
from tests.gateway.served_market import ServedMarket

# Valid, small and what anybody may ask: as many tokens of something cheap.
HARMLESS = {"300 aliases of lists", "long list literal"}
CODES = {"QUERY_TOO_LARGE", "GRAPHQL_PARSE_FAILED", "GRAPHQL_VALIDATION_FAILED", "BAD_USER_INPUT", "BAD_REQUEST"}
SLOW_MS = 5.0  # of CPU for any that is refused; a machine that is busy with other things needs some 1 ms


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_document_is_known_before_it_costs_anything(name: str) -> None:
    found = [refused(HOSTILE[name]) for _ in range(5)]
    assert (found[0][0] is None) == (name in HARMLESS)
    assert name in HARMLESS or min(ms for _, ms in found) < SLOW_MS


async def test_a_document_that_is_invalid_is_validated_once(
    market: ServedMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"query": '{ viewer { roles } jobsz { totalCount } jobs(first: "x") { totalCount } }'}
    first = await market.client.post("/graphql", json=body)
    monkeypatch.setattr(documents, "validate", None)
    monkeypatch.setattr(documents, "parse", None)
    again = await market.client.post("/graphql", json=body)
    assert (again.status_code, again.json()["errors"]) == (first.status_code, first.json()["errors"])
    assert "jobsz" in again.text
    codes = [error["extensions"]["code"] for error in again.json()["errors"]]
    assert codes == ["GRAPHQL_VALIDATION_FAILED", "BAD_USER_INPUT"]
    assert again.json()["errors"][0]["locations"] == [{"line": 1, "column": 20}]


async def test_each_is_a_typed_error_and_never_the_servers(market: ServedMarket) -> None:
    for name, text in HOSTILE.items():
        answer = await market.client.post("/graphql", json={"query": text})
        assert answer.status_code in (200, 400, 413), name
        assert len(answer.content) < 20_000, name
        codes = {error["extensions"]["code"] for error in answer.json().get("errors", [])}
        assert codes <= CODES | {"PAYLOAD_TOO_LARGE"}, (name, codes)
        assert bool(codes) or name in HARMLESS, name


async def test_nothing_of_a_hostile_run_is_in_the_logs(
    market: ServedMarket, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    secret = "s3cretvalue"
    caplog.set_level(logging.DEBUG)
    for text in (
        f'{{ job(jobId: "{secret}") {{ title }} }}',
        f"{{ {secret} }}",
        f'{{ jobs(first: "{secret}") {{ totalCount }} }}',
        f'{{ "{secret}',
        f"# {secret}",
    ):
        for body in (
            {"query": text},
            {"query": "query($a: Int) { jobs(first: $a) { totalCount } }", "variables": {"a": secret}},
        ):
            await market.client.post("/graphql", json=body)
            await market.client.post("/graphql", json=body, headers={"Authorization": f"Bearer {secret}"})
        await market.client.get("/graphql", params={"query": text})
        await market.client.post("/graphql", content=text.encode(), headers={"Content-Type": "application/json"})
    assert secret not in "".join(record.getMessage() for record in caplog.records if record.name != "httpx")
    assert secret not in "".join(capfd.readouterr())  # where structlog writes before it is set up


async def test_documents_that_are_asked_once_leave_no_memory_behind(market: ServedMarket) -> None:
    async def ask(begin: int, end: int) -> int:
        for number in range(begin, end):
            name = "roles" if number % 2 else "rolez"  # every other one is refused
            await market.client.post("/graphql", json={"query": f"{{ a{number}: viewer {{ {name} }} }}"})
        gc.collect()
        return _resident_bytes()

    before = await ask(0, 1_000)
    assert await ask(1_000, 3_000) - before < 8_000_000
    assert len(DOCUMENTS) <= CACHED_DOCUMENTS


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4_096


@pytest.mark.parametrize("text", ["# nothing", ",", "\ufeff", "# one\n# two\n"])
async def test_a_document_without_a_token_is_a_syntax_error(market: ServedMarket, text: str) -> None:
    answer = await market.ask(text)
    assert [error["message"] for error in answer["errors"]] == ["Syntax Error: Unexpected <EOF>."]


def test_the_bounds_leave_room_for_what_clients_ask() -> None:
    assert (
        refused(get_introspection_query(descriptions=True, specified_by_url=True, directive_is_repeatable=True))[0]
        is None
    )
    assert refused("{ " + " ".join(f"a{n}: viewer {{ roles }}" for n in range(300)) + " }")[0] is None
    assert refused("{ viewer { roles } " + "# a comment\n" * 1_000 + " }")[0] is None
    ids = ",".join(f'"tal-{n:06}"' for n in range(1_000))
    assert refused(f"{{ jobs(filter: {{ ids: [{ids}] }}) {{ totalCount }} }}")[0] is None
    assert (refused(f'{{ job(jobId: "{"a" * MAX_WRITTEN}") {{ title }} }}')[0] or "").endswith("as variables")
    nested = "{ jobs(filter: { ids: " + "[" * (MAX_NESTING + 1) + "]" * (MAX_NESTING + 1) + " }) { totalCount } }"
    assert refused(nested)[0] == f"a document nests at most {MAX_NESTING} brackets"
    assert refused("{ " + "a " * MAX_TOKENS + "}")[0] == f"a document has at most {MAX_TOKENS} tokens"
    assert (refused("{ a }" + " " * MAX_TEXT)[0] or "").startswith(f"a document has at most {MAX_TEXT} characters")
    assert refused('{ job(jobId: """}}} ((( """) { title } }')[0] is None  # brackets in a text are none


def _with_variables(count: int) -> str:
    declared = " ".join(f"$v{n}: Boolean! = true" for n in range(count))
    return f"query q({declared}) {{ " + " ".join(f"v{n}: __typename @skip(if: $v{n})" for n in range(count)) + " }"


def _with_fragments(count: int) -> str:
    fragments = " ".join(f"fragment f{n} on Viewer {{ roles }}" for n in range(count))
    return "{ " + " ".join(f"a{n}: viewer {{ ...f{n} }}" for n in range(count)) + " } " + fragments


@pytest.mark.parametrize(
    ("made", "most", "message"),
    [
        (_with_variables, MAX_VARIABLES, f"a document has at most {MAX_VARIABLES} variables"),
        (
            lambda count: "{ " + " ".join(f"a{n}: __typename @include(if: true)" for n in range(count)) + " }",
            MAX_DIRECTIVES,
            f"a document has at most {MAX_DIRECTIVES} directives",
        ),
        (
            lambda count: _with_fragments(count - 1),
            MAX_DEFINITIONS,
            f"a document has at most {MAX_DEFINITIONS} operations and fragments",
        ),
    ],
)
def test_as_many_as_a_bound_allows_are_executed_and_one_more_is_not(
    made: Callable[[int], str], most: int, message: str
) -> None:
    assert refused(made(most))[0] is None
    assert refused(made(most + 1))[0] == message


def test_names_that_are_free_are_not_taken_for_those_of_the_schema() -> None:
    text = """query mine($ownOne: Int = 3, $ownTwo: JobFilter = {skills: {any: ["x"]}}) @skip(if: false) {
      ownAlias: jobs(first: $ownOne, filter: $ownTwo) { ...ownFragment otherAlias: totalCount }
    }
    fragment ownFragment on JobConnection @include(if: true) { ... on JobConnection { y: totalCount } }
    fragment query on JobConnection { totalCount }"""
    assert refused(text)[0] == "Directive '@skip' may not be used on query."
    assert refused("{ " + " ".join(f"jobz{n}" for n in range(MAX_UNKNOWN)) + " }")[0] == (
        "Cannot query field 'jobz0' on type 'Query'. Did you mean 'job' or 'jobs'?"
    )
