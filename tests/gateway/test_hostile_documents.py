"""Hostile documents: refused, with a typed error, before they cost anything; nothing of them is kept or logged."""

from __future__ import annotations

import gc
import logging
from pathlib import Path

import pytest
from graphql import get_introspection_query

from gateway.graphql.bounds import MAX_NESTING, MAX_TEXT, MAX_TOKENS
from gateway.graphql.documents import CACHED_DOCUMENTS, DOCUMENTS
from tests.gateway.hostile_documents import HOSTILE, refused
from tests.gateway.served_market import ServedMarket

# Valid, small and what anybody may ask: as many tokens of something cheap.
HARMLESS = {"300 aliases of lists", "fragment bomb 20", "fragment bomb 40", "fragment bomb wide", "long list literal"}
CODES = {"QUERY_TOO_LARGE", "GRAPHQL_PARSE_FAILED", "GRAPHQL_VALIDATION_FAILED", "BAD_USER_INPUT", "BAD_REQUEST"}
SLOW_MS = 120.0  # the most that any takes on a machine that is busy with other things; an idle one needs a tenth


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_document_is_known_before_it_costs_anything(name: str) -> None:
    found = [refused(HOSTILE[name]) for _ in range(3)]
    assert (found[0][0] is None) == (name in HARMLESS | {"many operations"})
    assert min(ms for _, ms in found) < SLOW_MS


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


async def test_ten_thousand_documents_that_are_asked_once_leave_no_memory_behind(market: ServedMarket) -> None:
    async def ask(begin: int, end: int) -> int:
        for number in range(begin, end):
            await market.client.post("/graphql", json={"query": f"{{ a{number}: viewer {{ roles }} }}"})
        gc.collect()
        return _resident_bytes()

    before = await ask(0, 1_000)
    assert await ask(1_000, 3_000) - before < 8_000_000
    assert len(DOCUMENTS) <= CACHED_DOCUMENTS


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4_096


def test_the_bounds_leave_room_for_what_clients_ask() -> None:
    assert (
        refused(get_introspection_query(descriptions=True, specified_by_url=True, directive_is_repeatable=True))[0]
        is None
    )
    assert refused("{ " + " ".join(f"a{n}: viewer {{ roles }}" for n in range(300)) + " }")[0] is None
    assert refused("{ viewer { roles } " + "# a comment\n" * 1_000 + " }")[0] is None
    nested = "{ jobs(filter: { ids: " + "[" * (MAX_NESTING + 1) + "]" * (MAX_NESTING + 1) + " }) { totalCount } }"
    assert refused(nested)[0] == f"a document nests at most {MAX_NESTING} brackets"
    assert refused("{ " + "a " * MAX_TOKENS + "}")[0] == f"a document has at most {MAX_TOKENS} tokens"
    assert (refused("{ a }" + " " * MAX_TEXT)[0] or "").startswith(f"a document has at most {MAX_TEXT} characters")
    assert refused('{ job(jobId: """}}} ((( """) { title } }')[0] is None  # brackets in a text are none
